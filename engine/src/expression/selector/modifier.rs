//! Modifiers: gjson's own, and those that Authorino adds.
//!
//! Authorino's work on raw JSON text, which breaks on quotes and escapes; here they work on the text that is meant.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, PAD, STANDARD};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::path::Found;
use crate::expression::text;
use crate::gather::gathered;

/// Bytes of text that a modifier may yield, so that a chain of them cannot grow without bound; more is nothing.
const MAX_TEXT: usize = 1 << 20;

/// Parts that `@split` may yield; more is nothing.
const MAX_PARTS: usize = 1 << 15;

/// A change of the value at hand.
#[derive(Debug, PartialEq)]
pub enum Modifier {
    /// `@this`, `@valid`, `@ugly`, and modifiers without an argument that would do something.
    This,
    /// `@pretty`.
    Pretty,
    /// `@reverse`.
    Reverse,
    /// `@flatten`, and whether lists in lists in lists are flattened too.
    Flatten(bool),
    /// `@join`, and whether the first of members with the same name is kept rather than the last.
    Join(bool),
    /// `@keys`.
    Keys,
    /// `@values`.
    Values,
    /// `@tostr`.
    ToText,
    /// `@fromstr`.
    FromText,
    /// `@extract`: the part of this number between separators; no part has no number.
    Extract {
        /// What separates parts; if it is empty each character is one.
        separator: String,
        /// Which part.
        position: Option<usize>,
    },
    /// `@replace`.
    Replace {
        /// What goes out.
        old: String,
        /// What comes in.
        new: String,
    },
    /// `@translate`, and `@replace` with names of what goes out: one pass, at each place the first of them that fits.
    Translate(Vec<(String, String)>),
    /// `@split`: a list of the parts between separators; if the separator is empty, of the characters.
    Split(String),
    /// `@case:upper`.
    Upper,
    /// `@case:lower`.
    Lower,
    /// `@base64:encode`.
    Encode,
    /// `@base64:decode`.
    Decode,
    /// `@strip`.
    Strip,
}

