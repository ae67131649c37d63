//! Common Expression Language.
// INTERIM: the CEL room fills this in.

use serde_json::Value;

use super::EvalError;
use crate::compile::Compiler;
use crate::view::View;

/// A compiled expression.
#[derive(Debug)]
pub struct Program(());

impl Program {
    /// Compiles an expression; problems go to the compiler.
    pub fn compile(_source: &str, _compiler: &mut Compiler<'_>) -> Self {
        todo!()
    }

    /// Compiles a predicate, which must not be known to yield anything but a boolean; problems go to the compiler.
    pub fn compile_predicate(_source: &str, _compiler: &mut Compiler<'_>) -> Self {
        todo!()
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// Run-time errors.
    pub fn value(&self, _view: &View) -> Result<Value, EvalError> {
        todo!()
    }

    /// The boolean.
    ///
    /// # Errors
    /// Run-time errors; a value that is no boolean.
    pub fn boolean(&self, _view: &View) -> Result<bool, EvalError> {
        todo!()
    }
}
