//! What every rule has in common: a name, a priority, conditions, and a record of what became of it.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::{CacheSpec, PatternExpressionOrRef, RuleWhenError};

use crate::cache::Cache;
use crate::compile::Compiler;
use crate::error::{Refusal, StepError};
use crate::exec::Started;
use crate::expression::condition::{Condition, Held};
use crate::gather::sorted;
use crate::session::Cx;
use crate::trace::{Outcome, Stage, StepRecord};

/// What a rule does: one of the methods of its stage.
#[expect(async_fn_in_trait, reason = "nothing here crosses threads, so nobody needs to bound the futures")]
pub trait Method {
    /// Does it if that needs nobody to be asked: most rules are of that kind, and whoever may wait costs each request something
    /// (docs/decisions/0014).
    ///
    /// # Errors
    /// The policy says no, or it cannot be decided.
    fn evaluate_at_once(&self, _cx: &Cx) -> Option<Result<Rc<Value>, StepError>> {
        None
    }

    /// Does what could not be done at once; the result may be kept in the rule's `cache`.
    ///
    /// # Errors
    /// The policy says no, or it cannot be decided.
    async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError>;

    /// What is made of a result, kept or not, or of there being none, for this very request.
    ///
    /// # Errors
    /// There was no result, or nothing can be made of it.
    fn finish(&self, result: Result<Rc<Value>, StepError>, _cx: &Cx) -> Result<Rc<Value>, StepError> {
        result
    }

    /// Whether a result may be kept in the rule's `cache`: not where to find out again costs nothing.
    fn is_worth_keeping(&self) -> bool;

    /// What the result depends on, whatever the key of the `cache` says: the credential of an identity, the question to a
    /// server.
    ///
    /// # Errors
    /// There is none.
    fn credential<'r>(&self, _cx: &'r Cx) -> Result<Option<Cow<'r, [u8]>>, StepError> {
        Ok(None)
    }
}

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
    cache: Option<Cache>,
}

/// What became of a step.
#[derive(Debug)]
pub enum Ran {
    /// It gave what was asked.
    Ok(Rc<Value>),
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

impl<M: Method> Step<M> {
    /// Compiles what every rule has; `kind` is the method as upstream's `evaluator_type` label names it.
    pub fn compile(
        stage: Stage,
        kind: &'static str,
        common: Common<'_>,
        method: M,
        compiler: &mut Compiler<'_>,
    ) -> Self {
        let Common { name, priority, metrics, when, cache } = common;
        let cache = cache.map(|spec| compiler.at("cache", |compiler| Cache::compile(spec, compiler)));
        let when = compiler.at("when", |compiler| Condition::compile(when, compiler));
        let when_error = compiler.options.when_errors.rule;
        Self { name: name.into(), priority, method, stage, kind, metrics, when, when_error, cache }
    }

    /// The same rule, which fails if its conditions cannot be evaluated, whatever the options say.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { when_error: RuleWhenError::Fail, ..self }
    }

    /// Where results are kept.
    pub const fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// Runs the rule if its conditions hold, and records what became of it; none if it may have to wait for others.
    fn at_once(&self, cx: &Cx) -> Option<Ran> {
        let (ran, detail) = match (self.when.evaluate(&cx.view()), self.when_error) {
            (Ok(Held::Yes), _) => return Some(self.end(self.method.evaluate_at_once(cx)?, cx)),
            (Ok(Held::No(criterion)), _) => (Ran::Skipped, Some(format!("when: {criterion}"))),
            (Err(error), RuleWhenError::Skip) => (Ran::Skipped, Some(format!("when: {error}"))),
            (Err(error), RuleWhenError::Fail) => {
                let reason = format!("when: {error}");
                (Ran::Err(StepError::failed(reason.as_str())), Some(reason))
            }
        };
        Some(self.recorded(ran, detail, cx))
    }

