//! Why a step did not give what was asked.

use crate::expression::EvalError;

/// Why a step did not give what was asked. Every kind denies; they differ in status, metric and log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepError {
    /// What kind of no it is.
    pub kind: Refusal,
    /// What the client may be told; no secrets.
    pub reason: String,
    /// More, for logs and traces alone; no secrets.
    pub detail: Option<String>,
}

/// Kinds of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The policy said no: a bad credential, a pattern that does not match.
    Denied,
    /// There is no credential that could be looked at.
    Absent,
    /// It could not be decided: an expression failed on this request.
    Failed,
    /// It could not be decided, since something is not to be had: outside, where another time it may, or in this build.
    Unavailable,
}

impl StepError {
    /// The policy said no.
    pub fn denied(reason: impl Into<String>) -> Self {
        Self { kind: Refusal::Denied, reason: reason.into(), detail: None }
    }

    /// There is no credential.
    pub fn absent(reason: impl Into<String>) -> Self {
        Self { kind: Refusal::Absent, reason: reason.into(), detail: None }
    }

    /// It could not be decided.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { kind: Refusal::Failed, reason: reason.into(), detail: None }
    }

    /// It could not be decided now.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self { kind: Refusal::Unavailable, reason: reason.into(), detail: None }
    }

    /// Adds what only logs and traces may say.
    #[must_use]
    pub fn because(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

impl From<EvalError> for StepError {
    fn from(EvalError(reason): EvalError) -> Self {
        Self::failed(reason)
    }
}
