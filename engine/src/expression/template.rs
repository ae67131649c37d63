//! Templates: text with `{path}` placeholders, in a `selector`, or with `{{ path }}` placeholders, in a `template`.

use serde_json::Value;

use super::selector::Selector;
use crate::compile::Compiler;
use crate::view::View;

/// A compiled template.
#[derive(Debug)]
pub struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Placeholder(Selector),
}

/// Whether a selector is a template rather than a path: it has a `{` that does not begin the argument of a modifier.
///
/// Counted rather than parsed, as upstream does, so `a.{b,c}` is a template too.
pub fn is_template(source: &str) -> bool {
    source.matches('{').count() != modifiers_with_object(source)
}

/// How often the expression `[^@]+@\w+:{` matches.
fn modifiers_with_object(source: &str) -> usize {
    let mut count = 0_usize;
    let mut end_of_last = 0;
    for (at, _) in source.match_indices('@') {
        let (before, after) = source.split_at(at);
        let after = after.get(1..).unwrap_or_default();
        let name = after.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let has_object = name > 0 && after.get(name..).is_some_and(|rest| rest.starts_with(":{"));
        if has_object && at > end_of_last && !before.ends_with('@') {
            count = count.saturating_add(1);
            end_of_last = at.saturating_add(name).saturating_add(":{".len()).saturating_add(1);
        }
    }
    count
}

impl Template {
    /// Compiles a template; what is wrong with a placeholder goes to the compiler.
    pub fn compile(source: &str, compiler: &mut Compiler<'_>) -> Self {
        let pieces = split(source).into_iter().map(|piece| match piece {
            RawPiece::Text(text) => Piece::Text(text),
            RawPiece::Placeholder(path) => Piece::Placeholder(Selector::compile(path, compiler)),
        });
        Self(pieces.collect())
    }

    /// Compiles text with `{{ path }}` placeholders. One that is never closed, or is empty, is a problem.
    pub fn interpolation(source: &str, compiler: &mut Compiler<'_>) -> Self {
        let pieces = split_double(source).unwrap_or_else(|reason| {
            compiler.problem(reason);
            Vec::new()
        });
        let pieces = pieces.into_iter().map(|piece| match piece {
            RawPiece::Text(text) => Piece::Text(text),
            RawPiece::Placeholder(path) => Piece::Placeholder(Selector::compile(path, compiler)),
        });
        Self(pieces.collect())
    }

    /// The value that the only placeholder finds, with its type; with anything beside it, the text.
    pub fn value(&self, view: &View) -> Value {
        match self.0.as_slice() {
            [Piece::Placeholder(selector)] => selector.value(view),
            _ => Value::String(self.text(view)),
        }
    }

    /// The text with the placeholders filled in. What goes in is not escaped.
    pub fn text(&self, view: &View) -> String {
        self.fill(|selector| selector.text(view))
    }

    /// The same, with what goes in written in another way.
    pub fn text_with(&self, view: &View, write: impl Fn(&str) -> String) -> String {
        self.fill(|selector| selector.with_text(view, &write))
    }

    /// The text with the same in place of each placeholder.
    pub fn text_of(&self, filling: &str) -> String {
        self.fill(|_| filling.to_owned())
    }

    /// What stands before the first placeholder; none if there is no placeholder.
    pub fn prefix(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] | [Piece::Text(_)] => None,
            [Piece::Text(text), ..] => Some(text),
            [Piece::Placeholder(_), ..] => Some(""),
        }
    }

    fn fill(&self, filling: impl Fn(&Selector) -> String) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Placeholder(selector) => text.push_str(&filling(selector)),
            }
        }
        text
    }
}

#[derive(Debug, PartialEq)]
enum RawPiece<'a> {
    Text(String),
    Placeholder(&'a str),
}

/// Takes a template apart. Outside placeholders a backslash protects `{` and itself, and vanishes before anything else;
/// an empty placeholder is nothing; what follows an unclosed `{` is dropped.
fn split(source: &str) -> Vec<RawPiece<'_>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\\' => {
                if let Some(escaped @ ('\\' | '{')) = rest.chars().next() {
                    text.push(escaped);
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
            '{' => {
                let Some((path, after)) = placeholder(rest) else { break };
                if !path.is_empty() {
                    pieces.push(RawPiece::Text(std::mem::take(&mut text)));
                    pieces.push(RawPiece::Placeholder(path));
                }
                rest = after;
            }
            c => text.push(c),
        }
    }
    pieces.push(RawPiece::Text(text));
    pieces.retain(|piece| *piece != RawPiece::Text(String::new()));
    pieces
}

