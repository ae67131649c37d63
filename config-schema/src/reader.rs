//! Reads JSON into the documents' types and goes on after a problem, so that one pass finds all of them.
//!
//! Serde tells a reader what it wants: a string, a list, a struct with these fields. So where the text has something
//! else, the reader notes the problem and hands out an empty stand-in. A required field that is missing is the one thing
//! that serde does not announce: it is noted when serde complains, and the document is read again with a stand-in for it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::{StrDeserializer, U32Deserializer};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::node::{Members, Node};
use crate::one_or_many;
use crate::problem::{Place, quote};
use crate::suggest::suggestion;

/// Missing fields that are named in one document; each costs another pass.
const MAX_PASSES: usize = 32;

/// Whole numbers that a JSON number with a fraction or exponent, such as `1e3`, can stand for exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Whose rules a document follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Ours: no field is unknown.
    Ours,
    /// Kubernetes': within its `metadata`, what we don't know is somebody else's.
    Kubernetes,
    /// As `Kubernetes`, and fields that came with `v1beta3` are too new.
    V1beta2,
    /// As `Kubernetes`, and a field that is null is left out, as the API server does.
    Nullable,
}

/// A problem's path within the document, and its message.
pub type Finding = (String, String);

/// Reads a document.
///
/// # Errors
/// All that is wrong with it.
#[inline(never)]
pub fn read<'de, T: Deserialize<'de>>(node: &Node<'_>, dialect: Dialect) -> Result<T, Vec<Finding>> {
    let reading = Reading { dialect, findings: RefCell::default(), missing: RefCell::default() };
    for _ in 0..MAX_PASSES {
        reading.findings.take();
        let whole = Cursor { node: Some(node), place: Place::Root, lenient: false, reading: &reading };
        match T::deserialize(&whole) {
            Ok(value) if reading.findings.borrow().is_empty() => return Ok(value),
            Ok(_) => break,
            Err(Stop::Again) => {}
            Err(Stop::Missing(_) | Stop::Other) => {
                reading.note(&Place::Root, "cannot be understood");
                break;
            }
        }
    }
    Err(reading.findings.take())
}

/// What is known while a document is read.
struct Reading {
    dialect: Dialect,
    findings: RefCell<Vec<Finding>>,
    missing: RefCell<Vec<(String, &'static str)>>,
}

impl Reading {
    fn note(&self, place: &Place<'_>, message: impl Into<String>) {
        self.findings.borrow_mut().push((place.to_string(), message.into()));
    }

    /// Required fields that an earlier pass did not find here.
    fn missing_at(&self, place: &Place<'_>) -> Vec<&'static str> {
        let missing = self.missing.borrow();
        if missing.is_empty() {
            return Vec::new();
        }
        let here = place.to_string();
        missing.iter().filter(|(path, _)| *path == here).map(|(_, field)| *field).collect()
    }
}

/// Why a pass ended early.
#[derive(Debug)]
enum Stop {
    /// This field is required.
    Missing(&'static str),
    /// Something that is missing has been noted; another pass gets further.
    Again,
    /// None of our types says this.
    Other,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreadable")
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self::Other
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

/// One place of the document.
#[derive(Clone, Copy)]
struct Cursor<'c> {
    /// What stands here; `None` where a stand-in is needed.
    node: Option<&'c Node<'c>>,
    place: Place<'c>,
    /// Whether unknown fields, and nulls, are passed over.
    lenient: bool,
    reading: &'c Reading,
}

impl<'c> Cursor<'c> {
    fn mismatch(&self, wanted: &str) {
        let Some(node) = self.node else { return };
        let remedy = match (node, wanted) {
            (Node::Null, _) => ": give a value or leave the field out",
            (Node::Number(_) | Node::Bool(_), "a string") => ": put it in quotes",
            (Node::String(_), "a boolean") => ": write `true` or `false`, without quotes",
            (Node::String(_), "a whole number") => ": write it without quotes",
            (Node::List(_), "an object") => ": write its entries as `{\"name\": …}`",
            (_, "a list") => ": put it in `[…]`",
            _ => "",
        };
        let got = if wanted == "a whole number" && matches!(node, Node::Number(_)) { "this one" } else { node.kind() };
        self.reading.note(&self.place, format!("must be {wanted}, not {got}{remedy}"));
    }

    /// The members of an object, each name once.
    fn members(&self, wanted: &str) -> Vec<(&'c str, &'c Node<'c>)> {
        let Some(Node::Object(members)) = self.node else {
            self.mismatch(wanted);
            return Vec::new();
        };
        self.unrepeated(members)
    }

    fn unrepeated(&self, members: &'c Members<'c>) -> Vec<(&'c str, &'c Node<'c>)> {
        let mut seen = BTreeSet::new();
        let mut once = Vec::with_capacity(members.len());
        for (name, value) in members {
            if seen.insert(name.as_ref()) {
                once.push((name.as_ref(), value));
            } else {
                self.reading.note(&Place::Member(&self.place, name), "is there more than once: keep one");
            }
        }
        once
    }

