//! Why an expression did not yield a value, and the budget that keeps it from running long.

use std::borrow::Cow;

use super::kind::Kind;
use crate::expression::EvalError;

/// Why an expression did not yield a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A map has no such member; `has()` and optional access ask for this.
    NoSuchKey(Box<str>),
    /// A list is not that long.
    OutOfBounds(i128),
    /// Any other error of the language.
    Other(Cow<'static, str>),
    /// The expression ran too long; `||` and `&&` don't absorb that.
    Spent,
}

impl Fault {
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Other(message.into())
    }

    pub fn no_such_key(key: &str) -> Self {
        Self::NoSuchKey(key.into())
    }

    /// Without what a key is, if it is not written in the expression: it may be a credential.
    pub fn without_value(self, is_written: bool) -> Self {
        match self {
            Self::NoSuchKey(_) if !is_written => Self::no_such_key(""),
            fault => fault,
        }
    }

    pub const fn no_overload() -> Self {
        Self::Other(Cow::Borrowed("no such overload"))
    }

    pub fn index_kind(kind: Kind) -> Self {
        Self::new(format!("unsupported index type '{kind}' in list"))
    }

    /// Whether there is nothing at that place, where there could be something.
    pub const fn is_absence(&self) -> bool {
        matches!(self, Self::NoSuchKey(_) | Self::OutOfBounds(_))
    }
}

impl From<Fault> for EvalError {
    fn from(fault: Fault) -> Self {
        Self(match fault {
            Fault::NoSuchKey(key) if key.is_empty() => "no such key".to_owned(),
            Fault::NoSuchKey(key) => format!("no such key: {key}"),
            Fault::OutOfBounds(index) => format!("index out of bounds: {index}"),
            Fault::Other(message) => message.into_owned(),
            Fault::Spent => "the expression takes too many steps".to_owned(),
        })
    }
}

/// How much an expression may still do: one step for each part of it that is evaluated, for each element that is looked
/// at, and for some bytes that are read or written. It bounds time and memory alike.
#[derive(Debug)]
pub struct Budget(u32);

impl Budget {
    /// Milliseconds at most, and enough to search lists of ten thousand elements.
    pub const STEPS: u32 = 100_000;

    pub const fn new() -> Self {
        Self(Self::STEPS)
    }

    pub fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        let left = u32::try_from(steps).ok().and_then(|steps| self.0.checked_sub(steps));
        self.0 = left.unwrap_or(0);
        left.map(drop).ok_or(Fault::Spent)
    }

    /// Appends to a text under construction.
    pub fn push(&mut self, text: &mut String, part: &str) -> Result<(), Fault> {
        self.spend((part.len() / 8).saturating_add(1))?;
        text.push_str(part);
        Ok(())
    }
}
