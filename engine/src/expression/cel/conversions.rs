//! `int(x)`, `string(x)` and their kin.

use std::ops::Deref;

use super::fault::{Budget, Fault};
use super::kind::Kind;
use super::number::{TWO_POW_63, TWO_POW_64, truncated};
use super::operators::{int, moment, one, uint};
use super::time::{Moment, Span};
use super::value::Val;
use crate::expression::text::go_g;

type Result<'a> = std::result::Result<Val<'a>, Fault>;

fn unconvertible(from: Kind, to: Kind) -> Fault {
    Fault::new(format!("type conversion error from '{from}' to '{to}'"))
}

pub fn to_bool<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Bool(value)] => Ok(Val::Bool(*value)),
        [Val::Text(text)] => match text.deref() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            _ => Err(unconvertible(Kind::Text, Kind::Bool)),
        },
        _ => Err(Fault::no_overload()),
    }
}

pub fn to_int<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(value)] => Ok(Val::Int(*value)),
        [Val::UInt(value)] => int(i64::try_from(*value).ok()),
        [Val::Double(value)] if value.abs() < TWO_POW_63 => int(i64::try_from(truncated(*value)).ok()),
        [Val::Double(_)] => int(None),
        [Val::Text(text)] => text.parse().map(Val::Int).map_err(|_| unconvertible(Kind::Text, Kind::Int)),
        [Val::Moment(moment)] => Ok(Val::Int(moment.unix())),
        [Val::Span(span)] => Ok(Val::Int(span.nanos())),
        _ => Err(Fault::no_overload()),
    }
}

pub fn to_uint<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::UInt(value)] => Ok(Val::UInt(*value)),
        [Val::Int(value)] => uint(u64::try_from(*value).ok()),
        [Val::Double(value)] if *value >= 0.0 && *value < TWO_POW_64 => uint(u64::try_from(truncated(*value)).ok()),
        [Val::Double(_)] => uint(None),
        [Val::Text(text)] if !text.starts_with('+') => {
            text.parse().map(Val::UInt).map_err(|_| unconvertible(Kind::Text, Kind::UInt))
        }
        [Val::Text(_)] => Err(unconvertible(Kind::Text, Kind::UInt)),
        _ => Err(Fault::no_overload()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "that is what the conversion means")]
pub fn to_double<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Double(value)] => Ok(Val::Double(*value)),
        [Val::Int(value)] => Ok(Val::Double(*value as f64)),
        [Val::UInt(value)] => Ok(Val::Double(*value as f64)),
        [Val::Text(text)] => {
            let spelled_out = |value: f64| value.is_finite() || text.contains(['n', 'N', 'i', 'I']);
            let value = text.parse().ok().filter(|value| spelled_out(*value));
            value.map(Val::Double).ok_or_else(|| unconvertible(Kind::Text, Kind::Double))
        }
        _ => Err(Fault::no_overload()),
    }
}

pub fn to_text<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let invalid = || Fault::new("invalid UTF-8 in bytes, cannot convert to string");
    Ok(match one(args)? {
        Val::Text(text) => Val::Text(text.clone()),
        Val::Bool(value) => Val::text(value.to_string()),
        Val::Int(value) => Val::text(value.to_string()),
        Val::UInt(value) => Val::text(value.to_string()),
        Val::Double(value) => Val::text(go_g(*value)),
        Val::Bytes(bytes) => Val::text(str::from_utf8(bytes).map_err(|_| invalid())?),
        Val::Moment(moment) => Val::text(moment.to_string()),
        Val::Span(span) => Val::text(span.to_string()),
        _ => return Err(Fault::no_overload()),
    })
}

pub fn to_bytes<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Bytes(bytes)] => Ok(Val::Bytes(bytes.clone())),
        [Val::Text(text)] => Ok(Val::Bytes(text.as_bytes().into())),
        _ => Err(Fault::no_overload()),
    }
}

pub fn to_moment<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Moment(value)] => Ok(Val::Moment(*value)),
        [Val::Int(seconds)] => moment(Moment::from_unix(*seconds)),
        [Val::Text(text)] => {
            Moment::parse(text).map(Val::Moment).ok_or_else(|| unconvertible(Kind::Text, Kind::Moment))
        }
        _ => Err(Fault::no_overload()),
    }
}

pub fn to_span<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Span(value)] => Ok(Val::Span(*value)),
        [Val::Text(text)] => Span::parse(text).map(Val::Span).ok_or_else(|| unconvertible(Kind::Text, Kind::Span)),
        _ => Err(Fault::no_overload()),
    }
}