    /// Runs a rule whose conditions hold and that may have to wait, and records what became of it.
    async fn waiting(&self, cx: &Cx) -> Ran {
        let mut waiting = Waiting(Some((self, cx)));
        let result = self.evaluate(cx).await;
        waiting.0 = None;
        self.end(result, cx)
    }

    fn end(&self, result: Result<Rc<Value>, StepError>, cx: &Cx) -> Ran {
        match self.method.finish(result, cx) {
            Ok(value) => self.recorded(Ran::Ok(value), None, cx),
            Err(error) => {
                let detail = match &error.detail {
                    Some(detail) => format!("{}: {detail}", error.reason),
                    None => error.reason.clone(),
                };
                self.recorded(Ran::Err(error), Some(detail), cx)
            }
        }
    }

    fn recorded(&self, ran: Ran, detail: Option<String>, cx: &Cx) -> Ran {
        let outcome = match &ran {
            Ran::Ok(_) => Outcome::Ok,
            Ran::Skipped => Outcome::Skipped,
            Ran::Err(StepError { kind: Refusal::Denied | Refusal::Absent, .. }) => Outcome::Denied,
            Ran::Err(StepError { kind: Refusal::Failed | Refusal::Unavailable, .. }) => Outcome::Failed,
        };
        cx.record(self.record(outcome, detail));
        ran
    }

    fn record(&self, outcome: Outcome, detail: Option<String>) -> StepRecord {
        let Self { stage, kind, metrics, name, .. } = self;
        StepRecord { stage: *stage, name: Rc::clone(name), kind, metrics: *metrics, outcome, detail }
    }

    /// Takes the result from the cache, or keeps it there.
    async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let Some(cache) = self.cache.as_ref().filter(|_| self.method.is_worth_keeping()) else {
            return self.method.evaluate(cx).await;
        };
        let credential = self.method.credential(cx)?;
        let Some(key) = cache.key(&cx.view(), credential.as_deref()) else { return self.method.evaluate(cx).await };
        if let Some(kept) = cache.recall(&key, cx.now()) {
            return Ok(kept);
        }
        let value = self.method.evaluate(&cx.sharing(key)).await?;
        cache.keep(key, &value, cx.now());
        Ok(value)
    }
}

/// A rule that runs. If it is dropped before it is done, another rule has decided.
struct Waiting<'a, M: Method>(Option<(&'a Step<M>, &'a Cx)>);

impl<M: Method> Drop for Waiting<'_, M> {
    fn drop(&mut self) {
        if let Some((step, cx)) = self.0.take() {
            cx.record(step.record(Outcome::Cancelled, None));
        }
    }
}

/// What a method does that is always done at once, for those who wait.
///
/// # Errors
/// The policy says no, or it cannot be decided.
pub fn done(method: &impl Method, cx: &Cx) -> Result<Rc<Value>, StepError> {
    method.evaluate_at_once(cx).unwrap_or_else(|| Err(StepError::failed("the rule came to nothing")))
}

/// A rule, and what became of it.
type Done<'a, M> = (&'a Step<M>, Ran);

/// Runs the rules of a group, each of them as far as it needs nobody.
pub fn run_all<'a, M: Method>(
    group: &'a [Step<M>],
    cx: &'a Cx,
) -> impl Iterator<Item = Started<Done<'a, M>, impl Future<Output = Done<'a, M>>>> {
    group.iter().map(move |step| match step.at_once(cx) {
        Some(ran) => Started::Done((step, ran)),
        None => Started::Waits(async move { (step, step.waiting(cx).await) }),
    })
}

/// Puts rules into the order of evaluation: by priority, then by name.
pub fn ordered<M>(steps: Vec<Step<M>>) -> Vec<Step<M>> {
    sorted(steps, &|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)))
}

/// The groups of equal priority, in order.
pub fn groups<M>(steps: &[Step<M>]) -> impl Iterator<Item = &[Step<M>]> {
    steps.chunk_by(|a, b| a.priority == b.priority)
}
