//! Values as text, the way Go's `encoding/json` and gjson write them.

use serde_json::Value;

/// Compact JSON with sorted keys and Go's HTML escapes.
#[must_use]
pub fn to_json(_value: &Value) -> String {
    todo!()
}

/// Strings as they are, null as nothing, everything else as compact JSON.
#[must_use]
pub fn stringify(_value: &Value) -> String {
    todo!()
}

/// A number as Go's `%v` prints a `float64`.
#[must_use]
pub fn go_g(_number: f64) -> String {
    todo!()
}
