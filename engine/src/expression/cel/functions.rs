//! The functions and operators of the language, without those that don't always look at all of their operands.

use std::cmp::Ordering;

use super::conversions::{to_bool, to_bytes, to_double, to_int, to_moment, to_span, to_text, to_uint};
use super::fault::{Budget, Fault};
use super::format::format;
use super::kind::Kind;
use super::operators::{
    add, compare, divide, equal, field, has_value, is_in, multiply, negate, not, not_equal, one, remainder, size,
    some_unless_zero, span_or_field, subtract, texts, value,
};
use super::strings;
use super::time::Field;
use super::value::Val;

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
