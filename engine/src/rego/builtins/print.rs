//! `sprintf`: Go's verbs.

use regorus::Value;

use super::{Call, Outcome, Stop, items};
use crate::rego::text;

/// Characters that a width or precision may be.
const WIDTH: usize = 1000;

#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

pub fn sprintf(call: &mut Call<'_>) -> Outcome {
    let (format, args) = (call.text(0)?, items(call.arg(1))?);
    let (mut out, mut rest, mut args) = (String::new(), format, args.into_iter());
    while let Some((plain, after)) = rest.split_once('%') {
        out.push_str(plain);
        let (spec, after) = spec(after)?;
        let Some(verb) = after.chars().next() else {
            out.push_str("%!(NOVERB)");
            rest = "";
            break;
        };
        rest = after.get(verb.len_utf8()..).unwrap_or_default();
        if verb == '%' {
            out.push('%');
            continue;
        }
        match args.next() {
            Some(arg) => print(&mut out, &spec, verb, arg),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = args.map(|arg| format!("{}={}", go_type(arg), show(arg, false))).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(text(out))
}

fn spec(text: &str) -> Result<(Spec, &str), Stop> {
    let mut spec = Spec::default();
    let mut rest = text;
    loop {
        match rest.chars().next() {
            Some('-') => spec.minus = true,
            Some('+') => spec.plus = true,
            Some('#') => spec.sharp = true,
            Some('0') => spec.zero = true,
            Some(' ') => {}
            _ => break,
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    let (width, after) = number(rest)?;
    spec.width = width.unwrap_or(0);
    rest = after;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = number(after)?;
        spec.precision = Some(precision.unwrap_or(0));
        rest = after;
    }
    Ok((spec, rest))
}

fn number(text: &str) -> Result<(Option<usize>, &str), Stop> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or(("", text));
    if digits.is_empty() {
        return Ok((None, rest));
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDTH).ok_or(Stop::Undefined)?;
    Ok((Some(number), rest))
}

fn print(out: &mut String, spec: &Spec, verb: char, arg: &Value) {
    let number = match arg {
        Value::Number(number) => Some(number),
        _ => None,
    };
    let whole = number.filter(|number| number.is_integer());
    let signed = |digits: String| {
        let negative = number.is_some_and(|number| number.as_f64().is_some_and(|number| number < 0.0));
        let digits = digits.trim_start_matches('-').to_owned();
        (
            if negative {
                "-"
            } else if spec.plus {
                "+"
            } else {
                ""
            },
            digits,
        )
    };
    let float = number.and_then(|number| number.as_f64());
    let (sign, body) = match (verb, whole, float) {
        ('v', ..) => ("", show(arg, false)),
        ('s', None, None) => ("", cut(show(arg, false), spec.precision)),
        ('q', None, None) => ("", go_quoted(&cut(show(arg, false), spec.precision))),
        ('t', ..) if matches!(arg, Value::Bool(_)) => ("", show(arg, false)),
        ('x', None, None) if matches!(arg, Value::String(_)) => {
            ("", show(arg, false).bytes().map(|byte| format!("{byte:02x}")).collect())
        }
        ('d', Some(number), _) => signed(number.format_decimal()),
        ('b', Some(number), _) => signed(number.format_bin()),
        ('o', Some(number), _) => signed(number.format_octal()),
        ('O', Some(number), _) => signed(format!("0o{}", number.format_octal().trim_start_matches('-'))),
        ('x', Some(number), _) => signed(hex(spec, "0x", number.format_hex())),
        ('X', Some(number), _) => signed(hex(spec, "0X", number.format_big_hex())),
        ('c', Some(number), _) => {
            let c = number.as_u64().and_then(|number| u32::try_from(number).ok()).and_then(char::from_u32);
            ("", c.unwrap_or(char::REPLACEMENT_CHARACTER).to_string())
        }
        ('f' | 'F', None, Some(float)) => signed(format!("{float:.*}", spec.precision.unwrap_or(6))),
        ('e' | 'E', None, Some(float)) => signed(exponent(float, spec.precision.unwrap_or(6), verb)),
        ('g' | 'G', None, Some(float)) => signed(text_of(float)),
        _ => {
            out.push_str(&format!("%!{verb}({}={})", go_type(arg), show(arg, false)));
            return;
        }
    };
    let length = sign.len().saturating_add(body.chars().count());
    let missing = spec.width.saturating_sub(length);
    if spec.minus {
        out.extend([sign, &body, &" ".repeat(missing)]);
    } else if spec.zero && number.is_some() {
        out.extend([sign, &"0".repeat(missing), &body]);
    } else {
        out.extend([&" ".repeat(missing), sign, &body]);
    }
}

fn hex(spec: &Spec, prefix: &str, digits: String) -> String {
    let digits = digits.trim_start_matches('-').to_owned();
    if spec.sharp { format!("{prefix}{digits}") } else { digits }
}

fn cut(text: String, precision: Option<usize>) -> String {
    match precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    }
}

/// With two digits of the exponent at least.
fn exponent(number: f64, precision: usize, verb: char) -> String {
    let plain = format!("{number:.precision$e}");
    let (digits, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}{verb}{sign}{exponent:0>2}")
}

fn text_of(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let plain = format!("{number:e}");
        let (digits, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number}")
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Number(number) if number.is_integer() => "int",
        Value::Number(_) => "float64",
        Value::Bool(_) => "bool",
        _ => "string",
    }
}

/// As OPA writes terms: texts within others are quoted.
fn show(value: &Value, quoted: bool) -> String {
    let all = |items: Vec<&Value>| items.into_iter().map(|item| show(item, true)).collect::<Vec<_>>().join(", ");
    match value {
        Value::Undefined => "undefined".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) if number.is_integer() => number.format_decimal(),
        Value::Number(number) => number.as_f64().map(text_of).unwrap_or_default(),
        Value::String(text) if quoted => go_quoted(text),
        Value::String(text) => text.to_string(),
        Value::Array(list) => format!("[{}]", all(list.iter().collect())),
        Value::Set(set) if set.is_empty() => "set()".to_owned(),
        Value::Set(set) => format!("{{{}}}", all(set.iter_sorted().collect())),
        Value::Object(members) => {
            let members =
                members.iter_sorted().map(|(key, value)| format!("{}: {}", show(key, true), show(value, true)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
