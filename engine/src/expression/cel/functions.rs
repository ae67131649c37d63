//! The functions and operators of the language, without those that don't always look at all of their operands.

use std::cmp::Ordering;
use std::ops::Deref;

use super::fault::{Budget, Fault};
use super::format::format;
use super::kind::Kind;
use super::strings;
use super::time::{Field, Moment, Span};
use super::value::{Val, truncated};
use crate::expression::text::go_g;

type Result<'a> = std::result::Result<Val<'a>, Fault>;

/// What a function does; of arguments that it does not take it says so.
pub type Run = for<'a> fn(&mut Budget, &[Val<'a>]) -> Result<'a>;

/// A function or an operator.
#[derive(Debug)]
pub struct Function {
    /// Its name, or the operator as the parser writes it.
    pub name: &'static str,
    /// How it is called.
    pub style: Style,
    /// What it takes, and what it then yields.
    pub overloads: &'static [(&'static [Kind], Kind)],
    /// What it does.
    pub run: Run,
}

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `f(x)`.
    Global,
    /// `x.f()`.
    Member,
    /// Either.
    Both,
}

impl Function {
    /// Finds a function.
    pub fn find(name: &str, member: bool) -> Option<&'static Self> {
        let other = if member { Style::Global } else { Style::Member };
        FUNCTIONS.iter().chain(&COMPARISONS).find(|function| function.name == name && function.style != other)
    }

    /// What it yields for arguments of these kinds; `None` if it does not take them.
    pub fn result(&self, arguments: &[Kind]) -> Option<Kind> {
        let fits = |params: &&[Kind]| {
            params.len() == arguments.len() && params.iter().zip(arguments).all(|(param, kind)| param.agrees(*kind))
        };
        let mut results = self.overloads.iter().filter(|(params, _)| fits(params)).map(|(_, result)| *result);
        let first = results.next()?;
        Some(if results.all(|result| result == first) { first } else { Kind::Dyn })
    }

    /// Whether it is written with signs.
    pub fn is_operator(&self) -> bool {
        !self.name.starts_with(char::is_alphabetic)
    }

    /// Calls it.
    pub fn call<'a>(&self, budget: &mut Budget, arguments: &[Val<'a>]) -> Result<'a> {
        budget.spend(arguments.iter().map(Val::extent).fold(0, usize::saturating_add))?;
        (self.run)(budget, arguments).map_err(|fault| {
            if self.is_operator() || fault != Fault::no_overload() {
                return fault;
            }
            let kinds: Vec<&str> = arguments.iter().map(|argument| argument.kind().name()).collect();
            Fault::new(format!("no such overload: {}({})", self.name, kinds.join(", ")))
        })
    }
}

macro_rules! functions {
    ($($style:ident $name:literal $run:expr; $([$($param:ident),*] => $result:ident),+;)*) => {
        &[$(Function {
            name: $name,
            style: Style::$style,
            overloads: &[$((&[$(Kind::$param),*], Kind::$result)),+],
            run: $run,
        }),*]
    };
}

