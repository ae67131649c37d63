//! `patternMatching`: patterns and CEL predicates over the Authorization JSON.

use serde_json::Value;
use sidegate_config::PatternMatchingSpec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::condition::{Condition, Held};
use crate::session::Cx;

/// Grants if all patterns hold.
#[derive(Debug)]
pub struct PatternMatching {
    patterns: Condition,
}

impl PatternMatching {
    pub(super) fn compile(spec: &PatternMatchingSpec, compiler: &mut Compiler<'_>) -> Self {
        let PatternMatchingSpec { patterns } = spec;
        Self { patterns: compiler.at("patterns", |compiler| Condition::compile(patterns, compiler)) }
    }

    pub(super) fn evaluate(&self, cx: &Cx) -> Result<Value, StepError> {
        match self.patterns.evaluate(&cx.view())? {
            Held::Yes => Ok(Value::Bool(true)),
            Held::No(criterion) => Err(StepError::denied("Unauthorized").because(criterion)),
        }
    }
}
