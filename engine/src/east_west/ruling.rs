//! What came of a question, and who decided.

use std::fmt;
use std::rc::Rc;

use serde_json::{Value, json};
use sidegate_config::{EnforcementLevel, PolicyTier};

use super::identity::{Identity, Told};
use crate::trace::{Outcome, Stage, StepRecord};

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    /// Whether the caller is let in.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
    /// Who calls.
    pub identity: Identity,
    /// Where that was told; none if nobody was asked.
    pub told: Option<Told>,
    /// The configuration by which it was decided, as [`crate::Policy::revision`] has it.
    pub revision: Rc<str>,
    /// The port that is called, if that is known.
    pub port: Option<u16>,
    /// A policy whose action is `AUDIT` fits.
    pub audited: bool,
    /// What would have come of it if policies of `mode: Audit` were enforced; none if there are none.
    pub shadow: Option<Shadow>,
}

/// What would have come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// Whether the caller would be let in.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
}

/// Why a caller is let in or kept out.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The identity is there and not valid; how.
    IdentityInvalid(&'static str),
    /// A rule.
    Rule(Decider),
    /// Policies select the workload, and no rule of theirs lets the caller in.
    Implicit {
        /// Their level.
        level: EnforcementLevel,
        /// The policies, as `namespace/name`, with commas between.
        closed_by: Rc<str>,
    },
    /// No policy decided.
    Default,
    /// It is not known which workload this is, so nobody knows which policies are about it.
    NoWorkload,
}

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decider {
    /// The tier of a cluster-wide policy; none: the namespace's.
    pub tier: Option<PolicyTier>,
    /// `namespace/name`, or `Admin/name` of a cluster-wide policy.
    pub policy: Rc<str>,
    /// The rule's number.
    pub rule: u32,
    /// The rule's name, if it has one.
    pub name: Option<Rc<str>>,
    /// How the rule is called elsewhere: `ns[foo]-policy[httpbin]-rule[0]` of one of Istio's.
    pub alias: Option<Rc<str>>,
    /// The rule fits as far as can be told, and the rest cannot be read.
    pub unavailable: bool,
}

impl fmt::Display for Decider {
    /// `prod/api#0`, with `[name]` and `(unavailable)` if so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.policy, self.rule)?;
        if let Some(name) = &self.name {
            write!(f, "[{name}]")?;
        }
        if self.unavailable { f.write_str("(unavailable)") } else { Ok(()) }
    }
}

impl fmt::Display for Reason {
    /// Who decided, in one word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdentityInvalid(_) => f.write_str("identity-invalid"),
            Self::Rule(decider) => decider.fmt(f),
            Self::Implicit { level, .. } => write!(f, "implicit({level:?})"),
            Self::Default => f.write_str("default"),
            Self::NoWorkload => f.write_str("no-workload"),
        }
    }
}

impl Reason {
    /// The tier that decided.
    #[must_use]
    pub const fn tier(&self) -> &'static str {
        match self {
            Self::IdentityInvalid(_) | Self::NoWorkload => "Integrity",
            Self::Rule(Decider { tier: Some(PolicyTier::Admin), .. }) => "Admin",
            Self::Rule(Decider { tier: Some(PolicyTier::Baseline), .. }) => "Baseline",
            Self::Rule(Decider { tier: None, .. }) | Self::Implicit { .. } => "Namespace",
            Self::Default => "Default",
        }
    }

    /// What a log says beside the word.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::IdentityInvalid(how) => Some((*how).to_owned()),
            Self::Implicit { closed_by, .. } => {
                Some(format!("closed by {closed_by}, none of which lets the caller in"))
            }
            Self::NoWorkload => Some("it is not known which workload this is".to_owned()),
            Self::Rule(_) | Self::Default => None,
        }
    }
}

impl Ruling {
    /// Of policies that cannot be selected, since nobody knows for whom.
    #[must_use]
    pub fn unselected() -> Self {
        Self {
            allowed: false,
            reason: Reason::NoWorkload,
            identity: Identity::Absent,
            told: None,
            revision: Rc::default(),
            port: None,
            audited: false,
            shadow: None,
        }
    }

    /// Whether operators should see more of it than who decided: not everybody is let in as everybody expects.
    #[must_use]
    pub fn is_remarkable(&self) -> bool {
        !self.allowed || self.audited || self.differs()
    }

    /// Whether policies of `mode: Audit` would change it.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.shadow.as_ref().is_some_and(|shadow| shadow.allowed != self.allowed)
    }

    /// The step of a decision that it is. Not every decision has it worded: most let in, and nobody looks.
    #[must_use]
    pub fn step(&self) -> StepRecord {
        StepRecord {
            stage: Stage::EastWest,
            name: self.reason.to_string().into(),
            kind: "EAST_WEST",
            metrics: false,
            outcome: if self.allowed { Outcome::Ok } else { Outcome::Denied },
            detail: Some(self.to_string()),
        }
    }

    /// The record of it, for logs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let decision = |allowed: bool| if allowed { "ALLOW" } else { "DENY" };
        let level = match &self.reason {
            Reason::Implicit { level, .. } => Some(format!("{level:?}")),
            _ => None,
        };
        json!({
            "decision": decision(self.allowed),
            "decider": self.reason.to_string(),
            "alias": match &self.reason { Reason::Rule(decider) => decider.alias.as_deref(), _ => None },
            "reason": self.reason.detail(),
            "tier": self.reason.tier(),
            "level": level,
            "identitySource": self.told.map(Told::name),
            "policyRevision": &*self.revision,
            "identity": match &self.identity { Identity::Known(id) => Some(id.as_str()), _ => None },
            "port": self.port,
            "audited": self.audited,
            "shadow": self.shadow.as_ref().map(|shadow| json!({
                "decision": decision(shadow.allowed),
                "decider": shadow.reason.to_string(),
                "differs": shadow.allowed != self.allowed,
            })),
        })
    }
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, reason, identity, told: _, revision: _, port: _, audited, shadow } = self;
        write!(f, "{} {identity} by {reason}", if *allowed { "ALLOW" } else { "DENY" })?;
        if let Some(detail) = reason.detail() {
            write!(f, " ({detail})")?;
        }
        if *audited {
            f.write_str(", audited")?;
        }
        match shadow {
            Some(shadow) if shadow.allowed != *allowed => {
                write!(
                    f,
                    "; with policies of mode Audit it would be {} by {}",
                    if shadow.allowed { "ALLOW" } else { "DENY" },
                    shadow.reason
                )
            }
            _ => Ok(()),
        }
    }
}
