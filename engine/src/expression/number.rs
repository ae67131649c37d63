//! Numbers of JSON, compared by what they count.

use std::cmp::Ordering;

use serde_json::Number;

/// Compares two numbers; whole ones are never rounded.
#[must_use]
pub fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// The number, if it has no fraction and is not beyond what can be told apart.
fn whole(number: &Number) -> Option<i128> {
    /// 2^64, below which every whole float is exact as an integer.
    const EXACT: f64 = 18_446_744_073_709_551_616.0;
    if number.is_f64() {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range")]
        return Some(float as i128);
    }
    number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from))
}

/// The number that a text is, all of it: digits, with a `-` before and a fraction behind if need be.
#[must_use]
pub fn decimal(text: &str) -> Option<Number> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        None if digits(unsigned) => {
            let unsigned = text.parse::<u64>().ok().map(Number::from);
            unsigned.or_else(|| text.parse::<i64>().ok().map(Number::from)).or_else(|| float(text))
        }
        Some((whole, fraction)) if digits(whole) && digits(fraction) => float(text),
        _ => None,
    }
}

fn float(text: &str) -> Option<Number> {
    text.parse().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn number(value: Value) -> Number {
        if let Value::Number(number) = value { number } else { panic!("{value} is no number") }
    }

    #[test]
    fn numbers_compare_by_what_they_count() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            (json!(1), json!(1.0), Equal),
            (json!(-1), json!(1), Less),
            (json!(1.5), json!(1), Greater),
            (json!(-0.0), json!(0), Equal),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64), Greater),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0), Greater),
            (json!(u64::MAX), json!(i64::MIN), Greater),
            (json!(u64::MAX), json!(18_446_744_073_709_551_616.0), Less),
            (json!(1e300), json!(u64::MAX), Greater),
        ] {
            assert_eq!(compare(&number(left.clone()), &number(right.clone())), Some(expected), "{left} {right}");
            assert_eq!(compare(&number(right), &number(left)), Some(expected.reverse()));
        }
    }

    #[test]
    fn a_text_is_a_number_if_all_of_it_is() {
        for (text, expected) in [
            ("0", Some(json!(0))),
            ("-5", Some(json!(-5))),
            ("007", Some(json!(7))),
            ("1.50", Some(json!(1.5))),
            ("-0.5", Some(json!(-0.5))),
            ("18446744073709551615", Some(json!(u64::MAX))),
            ("18446744073709551616", Some(json!(18_446_744_073_709_551_616.0))),
            ("", None),
            ("-", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1.", None),
            (".5", None),
            ("1e3", None),
            ("0x10", None),
            ("1_000", None),
            ("NaN", None),
            ("inf", None),
            ("--1", None),
            ("1.2.3", None),
            ("\u{661}", None),
        ] {
            assert_eq!(decimal(text), expected.map(number), "{text:?}");
        }
        assert_eq!(decimal(&"9".repeat(400)), None, "more than any number counts");
    }
}
