//! Patterns: a selector, an operator and a value.
//!
//! A `value` that is a string is compared as text, as Authorino does. Anything else is compared by its type. Either side may
//! be a template with double braces.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};
use sidegate_config::{Operator, PatternExpression};

use super::number::{self, decimal};
use super::regex::{self, Regex};
use super::selector::Selector;
use super::template::{Template, has_double_braces};
use super::{EvalError, text};
use crate::compile::Compiler;
use crate::view::View;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    left: Left,
    test: Test,
    source: PatternExpression,
}

/// What stands on the left.
#[derive(Debug)]
enum Left {
    Path(Selector),
    Template(Template),
}

/// What stands on the right, if it may depend on the request.
#[derive(Debug)]
enum Right<T> {
    Fixed(T),
    Template(Template),
}

/// What the operator does with the value.
#[derive(Debug)]
enum Test {
    /// `eq` and `neq` of texts.
    Equals(Right<String>, bool),
    /// `incl` and `excl` of texts.
    Includes(Right<String>, bool),
    /// `matches`.
    Matches(Regex),
    /// `eq` and `neq` by type.
    Is(Value, bool),
    /// `incl` and `excl` by type.
    Has(Value, bool),
    /// `in` and `notIn`.
    OneOf(Right<Vec<Value>>, bool),
    /// `gt`, `ge`, `lt` and `le`.
    Order(Bound, Right<Number>),
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
        let test = compiler.at("value", |compiler| Test::compile(source.operator, &source.value, compiler));
        let left = compiler.at("selector", |compiler| match &source.selector {
            template if has_double_braces(template) => Left::Template(Template::interpolation(template, compiler)),
            path => Left::Path(Selector::compile(path, compiler)),
        });
        Some(Self { left, test: test?, source })
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// The value is a template, and yields what the operator cannot compare with.
    pub fn holds(&self, view: &View) -> Result<bool, EvalError> {
        let Self { left, test, source } = self;
        Ok(match test {
            Test::Equals(value, expected) => {
                value.with(view, |value| left.with_text(view, |text| text == value)) == *expected
            }
            Test::Includes(value, expected) => {
                let includes = |value: &str| left.any_item(view, |item| text::with(item, |text| text == value));
                value.with(view, includes) == *expected
            }
            Test::Matches(regex) => left.with_text(view, |text| regex.is_match(text.as_bytes())),
            Test::Is(value, expected) => is(left.find(view).as_deref().unwrap_or(&Value::Null), value) == *expected,
            Test::Has(value, expected) => left.any_item(view, |item| is(item, value)) == *expected,
            Test::OneOf(values, expected) => {
                let found = left.find(view);
                let found = found.as_deref().unwrap_or(&Value::Null);
                values.any(view, source, |value| is(found, value))? == *expected
            }
            Test::Order(bound, number) => {
                let number = number.number(view, source)?;
                left.find(view).is_some_and(|found| bound.holds(&found, &number))
            }
        })
    }
}

impl Left {
    fn find<'a>(&'a self, view: &'a View) -> Option<Cow<'a, Value>> {
        match self {
            Self::Path(selector) => selector.find(view),
            Self::Template(template) => Some(Cow::Owned(template.value(view))),
        }
    }

    fn with_text<T>(&self, view: &View, read: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Path(selector) => selector.with_text(view, read),
            Self::Template(template) => read(&template.text(view)),
        }
    }

    fn any_item(&self, view: &View, mut satisfies: impl FnMut(&Value) -> bool) -> bool {
        match self {
            Self::Path(selector) => selector.any_item(view, satisfies),
            Self::Template(template) => match template.value(view) {
                Value::Null => false,
                Value::Array(items) => items.iter().any(satisfies),
                value => satisfies(&value),
            },
        }
    }
}

impl Right<String> {
    fn with<T>(&self, view: &View, read: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Fixed(text) => read(text),
            Self::Template(template) => read(&template.text(view)),
        }
    }
}

impl Right<Vec<Value>> {
    fn any(
        &self,
        view: &View,
        source: &PatternExpression,
        satisfies: impl FnMut(&Value) -> bool,
    ) -> Result<bool, EvalError> {
        match self {
            Self::Fixed(values) => Ok(values.iter().any(satisfies)),
            Self::Template(template) => match template.value(view) {
                Value::Array(values) => Ok(values.iter().any(satisfies)),
                other => Err(EvalError(needs(source.operator, "a list", &other))),
            },
        }
    }
}

impl Right<Number> {
    fn number<'a>(&'a self, view: &View, source: &PatternExpression) -> Result<Cow<'a, Number>, EvalError> {
        match self {
            Self::Fixed(number) => Ok(Cow::Borrowed(number)),
            Self::Template(template) => {
                let value = template.value(view);
                let number = as_number(&value).map(Cow::into_owned);
                number.map(Cow::Owned).ok_or_else(|| EvalError(needs(source.operator, "a number", &value)))
            }
        }
    }
}

impl Test {
    fn compile(operator: Operator, value: &Value, compiler: &mut Compiler<'_>) -> Option<Self> {
        let template = value.as_str().filter(|text| has_double_braces(text) && operator != Operator::Matches);
        if let Some(template) = template {
            let template = Template::interpolation(template, compiler);
            return Some(match operator {
                Operator::Eq | Operator::Neq => Self::Equals(Right::Template(template), operator == Operator::Eq),
                Operator::Incl | Operator::Excl => {
                    Self::Includes(Right::Template(template), operator == Operator::Incl)
                }
                Operator::In | Operator::NotIn => Self::OneOf(Right::Template(template), operator == Operator::In),
                Operator::Gt => Self::Order(Bound::Above, Right::Template(template)),
                Operator::Ge => Self::Order(Bound::From, Right::Template(template)),
                Operator::Lt => Self::Order(Bound::Below, Right::Template(template)),
                Operator::Le => Self::Order(Bound::UpTo, Right::Template(template)),
                Operator::Matches => return None,
            });
        }
        Self::fixed(operator, value).map_err(|problem| compiler.problem(problem)).ok()
    }

