//! YAML with the place of every word. JSON is YAML too.
//!
//! Repeated members are kept, so that the engine can complain of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};
use serde::de::IgnoredAny;
use serde_json::{Number, Value};

/// Values, and bytes of texts, that the aliases and anchors of one file may come to once they are spelled out.
const MAX_COPIES: usize = 1_000_000;
const MAX_COPIED_BYTES: usize = 64 << 20;

/// Depth at which JSON's parser gives up.
const MAX_DEPTH: usize = 120;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The file as it was named.
    pub file: Rc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// One value.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    /// Where its name stands.
    pub mark: Mark,
    pub value: Node,
}

/// What is no YAML, and where.
#[derive(Debug, Clone)]
pub struct Mistake {
    pub mark: Mark,
    pub message: String,
}

/// The documents of a file.
pub fn parse(file: &str, text: &str) -> Result<Vec<Node>, Mistake> {
    let mut reader = Reader { file: file.into(), ..Reader::default() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // JSON has tabs where the parser takes none, and none within its strings.
    let is_json = text.contains('\t') && serde_json::from_str::<IgnoredAny>(text).is_ok();
    let text = if is_json { Cow::Owned(text.replace('\t', " ")) } else { Cow::Borrowed(text) };
    let mut parser = Parser::new_from_str(&text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| reader.scan_error(&error))?;
        reader.event(event, span)?;
    }
    Ok(reader.documents)
}

/// What is being read.
#[derive(Default)]
struct Reader {
    file: Rc<str>,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    copies: usize,
    copied_bytes: usize,
}

/// A list or an object that is not at its end.
struct Open {
    node: Node,
    anchor: usize,
    /// The name of the member whose value comes next.
    name: Option<(String, Mark)>,
}

impl Reader {
    fn mark(&self, marker: Marker) -> Mark {
        Mark { file: Rc::clone(&self.file), line: marker.line(), column: marker.col() + 1 }
    }

    fn mistake<T>(&self, marker: Marker, message: impl Into<String>) -> Result<T, Mistake> {
        Err(Mistake { mark: self.mark(marker), message: message.into() })
    }

    fn scan_error(&self, error: &ScanError) -> Mistake {
        Mistake { mark: self.mark(*error.marker()), message: format!("it is no YAML: {}", error.info()) }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Mistake> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar(&text, style, tag.as_deref());
                let node = Node { mark: self.mark(span.start), kind };
                self.close(node, anchor, span.start)
            }
            Event::Alias(anchor) => {
                let Some((nodes, bytes)) = self.anchors.get(&anchor).map(Node::size) else {
                    return self.mistake(span.start, "the alias has no anchor before it");
                };
                self.count(nodes, bytes, span.start)?;
                let Some(mut node) = self.anchors.get(&anchor).cloned() else { return Ok(()) };
                node.mark = self.mark(span.start);
                self.close(node, 0, span.start)
            }
            Event::SequenceStart(anchor, _) => self.open(Kind::List(Vec::new()), anchor, span),
            Event::MappingStart(anchor, _) => self.open(Kind::Object(Vec::new()), anchor, span),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.close(node, anchor, span.start),
                None => Ok(()),
            },
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, kind: Kind, anchor: usize, span: Span) -> Result<(), Mistake> {
        if self.open.len() >= MAX_DEPTH {
            return self.mistake(span.start, "it is nested too deep");
        }
        if let Some(Open { node: Node { kind: Kind::Object(_), .. }, name: None, .. }) = self.open.last() {
            return self.mistake(span.start, "a name must be a text");
        }
        let node = Node { mark: self.mark(span.start), kind };
        self.open.push(Open { node, anchor, name: None });
        Ok(())
    }

    /// Counts what is to be copied.
    fn count(&mut self, nodes: usize, bytes: usize, at: Marker) -> Result<(), Mistake> {
        self.copies = self.copies.saturating_add(nodes);
        self.copied_bytes = self.copied_bytes.saturating_add(bytes);
        if self.copies > MAX_COPIES || self.copied_bytes > MAX_COPIED_BYTES {
            return self.mistake(at, "its aliases come to too much: write out what is meant");
        }
        Ok(())
    }

    /// Puts a value where it belongs.
    fn close(&mut self, node: Node, anchor: usize, at: Marker) -> Result<(), Mistake> {
        if anchor > 0 {
            let (nodes, bytes) = node.size();
            self.count(nodes, bytes, at)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(Open { node: parent, name, .. }) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut parent.kind, name.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Object(members), Some((name, mark))) => members.push(Member { name, mark, value: node }),
            (_, _) => match node.name() {
                Some(text) => *name = Some((text, node.mark)),
                None => return self.mistake(at, "a name must be a text"),
            },
        }
        Ok(())
    }
}

