//! How a decision came out, as the filter carries it out.

use std::rc::Rc;

use serde_json::Value;

use crate::east_west::Ruling;
use crate::trace::StepRecord;

/// The outcome for one request.
#[derive(Debug)]
pub struct Verdict {
    /// What to do.
    pub decision: Decision,
    /// The AuthConfig that decided, `namespace/name`; none if no host matched.
    pub auth_config: Option<Rc<str>>,
    /// What policies over identity said first; none if the configuration has none.
    pub ruling: Option<Rc<Ruling>>,
    /// How it came to this, but for [`Verdict::ruling`], whose step is worded by [`Ruling::step`] if somebody looks.
    pub steps: Vec<StepRecord>,
    /// The bound that calls for it reached, if one did.
    pub overrun: Option<Overrun>,
}

/// A bound of what is asked for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overrun {
    /// The number of its calls, or of all that is waited for, or what Envoy has room for.
    Calls,
    /// The length of all answers together.
    Answers,
}

impl Overrun {
    /// As clients are told.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Calls => "too much is waited for",
            Self::Answers => "the answers of servers are too long together",
        }
    }
}

/// What to do with the request.
#[derive(Debug)]
pub enum Decision {
    /// Let it through, changed so.
    Allow(Allowed),
    /// Answer it so.
    Deny(LocalReply),
    /// It is for one of our own documents, which is no matter of AuthConfigs: answer it so.
    Serve(Served),
}

/// What happens to a request that passes. Made by the pipeline alone, from the proof that every rule granted, or from what was granted by such a
/// proof to the same token or API key before.
#[derive(Debug)]
#[non_exhaustive]
pub struct Allowed {
    /// Headers taken from what the client sent: what of them only the policy may set.
    pub remove_headers: Vec<String>,
    /// Headers set for the upstream, after the removal.
    pub set_headers: Vec<(String, String)>,
    /// Facts for later filters and logs.
    pub dynamic_metadata: Vec<(String, Value)>,
}

impl Allowed {
    pub(crate) const fn new(
        remove_headers: Vec<String>,
        set_headers: Vec<(String, String)>,
        dynamic_metadata: Vec<(String, Value)>,
    ) -> Self {
        Self { remove_headers, set_headers, dynamic_metadata }
    }
}

/// An answer in the upstream's stead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// Why, in one word: status of the metrics, and what the access log shows.
    pub status: DenialStatus,
    /// HTTP status, 300 to 599.
    pub code: u16,
    /// Headers, in order, repetitions kept.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
    /// The rule that decided, if it was one.
    pub rule: Option<Rc<str>>,
    /// The reason, as logs show it; no secrets.
    pub reason: String,
}

/// An answer to a request for one of our own documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// HTTP status: 200, 404 or 405.
    pub code: u16,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
    /// What was asked for; none if there is no such document.
    pub published: Option<Rc<Published>>,
}

/// A document that is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Published {
    /// `namespace/name` of the AuthConfig.
    pub auth_config: Rc<str>,
    /// Name of the response item.
    pub wristband: Rc<str>,
    /// Which of its documents.
    pub document: WellKnownDocument,
}

/// The documents of a wristband.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WellKnownDocument {
    /// OpenID Connect Discovery.
    Discovery,
    /// JSON Web Key Set.
    KeySet,
}

/// Kinds of denial; the names are gRPC's, as upstream's metrics have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DenialStatus {
    /// No AuthConfig for the host.
    NotFound,
    /// No identity.
    Unauthenticated,
    /// A rule said no.
    PermissionDenied,
    /// The body that a rule reads is too long.
    TooLarge,
    /// It could not be decided now.
    Unavailable,
}

impl DenialStatus {
    /// HTTP status, unless the AuthConfig says another.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::TooLarge => 413,
            Self::Unavailable => 503,
        }
    }

    /// The name of the gRPC code.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::TooLarge => "RESOURCE_EXHAUSTED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}
