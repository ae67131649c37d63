//! Operators, and the small functions of the standard library.

use std::cmp::Ordering;
use std::ops::Deref;

use super::fault::{Budget, Fault};
use super::time::{Field, Moment, Span};
use super::value::Val;

type Result<'a> = std::result::Result<Val<'a>, Fault>;

pub fn one<'v, 'a>(args: &'v [Val<'a>]) -> std::result::Result<&'v Val<'a>, Fault> {
    args.first().ok_or_else(Fault::no_overload)
}

pub fn texts<'a>(args: &[Val<'a>], test: fn(&str, &str) -> bool) -> Result<'a> {
    let [Val::Text(text), Val::Text(part)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::Bool(test(text, part)))
}

pub fn int(result: Option<i64>) -> Result<'static> {
    result.map(Val::Int).ok_or_else(|| Fault::new("integer overflow"))
}

pub fn uint(result: Option<u64>) -> Result<'static> {
    result.map(Val::UInt).ok_or_else(|| Fault::new("unsigned integer overflow"))
}

pub fn moment(result: Option<Moment>) -> Result<'static> {
    result.map(Val::Moment).ok_or_else(|| Fault::new("timestamp overflow"))
}

pub fn span(result: Option<i64>) -> Result<'static> {
    result.map(|nanos| Val::Span(Span::from_nanos(nanos))).ok_or_else(|| Fault::new("duration overflow"))
}

pub fn add<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [left, right] = args else { return Err(Fault::no_overload()) };
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => int(left.checked_add(*right)),
        (Val::UInt(left), Val::UInt(right)) => uint(left.checked_add(*right)),
        (Val::Double(left), Val::Double(right)) => Ok(Val::Double(left + right)),
        (Val::Text(left), Val::Text(right)) => {
            let mut joined = String::new();
            budget.push(&mut joined, left)?;
            budget.push(&mut joined, right)?;
            Ok(Val::text(joined))
        }
        (Val::Bytes(left), Val::Bytes(right)) => {
            budget.spend(left.len().saturating_add(right.len()) / 8)?;
            Ok(Val::Bytes([left.deref(), right.deref()].concat().into()))
        }
        (Val::List(left), Val::List(right)) => {
            budget.spend(left.len().saturating_add(right.len()))?;
            Ok(Val::list(left.iter().chain(right.iter())))
        }
        (Val::Moment(start), Val::Span(span)) | (Val::Span(span), Val::Moment(start)) => moment(start.plus(*span)),
        (Val::Span(left), Val::Span(right)) => span(left.nanos().checked_add(right.nanos())),
        _ => Err(Fault::no_overload()),
    }
}

pub fn subtract<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [left, right] = args else { return Err(Fault::no_overload()) };
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => int(left.checked_sub(*right)),
        (Val::UInt(left), Val::UInt(right)) => uint(left.checked_sub(*right)),
        (Val::Double(left), Val::Double(right)) => Ok(Val::Double(left - right)),
        (Val::Moment(end), Val::Moment(start)) => {
            end.since(*start).map(Val::Span).ok_or_else(|| Fault::new("timestamp overflow"))
        }
        (Val::Moment(end), Val::Span(span)) => moment(end.minus(*span)),
        (Val::Span(left), Val::Span(right)) => span(left.nanos().checked_sub(right.nanos())),
        _ => Err(Fault::no_overload()),
    }
}

pub fn multiply<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(left), Val::Int(right)] => int(left.checked_mul(*right)),
        [Val::UInt(left), Val::UInt(right)] => uint(left.checked_mul(*right)),
        [Val::Double(left), Val::Double(right)] => Ok(Val::Double(left * right)),
        _ => Err(Fault::no_overload()),
    }
}

pub fn divide<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(_), Val::Int(0)] | [Val::UInt(_), Val::UInt(0)] => Err(Fault::new("division by zero")),
        [Val::Int(left), Val::Int(right)] => int(left.checked_div(*right)),
        [Val::UInt(left), Val::UInt(right)] => uint(left.checked_div(*right)),
        [Val::Double(left), Val::Double(right)] => Ok(Val::Double(left / right)),
        _ => Err(Fault::no_overload()),
    }
}

pub fn remainder<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(_), Val::Int(0)] | [Val::UInt(_), Val::UInt(0)] => Err(Fault::new("modulus by zero")),
        [Val::Int(left), Val::Int(right)] => int(left.checked_rem(*right)),
        [Val::UInt(left), Val::UInt(right)] => uint(left.checked_rem(*right)),
        _ => Err(Fault::no_overload()),
    }
}

pub fn negate<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(value)] => int(value.checked_neg()),
        [Val::Double(value)] => Ok(Val::Double(-value)),
        _ => Err(Fault::no_overload()),
    }
}

pub fn not<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Bool(value)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::Bool(!value))
}

pub fn compare<'a>(args: &[Val<'a>], holds: fn(Ordering) -> bool) -> Result<'a> {
    let [left, right] = args else { return Err(Fault::no_overload()) };
    left.compare(right).map(|order| Val::Bool(holds(order)))
}

pub fn equal<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [left, right] = args else { return Err(Fault::no_overload()) };
    left.equals(right, budget).map(Val::Bool)
}

pub fn not_equal<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [left, right] = args else { return Err(Fault::no_overload()) };
    left.equals(right, budget).map(|equal| Val::Bool(!equal))
}

pub fn is_in<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [value, Val::List(list)] => list.contains(value, budget).map(Val::Bool),
        [key, Val::Map(map)] => map.get(key, budget).map(|found| Val::Bool(found.is_some())),
        _ => Err(Fault::no_overload()),
    }
}

pub fn size<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let size = match one(args)? {
        Val::Text(text) => text.chars().count(),
        Val::Bytes(bytes) => bytes.len(),
        Val::List(list) => list.len(),
        Val::Map(map) => map.len(),
        _ => return Err(Fault::no_overload()),
    };
    int(i64::try_from(size).ok())
}

pub fn some_unless_zero<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let value = one(args)?;
    Ok(if value.is_zero() { Val::Optional(None) } else { Val::some(value.clone()) })
}

pub fn has_value<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Optional(value)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::Bool(value.is_some()))
}

pub fn value<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Optional(value)] = args else { return Err(Fault::no_overload()) };
    value.as_deref().cloned().ok_or_else(|| Fault::new("optional.none() dereference"))
}

pub fn field<'a>(args: &[Val<'a>], field: Field) -> Result<'a> {
    match args {
        [Val::Moment(moment)] => moment.field(field, None).map(Val::Int),
        [Val::Moment(moment), Val::Text(zone)] => moment.field(field, Some(zone)).map(Val::Int),
        _ => Err(Fault::no_overload()),
    }
}

pub fn span_or_field<'a>(args: &[Val<'a>], unit: i64, of_moment: Field) -> Result<'a> {
    match args {
        [Val::Span(span)] => int(span.nanos().checked_div(unit)),
        _ => field(args, of_moment),
    }
}
