//! Numbers of the three types, which are compared by value.

use std::cmp::Ordering;

use serde_json::{Number, Value as Json};

use super::fault::Fault;
use super::value::Val;

pub const TWO_POW_53: u64 = 1 << 53;
pub const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
pub const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;

pub const fn is_number(value: &Val<'_>) -> bool {
    matches!(value, Val::Int(_) | Val::UInt(_) | Val::Double(_))
}

/// How two numbers compare; `None` if one is none, or not a number.
pub fn compare(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    Some(match (left, right) {
        (Val::Int(left), Val::Int(right)) => left.cmp(right),
        (Val::UInt(left), Val::UInt(right)) => left.cmp(right),
        (Val::Int(left), Val::UInt(right)) => i128::from(*left).cmp(&i128::from(*right)),
        (Val::UInt(left), Val::Int(right)) => i128::from(*left).cmp(&i128::from(*right)),
        (Val::Double(left), Val::Double(right)) => left.partial_cmp(right)?,
        (Val::Int(left), Val::Double(right)) => compare_with_double(i128::from(*left), *right)?,
        (Val::UInt(left), Val::Double(right)) => compare_with_double(i128::from(*left), *right)?,
        (Val::Double(_), Val::Int(_) | Val::UInt(_)) => compare(right, left)?.reverse(),
        _ => return None,
    })
}

/// The whole number that a number is.
pub fn whole(number: &Val<'_>) -> Option<i128> {
    match number {
        Val::Int(value) => Some(i128::from(*value)),
        Val::UInt(value) => Some(i128::from(*value)),
        Val::Double(value) if value.fract() == 0.0 && value.abs() < TWO_POW_64 => Some(truncated(*value)),
        _ => None,
    }
}

/// The whole part of a double below 2^64.
#[expect(clippy::cast_possible_truncation, reason = "callers see to it that it fits")]
pub const fn truncated(value: f64) -> i128 {
    value as i128
}

fn compare_with_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double.abs() >= TWO_POW_64 {
        return 0.0.partial_cmp(&double);
    }
    Some(whole.cmp(&truncated(double)).then(0.0.partial_cmp(&double.fract())?))
}

/// Integers that a double cannot hold are texts.
pub fn integer<T: Into<Number> + ToString>(magnitude: u64, value: T) -> Json {
    if magnitude < TWO_POW_53 { Json::Number(value.into()) } else { Json::String(value.to_string()) }
}

/// Whole numbers without a fraction, as JavaScript and Go write them.
pub fn double(value: f64) -> Result<Json, Fault> {
    if value.fract() == 0.0 && value.abs() < TWO_POW_64 {
        let whole = truncated(value);
        if let Ok(whole) = i64::try_from(whole) {
            return Ok(Json::from(whole));
        }
        if let Ok(whole) = u64::try_from(whole) {
            return Ok(Json::from(whole));
        }
    }
    Number::from_f64(value).map(Json::Number).ok_or_else(|| Fault::new("NaN and infinity are no JSON values"))
}