static FUNCTIONS: &[Function] = functions! {
    Global "_+_" add;
        [Int, Int] => Int, [UInt, UInt] => UInt, [Double, Double] => Double, [Text, Text] => Text,
        [Bytes, Bytes] => Bytes, [List, List] => List, [Moment, Span] => Moment, [Span, Moment] => Moment,
        [Span, Span] => Span;
    Global "_-_" subtract;
        [Int, Int] => Int, [UInt, UInt] => UInt, [Double, Double] => Double, [Moment, Moment] => Span,
        [Moment, Span] => Moment, [Span, Span] => Span;
    Global "_*_" multiply; [Int, Int] => Int, [UInt, UInt] => UInt, [Double, Double] => Double;
    Global "_/_" divide; [Int, Int] => Int, [UInt, UInt] => UInt, [Double, Double] => Double;
    Global "_%_" remainder; [Int, Int] => Int, [UInt, UInt] => UInt;
    Global "-_" negate; [Int] => Int, [Double] => Double;
    Global "!_" not; [Bool] => Bool;
    Global "_==_" equal; [Dyn, Dyn] => Bool;
    Global "_!=_" not_equal; [Dyn, Dyn] => Bool;
    Global "@in" is_in; [Dyn, List] => Bool, [Dyn, Map] => Bool;

    Both "size" size; [Text] => Int, [Bytes] => Int, [List] => Int, [Map] => Int;
    Global "type" |_, args| one(args).map(|value| Val::Type(value.kind())); [Dyn] => Type;
    Global "dyn" |_, args| one(args).cloned(); [Dyn] => Dyn;
    Global "bool" to_bool; [Bool] => Bool, [Text] => Bool;
    Global "int" to_int;
        [Int] => Int, [UInt] => Int, [Double] => Int, [Text] => Int, [Moment] => Int, [Span] => Int;
    Global "uint" to_uint; [UInt] => UInt, [Int] => UInt, [Double] => UInt, [Text] => UInt;
    Global "double" to_double; [Double] => Double, [Int] => Double, [UInt] => Double, [Text] => Double;
    Global "string" to_text;
        [Text] => Text, [Bool] => Text, [Int] => Text, [UInt] => Text, [Double] => Text, [Bytes] => Text,
        [Moment] => Text, [Span] => Text;
    Global "bytes" to_bytes; [Bytes] => Bytes, [Text] => Bytes;
    Global "timestamp" to_moment; [Moment] => Moment, [Text] => Moment, [Int] => Moment;
    Global "duration" to_span; [Span] => Span, [Text] => Span;

    Member "contains" |_, args| texts(args, |text, part| text.contains(part)); [Text, Text] => Bool;
    Member "startsWith" |_, args| texts(args, |text, part| text.starts_with(part)); [Text, Text] => Bool;
    Member "endsWith" |_, args| texts(args, |text, part| text.ends_with(part)); [Text, Text] => Bool;

    Member "charAt" strings::char_at; [Text, Int] => Text;
    Member "indexOf" strings::index_of; [Text, Text] => Int, [Text, Text, Int] => Int;
    Member "lastIndexOf" strings::last_index_of; [Text, Text] => Int, [Text, Text, Int] => Int;
    Member "join" strings::join; [List] => Text, [List, Text] => Text;
    Member "lowerAscii" strings::lower_ascii; [Text] => Text;
    Member "upperAscii" strings::upper_ascii; [Text] => Text;
    Member "replace" strings::replace; [Text, Text, Text] => Text, [Text, Text, Text, Int] => Text;
    Member "split" strings::split; [Text, Text] => List, [Text, Text, Int] => List;
    Member "substring" strings::substring; [Text, Int] => Text, [Text, Int, Int] => Text;
    Member "trim" strings::trim; [Text] => Text;
    Member "reverse" strings::reverse; [Text] => Text;
    Member "format" format; [Text, List] => Text;
    Global "strings.quote" strings::quote; [Text] => Text;

    Global "optional.of" |_, args| one(args).map(|value| Val::some(value.clone())); [Dyn] => Optional;
    Global "optional.none" |_, _| Ok(Val::Optional(None)); [] => Optional;
    Global "optional.ofNonZeroValue" some_unless_zero; [Dyn] => Optional;
    Member "hasValue" has_value; [Optional] => Bool;
    Member "value" value; [Optional] => Dyn;

    Member "getFullYear" |_, args| field(args, Field::FullYear); [Moment] => Int, [Moment, Text] => Int;
    Member "getMonth" |_, args| field(args, Field::Month); [Moment] => Int, [Moment, Text] => Int;
    Member "getDate" |_, args| field(args, Field::Date); [Moment] => Int, [Moment, Text] => Int;
    Member "getDayOfMonth" |_, args| field(args, Field::DayOfMonth); [Moment] => Int, [Moment, Text] => Int;
    Member "getDayOfWeek" |_, args| field(args, Field::DayOfWeek); [Moment] => Int, [Moment, Text] => Int;
    Member "getDayOfYear" |_, args| field(args, Field::DayOfYear); [Moment] => Int, [Moment, Text] => Int;
    Member "getHours" |_, args| span_or_field(args, 3_600_000_000_000, Field::Hours);
        [Moment] => Int, [Moment, Text] => Int, [Span] => Int;
    Member "getMinutes" |_, args| span_or_field(args, 60_000_000_000, Field::Minutes);
        [Moment] => Int, [Moment, Text] => Int, [Span] => Int;
    Member "getSeconds" |_, args| span_or_field(args, 1_000_000_000, Field::Seconds);
        [Moment] => Int, [Moment, Text] => Int, [Span] => Int;
    Member "getMilliseconds" |_, args| span_or_field(args, 1_000_000, Field::Milliseconds);
        [Moment] => Int, [Moment, Text] => Int, [Span] => Int;
};