impl Modifier {
    /// By its name and argument. `None`: there is none of this name.
    ///
    /// # Errors
    /// What is wrong with the argument.
    pub fn parse(name: &str, argument: &str) -> Result<Option<Self>, String> {
        let flag = |field: &str| {
            let options = serde_json::from_str::<Value>(argument).unwrap_or_default();
            options.get(field) == Some(&Value::Bool(true))
        };
        Ok(Some(match name {
            "this" | "valid" | "ugly" => Self::This,
            "pretty" => Self::Pretty,
            "reverse" => Self::Reverse,
            "flatten" => Self::Flatten(flag("deep")),
            "join" => Self::Join(flag("preserve")),
            "keys" => Self::Keys,
            "values" => Self::Values,
            "tostr" => Self::ToText,
            "fromstr" => Self::FromText,
            "extract" => {
                let options = options(name, argument, r#"{"sep":" ","pos":0}"#)?;
                let separator = options.get("sep").map_or_else(|| " ".to_owned(), text::stringify);
                Self::Extract { separator, position: usize::try_from(options.get("pos").map_or(0, integer)).ok() }
            }
            "replace" if argument.is_empty() => Self::This,
            "replace" => {
                let Pairs(pairs) = object(name, argument, r#"{"old":"a","new":"b"}"#)?;
                if pairs.iter().any(|(old, _)| old != "old" && old != "new") {
                    return translation(name, pairs).map(Some);
                }
                let given = |name: &str| pairs.iter().rev().find(|(given, _)| given == name);
                let option = |name: &str| given(name).map_or_else(String::new, |(_, value)| text::stringify(value));
                Self::Replace { old: option("old"), new: option("new") }
            }
            "translate" => {
                let Pairs(pairs) = object(name, argument, r#"{"a":"b","c":"d"}"#)?;
                return translation(name, pairs).map(Some);
            }
            "split" => {
                let options = options(name, argument, r#"{"sep":","}"#)?;
                Self::Split(options.get("sep").map_or_else(|| " ".to_owned(), text::stringify))
            }
            "case" | "base64" => match argument {
                "upper" if name == "case" => Self::Upper,
                "lower" if name == "case" => Self::Lower,
                "encode" if name == "base64" => Self::Encode,
                "decode" if name == "base64" => Self::Decode,
                _ => Self::This,
            },
            "strip" => Self::Strip,
            _ => return Ok(None),
        }))
    }

    /// What the modifier makes of the value.
    pub fn apply<'a>(&self, input: Found<'a>) -> Found<'a> {
        let output = match self {
            Self::This | Self::Pretty => input,
            Self::Reverse => input.map(reverse),
            Self::Flatten(deep) => input.map(|value| flatten(value, *deep)),
            Self::Join(keep_first) => input.map(|value| join(value, *keep_first)),
            Self::Keys => owned(Value::Array(keys(input.as_deref()))),
            Self::Values => Some(values(input)),
            Self::ToText => owned(Value::String(input.as_deref().map_or_else(String::new, text::to_json))),
            Self::FromText => from_text(input),
            Self::Extract { separator, position } => {
                let part = position.and_then(|position| with_text(&input, |text| part(text, separator, position)));
                owned(part.map_or(Value::Null, Value::String))
            }
            Self::Replace { old, new } => with_text(&input, |text| replace(text, old, new)).and_then(text_value),
            Self::Translate(pairs) => with_text(&input, |text| translate(text, pairs)).and_then(text_value),
            Self::Split(separator) => input
                .filter(|value| !value.is_null())
                .and_then(|value| text::with(&value, |text| split(text, separator))),
            Self::Upper => input.map(|value| in_texts(value, &|text| text.to_uppercase())),
            Self::Lower => input.map(|value| in_texts(value, &|text| text.to_lowercase())),
            Self::Encode => text_value(with_text(&input, |text| STANDARD.encode(text))),
            Self::Decode => text_value(with_text(&input, decode)),
            Self::Strip => {
                input.map(|value| in_texts(value, &|text| text.chars().filter(|c| is_printable(*c)).collect()))
            }
        };
        output.filter(|value| value.as_str().is_none_or(|text| text.len() <= MAX_TEXT))
    }
}

/// The argument as an object; no argument is an empty one.
fn options(name: &str, argument: &str, example: &str) -> Result<Map<String, Value>, String> {
    if argument.is_empty() {
        return Ok(Map::new());
    }
    object(name, argument, example)
}

fn object<T: DeserializeOwned>(name: &str, argument: &str, example: &str) -> Result<T, String> {
    serde_json::from_str(argument)
        .map_err(|_| format!("the argument of `@{name}` is no JSON object; write `@{name}:{example}`"))
}

/// The members of an object, in their order.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = members.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

fn translation(name: &str, pairs: Vec<(String, Value)>) -> Result<Modifier, String> {
    if pairs.iter().any(|(old, _)| old.is_empty()) {
        return Err(format!("the argument of `@{name}` has an empty name, which would be everywhere"));
    }
    Ok(Modifier::Translate(pairs.into_iter().map(|(old, new)| (old, text::stringify(&new))).collect()))
}

/// A position as gjson reads it: `1`, `1.9` and `"1"` are all 1, what is no number is 0.
fn integer(value: &Value) -> i64 {
    match value {
        Value::Bool(truth) => i64::from(*truth),
        Value::String(text) => text.parse().unwrap_or(0),
        #[expect(clippy::cast_possible_truncation, reason = "what is out of range is beyond every text")]
        Value::Number(number) => number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or(0.0) as i64),
        Value::Null | Value::Array(_) | Value::Object(_) => 0,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the other arms have it")]
const fn owned<'a>(value: Value) -> Found<'a> {
    Some(Cow::Owned(value))
}

fn text_value<'a>(text: impl Into<Option<String>>) -> Found<'a> {
    text.into().map(|text| Cow::Owned(Value::String(text)))
}

/// Reads the value as text; nothing is empty.
fn with_text<T>(input: &Found<'_>, read: impl FnOnce(&str) -> T) -> T {
    match input {
        Some(value) => text::with(value, read),
        None => read(""),
    }
}

fn reverse(value: Cow<'_, Value>) -> Cow<'_, Value> {
    if !value.is_array() {
        // Members of an object have no order of their own.
        return value;
    }
    let mut value = value.into_owned();
    if let Value::Array(items) = &mut value {
        items.reverse();
    }
    Cow::Owned(value)
}

fn flatten(value: Cow<'_, Value>, deep: bool) -> Cow<'_, Value> {
    fn collect(items: &[Value], deep: bool, out: &mut Vec<Value>) {
        for item in items {
            match item {
                Value::Array(items) if deep => collect(items, deep, out),
                Value::Array(items) => out.extend_from_slice(items),
                item => out.push(item.clone()),
            }
        }
    }
    let Value::Array(items) = value.as_ref() else { return value };
    let mut flat = Vec::new();
    collect(items, deep, &mut flat);
    Cow::Owned(Value::Array(flat))
}

fn join(value: Cow<'_, Value>, keep_first: bool) -> Cow<'_, Value> {
    let Value::Array(items) = value.as_ref() else { return value };
    let mut joined = Map::new();
    for (name, value) in items.iter().filter_map(Value::as_object).flatten() {
        if !keep_first || !joined.contains_key(name) {
            joined.insert(name.clone(), value.clone());
        }
    }
    Cow::Owned(Value::Object(joined))
}

/// The names of an object's members; as gjson has it, one null for each item of a list, and for a value.
fn keys(value: Option<&Value>) -> Vec<Value> {
    match value {
        Some(Value::Object(members)) => members.keys().map(|name| Value::String(name.clone())).collect(),
        Some(Value::Array(items)) => vec![Value::Null; items.len()],
        Some(_) => vec![Value::Null],
        None => Vec::new(),
    }
}

fn values(value: Found<'_>) -> Cow<'_, Value> {
    let Some(value) = value else { return Cow::Owned(Value::Array(Vec::new())) };
    match value.as_ref() {
        Value::Array(_) => value,
        Value::Object(members) => Cow::Owned(Value::Array(members.values().cloned().collect())),
        scalar => Cow::Owned(Value::Array(vec![scalar.clone()])),
    }
}

fn from_text(input: Found<'_>) -> Found<'_> {
    match input.as_deref() {
        Some(Value::String(text)) => serde_json::from_str(text).ok().map(Cow::Owned),
        None | Some(Value::Null) => None,
        Some(_) => input,
    }
}

fn part(text: &str, separator: &str, position: usize) -> Option<String> {
    if separator.is_empty() {
        text.chars().nth(position).map(String::from)
    } else {
        text.split(separator).nth(position).map(str::to_owned)
    }
}

/// `None`: there would be too much of it.
fn replace(text: &str, old: &str, new: &str) -> Option<String> {
    let added = text.matches(old).count().checked_mul(new.len())?;
    (text.len().checked_add(added)? <= MAX_TEXT).then(|| text.replace(old, new))
}

/// One pass; what was put in is not looked at again. `None`: there would be too much of it.
fn translate(text: &str, pairs: &[(String, String)]) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (taken, put) = match pairs.iter().find(|(old, _)| rest.starts_with(old.as_str())) {
            Some((old, new)) => (old.len(), new.as_str()),
            None => (c.len_utf8(), rest.get(..c.len_utf8())?),
        };
        if out.len().saturating_add(put.len()) > MAX_TEXT {
            return None;
        }
        out.push_str(put);
        rest = rest.get(taken..)?;
    }
    Some(out)
}

/// `None`: there would be too many parts.
fn split(text: &str, separator: &str) -> Found<'static> {
    let parts: Vec<Value> = if separator.is_empty() {
        text.chars().take(MAX_PARTS.saturating_add(1)).map(|c| Value::String(c.to_string())).collect()
    } else {
        text.split(separator).take(MAX_PARTS.saturating_add(1)).map(Value::from).collect()
    };
    (parts.len() <= MAX_PARTS).then_some(Cow::Owned(Value::Array(parts)))
}

/// Every text within the value changed, names of members included.
fn in_texts<'a>(value: Cow<'a, Value>, change: &dyn Fn(&str) -> String) -> Cow<'a, Value> {
    fn changed(value: &Value, change: &dyn Fn(&str) -> String) -> Value {
        match value {
            Value::String(text) => Value::String(change(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| changed(item, change)).collect()),
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| (change(name), changed(value, change)));
                Value::Object(gathered(members))
            }
            other => other.clone(),
        }
    }
    Cow::Owned(changed(&value, change))
}

/// The standard alphabet, padded if the length says so; of what is damaged, the whole groups before the damage.
fn decode(text: &str) -> String {
    const LENIENT: base64::engine::GeneralPurposeConfig = PAD.with_decode_allow_trailing_bits(true);
    const PADDED: GeneralPurpose = GeneralPurpose::new(&ALPHABET, LENIENT);
    const UNPADDED: GeneralPurpose = GeneralPurpose::new(&ALPHABET, NO_PAD.with_decode_allow_trailing_bits(true));
    let text: Cow<'_, str> =
        if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], "").into() } else { text.into() };
    let bytes = PADDED.decode(text.as_ref()).or_else(|_| UNPADDED.decode(text.as_ref())).unwrap_or_else(|_| {
        let sound = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte)).count();
        let whole = sound.saturating_sub(sound % 4);
        UNPADDED.decode(text.get(..whole).unwrap_or_default()).unwrap_or_default()
    });
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What Go's `unicode.IsPrint` says: letters, marks, numbers, punctuation, symbols, and the ASCII space.
fn is_printable(c: char) -> bool {
    // Rust escapes exactly what is not printable, and besides that a combining mark, but only where it comes first.
    if c.is_ascii() { !c.is_ascii_control() } else { format!("a{c}").escape_debug().count() == 2 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(name: &str, argument: &str, input: Option<Value>) -> Option<Value> {
        Modifier::parse(name, argument).unwrap().unwrap().apply(input.map(Cow::Owned)).map(Cow::into_owned)
    }

    #[test]
    fn modifiers_work_on_the_text_that_is_meant() {
        let some = Some::<Value>;
        for (name, argument, input, output) in [
            ("extract", "", some(json!("a b")), some(json!("a"))),
            ("extract", r#"{"sep":"/","pos":2}"#, some(json!("/a/b")), some(json!("b"))),
            ("extract", r#"{"pos":"1"}"#, some(json!("a b")), some(json!("b"))),
            ("extract", r#"{"pos":1.9}"#, some(json!("a b")), some(json!("b"))),
            ("extract", r#"{"pos":2}"#, some(json!("a b")), some(json!(null))),
            ("extract", r#"{"pos":-1}"#, some(json!("a b")), some(json!(null))),
            ("extract", r#"{"sep":"","pos":1}"#, some(json!("aéb")), some(json!("é"))),
            ("extract", r#"{"sep":""}"#, some(json!("")), some(json!(null))),
            ("extract", "", None, some(json!(""))),
            ("extract", "", some(json!(null)), some(json!(""))),
            ("extract", r#"{"sep":",","pos":1}"#, some(json!(["a", "b"])), some(json!(r#""b"]"#))),
            ("extract", r#"{"sep":",","pos":1}"#, some(json!(r#"a,say "hi""#)), some(json!(r#"say "hi""#))),
            ("replace", r#"{"old":"a","new":"\""}"#, some(json!("banana")), some(json!(r#"b"n"n""#))),
            ("replace", r#"{"new":"-"}"#, some(json!("ab")), some(json!("-a-b-"))),
            ("replace", "", some(json!(5)), some(json!(5))),
            ("replace", r#"{"old":"5","new":"6"}"#, some(json!(1.5)), some(json!("1.6"))),
            ("replace", r#"{"old":"a","x":"y"}"#, some(json!("old x a")), some(json!("a y a"))),
            ("replace", r#"{"ab":"1","a":"2"}"#, some(json!("aab")), some(json!("21"))),
            ("replace", r#"{"a":"2","ab":"1"}"#, some(json!("aab")), some(json!("22b"))),
            ("translate", r#"{"a":"b","b":"a"}"#, some(json!("abc")), some(json!("bac"))),
            ("translate", r#"{"old":"new"}"#, some(json!("old")), some(json!("new"))),
            ("translate", r#"{"é":"\"","\n":null,"5":1.5}"#, some(json!("é\n5ü")), some(json!("\"1.5ü"))),
            ("translate", "{}", some(json!("a")), some(json!("a"))),
            ("translate", r#"{"a":"b"}"#, None, some(json!(""))),
            ("split", "", some(json!("a b")), some(json!(["a", "b"]))),
            ("split", r#"{"sep":", "}"#, some(json!("a, \"b\"")), some(json!(["a", "\"b\""]))),
            ("split", r#"{"sep":","}"#, some(json!(",")), some(json!(["", ""]))),
            ("split", r#"{"sep":","}"#, some(json!("")), some(json!([""]))),
            ("split", r#"{"sep":""}"#, some(json!("aé")), some(json!(["a", "é"]))),
            ("split", r#"{"sep":""}"#, some(json!("")), some(json!([]))),
            ("split", r#"{"sep":"."}"#, some(json!(1.5)), some(json!(["1", "5"]))),
            ("split", "", some(json!(null)), None),
            ("split", "", None, None),
            ("case", "upper", some(json!("a&b<\n")), some(json!("A&B<\n"))),
            ("case", "lower", some(json!({"A": ["B", 1, true]})), some(json!({"a": ["b", 1, true]}))),
            ("case", "upper", some(json!(true)), some(json!(true))),
            ("case", "title", some(json!("aB")), some(json!("aB"))),
            ("case", "upper", None, None),
            ("base64", "encode", some(json!("a b&c")), some(json!("YSBiJmM="))),
            ("base64", "encode", some(json!(["r1"])), some(json!("WyJyMSJd"))),
            ("base64", "encode", None, some(json!(""))),
            ("base64", "decode", some(json!("YSBiJmM=")), some(json!("a b&c"))),
            ("base64", "decode", some(json!("YSBiJmM")), some(json!("a b&c"))),
            ("base64", "decode", some(json!("YSBi\r\nJmM=")), some(json!("a b&c"))),
            ("base64", "decode", some(json!("eyJhIjoiYlxuIn0=")), some(json!(r#"{"a":"b\n"}"#))),
            ("base64", "decode", some(json!("YWJj-_YWJj")), some(json!("abc"))),
            ("base64", "decode", some(json!("%%%")), some(json!(""))),
            ("base64", "decode.key1", some(json!("YQ==")), some(json!("YQ=="))),
            ("base64", "decode", None, some(json!(""))),
            ("strip", "", some(json!("a\u{1}\u{7f}\u{a0}\u{200b}é b\u{301}")), some(json!("aé b\u{301}"))),
            ("strip", "", None, None),
            ("reverse", "", some(json!([1, 2])), some(json!([2, 1]))),
            ("reverse", "", some(json!("ab")), some(json!("ab"))),
            ("flatten", "", some(json!([1, [2], [3, [4]]])), some(json!([1, 2, 3, [4]]))),
            ("flatten", r#"{"deep":true}"#, some(json!([1, [2], [3, [4]]])), some(json!([1, 2, 3, 4]))),
            ("flatten", "", some(json!("a")), some(json!("a"))),
            ("join", "", some(json!([{"a": 1}, {"a": 2, "b": 3}, 4])), some(json!({"a": 2, "b": 3}))),
            ("join", r#"{"preserve":true}"#, some(json!([{"a": 1}, {"a": 2}])), some(json!({"a": 1}))),
            ("keys", "", some(json!({"b": 1, "a": 2})), some(json!(["a", "b"]))),
            ("keys", "", some(json!([1, 2])), some(json!([null, null]))),
            ("keys", "", some(json!(1)), some(json!([null]))),
            ("keys", "", None, some(json!([]))),
            ("values", "", some(json!({"b": 1, "a": 2})), some(json!([2, 1]))),
            ("values", "", some(json!(1)), some(json!([1]))),
            ("values", "", None, some(json!([]))),
            ("tostr", "", some(json!({"a": "<"})), some(json!(r#"{"a":"\u003c"}"#))),
            ("tostr", "", some(json!(null)), some(json!("null"))),
            ("tostr", "", None, some(json!(""))),
            ("fromstr", "", some(json!(r#"{"a":1}"#)), some(json!({"a": 1}))),
            ("fromstr", "", some(json!("{")), None),
            ("fromstr", "", some(json!(null)), None),
            ("fromstr", "", some(json!(5)), some(json!(5))),
            ("pretty", "", some(json!([1])), some(json!([1]))),
            ("valid", "", None, None),
        ] {
            assert_eq!(apply(name, argument, input.clone()), output, "@{name}:{argument} of {input:?}");
        }
    }

    #[test]
    fn an_argument_that_is_no_object_is_a_problem() {
        for (name, argument) in [
            ("extract", r#"{sep:"/",pos:2}"#),
            ("replace", "a"),
            ("extract", "[1]"),
            ("translate", ""),
            ("translate", "[]"),
            ("split", r#"",""#),
        ] {
            let reason = Modifier::parse(name, argument).unwrap_err();
            assert!(reason.contains("no JSON object"), "{reason}");
        }
        assert_eq!(Modifier::parse("nonesuch", "").unwrap(), None);
        for name in ["replace", "translate"] {
            assert!(Modifier::parse(name, r#"{"a":"b","":"x"}"#).unwrap_err().contains("empty name"));
        }
    }

    #[test]
    fn text_does_not_grow_without_bound() {
        let mut value = Some(json!("\\\"".repeat(10)));
        for _ in 0..30 {
            value = apply("tostr", "", value);
        }
        assert!(value.is_none_or(|value| value.as_str().unwrap().len() < MAX_TEXT));
        let option = json!({"a": "x".repeat(1000)}).to_string();
        assert_eq!(apply("translate", &option, Some(json!("a".repeat(2000)))), None);
        assert_eq!(apply("split", r#"{"sep":""}"#, Some(json!("a".repeat(100_000)))), None);
        let option = json!({"old": "", "new": "x".repeat(1000)}).to_string();
        assert_eq!(apply("replace", &option, Some(json!("a".repeat(2000)))), None);
    }
}
