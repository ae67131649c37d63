//! Rego: policies as Open Policy Agent has them, run in steps that are counted.
//!
//! `regorus` parses them and has the machine. What is here makes both fit for a proxy: text that asks for the network, the
//! clock or chance is refused when it is loaded, by name; and no policy can hold a worker or eat its memory, whatever it does.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use regorus::Rc;
use regorus::rvm::{Program, RegoVM};
use sidegate_config::RegoVersion;

use crate::time::Timestamp;

mod builtins;
mod compile;
mod fuel;
mod machine;
mod scan;
mod shape;
mod value;

pub use machine::Fault;
pub use regorus::Value;
pub use sidegate_config::RegoVersion as Version;
pub use value::{from_json, to_json};

use builtins::regexes::Patterns;
use fuel::Fuel;

/// The package that policies are in.
const PACKAGE: &str = "data.authorino.authz";

/// Units of work after which a machine is not kept: it holds what its rules have yielded until it runs again, which may be
/// never. Most policies do less.
const LIGHT: u64 = 16_384;

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Line and column in the policy's text, from 1; zero: nowhere in particular.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, what } = self;
        match line {
            0 => f.write_str(what),
            _ => write!(f, "line {line}, column {column}: {what}"),
        }
    }
}

/// Which rules are asked for their value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// `allow`.
    Allow,
    /// Every one.
    All,
}

/// A compiled policy.
pub struct Policy {
    program: Arc<Program>,
    /// Rules by their names, `allow` first; none: a function, which has no value.
    rules: Vec<(String, Option<usize>)>,
    data: Value,
    patterns: Patterns,
    /// Kept from one request to the next, for it allocates a lot.
    machine: RefCell<Option<RegoVM>>,
}

impl Policy {
    /// Compiles the text of a policy: rules, `allow` among them, with or without a `package`. Of which rules the value
    /// will be asked: of `allow` alone, or of all.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compile(text: &str, version: RegoVersion, asked: Asked) -> Result<Self, Vec<Mistake>> {
        compile::policy(text, version, asked)
    }

    /// Compiles modules, to ask for one rule of them: what OPA's own tests do.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_modules(modules: &[&str], data: Value, rule: &str, version: RegoVersion) -> Result<Self, Vec<Mistake>> {
        compile::modules(modules, data, rule, version)
    }

    /// The value of `allow`: the rule that is asked for.
    ///
    /// # Errors
    /// It could not be found out.
    pub fn allow(&self, input: &Value, time: Timestamp) -> Result<Value, Fault> {
        let entry = self.rules.first().and_then(|(_, entry)| *entry);
        self.value(entry, input, time, &mut Fuel::new())
    }

    /// The value of every rule by its name, `allow` first; undefined ones are null.
    ///
    /// # Errors
    /// It could not be found out.
    pub fn all(&self, input: &Value, time: Timestamp) -> Result<Vec<(&str, Value)>, Fault> {
        let fuel = &mut Fuel::new();
        let values = self.rules.iter().map(|(name, entry)| {
            let value = self.value(*entry, input, time, fuel)?;
            Ok((name.as_str(), if value == Value::Undefined { Value::Null } else { value }))
        });
        values.collect()
    }

    fn value(&self, entry: Option<usize>, input: &Value, time: Timestamp, fuel: &mut Fuel) -> Result<Value, Fault> {
        let Some(entry) = entry else { return Ok(Value::Undefined) };
        let mut machine = self.machine.take().map_or_else(|| machine::new(&self.program, &self.data), Ok)?;
        machine.set_input(input.clone());
        let surroundings = builtins::Surroundings { time, patterns: &self.patterns };
        let before = fuel.left();
        let value = machine::run(&mut machine, &self.program, entry, surroundings, fuel)?;
        // A machine that failed is not used again: nobody knows what it left.
        machine.set_input(Value::Undefined);
        if before.saturating_sub(fuel.left()) <= LIGHT {
            self.machine.replace(Some(machine));
        }
        Ok(value)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Whether a policy may read the request's body, as far as its text tells.
#[must_use]
pub fn reads_body(text: &str) -> bool {
    scan::reads_body(text)
}

/// A text as a value.
fn text(text: impl Into<Rc<str>>) -> Value {
    Value::String(text.into())
}

#[cfg(test)]
mod tests;
