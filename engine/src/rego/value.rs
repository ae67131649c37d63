//! Values of Rego and of JSON.

use regorus::{Rc, Value};
use serde_json::{Map, Number, Value as Json};

/// JSON as a value.
#[must_use]
pub fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => from_number(number),
        Json::String(text) => Value::String(Rc::from(text.as_str())),
        Json::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(members) => {
            let members =
                members.iter().map(|(name, value)| (Value::String(Rc::from(name.as_str())), from_json(value)));
            Value::from(members.collect::<std::collections::BTreeMap<_, _>>())
        }
    }
}

fn from_number(number: &Number) -> Value {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number), _, _) => Value::from(number),
        (_, Some(number), _) => Value::from(number),
        (_, _, Some(number)) => Value::from(number),
        _ => Value::Undefined,
    }
}

/// A value as JSON, as OPA writes it: sets are lists in order, keys that are no texts are written as JSON.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Undefined | Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Number(number) => {
            let whole = number.as_u64().map(Number::from).or_else(|| number.as_i64().map(Number::from));
            let number = whole.or_else(|| number.as_f64().and_then(Number::from_f64)).or_else(|| {
                // Beyond 64 bits: as near as a double is.
                number.format_decimal().parse().ok().and_then(Number::from_f64)
            });
            number.map_or(Json::Null, Json::Number)
        }
        Value::String(text) => Json::String(text.to_string()),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Set(items) => items.iter().map(to_json).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| {
                let key = match key {
                    Value::String(text) => text.to_string(),
                    key => to_json(key).to_string(),
                };
                (key, to_json(value))
            });
            Json::Object(members.collect::<Map<_, _>>())
        }
    }
}
