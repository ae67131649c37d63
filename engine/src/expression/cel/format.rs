//! `format`: text with clauses like `%s` and `%.2f`.

use std::borrow::Cow;
use std::ops::Deref;

use super::collection::List;
use super::fault::{Budget, Fault};
use super::kind::Kind;
use super::strings::quoted;
use super::value::Val;
use crate::expression::text::go_g;

type Result<T> = std::result::Result<T, Fault>;

/// More digits than any double has.
const MAX_PRECISION: usize = 1000;
const DEFAULT_PRECISION: usize = 6;

pub fn format<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<Val<'a>> {
    let [Val::Text(template), Val::List(values)] = args else { return Err(Fault::no_overload()) };
    let mut formatted = String::new();
    let mut rest = template.deref();
    let mut next = 0;
    while let Some((before, after)) = rest.split_once('%') {
        budget.push(&mut formatted, before)?;
        if let Some(after) = after.strip_prefix('%') {
            budget.push(&mut formatted, "%")?;
            rest = after;
            continue;
        }
        let (clause, after) = Clause::parse(after)?;
        let value = values.get(next).ok_or_else(|| Fault::new(format!("index {next} out of range")))?;
        let part = clause.apply(&value, budget)?;
        budget.push(&mut formatted, &part)?;
        next = next.saturating_add(1);
        rest = after;
    }
    budget.push(&mut formatted, rest)?;
    Ok(Val::text(formatted))
}

/// What is wrong with a template whose number of arguments may be known.
pub fn check(template: &str, arguments: Option<usize>) -> std::result::Result<(), String> {
    let mut rest = template;
    let mut clauses = 0_usize;
    while let Some((_, after)) = rest.split_once('%') {
        rest = match after.strip_prefix('%') {
            Some(after) => after,
            None => {
                clauses = clauses.saturating_add(1);
                Clause::parse(after).map_err(|fault| crate::expression::EvalError::from(fault).0)?.1
            }
        };
    }
    match arguments {
        Some(arguments) if arguments != clauses => {
            Err(format!("the format has {clauses} clauses, but {arguments} arguments"))
        }
        _ => Ok(()),
    }
}

struct Clause {
    letter: char,
    precision: usize,
}

impl Clause {
    fn parse(text: &str) -> Result<(Self, &str)> {
        let (precision, rest) = match text.strip_prefix('.') {
            None => (DEFAULT_PRECISION, text),
            Some(text) => {
                let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
                let (digits, rest) = text.split_at(digits);
                let precision = digits.parse().ok().filter(|precision| *precision <= MAX_PRECISION);
                (precision.ok_or_else(|| bad_clause(&format!("the precision must be 0 to {MAX_PRECISION}")))?, rest)
            }
        };
        let mut letters = rest.chars();
        let letter = letters.next().ok_or_else(|| Fault::new("unexpected end of string"))?;
        if !"sdfebxXo".contains(letter) {
            return Err(bad_clause(&format!("unrecognized formatting clause \"{letter}\"")));
        }
        Ok((Self { letter, precision }, letters.as_str()))
    }

    fn apply<'v>(&self, value: &'v Val<'_>, budget: &mut Budget) -> Result<Cow<'v, str>> {
        Ok(Cow::Owned(match (self.letter, value) {
            ('s', Val::Text(text)) => return Ok(Cow::Borrowed(text.deref())),
            ('s', value) => {
                let mut text = String::new();
                write(value, Nesting::Outer, &mut text, budget)?;
                text
            }
            ('d', Val::Int(value)) => value.to_string(),
            ('d', Val::UInt(value)) => value.to_string(),
            ('d', value) => return Err(unfit("decimal clause can only be used on integers", value)),
            ('f', value) => match double(value) {
                Some(value) => fixed(value, self.precision),
                None => return Err(unfit("fixed-point clause can only be used on doubles", value)),
            },
            ('e', value) => match double(value) {
                Some(value) => scientific(value),
                None => return Err(unfit("scientific clause can only be used on doubles", value)),
            },
            ('b', Val::Int(value)) => format!("{}{:b}", sign(*value), value.unsigned_abs()),
            ('b', Val::UInt(value)) => format!("{value:b}"),
            ('b', Val::Bool(value)) => u8::from(*value).to_string(),
            ('b', value) => return Err(unfit("only integers and bools can be formatted as binary", value)),
            ('o', Val::Int(value)) => format!("{}{:o}", sign(*value), value.unsigned_abs()),
            ('o', Val::UInt(value)) => format!("{value:o}"),
            ('o', value) => return Err(unfit("octal clause can only be used on integers", value)),
            (case, value) => {
                let text = hexadecimal(value, budget)?;
                if case == 'X' { text.to_ascii_uppercase() } else { text }
            }
        }))
    }
}

fn bad_clause(what: &str) -> Fault {
    Fault::new(format!("could not parse formatting clause: {what}"))
}

