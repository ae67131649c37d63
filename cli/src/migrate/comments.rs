//! Comments of a document that is written anew, put beside what they stood at.

use crate::yaml::{self, Node};

/// A comment, and the path of what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    path: String,
    text: String,
}

/// Comments among the lines of a document, of which the first has a number.
pub fn of(document: &Node, first: usize, lines: &[&str]) -> Vec<Comment> {
    let mut places = Vec::new();
    walk(document, "", &mut places);
    places.sort();
    let mut comments = Vec::new();
    let mut block: Option<usize> = None;
    for (number, line) in (first..).zip(lines) {
        let indent = line.len() - line.trim_start().len();
        // Lines of a text that is written as a block are no comments.
        if block.is_some_and(|margin| line.trim().is_empty() || indent > margin) {
            continue;
        }
        let (content, comment) = split(line);
        let content = content.trim_end();
        block = [" |", " |-", " |+", " >", " >-", " >+"].iter().any(|end| content.ends_with(end)).then_some(indent);
        let Some(comment) = comment else { continue };
        // Alone on its line it is about what comes next.
        let from = if content.trim().is_empty() { number + 1 } else { number };
        let place = places.iter().find(|(line, ..)| *line >= from).or_else(|| places.last());
        let path = place.map(|(_, _, path)| path.clone()).unwrap_or_default();
        comments.push(Comment { path, text: comment.trim_end().to_owned() });
    }
    comments
}

/// Lines of all members and items, the outer before the inner, and their paths.
fn walk(node: &Node, path: &str, places: &mut Vec<(usize, usize, String)>) {
    let depth = path.matches(['.', '[']).count();
    for member in node.members() {
        let path = if path.is_empty() { member.name.clone() } else { format!("{path}.{}", member.name) };
        places.push((member.mark.line, depth, path.clone()));
        walk(&member.value, &path, places);
    }
    for (index, item) in node.items().iter().enumerate() {
        let path = format!("{path}[{index}]");
        places.push((item.mark.line, depth, path.clone()));
        walk(item, &path, places);
    }
}

/// A line without its comment, and the comment.
fn split(line: &str) -> (&str, Option<&str>) {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open && before != '\\' => quote = None,
            Some(_) => {}
            // Within a plain word a quote is a letter.
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | '[' | '{' | ',' | ':' | '(') => quote = Some(c),
            None if c == '#' && before.is_whitespace() => return (&line[..at], Some(&line[at..])),
            None => {}
        }
        before = c;
    }
    (line, None)
}

/// A text of one document with comments above what they are about; `renamed` says what became of a path.
pub fn put(text: &str, comments: &[Comment], renamed: impl Fn(&str) -> String) -> String {
    let Some(document) = yaml::parse("", text).ok().and_then(|documents| documents.into_iter().next()) else {
        return text.to_owned();
    };
    let mut lines: Vec<(usize, String)> = text.split_inclusive('\n').map(str::to_owned).enumerate().collect();
    let mut above: Vec<(usize, &str)> = Vec::new();
    for Comment { path, text } in comments {
        above.push((document.locate(&renamed(path)).line.saturating_sub(1), text));
    }
    // From the last on, so that the numbers of the others stay.
    above.sort_by_key(|(line, _)| *line);
    for (line, comment) in above.into_iter().rev() {
        let (_, below) = &lines[line];
        let indent = below.len() - below.trim_start().len();
        lines.insert(line, (line, format!("{}{comment}\n", " ".repeat(indent))));
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stand_beside_what_they_stood_at() {
        let text = "a: 1 # one\n# two\nb:\n  # three\n  - 'x # y' # four\n  - \"it's # no\"\n  c: |\n    # text\nd: x#y # five\n# six\n";
        let text = text.replace("  c: |\n    # text\n", "c: |\n  # text\n");
        let document = &yaml::parse("f", &text).unwrap()[0];
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let comments = of(document, 1, &lines);
        let pairs: Vec<_> = comments.iter().map(|comment| (&*comment.path, &*comment.text)).collect();
        assert_eq!(
            pairs,
            [("a", "# one"), ("b", "# two"), ("b[0]", "# three"), ("b[0]", "# four"), ("d", "# five"), ("d", "# six")]
        );
        let new = put("a: 1\nz:\n- x\n- y\nd: 2\n", &comments, |path| path.replacen('b', "z", 1));
        assert_eq!(new, "# one\na: 1\n# two\nz:\n# three\n# four\n- x\n- y\n# five\n# six\nd: 2\n");
        assert_eq!(yaml::parse("f", &new).unwrap()[0].to_json(), r#"{"a":1,"z":["x","y"],"d":2}"#);
    }
}
