//! What every rule has in common: a name, a priority, conditions, and a record of what became of it.

use std::rc::Rc;

use sidegate_config::{CacheSpec, PatternExpressionOrRef, RuleWhenError};

use crate::compile::Compiler;
use crate::error::{Refusal, StepError};
use crate::expression::condition::{Condition, Held};
use crate::session::Cx;
use crate::trace::{Outcome, Stage, StepRecord};

/// One rule: a method and what every rule has.
#[derive(Debug)]
pub struct Step<M> {
    /// Name, as in the document.
    pub name: Rc<str>,
    /// Lower numbers go first.
    pub priority: i64,
    /// What it does.
    pub method: M,
    stage: Stage,
    kind: &'static str,
    metrics: bool,
    when: Condition,
    when_error: RuleWhenError,
}

/// What became of a step.
#[derive(Debug)]
pub enum Ran<T> {
    /// It gave what was asked.
    Ok(T),
    /// Its conditions did not hold.
    Skipped,
    /// It did not.
    Err(StepError),
}

/// The fields that the specifications of all rules share.
#[derive(Debug)]
pub struct Common<'a> {
    /// Name of the rule.
    pub name: &'a str,
    /// `priority`.
    pub priority: i64,
    /// `metrics`.
    pub metrics: bool,
    /// `when`.
    pub when: &'a [PatternExpressionOrRef],
    /// `cache`.
    pub cache: Option<&'a CacheSpec>,
}

impl<M> Step<M> {
    /// Compiles what every rule has; `kind` is the method as upstream's `evaluator_type` label names it.
    pub fn compile(
        stage: Stage,
        kind: &'static str,
        common: Common<'_>,
        method: M,
        compiler: &mut Compiler<'_>,
    ) -> Self {
        let Common { name, priority, metrics, when, cache } = common;
        if cache.is_some() {
            compiler.at("cache", |compiler| compiler.missing("cache"));
        }
        let when = compiler.at("when", |compiler| Condition::compile(when, compiler));
        let when_error = compiler.options.when_errors.rule;
        Self { name: name.into(), priority, method, stage, kind, metrics, when, when_error }
    }

    /// Runs the rule if its conditions hold, and records what became of it.
    pub async fn run<'a, T>(
        &'a self,
        cx: &'a Cx,
        evaluate: impl AsyncFnOnce(&'a M, &'a Cx) -> Result<T, StepError>,
    ) -> Ran<T> {
        let (ran, detail) = match (self.when.evaluate(&cx.view()), self.when_error) {
            (Ok(Held::Yes), _) => match evaluate(&self.method, cx).await {
                Ok(value) => (Ran::Ok(value), None),
                Err(error) => {
                    let detail = match &error.detail {
                        Some(detail) => format!("{}: {detail}", error.reason),
                        None => error.reason.clone(),
                    };
                    (Ran::Err(error), Some(detail))
                }
            },
            (Ok(Held::No(criterion)), _) => (Ran::Skipped, Some(format!("when: {criterion}"))),
            (Err(error), RuleWhenError::Skip) => (Ran::Skipped, Some(format!("when: {error}"))),
            (Err(error), RuleWhenError::Fail) => {
                let reason = format!("when: {error}");
                (Ran::Err(StepError::failed(reason.as_str())), Some(reason))
            }
        };
        cx.record(StepRecord {
            stage: self.stage,
            name: Rc::clone(&self.name),
            kind: self.kind,
            metrics: self.metrics,
            outcome: match &ran {
                Ran::Ok(_) => Outcome::Ok,
                Ran::Skipped => Outcome::Skipped,
                Ran::Err(error) if error.kind == Refusal::Denied => Outcome::Denied,
                Ran::Err(_) => Outcome::Failed,
            },
            detail,
        });
        ran
    }
}

/// Puts rules into the order of evaluation: by priority, then by name.
pub fn ordered<M>(mut steps: Vec<Step<M>>) -> Vec<Step<M>> {
    steps.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
    steps
}

/// The groups of equal priority, in order.
pub fn groups<M>(steps: &[Step<M>]) -> impl Iterator<Item = &[Step<M>]> {
    steps.chunk_by(|a, b| a.priority == b.priority)
}