    /// Whether a field is what Kubernetes says of a document.
    fn is_status(&self, name: &str) -> bool {
        name == "status" && matches!(self.place, Place::Root) && self.reading.dialect != Dialect::Ours
    }

    /// Says so if a pattern has what `v1beta2` has not: a value that is no string, an operator that asks for one.
    fn check_v1beta2_pattern(&self, name: &str, value: &'c Node<'c>) {
        let place = Place::Member(&self.place, name);
        match (name, value) {
            ("value", Node::String(_)) => {}
            ("value", _) => Cursor { node: Some(value), place, ..*self }.mismatch("a string"),
            ("operator", Node::String(operator)) if NEWER_OPERATORS.contains(&operator.as_ref()) => {
                self.reading.note(&place, NEWER);
            }
            _ => {}
        }
    }

    /// The members that a struct knows, by their places in `known`, and a stand-in for each that it misses.
    fn fields(&self, known: &'static [&'static str]) -> Vec<(u32, &'c str, Option<&'c Node<'c>>)> {
        let mut fields = Vec::with_capacity(known.len());
        for (name, value) in self.members("an object") {
            let place = Place::Member(&self.place, name);
            let Some(number) = number(known, name) else {
                if !self.lenient && !self.is_status(name) {
                    self.reading.note(&place, format!("unknown field {}{}", quote(name), suggestion(name, known)));
                }
                continue;
            };
            if self.reading.dialect == Dialect::V1beta2 && !self.lenient {
                if is_newer(&self.place, name) {
                    self.reading.note(&place, NEWER);
                }
                if known.contains(&"selector") && known.contains(&"operator") {
                    self.check_v1beta2_pattern(name, value);
                }
            }
            let nullable = self.lenient || self.reading.dialect == Dialect::Nullable;
            if !(nullable && *value == Node::Null) {
                fields.push((number, name, Some(value)));
            }
        }
        for name in self.reading.missing_at(&self.place) {
            if self.node.is_some_and(|node| matches!(node, Node::Object(_))) {
                self.reading.note(&Place::Member(&self.place, name), "is required but missing");
            }
            fields.extend(number(known, name).map(|number| (number, name, None)));
        }
        fields
    }

    /// The place of the variant that is named here; the first one if there is a problem.
    fn chosen(&self, variants: &'static [&'static str]) -> u32 {
        let Some(Node::String(text)) = self.node else {
            self.mismatch("a string");
            return 0;
        };
        number(variants, text).unwrap_or_else(|| {
            self.reading.note(&self.place, format!("unknown value {}{}", quote(text), suggestion(text, variants)));
            0
        })
    }

    /// A place within this one.
    #[inline(never)]
    fn at(&'c self, name: &'c str, node: Option<&'c Node<'c>>) -> Self {
        let is_metadata = matches!(self.place, Place::Root) && name == "metadata";
        let lenient = self.lenient || (is_metadata && self.reading.dialect != Dialect::Ours);
        Self { node, place: Place::Member(&self.place, name), lenient, ..*self }
    }

    /// An item of this list.
    #[inline(never)]
    fn item(&'c self, index: usize, node: &'c Node<'c>) -> Self {
        Self { node: Some(node), place: Place::Item(&self.place, index), ..*self }
    }

    /// What a member is. On its own, since each type of value would have it twice otherwise: as a field, and as an entry.
    #[inline(never)]
    fn member<'de, V: DeserializeSeed<'de>>(
        &self,
        name: &str,
        node: Option<&Node<'_>>,
        seed: V,
    ) -> Result<V::Value, Stop> {
        seed.deserialize(&self.at(name, node))
    }

