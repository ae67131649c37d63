//! Whether the one who asks may: every rule must grant.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::{Action, AuthorizationSpec};

use crate::authentication::Identity;
use crate::compile::Compiler;
use crate::error::{Refusal, StepError};
use crate::exec::{self, apart};
use crate::response::denial::{Denial, DenyWith};
use crate::session::Cx;
use crate::step::{self, Common, Ran, Step};
use crate::trace::Stage;
use crate::verdict::DenialStatus;

mod kubernetes_subject_access_review;
#[cfg(feature = "opa")]
mod opa;
mod pattern_matching;
mod spicedb;

/// One rule.
#[derive(Debug)]
pub struct Authorization {
    method: Method,
    action: Action,
    deny_with: Option<Rc<DenyWith>>,
}

#[derive(Debug)]
enum Method {
    /// `opa`.
    #[cfg(feature = "opa")]
    Opa(opa::Opa),
    /// `patternMatching`.
    PatternMatching(pattern_matching::PatternMatching),
    /// `kubernetesSubjectAccessReview`.
    KubernetesSubjectAccessReview(Box<kubernetes_subject_access_review::KubernetesSubjectAccessReview>),
    /// `spicedb`.
    SpiceDb(Box<spicedb::SpiceDb>),
}

/// Proof that every rule granted; made by [`all`] alone.
#[derive(Debug)]
pub struct Granted(());

/// Compiles `spec.authorization`.
pub fn compile(specs: &BTreeMap<String, AuthorizationSpec>, compiler: &mut Compiler<'_>) -> Vec<Step<Authorization>> {
    let rules =
        specs.iter().filter_map(|(name, spec)| compiler.at(name, |compiler| compile_rule(name, spec, compiler)));
    step::ordered(rules.collect())
}

fn compile_rule(name: &str, spec: &AuthorizationSpec, compiler: &mut Compiler<'_>) -> Option<Step<Authorization>> {
    let AuthorizationSpec {
        priority,
        metrics,
        when,
        cache,
        pattern_matching,
        opa,
        kubernetes_subject_access_review,
        spicedb,
        action,
        deny_with,
    } = spec;
    let mut methods: Vec<(&'static str, Method)> = Vec::new();
    let given =
        [pattern_matching.is_some(), opa.is_some(), kubernetes_subject_access_review.is_some(), spicedb.is_some()];
    if let Some(spec) = pattern_matching {
        let method = compiler.at("patternMatching", |c| pattern_matching::PatternMatching::compile(spec, c));
        methods.push(("AUTHORIZATION_JSON", Method::PatternMatching(method)));
    }
    if let Some(spec) = kubernetes_subject_access_review {
        let method = compiler.at("kubernetesSubjectAccessReview", |compiler| {
            kubernetes_subject_access_review::KubernetesSubjectAccessReview::compile(spec, compiler)
        });
        let method = method.map(|method| Method::KubernetesSubjectAccessReview(Box::new(method)));
        methods.extend(method.map(|method| ("AUTHORIZATION_KUBERNETES", method)));
    }
    if let Some(spec) = spicedb {
        let method = compiler.at("spicedb", |compiler| spicedb::SpiceDb::compile(spec, compiler));
        methods.extend(method.map(|method| ("AUTHORIZATION_AUTHZED", Method::SpiceDb(Box::new(method)))));
    }
    #[cfg(feature = "opa")]
    if let Some(spec) = opa {
        let method = compiler.at("opa", |compiler| opa::Opa::compile(spec, compiler));
        methods.push(("AUTHORIZATION_OPA", Method::Opa(method)));
    }
    #[cfg(not(feature = "opa"))]
    if opa.is_some() {
        compiler.at("opa", |compiler| compiler.left_out("opa"));
    }
    if given.into_iter().filter(|given| *given).count() != 1 {
        compiler.problem(
            "exactly one method is needed: `patternMatching`, `opa`, `kubernetesSubjectAccessReview` or `spicedb`",
        );
    }
    let (kind, method) = methods.into_iter().next()?;
    let common = Common { name, priority: *priority, metrics: *metrics, when, cache: cache.as_deref() };
    let deny_with = DenyWith::compile_rule(deny_with.as_deref(), compiler);
    let rule = Authorization { method, action: *action, deny_with };
    let step = Step::compile(Stage::Authorization, kind, common, rule, compiler);
    // A rule that denies and is left out for an error would let through what it is there to deny.
    Some(if *action == Action::Deny { step.strict() } else { step })
}

impl Authorization {
    /// Whether it comes to the same whenever its expressions do: it reads a request by them alone, has no memory, and asks nobody. If
    /// in doubt, it is not: then nothing is remembered of what it granted.
    pub const fn is_pure(&self) -> bool {
        match &self.method {
            Method::PatternMatching(_) => true,
            #[cfg(feature = "opa")]
            Method::Opa(_) => false,
            Method::KubernetesSubjectAccessReview(_) | Method::SpiceDb(_) => false,
        }
    }
}

impl step::Method for Authorization {
    fn evaluate_at_once(&self, cx: &Cx) -> Option<Result<Rc<Value>, StepError>> {
        let value = match &self.method {
            Method::PatternMatching(method) => method.evaluate(cx),
            #[cfg(feature = "opa")]
            Method::Opa(_) => return None,
            Method::KubernetesSubjectAccessReview(_) | Method::SpiceDb(_) => return None,
        };
        Some(value.map(Rc::new))
    }

    async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        match &self.method {
            #[cfg(feature = "opa")]
            Method::Opa(method) => method.evaluate(cx).await,
            Method::PatternMatching(_) => return step::done(self, cx),
            // Boxed, since the other methods would have to make room for what these keep while they wait.
            Method::KubernetesSubjectAccessReview(method) => apart(Box::pin(method.evaluate(cx)).as_mut()).await,
            Method::SpiceDb(method) => apart(Box::pin(method.evaluate(cx)).as_mut()).await,
        }
        .map(Rc::new)
    }

    /// Under `deny` a clear no is what lets the request through, and nothing else.
    fn finish(&self, result: Result<Rc<Value>, StepError>, _cx: &Cx) -> Result<Rc<Value>, StepError> {
        match (self.action, result) {
            (Action::Allow, result) => result,
            (Action::Deny, Ok(_)) => {
                Err(StepError::denied("Unauthorized").because("it grants, and its `action` is `deny`"))
            }
            (Action::Deny, Err(StepError { kind: Refusal::Denied, .. })) => Ok(Rc::new(Value::Bool(false))),
            (Action::Deny, Err(error)) => Err(error),
        }
    }

    fn is_worth_keeping(&self) -> bool {
        match &self.method {
            #[cfg(feature = "opa")]
            Method::Opa(_) => true,
            Method::PatternMatching(_) => false,
            Method::KubernetesSubjectAccessReview(_) => true,
            Method::SpiceDb(_) => true,
        }
    }

    fn credential<'r>(&self, cx: &'r Cx) -> Result<Option<Cow<'r, [u8]>>, StepError> {
        match &self.method {
            #[cfg(feature = "opa")]
            Method::Opa(_) => Ok(None),
            Method::PatternMatching(_) => Ok(None),
            Method::KubernetesSubjectAccessReview(method) => {
                method.question(cx).map(|question| Some(Cow::Owned(question)))
            }
            Method::SpiceDb(method) => method.asked(cx).map(|question| Some(Cow::Owned(question))),
        }
    }
}

