//! Whether the one who asks may: every rule must grant.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::AuthorizationSpec;

use crate::authentication::Identity;
use crate::compile::Compiler;
use crate::error::{Refusal, StepError};
use crate::exec;
use crate::response::denial::Denial;
use crate::session::Cx;
use crate::step::{self, Common, Method, Ran, Step};
use crate::trace::Stage;
use crate::verdict::DenialStatus;

mod kubernetes_subject_access_review;
#[cfg(feature = "opa")]
mod opa;
mod pattern_matching;
mod spicedb;

/// One rule.
#[derive(Debug)]
pub enum Authorization {
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
    } = spec;
    let mut methods: Vec<(&'static str, Authorization)> = Vec::new();
    let given =
        [pattern_matching.is_some(), opa.is_some(), kubernetes_subject_access_review.is_some(), spicedb.is_some()];
    if let Some(spec) = pattern_matching {
        let method = compiler.at("patternMatching", |c| pattern_matching::PatternMatching::compile(spec, c));
        methods.push(("AUTHORIZATION_JSON", Authorization::PatternMatching(method)));
    }
    if let Some(spec) = kubernetes_subject_access_review {
        let method = compiler.at("kubernetesSubjectAccessReview", |compiler| {
            kubernetes_subject_access_review::KubernetesSubjectAccessReview::compile(spec, compiler)
        });
        let method = method.map(|method| Authorization::KubernetesSubjectAccessReview(Box::new(method)));
        methods.extend(method.map(|method| ("AUTHORIZATION_KUBERNETES", method)));
    }
    if let Some(spec) = spicedb {
        let method = compiler.at("spicedb", |compiler| spicedb::SpiceDb::compile(spec, compiler));
        methods.extend(method.map(|method| ("AUTHORIZATION_AUTHZED", Authorization::SpiceDb(Box::new(method)))));
    }
    #[cfg(feature = "opa")]
    if let Some(spec) = opa {
        let method = compiler.at("opa", |compiler| opa::Opa::compile(spec, compiler));
        methods.push(("AUTHORIZATION_OPA", Authorization::Opa(method)));
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
    let common = Common { name, priority: *priority, metrics: *metrics, when, cache: cache.as_ref() };
    Some(Step::compile(Stage::Authorization, kind, common, method, compiler))
}

impl Method for Authorization {
    async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        match self {
            #[cfg(feature = "opa")]
            Self::Opa(method) => method.evaluate(cx).await,
            Self::PatternMatching(method) => method.evaluate(cx).await,
            Self::KubernetesSubjectAccessReview(method) => method.evaluate(cx).await,
            Self::SpiceDb(method) => method.evaluate(cx).await,
        }
        .map(Rc::new)
    }

    fn is_worth_keeping(&self) -> bool {
        match self {
            #[cfg(feature = "opa")]
            Self::Opa(_) => true,
            Self::PatternMatching(_) => false,
            Self::KubernetesSubjectAccessReview(_) => true,
            Self::SpiceDb(_) => true,
        }
    }

    fn credential<'r>(&self, cx: &'r Cx) -> Result<Option<Cow<'r, [u8]>>, StepError> {
        match self {
            #[cfg(feature = "opa")]
            Self::Opa(_) => Ok(None),
            Self::PatternMatching(_) => Ok(None),
            Self::KubernetesSubjectAccessReview(method) => {
                method.question(cx).map(|question| Some(Cow::Owned(question)))
            }
            Self::SpiceDb(method) => method.asked(cx).map(|question| Some(Cow::Owned(question))),
        }
    }
}

/// Asks every rule: groups of equal priority one after another, in a group all at once. A skipped rule permits.
///
/// # Errors
/// A rule denied or could not decide; the rest is not asked.
pub async fn all(rules: &[Step<Authorization>], _identity: Identity, cx: &Cx) -> Result<Granted, Denial> {
    for group in step::groups(rules) {
        let running = group.iter().map(|rule| async move { (rule, rule.run(cx).await) });
        let first = exec::each(running, |(rule, ran)| match ran {
            Ran::Ok(value) => {
                cx.update(|auth| drop(auth.authorization.insert(Rc::clone(&rule.name), value)));
                ControlFlow::Continue(())
            }
            Ran::Skipped => ControlFlow::Continue(()),
            Ran::Err(error) => ControlFlow::Break((rule, error)),
        });
        if let ControlFlow::Break((rule, error)) = first.await {
            let status = match error.kind {
                Refusal::Unavailable => DenialStatus::Unavailable,
                Refusal::Denied | Refusal::Failed => DenialStatus::PermissionDenied,
            };
            return Err(Denial { rule: Some(Rc::clone(&rule.name)), ..Denial::new(status, error.reason) });
        }
    }
    Ok(Granted(()))
}
