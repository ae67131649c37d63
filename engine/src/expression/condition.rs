//! Conditions: patterns, references to named ones, CEL predicates, and their combinations.

use sidegate_config::PatternExpressionOrRef;

use super::EvalError;
use crate::compile::Compiler;
use crate::view::View;

/// A compiled list of conditions, all of which must hold.
#[derive(Debug, Default)]
pub struct Condition {
    // INTERIM: the expression room fills this in.
    _todo: (),
}

/// How a condition came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It holds.
    Yes,
    /// It does not; the first criterion that failed, as its author wrote it.
    No(String),
}

impl Condition {
    /// Compiles; problems go to the compiler. An empty list always holds.
    pub fn compile(_source: &[PatternExpressionOrRef], _compiler: &mut Compiler<'_>) -> Self {
        todo!()
    }

    /// Whether all conditions hold.
    ///
    /// # Errors
    /// CEL's run-time errors; a predicate that yields no boolean.
    pub fn evaluate(&self, _view: &View) -> Result<Held, EvalError> {
        todo!()
    }
}
