//! `filter_metadata`, decoded from Envoy's protobuf.

use std::collections::HashMap;

use prost::Message;
use serde_json::{Map, Number, Value};

use crate::gather::{gathered, try_gathered};

/// `envoy.config.core.v3.Metadata`, with each namespace left as bytes until somebody asks for it.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(map = "string, bytes", tag = "1")]
    filter_metadata: HashMap<String, Vec<u8>>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Message)]
struct ProtoStruct {
    #[prost(map = "string, message", tag = "1")]
    fields: HashMap<String, ProtoValue>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
struct ProtoValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(ProtoStruct),
    #[prost(message, tag = "6")]
    List(ProtoList),
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, Message)]
struct ProtoList {
    #[prost(message, repeated, tag = "1")]
    values: Vec<ProtoValue>,
}

/// All namespaces; `None` if there are none, or the bytes are no `Metadata`.
pub fn all(bytes: &[u8]) -> Option<Value> {
    let Metadata { filter_metadata } = Metadata::decode(bytes).ok()?;
    let namespaces = filter_metadata.into_iter().filter_map(|(name, bytes)| Some((name, decode(&bytes)?)));
    Some(gathered(namespaces)).filter(|namespaces: &Map<_, _>| !namespaces.is_empty()).map(Value::Object)
}

/// One namespace; the others are not decoded.
pub fn namespace(bytes: &[u8], name: &str) -> Option<Value> {
    decode(Metadata::decode(bytes).ok()?.filter_metadata.get(name)?)
}

/// All namespaces as an object, for who must know whether something is not there or cannot be read: `None` if any part of it
/// is no `Metadata`.
pub fn whole(bytes: &[u8]) -> Option<Value> {
    let Metadata { filter_metadata } = Metadata::decode(bytes).ok()?;
    let namespaces =
        filter_metadata.into_iter().map(|(name, bytes)| decode(&bytes).map(|value| (name, value)).ok_or(()));
    try_gathered(namespaces).ok().map(Value::Object)
}

/// One namespace, null if it is not there; `None` if it cannot be read.
pub fn part(bytes: &[u8], name: &str) -> Option<Value> {
    match Metadata::decode(bytes).ok()?.filter_metadata.get(name) {
        Some(bytes) => decode(bytes),
        None => Some(Value::Null),
    }
}

fn decode(bytes: &[u8]) -> Option<Value> {
    // prost refuses what is nested deeper than 100 messages.
    ProtoStruct::decode(bytes).ok().map(object)
}

fn object(ProtoStruct { fields }: ProtoStruct) -> Value {
    Value::Object(gathered(fields.into_iter().map(|(name, field)| (name, value(field)))))
}

fn value(ProtoValue { kind }: ProtoValue) -> Value {
    match kind {
        None | Some(Kind::Null(_)) => Value::Null,
        Some(Kind::Number(number)) => self::number(number),
        Some(Kind::Text(text)) => Value::String(text),
        Some(Kind::Bool(truth)) => Value::Bool(truth),
        Some(Kind::Struct(fields)) => object(fields),
        Some(Kind::List(ProtoList { values })) => Value::Array(values.into_iter().map(value).collect()),
    }
}

fn number(number: f64) -> Value {
    /// Up to here every whole number is a `f64` of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the exact range")]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_as_if_it_were_not_there() {
        let deep = (0..200).fold(json!("admin"), |inner, _| json!([inner]));
        let filter_metadata = [
            ("good".to_owned(), proto_struct(&json!({"a": 1})).encode_to_vec()),
            ("deep".to_owned(), proto_struct(&json!({"a": deep})).encode_to_vec()),
        ];
        let bytes = Metadata { filter_metadata: filter_metadata.into() }.encode_to_vec();
        assert_eq!(part(&bytes, "good"), Some(json!({"a": 1})));
        assert_eq!(part(&bytes, "none"), Some(Value::Null));
        assert_eq!((part(&bytes, "deep"), whole(&bytes)), (None, None));
        assert_eq!((part(b"", "good"), whole(b"")), (Some(Value::Null), Some(json!({}))));
        assert_eq!((part(b"\xff", "good"), whole(b"\xff")), (None, None));
    }

    fn proto(value: &Value) -> ProtoValue {
        let kind = match value {
            Value::Null => Kind::Null(0),
            Value::Bool(truth) => Kind::Bool(*truth),
            Value::Number(number) => Kind::Number(number.as_f64().unwrap()),
            Value::String(text) => Kind::Text(text.clone()),
            Value::Array(items) => Kind::List(ProtoList { values: items.iter().map(proto).collect() }),
            Value::Object(_) => Kind::Struct(proto_struct(value)),
        };
        ProtoValue { kind: Some(kind) }
    }

    fn proto_struct(value: &Value) -> ProtoStruct {
        let members = value.as_object().unwrap().iter();
        ProtoStruct { fields: members.map(|(name, value)| (name.clone(), proto(value))).collect() }
    }

    fn encode(namespaces: &Value) -> Vec<u8> {
        let members = namespaces.as_object().unwrap().iter();
        let filter_metadata = members.map(|(name, value)| (name.clone(), proto_struct(value).encode_to_vec()));
        Metadata { filter_metadata: filter_metadata.collect() }.encode_to_vec()
    }

    #[test]
    fn structs_become_natural_json() {
        let metadata = json!({
            "envoy.filters.http.jwt_authn": {"claims": {"sub": "alice", "exp": 1_700_000_000, "aud": ["a", null, true, 1.5]}},
            "other": {},
        });
        let bytes = encode(&metadata);
        assert_eq!(all(&bytes), Some(metadata.clone()));
        assert_eq!(namespace(&bytes, "other"), Some(json!({})));
        assert_eq!(namespace(&bytes, "absent"), None);
        assert_eq!(all(&[]), None);
    }

    #[test]
    fn damaged_and_bottomless_bytes_are_no_metadata() {
        let bytes = encode(&json!({"a": {"b": {"c": "d"}}}));
        for length in 1..bytes.len() {
            assert_eq!(all(&bytes[..length]), None, "cut to {length} bytes");
        }
        let mut deep = json!("x");
        for _ in 0..200 {
            deep = json!([deep]);
        }
        assert_eq!(namespace(&encode(&json!({"a": {"b": deep}})), "a"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = (all(&bytes), namespace(&bytes, ""));
        }
    }
}
