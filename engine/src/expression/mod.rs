//! Everything people write to look at a request: selectors, templates, patterns, CEL.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use sidegate_config::ValueOrSelector;

use crate::compile::Compiler;
use crate::view::View;

pub mod condition;
pub mod text;

/// An expression that could not be evaluated: why, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError(pub String);

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A compiled [`ValueOrSelector`].
#[derive(Debug)]
pub enum Dynamic {
    /// A fixed value.
    Fixed(Value),
}

impl Dynamic {
    /// Compiles; problems go to the compiler.
    pub fn compile(_source: &ValueOrSelector, _compiler: &mut Compiler<'_>) -> Self {
        todo!()
    }

    /// Compiles the values of a map, each at its key.
    pub fn compile_map(
        sources: &BTreeMap<String, ValueOrSelector>,
        compiler: &mut Compiler<'_>,
    ) -> Vec<(String, Self)> {
        let compile = |(name, source): (&String, &ValueOrSelector)| {
            (name.clone(), compiler.at(name, |compiler| Self::compile(source, compiler)))
        };
        sources.iter().map(compile).collect()
    }

    /// The typed value; `null` where a selector finds nothing.
    ///
    /// # Errors
    /// CEL's run-time errors.
    pub fn value(&self, _view: &View) -> Result<Value, EvalError> {
        todo!()
    }

    /// The value as text: strings as they are, null as nothing, everything else as JSON.
    ///
    /// # Errors
    /// CEL's run-time errors.
    pub fn text(&self, _view: &View) -> Result<String, EvalError> {
        todo!()
    }
}