/// The path up to the balanced `}`, and what follows.
fn placeholder(source: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in source.char_indices() {
        match c {
            '{' => depth = depth.saturating_add(1),
            '}' if depth == 0 => return Some((source.get(..at)?, source.get(at.saturating_add(1)..)?)),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Whether a text has a `{{ … }}` placeholder.
pub fn has_double_braces(source: &str) -> bool {
    let mut openings =
        source.match_indices("{{").filter(|(at, _)| !source.get(..*at).unwrap_or_default().ends_with('\\'));
    openings.next().is_some_and(|(at, _)| source.get(at..).is_some_and(|rest| rest.contains("}}")))
}

/// Takes text with `{{ path }}` placeholders apart. All else stands for itself, but for `\{{`, which is `{{`.
fn split_double(source: &str) -> Result<Vec<RawPiece<'_>>, &'static str> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        if let Some(before) = before.strip_suffix('\\') {
            text.push_str(before);
            text.push_str("{{");
            rest = after;
            continue;
        }
        text.push_str(before);
        let (path, after) =
            double_placeholder(after).ok_or("a `{{` is never closed by `}}`; write `\\{{` if braces are meant")?;
        if path.is_empty() {
            return Err("a placeholder is empty: write a path in it, or `\\{{` if braces are meant");
        }
        pieces.push(RawPiece::Text(std::mem::take(&mut text)));
        pieces.push(RawPiece::Placeholder(path));
        rest = after;
    }
    text.push_str(rest);
    pieces.push(RawPiece::Text(text));
    pieces.retain(|piece| *piece != RawPiece::Text(String::new()));
    Ok(pieces)
}

/// The path up to the `}}` that is not within its own braces or quotes, and what follows.
fn double_placeholder(source: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    let mut in_quotes = false;
    let mut escaped = false;
    for (at, c) in source.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            '{' => depth = depth.saturating_add(1),
            '}' if depth > 0 => depth = depth.saturating_sub(1),
            '}' => {
                let (path, after) = source.split_at(at);
                if let Some(after) = after.strip_prefix("}}") {
                    return Some((path.trim(), after));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn double_braces_alone_are_placeholders() {
        let text = |text: &str| RawPiece::Text(text.to_owned());
        let path = RawPiece::Placeholder;
        for (source, pieces) in [
            ("", vec![]),
            ("{a} }} \\n", vec![text("{a} }} \\n")]),
            ("{{a}}", vec![path("a")]),
            ("x{{ a.b }}y", vec![text("x"), path("a.b"), text("y")]),
            ("{{a}}{{b}}", vec![path("a"), path("b")]),
            (r#"{"a":"{{x}}"}"#, vec![text(r#"{"a":""#), path("x"), text(r#""}"#)]),
            (r"\{{a}} {{b}}", vec![text("{{a}} "), path("b")]),
            ("{{{a,b}}}", vec![path("{a,b}")]),
            ("{{a}}}", vec![path("a"), text("}")]),
            (r#"{{a.@replace:{"old":"}}","new":""}}}"#, vec![path(r#"a.@replace:{"old":"}}","new":""}"#)]),
            (r#"{{a.#(b=="}}").c}}"#, vec![path(r#"a.#(b=="}}").c"#)]),
            (r"{{a\}}}", vec![path(r"a\}")]),
            ("é{{ü}}é", vec![text("é"), path("ü"), text("é")]),
        ] {
            assert_eq!(split_double(source), Ok(pieces), "{source}");
        }
        for (source, reason) in [
            ("{{a", "never closed"),
            ("{{a}", "never closed"),
            ("{{a}} {{", "never closed"),
            (r#"{{a"}}"#, "never closed"),
            ("{{}}", "empty"),
            ("{{  }}", "empty"),
        ] {
            assert!(split_double(source).unwrap_err().contains(reason), "{source}");
        }
        for (source, expected) in [
            ("{{a}}", true),
            ("x {{ a }}", true),
            (r"\{{a}}", false),
            ("{{a", false),
            ("a}} {{", false),
            ("{a}", false),
        ] {
            assert_eq!(has_double_braces(source), expected, "{source}");
        }
    }

    #[test]
    fn a_template_has_a_brace_that_is_no_argument() {
        for (source, expected) in [
            ("auth.identity.sub", false),
            ("plain text", false),
            ("{auth.identity.sub}", true),
            ("hello {auth.identity.sub}!", true),
            (r#"a.@extract:{"sep":" ","pos":1}"#, false),
            (r#"a.@extract:{"pos":1}|@replace:{"old":"a"}"#, false),
            (r#"{a.@extract:{"pos":1}}"#, true),
            // Upstream miscounts these.
            ("auth.identity.{a,b}", true),
            ("user@case:{x}", false),
            ("@extract:{}", true),
            ("a@@extract:{}", true),
            ("a.@:{}", true),
        ] {
            assert_eq!(is_template(source), expected, "{source}");
        }
    }

    #[test]
    fn templates_are_taken_apart_byte_by_byte() {
        let text = |text: &str| RawPiece::Text(text.to_owned());
        let path = RawPiece::Placeholder;
        for (source, pieces) in [
            ("hello {a.b}!", vec![text("hello "), path("a.b"), text("!")]),
            ("{a}{b}", vec![path("a"), path("b")]),
            (r#"\{"a":"{x}"}"#, vec![text(r#"{"a":""#), path("x"), text(r#""}"#)]),
            (r#"{"a":"{x}"}"#, vec![path(r#""a":"{x}""#)]),
            ("{{x}}", vec![path("{x}")]),
            ("a{}b", vec![text("ab")]),
            ("a{b", vec![text("a")]),
            ("a{b{c}", vec![text("a")]),
            ("a}b", vec![text("a}b")]),
            (r"a\\b\nc\", vec![text(r"a\bnc")]),
            (r"a\\{b}", vec![text(r"a\"), path("b")]),
            (r"{a\.b}", vec![path(r"a\.b")]),
            (r#"{a.@extract:{"sep":"/"}}-x"#, vec![path(r#"a.@extract:{"sep":"/"}"#), text("-x")]),
            ("é{a}ü", vec![text("é"), path("a"), text("ü")]),
        ] {
            assert_eq!(split(source), pieces, "{source}");
        }
    }
}
