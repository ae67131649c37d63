//! Writes YAML that every reader takes for the same.
//!
//! By our own hand, since `no`, `on` or `0777` are texts to a writer of YAML 1.2, and something else to kubectl.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Words that some version of YAML takes for something other than a text.
const WORDS: [&str; 12] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan", "nan"];

/// A document, in block style, with the members of objects in order of their names.
pub fn document(value: &Value) -> String {
    ordered(value, &|_, _| Rank::default())
}

/// Where a member stands among others, the lower the earlier; those of one rank in order of their names.
pub type Rank = (usize, usize);

/// The same in another order: what is ranked is a member of a path, by its name.
pub fn ordered(value: &Value, rank: &dyn Fn(&str, &str) -> Rank) -> String {
    let mut out = String::new();
    let writer = Writer { rank };
    match value {
        Value::Object(members) if !members.is_empty() => writer.write(value, "", 0, &mut out),
        Value::Array(items) if !items.is_empty() => writer.write(value, "", 0, &mut out),
        scalar => drop(writeln!(out, "{}", inline(scalar))),
    }
    out
}

/// The same as JSON.
pub fn ordered_json(value: &Value, rank: &dyn Fn(&str, &str) -> Rank) -> String {
    let mut out = serde_json::to_string_pretty(&Ordered { value, path: String::new(), rank }).unwrap_or_default();
    out.push('\n');
    out
}

/// A value of a path whose members are in order.
struct Ordered<'a> {
    value: &'a Value,
    path: String,
    rank: &'a dyn Fn(&str, &str) -> Rank,
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, path, rank } = self;
        match value {
            Value::Object(members) => serializer.collect_map(
                in_order(members, path, *rank)
                    .into_iter()
                    .map(|(name, value)| (name, Self { value, path: joined(path, name), rank: *rank })),
            ),
            Value::Array(items) => serializer.collect_seq((items.iter().enumerate()).map(|(index, value)| Self {
                value,
                path: format!("{path}[{index}]"),
                rank: *rank,
            })),
            scalar => scalar.serialize(serializer),
        }
    }
}

fn in_order<'a>(
    members: &'a Map<String, Value>,
    path: &str,
    rank: &dyn Fn(&str, &str) -> Rank,
) -> Vec<(&'a String, &'a Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_cached_key(|(name, _)| (rank(path, name), (*name).clone()));
    members
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

struct Writer<'a> {
    rank: &'a dyn Fn(&str, &str) -> Rank,
}

impl Writer<'_> {
    /// The lines of a list or an object that is not empty.
    fn write(&self, value: &Value, path: &str, indent: usize, out: &mut String) {
        let margin = " ".repeat(indent);
        match value {
            Value::Object(members) => {
                for (name, value) in in_order(members, path, self.rank) {
                    let path = joined(path, name);
                    let _ = write!(out, "{margin}{}:", text(name));
                    self.member(value, &path, indent, out);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let mut lines = String::new();
                    match item {
                        Value::Object(members) if !members.is_empty() => {
                            self.write(item, &path, indent + 2, &mut lines)
                        }
                        Value::Array(items) if !items.is_empty() => self.write(item, &path, indent + 2, &mut lines),
                        Value::String(text) if is_block(text) => {
                            lines = format!("{margin}  {}", block(text, indent + 2));
                        }
                        scalar => lines = format!("{margin}  {}\n", inline(scalar)),
                    }
                    // The first line of an item stands behind its dash.
                    let _ = write!(out, "{margin}- {}", lines.get(indent + 2..).unwrap_or_default());
                }
            }
            _ => {}
        }
    }

    /// What stands behind a name.
    fn member(&self, value: &Value, path: &str, indent: usize, out: &mut String) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                out.push('\n');
                self.write(value, path, indent + 2, out);
            }
            // As Kubernetes writes lists: no deeper than their name.
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                self.write(value, path, indent, out);
            }
            Value::String(text) if is_block(text) => drop(write!(out, " {}", block(text, indent + 2))),
            scalar => drop(writeln!(out, " {}", inline(scalar))),
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

/// Plain if nobody can mistake it, else as JSON has it.
fn text(text: &str) -> String {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_' | '^' | '$'));
    let plain = |c: char| c.is_ascii_alphanumeric() || " _-./:@^$+*()|\\;=<>%~!?'".contains(c);
    let structure = text.contains(": ") || text.ends_with([':', ' ']);
    let word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if starts_well && text.chars().all(plain) && !structure && !word { text.to_owned() } else { quoted(text) }
}

/// As JSON has it, but for characters that YAML takes for ends of lines, or not at all.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Whether a text of several lines can be shown as they are.
fn is_block(text: &str) -> bool {
    let printable = |c: char| c == '\n' || (!c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}');
    text.trim_end_matches('\n').contains('\n')
        && text.chars().all(printable)
        && !text.starts_with([' ', '\n'])
        && !text.lines().any(|line| line.ends_with(' '))
}

fn block(text: &str, indent: usize) -> String {
    let keep = match (text.strip_suffix('\n'), text.ends_with("\n\n")) {
        (None, _) => "-",
        (Some(_), true) => "+",
        (Some(_), false) => "",
    };
    let margin = " ".repeat(indent);
    let mut out = format!("|{keep}\n");
    for line in text.split_inclusive('\n') {
        let blank = line == "\n";
        let _ = write!(out, "{}{line}", if blank { "" } else { &margin });
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yaml;

    #[test]
    fn texts_that_somebody_mistakes_are_quoted() {
        for (value, expected) in [
            ("no", "\"no\""),
            ("On", "\"On\""),
            ("0777", "\"0777\""),
            ("1e3", "\"1e3\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("~", "\"~\""),
            ("- a", "\"- a\""),
            ("*", "\"*\""),
            ("a\tb", "\"a\\tb\""),
            ("plain words/and.paths", "plain words/and.paths"),
            ("https://a.test:80/x", "https://a.test:80/x"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let value = json!({
            "a": [1, -2.5, true, null, "x", {"b": [], "c": {}}, [["deep", {"e": "f"}]], "two\nlines", {"k": "a\n b\n"}],
            "block": "one\n\n two\nthree\n", "kept": "one\ntwo\n\n\n", "bare": "one\ntwo", "spaces": "one \ntwo", "first": " one\ntwo",
            "no": "no", "": "empty", "uni": "ä€𝄞", "control": "\u{1}\u{85}", "quote": "say \"hi\" 'there'", "tab": "a\tb\nc",
            "odd: name": {"x": 1}, "template": "{auth.identity.sub}", "regex": "^/a(/.*)?$", "percent": "%FOO%",
        });
        let text = document(&value);
        assert_eq!(yaml::parse("f", &text).unwrap()[0].to_value(), value, "{text}");
        let other: Value = yaml_serde::from_str(&text).unwrap();
        assert_eq!(other, value, "{text}");
        assert_eq!(document(&json!([])), "[]\n");
    }
}