/// What a scalar is, by the core schema of YAML 1.2.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Kind {
    let string = || Kind::String(text.to_owned());
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return string(),
        None if style != ScalarStyle::Plain => return string(),
        _ => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    number(text).map_or_else(string, Kind::Number)
}

fn number(text: &str) -> Option<Number> {
    let radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        (!digits.starts_with(['+', '-'])).then(|| u64::from_str_radix(digits, radix).ok()).flatten()
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(number.into());
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(unsigned) {
        // What begins with a zero is a code, such as a postal one.
        let code = unsigned.len() > 1 && unsigned.starts_with('0');
        let whole = text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok();
        return (!code).then(|| whole.or_else(|| Number::from_f64(text.parse().ok()?))).flatten();
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shape = (digits(whole) || whole.is_empty())
        && (digits(fraction) || fraction.is_empty())
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(digits);
    shape.then(|| Number::from_f64(text.parse().ok()?)).flatten()
}

impl Node {
    /// Something that stands in no file.
    pub fn new(mark: &Mark, kind: Kind) -> Self {
        Self { mark: mark.clone(), kind }
    }

    /// How many values it has, and bytes of texts.
    fn size(&self) -> (usize, usize) {
        let add = |(nodes, bytes): (usize, usize), (more, texts): (usize, usize)| (nodes + more, bytes + texts);
        match &self.kind {
            Kind::List(items) => items.iter().map(Self::size).fold((1, 0), add),
            Kind::Object(members) => {
                let named = |Member { name, value, .. }: &Member| add(value.size(), (0, name.len()));
                members.iter().map(named).fold((1, 0), add)
            }
            Kind::String(text) => (1, text.len()),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => (1, 0),
        }
    }

    /// As the name of a member.
    fn name(&self) -> Option<String> {
        match &self.kind {
            Kind::String(text) => Some(text.clone()),
            Kind::Bool(truth) => Some(truth.to_string()),
            Kind::Number(number) => Some(number.to_string()),
            Kind::Null | Kind::List(_) | Kind::Object(_) => None,
        }
    }

    /// The members of an object.
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of a list.
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The member of an object.
    pub fn member(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|member| member.name == name).map(|member| &member.value)
    }

    /// The text of a member.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.member(name).map(|node| &node.kind) {
            Some(Kind::String(text)) => Some(text),
            _ => None,
        }
    }

    /// As JSON, repeated members and all.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        self.write(&mut json);
        json
    }

    /// As a value, in which of repeated members the last stands.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(truth) => (*truth).into(),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::String(text) => text.as_str().into(),
            Kind::List(items) => items.iter().map(Self::to_value).collect(),
            Kind::Object(members) => {
                members.iter().map(|member| (member.name.clone(), member.value.to_value())).collect()
            }
        }
    }

    fn write(&self, json: &mut String) {
        let quoted = |text: &str| Value::from(text).to_string();
        match &self.kind {
            Kind::Null => json.push_str("null"),
            Kind::Bool(truth) => json.push_str(if *truth { "true" } else { "false" }),
            Kind::Number(number) => drop(write!(json, "{number}")),
            Kind::String(text) => json.push_str(&quoted(text)),
            Kind::List(items) => {
                json.push('[');
                for (index, item) in items.iter().enumerate() {
                    json.push_str(if index > 0 { "," } else { "" });
                    item.write(json);
                }
                json.push(']');
            }
            Kind::Object(members) => {
                json.push('{');
                for (index, Member { name, value, .. }) in members.iter().enumerate() {
                    json.push_str(if index > 0 { "," } else { "" });
                    json.push_str(&quoted(name));
                    json.push(':');
                    value.write(json);
                }
                json.push('}');
            }
        }
    }

    /// Where a path such as `spec.hosts[0]` leads, or the last place on the way that is there. Names may have dots in them.
    pub fn locate(&self, path: &str) -> &Mark {
        self.walk(path, &self.mark)
    }

    fn walk<'a>(&'a self, path: &str, here: &'a Mark) -> &'a Mark {
        let path = path.strip_prefix('.').unwrap_or(path);
        if path.is_empty() {
            return here;
        }
        if let Some((index, rest)) = path.strip_prefix('[').and_then(|path| path.split_once(']')) {
            let item = index.parse().ok().and_then(|index: usize| self.items().get(index));
            return item.map_or(here, |item| item.walk(rest, &item.mark));
        }
        let follows = |member: &&Member| {
            let rest = path.strip_prefix(member.name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        // Of a member that is repeated the last is told of; of names that begin alike the longest.
        let member = self.members().iter().filter(follows).max_by_key(|member| member.name.len());
        member.map_or(here, |member| {
            member.value.walk(path.strip_prefix(member.name.as_str()).unwrap_or_default(), &member.mark)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        parse("f", text).unwrap().remove(0)
    }

    #[test]
    fn plain_words_are_what_the_core_schema_says() {
        let list = one(
            "[~, true, yes, 1, -2, 0x1f, 007, 1.5, 1e3, '1', \"x\", .5, 1., a b, !!str 1, 18446744073709551615, 1.2.3, +]",
        );
        assert_eq!(
            list.to_json(),
            r#"[null,true,"yes",1,-2,31,"007",1.5,1000.0,"1","x",0.5,1.0,"a b","1",18446744073709551615,"1.2.3","+"]"#
        );
    }

    #[test]
    fn repeated_members_and_order_are_kept() {
        assert_eq!(one("b: 1\na: {c: [1, {}]}\nb: 2").to_json(), r#"{"b":1,"a":{"c":[1,{}]},"b":2}"#);
    }

    #[test]
    fn many_documents_and_json() {
        let documents = parse("f", "a: 1\n---\n{\"b\": 2}\n...\n---\n").unwrap();
        assert_eq!(documents.iter().map(Node::to_json).collect::<Vec<_>>(), [r#"{"a":1}"#, r#"{"b":2}"#, "null"]);
        assert_eq!(one("{\n\t\"a\":\t[\n\t\t1,\n\t\t\"\\t/\\u00e4\"\n\t]\n}\n").to_json(), r#"{"a":[1,"\t/ä"]}"#);
    }

    #[test]
    fn paths_lead_to_lines() {
        let node = one("spec:\n  hosts: [a, b]\n  rules:\n    x.y:\n      z: 1\n    x: 2\n");
        let at = |path: &str| (node.locate(path).line, node.locate(path).column);
        assert_eq!(at("spec.hosts[1]"), (2, 14));
        assert_eq!(at("spec.rules.x.y.z"), (5, 7));
        assert_eq!(at("spec.rules.x.y"), (4, 5));
        assert_eq!(at("spec.rules.x"), (6, 5));
        assert_eq!(at("spec.rules.none.at.all"), (3, 3));
        assert_eq!(at("spec.hosts[7]"), (2, 3));
        assert_eq!(at(""), (1, 1));
    }

    #[test]
    fn aliases_are_spelled_out_but_not_without_end() {
        assert_eq!(one("a: &x {b: 1}\nc: *x").to_json(), r#"{"a":{"b":1},"c":{"b":1}}"#);
        let mut bomb = "a0: &a0 [x, x]\n".to_owned();
        for n in 1..40 {
            let _ = writeln!(bomb, "a{n}: &a{n} [*a{0}, *a{0}]", n - 1);
        }
        assert!(parse("f", &bomb).unwrap_err().message.contains("come to too much"));
        let long = format!("a: &a {}\nb:\n{}", "x".repeat(1 << 20), "- *a\n".repeat(100));
        assert!(parse("f", &long).unwrap_err().message.contains("come to too much"));
        // What is written out may be long.
        let list = parse("f", &"- {a: [1, 2, 3], b: {c: d}}\n".repeat(200_000)).unwrap();
        assert_eq!(list[0].items().len(), 200_000);
        assert!(parse("f", &"[".repeat(5000)).is_err());
    }

    #[test]
    fn what_is_no_yaml_has_its_place() {
        let mistake = parse("f", "a: 1\nb: [\nc: }").unwrap_err();
        assert_eq!(mistake.mark.line, 3);
    }
}
