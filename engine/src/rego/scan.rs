//! A first look at the text of a policy, word by word: what it may not ask for, and whether it reads the body.

use super::Mistake;
use super::builtins::refused;
use super::shape::Shape;

/// Digits that a number may have.
const DIGITS: usize = 300;
/// The largest exponent of a double, and some.
const EXPONENT: u32 = 400;

/// A word of a policy and where it begins.
pub struct Word<'a> {
    /// What it is.
    pub kind: Kind,
    /// Itself; of a text what is between the quotes.
    pub text: &'a str,
    /// What stands right after it.
    pub rest: &'a str,
    line: u32,
    column: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Names with dots between: `input.request.body`.
    Path,
    /// The inside of a text literal.
    Text,
    Number,
    /// A bracket, an operator, a separator, or the end of a line.
    Sign,
}

/// What is asked for that is not to be had.
pub fn check(text: &str) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut shape = Shape::default();
    let mut default = DefaultValue::default();
    for word in words(text) {
        let Word { kind, text, line, column, rest } = word;
        if let Err(what) = shape.take(&word) {
            mistakes.push(Mistake { line, column, what: what.to_owned() });
            break;
        }
        let mut problem = |what: String| mistakes.push(Mistake { line, column, what });
        if let Err(what) = default.take(&word) {
            problem(what.to_owned());
        }
        match kind {
            Kind::Path if text == "not" && rest.trim_start().starts_with('{') => {
                problem("`not` of a body in braces is not in Sidegate".to_owned());
            }
            Kind::Path if rest.trim_start().starts_with('(') => {
                if let Some(why) = refused(text) {
                    problem(format!("`{text}` {why}"));
                }
            }
            Kind::Number => {
                let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, ""));
                let exponent = exponent.trim_start_matches(['+', '-']);
                let is_small = exponent.is_empty() || exponent.parse::<u32>().is_ok_and(|value| value <= EXPONENT);
                if digits.len() > DIGITS || !is_small {
                    problem("the number is too large".to_owned());
                }
            }
            Kind::Path | Kind::Text | Kind::Sign => {}
        }
    }
    mistakes
}

/// Whether we are within `default name = value`, and what was seen of it: regorus has a function's default undefined, and a
/// comprehension's empty.
#[derive(Default)]
struct DefaultValue {
    words: u32,
    brackets: u32,
}

impl DefaultValue {
    fn take(&mut self, word: &Word<'_>) -> Result<(), &'static str> {
        if self.words == 0 {
            self.words = u32::from(word.kind == Kind::Path && word.text == "default");
            return Ok(());
        }
        self.words = self.words.saturating_add(1);
        match (word.kind, word.text) {
            (Kind::Path, _) if self.words == 2 && word.rest.trim_start().starts_with('(') => {
                *self = Self::default();
                return Err("default values of functions are not in Sidegate");
            }
            (Kind::Sign, "|") => {
                *self = Self::default();
                return Err("comprehensions as default values are not in Sidegate");
            }
            (Kind::Sign, "[" | "{" | "(") => self.brackets = self.brackets.saturating_add(1),
            (Kind::Sign, "]" | "}" | ")") => self.brackets = self.brackets.saturating_sub(1),
            (Kind::Sign, "\n") if self.brackets == 0 => *self = Self::default(),
            _ => {}
        }
        Ok(())
    }
}

/// Whether the body is read: `.body` of anything that may be the request, or the text `"body"`.
pub fn reads_body(text: &str) -> bool {
    let is_body = |name: &str| matches!(name, "body" | "raw_body");
    words(text).any(|word| match word.kind {
        Kind::Text => is_body(word.text),
        Kind::Number | Kind::Sign => false,
        Kind::Path => {
            let mut names = word.text.split('.');
            let root = names.next().unwrap_or_default();
            let second = names.clone().next().unwrap_or_default();
            let elsewhere = root == "input" && !matches!(second, "request" | "context");
            !elsewhere && names.any(is_body)
        }
    })
}

/// Takes the package declaration out of a policy and puts another in its place, so that all that follows keeps its line.
/// Where there is none it goes before the text; the number says how many lines it takes there.
pub fn with_package(text: &str, package: &str) -> (String, u32) {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        match rest.strip_prefix('#') {
            Some(comment) => rest = comment.find('\n').and_then(|end| comment.get(end..)).unwrap_or_default(),
            None => break,
        }
    }
    let declared = rest.strip_prefix("package").filter(|after| after.starts_with(|c: char| c.is_whitespace()));
    let Some(name) = declared.map(str::trim_start) else { return (format!("package {package}\n{text}"), 1) };
    let end = end_of_path(name);
    let before = text.get(..text.len().saturating_sub(rest.len())).unwrap_or_default();
    let skipped = rest.len().saturating_sub(name.len());
    let lines = "\n".repeat(rest.get(..skipped).unwrap_or_default().matches('\n').count());
    let after = name.get(end..).unwrap_or_default();
    let after = after.trim_start_matches([' ', '\t']).strip_prefix(';').unwrap_or(after);
    (format!("{before}{lines}package {package}{after}"), 0)
}

/// Where a path like `a.b["c"]` ends.
fn end_of_path(text: &str) -> usize {
    let mut quoted = false;
    let end = text.find(|c: char| {
        if c == '"' {
            quoted = !quoted;
        }
        !(quoted || c.is_alphanumeric() || matches!(c, '_' | '.' | '[' | ']' | '"'))
    });
    end.unwrap_or(text.len())
}

fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let (mut rest, mut line, mut column) = (text, 1_u32, 1_u32);
    std::iter::from_fn(move || {
        loop {
            let first = rest.chars().next()?;
            let (length, word) = match first {
                '#' => (rest.find('\n').unwrap_or(rest.len()), None),
                '"' => {
                    let end = end_of_literal(rest);
                    (end, Some((Kind::Text, rest.get(1..end.saturating_sub(1)))))
                }
                '`' => {
                    let end = rest.get(1..).and_then(|inside| inside.find('`'));
                    let end = end.map_or(rest.len(), |end| end.saturating_add(2));
                    (end, Some((Kind::Text, rest.get(1..end.saturating_sub(1)))))
                }
                'a'..='z' | 'A'..='Z' | '_' => {
                    let is_end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
                    let end = rest.find(is_end).unwrap_or(rest.len());
                    (end, Some((Kind::Path, rest.get(..end))))
                }
                '0'..='9' => {
                    let mut before = ' ';
                    let end = rest.find(|c: char| {
                        let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
                        before = c;
                        !(sign || c.is_ascii_alphanumeric() || c == '.')
                    });
                    let end = end.unwrap_or(rest.len());
                    (end, Some((Kind::Number, rest.get(..end))))
                }
                '\n' | '!'..='~' => (1, Some((Kind::Sign, rest.get(..1)))),
                other => (other.len_utf8(), None),
            };
            let (taken, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            let (at_line, at_column) = (line, column);
            for c in taken.chars() {
                (line, column) = if c == '\n' { (line.saturating_add(1), 1) } else { (line, column.saturating_add(1)) };
            }
            rest = after;
            if let Some((kind, text)) = word {
                return Some(Word { kind, text: text.unwrap_or_default(), rest, line: at_line, column: at_column });
            }
        }
    })
}

/// The length of a text literal with its quotes; it ends with the line at the latest.
fn end_of_literal(text: &str) -> usize {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at.saturating_add(1),
            _ => {}
        }
    }
    text.len()
}