static COMPARISONS: [Function; 4] = [
    comparison("_<_", |_, args| compare(args, Ordering::is_lt)),
    comparison("_<=_", |_, args| compare(args, Ordering::is_le)),
    comparison("_>_", |_, args| compare(args, Ordering::is_gt)),
    comparison("_>=_", |_, args| compare(args, Ordering::is_ge)),
];

const fn comparison(name: &'static str, run: Run) -> Function {
    const OVERLOADS: &[(&[Kind], Kind)] = &[
        (&[Kind::Bool, Kind::Bool], Kind::Bool),
        (&[Kind::Int, Kind::Int], Kind::Bool),
        (&[Kind::Int, Kind::UInt], Kind::Bool),
        (&[Kind::Int, Kind::Double], Kind::Bool),
        (&[Kind::UInt, Kind::Int], Kind::Bool),
        (&[Kind::UInt, Kind::UInt], Kind::Bool),
        (&[Kind::UInt, Kind::Double], Kind::Bool),
        (&[Kind::Double, Kind::Int], Kind::Bool),
        (&[Kind::Double, Kind::UInt], Kind::Bool),
        (&[Kind::Double, Kind::Double], Kind::Bool),
        (&[Kind::Text, Kind::Text], Kind::Bool),
        (&[Kind::Bytes, Kind::Bytes], Kind::Bool),
        (&[Kind::Moment, Kind::Moment], Kind::Bool),
        (&[Kind::Span, Kind::Span], Kind::Bool),
    ];
    Function { name, style: Style::Global, overloads: OVERLOADS, run }
}

fn one<'v, 'a>(args: &'v [Val<'a>]) -> std::result::Result<&'v Val<'a>, Fault> {
    args.first().ok_or_else(Fault::no_overload)
}

fn texts<'a>(args: &[Val<'a>], test: fn(&str, &str) -> bool) -> Result<'a> {
    let [Val::Text(text), Val::Text(part)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::Bool(test(text, part)))
}

fn int(result: Option<i64>) -> Result<'static> {
    result.map(Val::Int).ok_or_else(|| Fault::new("integer overflow"))
}

fn uint(result: Option<u64>) -> Result<'static> {
    result.map(Val::UInt).ok_or_else(|| Fault::new("unsigned integer overflow"))
}

fn moment(result: Option<Moment>) -> Result<'static> {
    result.map(Val::Moment).ok_or_else(|| Fault::new("timestamp overflow"))
}

fn span(result: Option<i64>) -> Result<'static> {
    result.map(|nanos| Val::Span(Span::from_nanos(nanos))).ok_or_else(|| Fault::new("duration overflow"))
}

fn add<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
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

fn subtract<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
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

fn multiply<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(left), Val::Int(right)] => int(left.checked_mul(*right)),
        [Val::UInt(left), Val::UInt(right)] => uint(left.checked_mul(*right)),
        [Val::Double(left), Val::Double(right)] => Ok(Val::Double(left * right)),
        _ => Err(Fault::no_overload()),
    }
}

fn divide<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(_), Val::Int(0)] | [Val::UInt(_), Val::UInt(0)] => Err(Fault::new("division by zero")),
        [Val::Int(left), Val::Int(right)] => int(left.checked_div(*right)),
        [Val::UInt(left), Val::UInt(right)] => uint(left.checked_div(*right)),
        [Val::Double(left), Val::Double(right)] => Ok(Val::Double(left / right)),
        _ => Err(Fault::no_overload()),
    }
}

