//! `matches`: regular expressions, compiled once.

use std::cell::RefCell;
use std::fmt;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;

use super::fault::{Budget, Fault};
use crate::expression::regex::{Regex, compile_within};

/// Enough for a pattern of some ten characters with classes and repetitions; bounds what one out of a request can cost.
const SIZE_LIMIT: usize = 16 << 10;
const COMPILE_STEPS: usize = 2_000;
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// The patterns that one place of an expression met last, where they are not known beforehand.
pub struct Patterns(RefCell<LruCache<Rc<str>, Result<Regex, String>>>);

impl Patterns {
    pub fn new() -> Self {
        Self(RefCell::new(LruCache::new(REMEMBERED)))
    }

    /// Whether the pattern occurs in the text.
    pub fn is_match(&self, pattern: &str, text: &str, budget: &mut Budget) -> Result<bool, Fault> {
        budget.spend(text.len())?;
        let mut remembered = self.0.borrow_mut();
        if remembered.get(pattern).is_none() {
            budget.spend(COMPILE_STEPS.saturating_add(pattern.len()))?;
            remembered.put(pattern.into(), compile_within(SIZE_LIMIT, pattern));
        }
        match remembered.get(pattern) {
            Some(Ok(regex)) => Ok(regex.is_match(text.as_bytes())),
            Some(Err(error)) => Err(Fault::new(format!("error parsing regexp: {error}"))),
            None => Err(Fault::no_overload()),
        }
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patterns")
    }
}

/// Whether a pattern occurs in the text, in time linear in its length.
pub fn search(regex: &Regex, text: &str, budget: &mut Budget) -> Result<bool, Fault> {
    budget.spend(text.len() / 2)?;
    Ok(regex.is_match(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_remembered_and_forgotten() {
        let patterns = Patterns::new();
        let is_match = |pattern: &str| {
            let mut budget = Budget::new();
            let result = patterns.is_match(pattern, "abc", &mut budget);
            (result, budget.spend(Budget::STEPS as usize - COMPILE_STEPS).is_err())
        };
        assert_eq!(is_match("b"), (Ok(true), true), "compiled");
        assert_eq!(is_match("b"), (Ok(true), false), "remembered");
        for index in 0..8 {
            assert_eq!(is_match(&format!("x{index}")), (Ok(false), true));
        }
        assert_eq!(is_match("b"), (Ok(true), true), "compiled again");
        assert_eq!(is_match("("), (Err(Fault::new("error parsing regexp: unclosed group")), true));
        assert_eq!(is_match("("), (Err(Fault::new("error parsing regexp: unclosed group")), false), "remembered");
        assert_eq!(is_match("(a{99}){99}"), (Err(Fault::new("error parsing regexp: it is too big")), true));
    }
}