    /// Takes note of a field that is missing, for the next pass.
    #[inline(never)]
    fn stopped(&self, stop: Stop) -> Stop {
        let Stop::Missing(field) = stop else { return stop };
        self.reading.missing.borrow_mut().push((self.place.to_string(), field));
        Stop::Again
    }
}

const NEWER: &str = "is not in `v1beta2`: change `apiVersion` to `authorino.kuadrant.io/v1beta3`, which every `v1beta2` \
                     document can do as it is";

/// Operators of patterns that came with `v1beta3`.
pub const NEWER_OPERATORS: [&str; 6] = ["in", "notIn", "gt", "ge", "lt", "le"];

/// Whether a field of an AuthConfig's `spec` came with `v1beta3`.
pub fn is_newer(parent: &Place<'_>, field: &str) -> bool {
    match field {
        "predicate"
        | "expression"
        | "template"
        | "urlExpression"
        | "jwksUrl"
        | "userInfoUrl"
        | "authorizationGroups"
        | "source"
        | "timeout"
        | "version"
        | "maxResponseBytes"
        | "action"
        | "denyWith"
        | "namespaces"
        | "imports"
        | "hmac"
        | "authenticationStrategy" => true,
        "namespace" => !matches!(parent, Place::Member(_, "resourceAttributes")),
        // Rules may have these names too.
        "when" => matches!(parent, Place::Member(Place::Member(_, "response"), "unauthenticated" | "unauthorized")),
        "issuer" | "audiences" => matches!(parent, Place::Member(_, "jwt")),
        _ => false,
    }
}

// By reference: a place is seven words, and each type of value would copy them.
impl<'de, 'c> Deserializer<'de> for &'c Cursor<'c> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.node {
            None | Some(Node::Null) => visitor.visit_unit(),
            Some(Node::Bool(value)) => visitor.visit_bool(*value),
            Some(Node::Number(number)) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, number) => visitor.visit_f64(number.unwrap_or_default()),
            },
            Some(Node::String(text)) => visitor.visit_str(text),
            Some(Node::List(_)) => self.deserialize_seq(visitor),
            Some(Node::Object(_)) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let Some(Node::Bool(value)) = self.node else {
            self.mismatch("a boolean");
            return visitor.visit_bool(false);
        };
        visitor.visit_bool(*value)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let whole = |number: &f64| number.fract() == 0.0 && number.abs() <= EXACT;
        let value = match self.node {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within the exact range")]
            Some(Node::Number(number)) => number.as_i64().or(number.as_f64().filter(whole).map(|number| number as i64)),
            _ => None,
        };
        visitor.visit_i64(value.unwrap_or_else(|| {
            self.mismatch("a whole number");
            0
        }))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let value = i64::deserialize(self)?;
        visitor.visit_u64(u64::try_from(value).unwrap_or_else(|_| {
            self.reading.note(&self.place, "must not be negative");
            0
        }))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let Some(Node::String(text)) = self.node else {
            self.mismatch("a string");
            return visitor.visit_str("");
        };
        visitor.visit_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        if self.node.is_none() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Stop> {
        match self.node {
            Some(Node::List(_)) if name == one_or_many::NAME => {
                if self.reading.dialect == Dialect::V1beta2 {
                    self.reading.note(&self.place, NEWER);
                }
                self.deserialize_seq(visitor)
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let items = match self.node {
            Some(Node::List(items)) => items.as_slice(),
            _ => {
                self.mismatch("a list");
                &[]
            }
        };
        visitor.visit_seq(Items { at: self, items: items.iter().enumerate() })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let members = self.members("an object").into_iter();
        visitor.visit_map(Entries { at: self, members, current: ("", &Node::Null) })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let fields = self.fields(known).into_iter();
        visitor.visit_map(Fields { at: self, fields, current: ("", None) }).map_err(|stop| self.stopped(stop))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let chosen: U32Deserializer<Stop> = self.chosen(variants).into_deserializer();
        visitor.visit_enum(chosen)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Items<'c, I> {
    at: &'c Cursor<'c>,
    items: I,
}

impl<'de, 'c, I: Iterator<Item = (usize, &'c Node<'c>)>> SeqAccess<'de> for Items<'c, I> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(&self.at.item(index, node)).map(Some)
    }
}

/// An object whose members have names of the writer's choice.
struct Entries<'c, I> {
    at: &'c Cursor<'c>,
    members: I,
    current: (&'c str, &'c Node<'c>),
}

impl<'de, 'c, I: Iterator<Item = (&'c str, &'c Node<'c>)>> MapAccess<'de> for Entries<'c, I> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let Some(member) = self.members.next() else { return Ok(None) };
        self.current = member;
        let name: StrDeserializer<'_, Stop> = member.0.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let (name, node) = self.current;
        self.at.member(name, Some(node), seed)
    }
}

/// An object that is a struct, whose fields go by their places in the list that serde gives: no text is compared once more.
struct Fields<'c, I> {
    at: &'c Cursor<'c>,
    fields: I,
    current: (&'c str, Option<&'c Node<'c>>),
}

impl<'de, 'c, I: Iterator<Item = (u32, &'c str, Option<&'c Node<'c>>)>> MapAccess<'de> for Fields<'c, I> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let Some((number, name, node)) = self.fields.next() else { return Ok(None) };
        self.current = (name, node);
        let number: U32Deserializer<Stop> = number.into_deserializer();
        seed.deserialize(number).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let (name, node) = self.current;
        self.at.member(name, node, seed)
    }
}

/// The place of a name among those that a struct or an enum knows, which is how serde counts them as long as none has an `alias`:
/// a test looks for them.
fn number(known: &[&str], name: &str) -> Option<u32> {
    known.iter().position(|known| *known == name).and_then(|place| u32::try_from(place).ok())
}

// Node shows no files to what it runs as wasm.
#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    /// An alias is among the names that serde gives, but does not count among the fields: values would land in the wrong ones.
    #[test]
    fn no_field_has_an_alias() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
        let files = folder.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let sources: Vec<_> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert!(sources.iter().any(|source| source.contains("rename_all =")));
        assert!(!sources.iter().any(|source| source.contains(concat!("alias", " ="))));
    }
}