    fn fixed(operator: Operator, value: &Value) -> Result<Self, String> {
        let is_scalar = !value.is_array() && !value.is_object();
        let scalar = || if is_scalar { Ok(value.clone()) } else { Err(needs(operator, "one value", value)) };
        let list = || value.as_array().cloned().ok_or_else(|| needs(operator, "a list", value));
        let number = |bound| match value {
            Value::Number(number) => Ok(Self::Order(bound, Right::Fixed(number.clone()))),
            other => Err(needs(operator, "a number, without quotes", other)),
        };
        match (operator, value) {
            (Operator::Eq | Operator::Neq, Value::String(text)) => {
                Ok(Self::Equals(Right::Fixed(text.clone()), operator == Operator::Eq))
            }
            (Operator::Incl | Operator::Excl, Value::String(text)) => {
                Ok(Self::Includes(Right::Fixed(text.clone()), operator == Operator::Incl))
            }
            (Operator::Matches, Value::String(pattern)) => {
                regex::compile(pattern).map(Self::Matches).map_err(|reason| {
                    format!("`{}` is no regular expression: {reason}", super::condition::shorten(pattern))
                })
            }
            (Operator::Matches, other) => Err(needs(operator, "a regular expression, in quotes", other)),
            (Operator::Eq | Operator::Neq, _) => scalar().map(|value| Self::Is(value, operator == Operator::Eq)),
            (Operator::Incl | Operator::Excl, _) => scalar().map(|value| Self::Has(value, operator == Operator::Incl)),
            (Operator::In | Operator::NotIn, _) => {
                list().map(|values| Self::OneOf(Right::Fixed(values), operator == Operator::In))
            }
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
        let ordering = as_number(left).and_then(|left| number::compare(&left, right));
        ordering.is_some_and(|ordering| match self {
            Self::Above => ordering == Ordering::Greater,
            Self::From => ordering != Ordering::Less,
            Self::Below => ordering == Ordering::Less,
            Self::UpTo => ordering != Ordering::Greater,
        })
    }
}

/// A number, or text that is one.
fn as_number(value: &Value) -> Option<Cow<'_, Number>> {
    match value {
        Value::Number(number) => Some(Cow::Borrowed(number)),
        Value::String(text) => decimal(text).map(Cow::Owned),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
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
            assert_eq!(pattern.unwrap().holds(&view), Ok(expected), "{selector} {operator} {value}");
        }
    }

    #[test]
    fn either_side_may_be_a_template() {
        let identity = json!({"id": 7, "text": "7", "list": [7, "a"], "max": 10, "name": "al"});
        let view = view(&[(":path", "/users/7")], &[], Some(identity));
        let (list, null) = (needs(Operator::In, "a list", &json!(7)), needs(Operator::Gt, "a number", &json!(null)));
        for (selector, operator, value, expected) in [
            ("request.path", "eq", "/users/{{auth.identity.id}}", Ok(true)),
            ("request.path", "neq", "/users/{{auth.identity.name}}", Ok(true)),
            ("auth.identity.text", "eq", "{{auth.identity.id}}", Ok(true)),
            ("{{auth.identity.name}}-{{auth.identity.id}}", "eq", "al-7", Ok(true)),
            ("{{auth.identity.name}}-{{auth.identity.id}}", "matches", "^al-[0-9]$", Ok(true)),
            ("{{auth.identity.list}}", "incl", "a", Ok(true)),
            ("{{auth.identity.missing}}", "incl", "", Ok(false)),
            ("{{auth.identity.name}}", "excl", "al", Ok(false)),
            ("auth.identity.list", "incl", "{{auth.identity.id}}", Ok(true)),
            ("auth.identity.id", "in", "{{auth.identity.list}}", Ok(true)),
            ("auth.identity.name", "notIn", "{{auth.identity.list}}", Ok(true)),
            ("auth.identity.id", "lt", "{{auth.identity.max}}", Ok(true)),
            ("{{auth.identity.id}}0", "gt", "{{auth.identity.text}}", Ok(true)),
            ("auth.identity.missing", "eq", "{{auth.identity.nothing}}", Ok(true)),
            ("auth.identity.name", "in", "{{auth.identity.id}}", Err(EvalError(list))),
            ("auth.identity.id", "gt", "{{auth.identity.missing}}", Err(EvalError(null))),
            // Today's meaning.
            ("request.path", "eq", r"\{{auth.identity.id}}", Ok(false)),
            ("request.path", "matches", "{{x}}", Ok(false)),
        ] {
            let (pattern, problems) = compile(selector, operator, &json!(value));
            assert_eq!(problems, [""; 0]);
            assert_eq!(pattern.unwrap().holds(&view), expected, "{selector} {operator} {value}");
        }
        for (selector, value) in [("{{a.#(b}}", "x"), ("a", "{{a.#(b}}"), ("{{ }}", "x"), ("a", "{{\"}}")] {
            assert_eq!(compile(selector, "eq", &json!(value)).1.len(), 1, "{selector} eq {value}");
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
