//! What each step of a decision did, for metrics, access logs and people.

use std::fmt;
use std::rc::Rc;

/// Part of the pipeline that a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Policies over the identity of who calls.
    EastWest,
    /// Choosing the AuthConfig, and its `when`.
    Selection,
    /// `authentication`.
    Authentication,
    /// `metadata`.
    Metadata,
    /// `authorization`.
    Authorization,
    /// `response`.
    Response,
    /// `callbacks`.
    Callback,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EastWest => "east-west",
            Self::Selection => "selection",
            Self::Authentication => "authentication",
            Self::Metadata => "metadata",
            Self::Authorization => "authorization",
            Self::Response => "response",
            Self::Callback => "callback",
        })
    }
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It gave what was asked: an identity, a permission, a value.
    Ok,
    /// Its conditions did not hold.
    Skipped,
    /// The policy said no.
    Denied,
    /// It could not decide.
    Failed,
    /// Another rule decided while it waited for an answer.
    Cancelled,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// Where in the pipeline.
    pub stage: Stage,
    /// The rule's name, as in the document.
    pub name: Rc<str>,
    /// The rule's method, as upstream's `evaluator_type` label names it.
    pub kind: &'static str,
    /// Whether the rule asked for metrics of its own.
    pub metrics: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// Why; no secrets.
    pub detail: Option<String>,
}

impl fmt::Display for StepRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, name, outcome, detail, .. } = self;
        write!(f, "{stage} {name}: {outcome}")?;
        detail.as_ref().map_or(Ok(()), |detail| write!(f, " ({detail})"))
    }
}