fn remainder<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(_), Val::Int(0)] | [Val::UInt(_), Val::UInt(0)] => Err(Fault::new("modulus by zero")),
        [Val::Int(left), Val::Int(right)] => int(left.checked_rem(*right)),
        [Val::UInt(left), Val::UInt(right)] => uint(left.checked_rem(*right)),
        _ => Err(Fault::no_overload()),
    }
}

fn negate<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Int(value)] => int(value.checked_neg()),
        [Val::Double(value)] => Ok(Val::Double(-value)),
        _ => Err(Fault::no_overload()),
    }
}

fn not<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Bool(value)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::Bool(!value))
}

fn compare<'a>(args: &[Val<'a>], holds: fn(Ordering) -> bool) -> Result<'a> {
    let [left, right] = args else { return Err(Fault::no_overload()) };
    left.compare(right).map(|order| Val::Bool(holds(order)))
}

fn equal<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [left, right] = args else { return Err(Fault::no_overload()) };
    left.equals(right, budget).map(Val::Bool)
}

fn not_equal<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [left, right] = args else { return Err(Fault::no_overload()) };
    left.equals(right, budget).map(|equal| Val::Bool(!equal))
}

fn is_in<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [value, Val::List(list)] => list.contains(value, budget).map(Val::Bool),
        [key, Val::Map(map)] => map.get(key, budget).map(|found| Val::Bool(found.is_some())),
        _ => Err(Fault::no_overload()),
    }
}

fn size<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let size = match one(args)? {
        Val::Text(text) => text.chars().count(),
        Val::Bytes(bytes) => bytes.len(),
        Val::List(list) => list.len(),
        Val::Map(map) => map.len(),
        _ => return Err(Fault::no_overload()),
    };
    int(i64::try_from(size).ok())
}

fn unconvertible(from: Kind, to: Kind) -> Fault {
    Fault::new(format!("type conversion error from '{from}' to '{to}'"))
}

fn to_bool<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
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

const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;

fn to_int<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
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

fn to_uint<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
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
fn to_double<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
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

fn to_text<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
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

fn to_bytes<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Bytes(bytes)] => Ok(Val::Bytes(bytes.clone())),
        [Val::Text(text)] => Ok(Val::Bytes(text.as_bytes().into())),
        _ => Err(Fault::no_overload()),
    }
}

fn to_moment<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Moment(value)] => Ok(Val::Moment(*value)),
        [Val::Int(seconds)] => moment(Moment::from_unix(*seconds)),
        [Val::Text(text)] => {
            Moment::parse(text).map(Val::Moment).ok_or_else(|| unconvertible(Kind::Text, Kind::Moment))
        }
        _ => Err(Fault::no_overload()),
    }
}

fn to_span<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    match args {
        [Val::Span(value)] => Ok(Val::Span(*value)),
        [Val::Text(text)] => Span::parse(text).map(Val::Span).ok_or_else(|| unconvertible(Kind::Text, Kind::Span)),
        _ => Err(Fault::no_overload()),
    }
}

fn some_unless_zero<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let value = one(args)?;
    Ok(if value.is_zero() { Val::Optional(None) } else { Val::some(value.clone()) })
}

fn has_value<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Optional(value)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::Bool(value.is_some()))
}

fn value<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Optional(value)] = args else { return Err(Fault::no_overload()) };
    value.as_deref().cloned().ok_or_else(|| Fault::new("optional.none() dereference"))
}

fn field<'a>(args: &[Val<'a>], field: Field) -> Result<'a> {
    match args {
        [Val::Moment(moment)] => moment.field(field, None).map(Val::Int),
        [Val::Moment(moment), Val::Text(zone)] => moment.field(field, Some(zone)).map(Val::Int),
        _ => Err(Fault::no_overload()),
    }
}

fn span_or_field<'a>(args: &[Val<'a>], unit: i64, of_moment: Field) -> Result<'a> {
    match args {
        [Val::Span(span)] => int(span.nanos().checked_div(unit)),
        _ => field(args, of_moment),
    }
}