fn unfit(what: &str, value: &Val<'_>) -> Fault {
    Fault::new(format!("error during formatting: {what}, was given {}", value.kind()))
}

const fn sign(value: i64) -> &'static str {
    if value < 0 { "-" } else { "" }
}

/// JSON has no other way to write the special numbers.
fn double(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Double(value) => Some(*value),
        Val::Text(text) => match text.deref() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        return Some("NaN".to_owned());
    }
    value.is_infinite().then(|| if value < 0.0 { "-∞".to_owned() } else { "∞".to_owned() })
}

/// With a comma between thousands, since cel-go formats for American readers.
fn fixed(value: f64, precision: usize) -> String {
    if let Some(special) = special(value) {
        return special;
    }
    let digits = format!("{:.precision$}", value.abs());
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && whole.len().saturating_sub(index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

/// As cel-go writes it: without regard to the precision, with narrow spaces.
fn scientific(value: f64) -> String {
    if let Some(special) = special(value) {
        return special;
    }
    // The sign of a zero is not shown.
    let digits = format!("{:.DEFAULT_PRECISION$e}", if value == 0.0 { 0.0 } else { value });
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("", exponent), |exponent| ("⁻", exponent));
    let superscript = |digit: char| match digit {
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        '9' => '⁹',
        _ => '⁰',
    };
    let exponent: String = format!("{exponent:0>2}").chars().map(superscript).collect();
    format!("{mantissa}\u{202f}×\u{202f}10{sign}{exponent}")
}

fn hexadecimal(value: &Val<'_>, budget: &mut Budget) -> Result<String> {
    let bytes = match value {
        Val::Int(value) => return Ok(format!("{}{:x}", sign(*value), value.unsigned_abs())),
        Val::UInt(value) => return Ok(format!("{value:x}")),
        Val::Text(text) => text.as_bytes(),
        Val::Bytes(bytes) => bytes,
        value => {
            return Err(unfit("only integers, byte buffers, and strings can be formatted as hex", value));
        }
    };
    budget.spend(bytes.len() / 4)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[derive(Clone, Copy, PartialEq)]
enum Nesting {
    /// The value itself: plain.
    Outer,
    /// Within a list or a map: so that one can tell what is what.
    Inner,
}

fn write(value: &Val<'_>, nesting: Nesting, text: &mut String, budget: &mut Budget) -> Result<()> {
    budget.spend(value.extent())?;
    let inner = nesting == Nesting::Inner;
    let part = match value {
        Val::Null => "null".to_owned(),
        Val::Bool(value) => value.to_string(),
        Val::Int(value) => value.to_string(),
        Val::UInt(value) => value.to_string(),
        Val::Double(value) if !inner => go_g(*value),
        Val::Double(value) if value.is_finite() => format!("{value:.DEFAULT_PRECISION$}"),
        Val::Double(value) => format!("\"{}\"", go_g(*value)),
        Val::Text(value) if inner => quoted(value),
        Val::Text(value) => value.to_string(),
        Val::Bytes(bytes) => {
            let invalid = || Fault::new("invalid UTF-8 in bytes, cannot convert to string");
            let value = str::from_utf8(bytes).map_err(|_| invalid())?;
            if inner { format!("b{}", quoted(value)) } else { value.to_owned() }
        }
        Val::Moment(moment) if inner => format!("timestamp(\"{moment}\")"),
        Val::Moment(moment) => moment.to_string(),
        Val::Span(span) if inner => format!("duration(\"{span}\")"),
        Val::Span(span) => span.to_string(),
        Val::Type(kind) => kind.to_string(),
        Val::List(list) => return write_list(list, text, budget),
        Val::Map(map) => return write_map(map.entries(), text, budget),
        Val::Optional(_) => {
            let what = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, \
                        durations, and timestamps";
            return Err(unfit(what, value));
        }
    };
    budget.push(text, &part)
}

fn write_list(list: &List<'_>, text: &mut String, budget: &mut Budget) -> Result<()> {
    text.push('[');
    for (index, element) in list.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        write(&element, Nesting::Inner, text, budget)?;
    }
    text.push(']');
    Ok(())
}

fn write_map(entries: Vec<(Val<'_>, Val<'_>)>, text: &mut String, budget: &mut Budget) -> Result<()> {
    let mut parts = Vec::new();
    for (key, value) in entries {
        if !matches!(key.kind(), Kind::Text | Kind::Bool | Kind::Int | Kind::UInt) {
            return Err(Fault::new(format!(
                "error during formatting: no formatting function for map key of type {}",
                key.kind()
            )));
        }
        let mut name = String::new();
        write(&key, Nesting::Inner, &mut name, budget)?;
        let mut part = String::new();
        write(&value, Nesting::Inner, &mut part, budget)?;
        parts.push((name, part));
    }
    parts.sort();
    let parts: Vec<String> = parts.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
    budget.push(text, &format!("{{{}}}", parts.join(", ")))
}
