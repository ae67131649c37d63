//! Patterns: a selector, an operator and a value.
//!
//! A `value` that is a string is compared as text, as Authorino does. Anything else is compared by its type.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};
use sidegate_config::{Operator, PatternExpression};

use super::number::{self, decimal};
use super::regex::{self, Regex};
use super::selector::Selector;
use super::text;
use crate::compile::Compiler;
use crate::view::View;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    left: Selector,
    test: Test,
    source: PatternExpression,
}

/// What the operator does with the value.
#[derive(Debug)]
enum Test {
    /// `eq` and `neq` of texts.
    Equals(String, bool),
    /// `incl` and `excl` of texts.
    Includes(String, bool),
    /// `matches`.
    Matches(Regex),
    /// `eq` and `neq` by type.
    Is(Value, bool),
    /// `incl` and `excl` by type.
    Has(Value, bool),
    /// `in` and `notIn`.
    OneOf(Vec<Value>, bool),
    /// `gt`, `ge`, `lt` and `le`.
    Order(Bound, Number),
}

/// On which side of a number.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Above,
    From,
    Below,
    UpTo,
}

impl Pattern {
    /// Compiles; none if the problem was told.
    pub fn compile(source: PatternExpression, compiler: &mut Compiler<'_>) -> Option<Self> {
        let test = compiler.at("value", |compiler| {
            Test::compile(source.operator, &source.value).map_err(|problem| compiler.problem(problem)).ok()
        });
        let left = compiler.at("selector", |compiler| Selector::compile(&source.selector, compiler));
        Some(Self { left, test: test?, source })
    }

    /// Whether it holds.
    pub fn holds(&self, view: &View) -> bool {
        let Self { left, test, source: _ } = self;
        match test {
            Test::Equals(value, expected) => left.with_text(view, |text| text == value) == *expected,
            Test::Includes(value, expected) => {
                left.any_item(view, |item| text::with(item, |text| text == value)) == *expected
            }
            Test::Matches(regex) => left.with_text(view, |text| regex.is_match(text.as_bytes())),
            Test::Is(value, expected) => is(left.find(view).as_deref().unwrap_or(&Value::Null), value) == *expected,
            Test::Has(value, expected) => left.any_item(view, |item| is(item, value)) == *expected,
            Test::OneOf(values, expected) => {
                let found = left.find(view);
                let found = found.as_deref().unwrap_or(&Value::Null);
                values.iter().any(|value| is(found, value)) == *expected
            }
            Test::Order(bound, number) => left.find(view).is_some_and(|found| bound.holds(&found, number)),
        }
    }
}

impl Test {
    fn compile(operator: Operator, value: &Value) -> Result<Self, String> {
        let is_scalar = !value.is_array() && !value.is_object();
        let scalar = || if is_scalar { Ok(value.clone()) } else { Err(needs(operator, "one value", value)) };
        let list = || value.as_array().cloned().ok_or_else(|| needs(operator, "a list", value));
        let number = |bound| match value {
            Value::Number(number) => Ok(Self::Order(bound, number.clone())),
            other => Err(needs(operator, "a number, without quotes", other)),
        };
        match (operator, value) {
            (Operator::Eq | Operator::Neq, Value::String(text)) => {
                Ok(Self::Equals(text.clone(), operator == Operator::Eq))
            }
            (Operator::Incl | Operator::Excl, Value::String(text)) => {
                Ok(Self::Includes(text.clone(), operator == Operator::Incl))
            }
            (Operator::Matches, Value::String(pattern)) => {
                regex::compile(pattern).map(Self::Matches).map_err(|reason| {
                    format!("`{}` is no regular expression: {reason}", super::condition::shorten(pattern))
                })
            }
            (Operator::Matches, other) => Err(needs(operator, "a regular expression, in quotes", other)),
            (Operator::Eq | Operator::Neq, _) => scalar().map(|value| Self::Is(value, operator == Operator::Eq)),
            (Operator::Incl | Operator::Excl, _) => scalar().map(|value| Self::Has(value, operator == Operator::Incl)),
            (Operator::In | Operator::NotIn, _) => list().map(|values| Self::OneOf(values, operator == Operator::In)),
            (Operator::Gt, _) => number(Bound::Above),
            (Operator::Ge, _) => number(Bound::From),
            (Operator::Lt, _) => number(Bound::Below),
            (Operator::Le, _) => number(Bound::UpTo),
        }
    }
}

impl Bound {
    /// Whether a number, or text that is one, is within the bound; nothing else is.
    fn holds(self, left: &Value, right: &Number) -> bool {
        let ordering = match left {
            Value::Number(left) => number::compare(left, right),
            Value::String(text) => decimal(text).and_then(|left| number::compare(&left, right)),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        ordering.is_some_and(|ordering| match self {
            Self::Above => ordering == Ordering::Greater,
            Self::From => ordering != Ordering::Less,
            Self::Below => ordering == Ordering::Less,
            Self::UpTo => ordering != Ordering::Greater,
        })
    }
}

/// Whether two values are of one type and equal. Numbers are equal by what they count; lists and objects are to nothing.
fn is(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::Number(left), Value::Number(right)) => number::compare(left, right) == Some(Ordering::Equal),
        _ => false,
    }
}

fn needs(operator: Operator, wanted: &str, value: &Value) -> String {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("`{}` needs {wanted}, not {got}", name(operator))
}

