//! `matches`: regular expressions, compiled once.

use std::cell::RefCell;
use std::fmt;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;
use regex::{Regex, RegexBuilder};

use super::fault::{Budget, Fault};

/// Enough for any pattern people write by hand; bounds what a pattern out of a request can cost.
const MAX_PROGRAM: usize = 256 << 10;
/// Steps for compiling a pattern while the expression runs.
const COMPILE_STEPS: usize = 2_000;
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// Compiles a pattern.
///
/// # Errors
/// What is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(MAX_PROGRAM).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
        // The last line says what is wrong, those before show where.
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

/// The patterns that one place of an expression met last.
pub struct Patterns(RefCell<LruCache<Rc<str>, Result<Regex, String>>>);

impl Patterns {
    pub fn new() -> Self {
        Self(RefCell::new(LruCache::new(REMEMBERED)))
    }

    /// Whether a pattern that is known only now occurs in the text.
    pub fn is_match(&self, pattern: &str, text: &str, budget: &mut Budget) -> Result<bool, Fault> {
        let mut remembered = self.0.borrow_mut();
        if !remembered.contains(pattern) {
            budget.spend(COMPILE_STEPS.saturating_add(pattern.len()))?;
            remembered.put(pattern.into(), compile(pattern));
        }
        match remembered.get(pattern) {
            Some(Ok(regex)) => search(regex, text, budget),
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

/// Whether the pattern occurs in the text, in time linear in its length.
pub fn search(regex: &Regex, text: &str, budget: &mut Budget) -> Result<bool, Fault> {
    budget.spend(text.len() / 2)?;
    Ok(regex.is_match(text))
}
