//! Values as text, the way Go's `encoding/json` and gjson write them.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Compact JSON with sorted keys and Go's HTML escapes.
#[must_use]
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write_json(&mut out, value);
    out
}

/// Strings as they are, null as nothing, everything else as compact JSON.
#[must_use]
pub fn stringify(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Number(number) => plain_number(number),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => to_json(value),
    }
}

/// JSON over several lines, as `@pretty` spreads it.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write_pretty(&mut out, value, 0);
    out.push('\n');
    out
}

/// As [`stringify()`], without a copy where there is a string already.
pub fn with<T>(value: &Value, read: impl FnOnce(&str) -> T) -> T {
    match value {
        Value::String(text) => read(text),
        other => read(&stringify(other)),
    }
}

/// A number as Go's `%v` prints a `float64`.
#[must_use]
pub fn go_g(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let (mantissa, exponent) = scientific(number);
    if (-4..6).contains(&exponent) { number.to_string() } else { with_exponent(&mantissa, exponent, 2) }
}

fn write_json(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&json_number(number)),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(out, name);
                out.push(':');
                write_json(out, value);
            }
            out.push('}');
        }
    }
}

fn write_pretty(out: &mut String, value: &Value, depth: usize) {
    /// Characters that a line may have with a list of plain values in it.
    const WIDTH: usize = 80;
    let inner = depth.saturating_add(1);
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                new_line(out, inner);
                write_text(out, name);
                out.push_str(": ");
                write_pretty(out, value, inner);
            }
            new_line(out, depth);
            out.push('}');
        }
        Value::Array(items) if !items.is_empty() => {
            let plain = items.iter().all(|item| !item.is_object() && !item.is_array());
            let line = items.iter().map(to_json).collect::<Vec<_>>().join(", ");
            if plain && line.len().saturating_add(depth.saturating_mul(2)) < WIDTH {
                out.push('[');
                out.push_str(&line);
                out.push(']');
                return;
            }
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                new_line(out, inner);
                write_pretty(out, item, inner);
            }
            new_line(out, depth);
            out.push(']');
        }
        value => write_json(out, value),
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whole numbers digit by digit, all others in the fewest digits and without an exponent.
fn plain_number(number: &Number) -> String {
    match number.as_f64() {
        // Rust's own `Display` of a float never has an exponent.
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

/// As `encoding/json` writes numbers: with an exponent only where they are very large or very small.
fn json_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float != 0.0 && !(1e-6..1e21).contains(&float.abs()) => {
            let (mantissa, exponent) = scientific(float);
            with_exponent(&mantissa, exponent, 1)
        }
        _ => plain_number(number),
    }
}

/// The fewest digits, as `d.ddd`, and the exponent.
fn scientific(number: f64) -> (String, i32) {
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or(0))
}

fn with_exponent(mantissa: &str, exponent: i32, digits: usize) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:0digits$}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_written_as_go_writes_it() {
        for (value, text) in [
            (json!({"b": [1, null, true], "a": {}}), r#"{"a":{},"b":[1,null,true]}"#),
            (json!("<a>&\"\\\u{7f}é"), "\"\\u003ca\\u003e\\u0026\\\"\\\\\u{7f}é\""),
            (json!("\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{2028}\u{2029}"), r#""\n\r\t\b\f\u0001\u001f\u2028\u2029""#),
            (json!(9_007_199_254_740_993_u64), "9007199254740993"),
            (json!(-1), "-1"),
            (json!(1.5), "1.5"),
            (json!(1000.0), "1000"),
            (json!(1e20), "100000000000000000000"),
            (json!(1e21), "1e+21"),
            (json!(-1.5e300), "-1.5e+300"),
            (json!(0.000_001), "0.000001"),
            (json!(1.5e-7), "1.5e-7"),
            (json!(0.0), "0"),
        ] {
            assert_eq!(to_json(&value), text);
        }
    }

    #[test]
    fn text_has_no_quotes_no_null_and_no_exponents() {
        for (value, text) in [
            (json!("a<b"), "a<b"),
            (json!(null), ""),
            (json!(true), "true"),
            (json!(1.50), "1.5"),
            (json!(1e3), "1000"),
            (json!(1e21), "1000000000000000000000"),
            (json!(1e-7), "0.0000001"),
            (json!(9_007_199_254_740_993_u64), "9007199254740993"),
            (json!({"a": "<"}), r#"{"a":"\u003c"}"#),
            (json!([1, "x"]), r#"[1,"x"]"#),
        ] {
            assert_eq!(stringify(&value), text);
        }
    }

    #[test]
    fn numbers_are_printed_as_go_prints_a_float64() {
        for (number, text) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (1.5, "1.5"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1.7e9, "1.7e+09"),
            (1e21, "1e+21"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (-2.5e7, "-2.5e+07"),
            (12_345.678, "12345.678"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(go_g(number), text);
        }
    }
}
