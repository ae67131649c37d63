//! Common Expression Language, as cel-go 0.21 has it with its strings extension and optional types.
//!
//! The parser is that of the `cel` crate. Evaluation is our own (see `docs/decisions/0005-cel-evaluator-of-our-own.md`): it works on
//! the request in place, and a budget of steps bounds the time and memory of every expression.

use serde_json::Value;

use super::EvalError;
use crate::compile::Compiler;
use crate::view::View;

mod collection;
mod conversions;
mod fault;
mod format;
mod functions;
mod guard;
mod kind;
mod lower;
mod machine;
mod macros;
mod node;
mod number;
mod operators;
mod regex;
mod strings;
mod time;
mod value;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;

use kind::Kind;
use lower::{Lowering, Typed};
use machine::Machine;
use node::Node;
use value::Val;

/// A compiled expression.
#[derive(Debug)]
pub struct Program(Node);

impl Program {
    /// Compiles an expression; problems go to the compiler.
    pub fn compile(source: &str, compiler: &mut Compiler<'_>) -> Self {
        Self(compile(source, compiler).node)
    }

    /// Compiles a predicate, which must not be known to yield anything but a boolean; problems go to the compiler.
    pub fn compile_predicate(source: &str, compiler: &mut Compiler<'_>) -> Self {
        let Typed { node, kind } = compile(source, compiler);
        Lowering::new(compiler).expect("a predicate", Kind::Bool, kind);
        Self(node)
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// Run-time errors, among them values that JSON does not have.
    pub fn value(&self, view: &View) -> Result<Value, EvalError> {
        let mut machine = Machine::new(view);
        let value = machine.eval(&self.0)?;
        Ok(value.into_json(&mut machine.budget)?)
    }

    /// The boolean.
    ///
    /// # Errors
    /// Run-time errors; a value that is no boolean.
    pub fn boolean(&self, view: &View) -> Result<bool, EvalError> {
        match Machine::new(view).eval(&self.0)? {
            Val::Bool(value) => Ok(value),
            other => Err(EvalError(format!("the predicate yields a {}, not a bool", other.kind()))),
        }
    }
}

fn compile(source: &str, compiler: &mut Compiler<'_>) -> Typed {
    let parsed = guard::check(source).and_then(|()| {
        let parser = cel::parser::PrattParser::new().enable_optional_syntax(true);
        parser.parse(source).map_err(|errors| {
            let errors: Vec<String> = errors.errors.iter().map(describe).collect();
            errors.join("; ")
        })
    });
    match parsed {
        Ok(expression) => Lowering::new(compiler).lower(&expression),
        Err(error) => {
            compiler.problem(format!("`{}` is no CEL expression: {error}", shortened(source)));
            Typed::broken()
        }
    }
}

fn describe(error: &cel::ParseError) -> String {
    let (line, column) = error.pos;
    format!("at {line}:{column}: {}", error.msg.trim_start_matches("Syntax error: "))
}

fn shortened(source: &str) -> &str {
    source.get(..source.floor_char_boundary(200)).unwrap_or_default()
}