/// Asks every rule: groups of equal priority one after another, in a group all at once. A skipped rule permits.
///
/// # Errors
/// A rule denied or could not decide; the rest is not asked.
pub async fn all(rules: &[Step<Authorization>], _identity: Identity, cx: &Cx) -> Result<Granted, Denial> {
    for group in step::groups(rules) {
        let mut refusals = Refusals::new(group);
        let decided = exec::each(step::run_all(group, cx), |(rule, ran)| {
            let refusal = match ran {
                Ran::Ok(value) => {
                    cx.update(|auth| drop(auth.authorization.insert(Rc::clone(&rule.name), value)));
                    None
                }
                Ran::Skipped => None,
                Ran::Err(error) => Some(error),
            };
            refusals.decided(rule, refusal)
        });
        let _: ControlFlow<()> = decided.await;
        if let Some((rule, error)) = refusals.first {
            return Err(denial(rule, error));
        }
    }
    Ok(Granted(()))
}

/// Which refusal of a group counts: the first to come. Where rules word their denials it is the one of the first name, so
/// that the client is told the same each time; then those before it must have answered.
struct Refusals<'a> {
    first: Option<(&'a Step<Authorization>, StepError)>,
    awaited: BTreeSet<&'a str>,
}

impl<'a> Refusals<'a> {
    fn new(group: &'a [Step<Authorization>]) -> Self {
        let worded = group.iter().any(|rule| rule.method.deny_with.is_some());
        let awaited = group.iter().filter(|_| worded).map(|rule| &*rule.name);
        Self { first: None, awaited: awaited.collect() }
    }

    /// Takes note of an answer; breaks if nothing can change the outcome any more.
    fn decided(&mut self, rule: &'a Step<Authorization>, refusal: Option<StepError>) -> ControlFlow<()> {
        self.awaited.remove(&*rule.name);
        if let Some(error) = refusal
            && self.first.as_ref().is_none_or(|(first, _)| rule.name < first.name)
        {
            self.first = Some((rule, error));
        }
        match &self.first {
            Some((first, _)) if self.awaited.range(..&*first.name).next().is_none() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn denial(rule: &Step<Authorization>, error: StepError) -> Denial {
    let status = match error.kind {
        Refusal::Unavailable => DenialStatus::Unavailable,
        Refusal::Denied | Refusal::Absent | Refusal::Failed => DenialStatus::PermissionDenied,
    };
    let with = rule.method.deny_with.clone();
    Denial { rule: Some(Rc::clone(&rule.name)), with, ..Denial::new(status, error.reason) }
}
