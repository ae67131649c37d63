//! Queries: the items of a list that meet a condition.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::glob::Glob;
use super::path::{Found, Input, Path};

/// `#(path operator value)`, or with `#` after it.
#[derive(Debug)]
pub struct Query {
    /// What of an item is compared; `None`: the item itself, which then is no object or list.
    pub path: Option<Path>,
    /// The comparison; `None`: it is enough that there is something.
    pub test: Option<Test>,
    /// All items rather than the first.
    pub all: bool,
    /// What of the items is wanted; `None`: the items themselves.
    pub then: Option<Path>,
}

/// An operator and its right side.
#[derive(Debug)]
pub struct Test {
    /// The operator.
    pub operator: Operator,
    /// The right side as text.
    pub text: String,
    /// The right side as a number; 0 if it is none.
    pub number: f64,
    /// Whether the left side is first made true or false (`~`).
    pub truth: bool,
}

/// Operators of queries.
#[derive(Debug)]
pub enum Operator {
    /// `=` or `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `%`, or `!%`: whether the pattern matches.
    Like(Glob, bool),
}

impl Query {
    /// The items, and whether the query came to its end; one that has a rest never does if no item meets the condition.
    pub fn evaluate<'a>(&'a self, items: &'a [Value]) -> (Found<'a>, bool) {
        let mut matching = items.iter().filter(|item| self.is_met(item)).peekable();
        let reached = self.then.is_none() || matching.peek().is_some();
        let found = if self.all {
            Some(Cow::Owned(matching.filter_map(|item| self.wanted(item)).map(Cow::into_owned).collect()))
        } else {
            matching.next().and_then(|item| self.wanted(item))
        };
        (found, reached)
    }

    fn wanted<'a>(&'a self, item: &'a Value) -> Found<'a> {
        let item = Some(Cow::Borrowed(item));
        self.then.as_ref().map_or(item.clone(), |path| path.evaluate(Input::Value(item)))
    }

    fn is_met(&self, item: &Value) -> bool {
        let found = match (&self.path, item) {
            (Some(path), Value::Object(_) | Value::Array(_)) => path.evaluate(Input::Value(Some(Cow::Borrowed(item)))),
            (None, Value::Object(_) | Value::Array(_)) | (Some(_), _) => return false,
            (None, scalar) => Some(Cow::Borrowed(scalar)),
        };
        match &self.test {
            None => found.is_some(),
            Some(test) if test.truth => test.is_met(&Value::Bool(found.is_some_and(|value| is_true(&value)))),
            Some(test) => found.is_some_and(|value| test.is_met(&value)),
        }
    }
}

impl Test {
    fn is_met(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.compares(text.as_str().partial_cmp(self.text.as_str()), Some(text)),
            Value::Number(number) => self.compares(number.as_f64().and_then(|n| n.partial_cmp(&self.number)), None),
            Value::Bool(truth) => self.compares_truth(*truth),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }

    fn compares(&self, ordering: Option<Ordering>, text: Option<&str>) -> bool {
        match &self.operator {
            Operator::Equal => ordering == Some(Ordering::Equal),
            Operator::NotEqual => ordering != Some(Ordering::Equal),
            Operator::Less => ordering.is_some_and(Ordering::is_lt),
            Operator::LessOrEqual => ordering.is_some_and(Ordering::is_le),
            Operator::Greater => ordering.is_some_and(Ordering::is_gt),
            Operator::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
            Operator::Like(glob, expected) => text.is_some_and(|text| glob.matches(text) == *expected),
        }
    }

    /// As gjson has it, what is neither `true` nor `false` is not equal to either.
    fn compares_truth(&self, truth: bool) -> bool {
        let same = self.text == if truth { "true" } else { "false" };
        let opposite = self.text == if truth { "false" } else { "true" };
        match &self.operator {
            Operator::Equal => same,
            Operator::NotEqual => !same,
            Operator::Less => !truth && opposite,
            Operator::LessOrEqual => !truth,
            Operator::Greater => truth && opposite,
            Operator::GreaterOrEqual => truth,
            Operator::Like(..) => false,
        }
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => ["1", "t", "true"].iter().any(|word| text.eq_ignore_ascii_case(word)),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}