/// As its author wrote it.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PatternExpression { selector, operator, value } = &self.source;
        write!(f, "{selector} {} ", name(*operator))?;
        match value {
            Value::String(text) => f.write_str(text),
            other => f.write_str(&text::to_json(other)),
        }
    }
}

const fn name(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "eq",
        Operator::Neq => "neq",
        Operator::Incl => "incl",
        Operator::Excl => "excl",
        Operator::Matches => "matches",
        Operator::In => "in",
        Operator::NotIn => "notIn",
        Operator::Gt => "gt",
        Operator::Ge => "ge",
        Operator::Lt => "lt",
        Operator::Le => "le",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expression::testing::{compiled, view};

    fn compile(selector: &str, operator: &str, value: &Value) -> (Option<Pattern>, Vec<String>) {
        let source = json!({"selector": selector, "operator": operator, "value": value});
        let source = serde_json::from_value(source).unwrap();
        let (pattern, problems, _) = compiled(json!({}), |compiler| Pattern::compile(source, compiler));
        (pattern, problems)
    }

    #[test]
    fn values_that_are_no_strings_compare_by_type() {
        let identity = json!({
            "role": "admin", "n": null, "e": "", "t": true, "i": 12, "f": 12.0, "big": 9_007_199_254_740_993_u64,
            "port": "8080", "list": ["a", 1, null, true, 2.0], "empty": [], "object": {"a": 1},
        });
        let view = view(&[], &[], Some(identity));
        for (selector, operator, value, expected) in [
            ("i", "eq", json!(12), true),
            ("i", "eq", json!(12.0), true),
            ("f", "eq", json!(12), true),
            ("port", "eq", json!(8080), false),
            ("port", "neq", json!(8080), true),
            ("t", "eq", json!(true), true),
            ("t", "neq", json!(true), false),
            ("t", "eq", json!(1), false),
            ("n", "eq", json!(null), true),
            ("missing", "eq", json!(null), true),
            ("missing", "neq", json!(null), false),
            ("e", "eq", json!(null), false),
            ("missing", "eq", json!(0), false),
            ("object", "eq", json!(1), false),
            ("object", "neq", json!(1), true),
            ("big", "eq", json!(9_007_199_254_740_992_u64), false),
            ("list", "incl", json!(1), true),
            ("list", "incl", json!(2), true),
            ("list", "incl", json!(true), true),
            ("list", "incl", json!(null), true),
            ("list", "incl", json!(3), false),
            ("list", "excl", json!(3), true),
            ("i", "incl", json!(12), true),
            ("missing", "incl", json!(null), false),
            ("missing", "excl", json!(1), true),
            ("role", "in", json!(["user", "admin"]), true),
            ("role", "notIn", json!(["user", "admin"]), false),
            ("role", "in", json!([]), false),
            ("role", "notIn", json!([]), true),
            ("i", "in", json!([1, 12.0]), true),
            ("port", "in", json!([8080]), false),
            ("missing", "in", json!([null]), true),
            ("missing", "in", json!([""]), false),
            ("missing", "notIn", json!(["a"]), true),
            ("list", "in", json!(["a"]), false),
            ("list", "notIn", json!(["a"]), true),
            ("i", "gt", json!(11), true),
            ("i", "gt", json!(12), false),
            ("i", "ge", json!(12), true),
            ("i", "lt", json!(12.5), true),
            ("i", "le", json!(11.5), false),
            ("port", "ge", json!(8080), true),
            ("port", "lt", json!(8080.5), true),
            ("role", "gt", json!(0), false),
            ("role", "le", json!(0), false),
            ("t", "ge", json!(0), false),
            ("e", "le", json!(0), false),
            ("n", "le", json!(0), false),
            ("missing", "lt", json!(1), false),
            ("list", "lt", json!(1), false),
            ("big", "gt", json!(9_007_199_254_740_992_u64), true),
        ] {
            let (pattern, problems) = compile(&format!("auth.identity.{selector}"), operator, &value);
            assert_eq!(problems, [""; 0]);
            assert_eq!(pattern.unwrap().holds(&view), expected, "{selector} {operator} {value}");
        }
    }

    #[test]
    fn a_value_that_no_comparison_can_be_made_with_is_a_problem() {
        for (operator, value, message) in [
            ("eq", json!([1]), "`eq` needs one value, not a list"),
            ("neq", json!({}), "`neq` needs one value, not an object"),
            ("incl", json!([1]), "`incl` needs one value, not a list"),
            ("in", json!("admin"), "`in` needs a list, not a string"),
            ("notIn", json!(null), "`notIn` needs a list, not null"),
            ("gt", json!("1"), "`gt` needs a number, without quotes, not a string"),
            ("le", json!(true), "`le` needs a number, without quotes, not a boolean"),
            ("matches", json!(1), "`matches` needs a regular expression, in quotes, not a number"),
        ] {
            let (pattern, problems) = compile("auth.identity.a", operator, &value);
            assert!(pattern.is_none());
            assert_eq!(problems, [format!("AuthConfig default/test: spec.value: {message}")]);
        }
    }

    #[test]
    fn a_pattern_is_shown_as_it_was_written() {
        for (operator, value, shown) in [
            ("eq", json!("GET"), "a.b eq GET"),
            ("eq", json!(1.0), "a.b eq 1"),
            ("notIn", json!(["a", 1, null]), r#"a.b notIn ["a",1,null]"#),
        ] {
            assert_eq!(compile("a.b", operator, &value).0.unwrap().to_string(), shown);
        }
    }
}
