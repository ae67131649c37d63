//! Policies in the form that all kinds of documents are brought into: whom they are about, where they stand, and rules over terms.
//!
//! A rule is an AND of groups, a group an OR of alternatives, an alternative an AND of terms, and a term says that an attribute has
//! one of its values, or none of them. So `sources` is a group, and `from` and `to` of other kinds of documents are groups.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use sidegate_config::{EnforcementLevel, LabelSelector, PolicyTier};

use super::block::Block;
use super::pattern::{Glob, PathPattern, Pattern};
use super::spiffe::SpiffeId;
use crate::resources::selects;

/// One policy.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its kind, as problems name it.
    pub kind: &'static str,
    /// Its namespace; empty if it is cluster-wide.
    pub namespace: Rc<str>,
    /// Its name.
    pub name: Rc<str>,
    /// Where it stands.
    pub place: Place,
    /// The workloads that it is about.
    pub target: Target,
    /// It has a say in the shadow decision alone.
    pub audit: bool,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
    /// It is Istio's: [`super::istio::of_workload`] makes it ready for one workload.
    pub istio: bool,
}

impl Object {
    /// As deciders are named: `namespace/name`, or `Admin/name` of a cluster-wide one.
    #[must_use]
    pub fn decider(&self) -> Rc<str> {
        match self.place {
            Place::Tier(tier, _) => format!("{tier:?}/{}", self.name).into(),
            _ => format!("{}/{}", self.namespace, self.name).into(),
        }
    }

    /// As problems and explanations name it: `AuthorizationPolicy prod/api`.
    #[must_use]
    pub fn label(&self) -> String {
        match self.place {
            Place::Tier(..) => format!("{} {}", self.kind, self.name),
            _ => format!("{} {}/{}", self.kind, self.namespace, self.name),
        }
    }
}

/// Where a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A tier of cluster-wide policies, by priority.
    Tier(PolicyTier, i64),
    /// The namespace tier: whom it fits is kept out.
    Deny,
    /// The namespace tier: whom it fits is let in, as far as the level goes.
    Allow(EnforcementLevel),
    /// Whom it fits is marked.
    Audit,
}

/// The workloads that a policy is about.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Of this namespace; none: of all.
    pub namespace: Option<Rc<str>>,
    /// Of namespaces with these labels.
    pub namespaces: LabelSelector,
    /// With these labels.
    pub pods: LabelSelector,
}

/// A workload, as policies see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Labels of its namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Its trust domain.
    pub trust_domain: String,
    /// Its ServiceAccount, if that is known.
    pub service_account: Option<String>,
}

impl Target {
    /// Whether a workload is meant.
    ///
    /// # Errors
    /// It is not; why.
    pub fn selects(&self, workload: &Workload) -> Result<(), &'static str> {
        if self.namespace.as_ref().is_some_and(|namespace| **namespace != *workload.namespace) {
            Err("it is of another namespace")
        } else if !selects(&self.namespaces, &workload.namespace_labels) {
            Err("`namespaceSelector` does not fit the labels of the namespace")
        } else if !selects(&self.pods, &workload.labels) {
            Err("the selector does not fit the labels of the workload")
        } else {
            Ok(())
        }
    }
}

/// What a rule that fits does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Lets in.
    Allow,
    /// Keeps out.
    Deny,
    /// Leaves the tier.
    Pass,
    /// Marks the decision.
    Audit,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, if it has one.
    pub name: Option<Rc<str>>,
    /// Its number in the document.
    pub index: u32,
    /// What it does.
    pub effect: Effect,
    /// How it is called elsewhere, for those who look for it by that.
    pub alias: Option<Rc<str>>,
    /// Part of it is not valid: it lets nobody in, and keeps out whom the rest fits.
    pub invalid: bool,
    /// All of them must fit.
    pub groups: Vec<Group>,
}

/// One of these must fit.
pub type Group = Vec<Alternative>;

/// All of these must fit.
pub type Alternative = Vec<Term>;

/// An attribute has one of the values.
#[derive(Debug, Clone)]
pub struct Term {
    /// What is looked at.
    pub dimension: Dimension,
    /// One of them; none never fits.
    pub values: Vec<Value>,
    /// It must not fit.
    pub negated: bool,
}

impl Term {
    /// The attribute has one of the values.
    #[must_use]
    pub const fn new(dimension: Dimension, values: Vec<Value>) -> Self {
        Self { dimension, values, negated: false }
    }

    /// The attribute has none of the values.
    #[must_use]
    pub const fn not(dimension: Dimension, values: Vec<Value>) -> Self {
        Self { dimension, values, negated: true }
    }
}

/// What a term looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dimension {
    /// Who calls.
    Identity,
    /// The address of the peer.
    Peer,
    /// The address of the client.
    Client,
    /// The port that the connection goes to.
    Port,
    /// The address of ours that the connection goes to.
    Destination,
    /// The name that the client's TLS asks for.
    ServerName,
    /// Dynamic metadata of filters before this one.
    Metadata,
    /// Verified tokens.
    Jwt,
    /// Method of the request.
    Method,
    /// Host of the request.
    Host,
    /// Path of the request.
    Path,
    /// Headers of the request.
    Header,
}

impl Dimension {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Identity,
        Self::Peer,
        Self::Client,
        Self::Port,
        Self::Destination,
        Self::ServerName,
        Self::Metadata,
        Self::Jwt,
        Self::Method,
        Self::Host,
        Self::Path,
        Self::Header,
    ];

    /// Whether it is about HTTP requests.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Jwt | Self::Method | Self::Host | Self::Path | Self::Header)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Peer => "peer address",
            Self::Client => "client address",
            Self::Port => "port",
            Self::Destination => "destination address",
            Self::ServerName => "server name",
            Self::Metadata => "metadata",
            Self::Jwt => "token",
            Self::Method => "method",
            Self::Host => "host",
            Self::Path => "path",
            Self::Header => "header",
        })
    }
}

/// A value that an attribute may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Of [`Dimension::Identity`].
    Who(Who),
    /// Of [`Dimension::Peer`], [`Dimension::Client`] and [`Dimension::Destination`].
    Block(Block),
    /// Of [`Dimension::Port`].
    Port(u16),
    /// Of [`Dimension::Jwt`].
    Token(Rc<Token>),
    /// Of [`Dimension::Jwt`].
    Principal(Rc<Principal>),
    /// Of [`Dimension::Jwt`] and [`Dimension::Metadata`].
    Member(Rc<Member>),
    /// Of [`Dimension::Method`], [`Dimension::Host`] and [`Dimension::ServerName`]; of a host in lower case.
    Text(Pattern),
    /// Of [`Dimension::Host`]: in lower case, with whatever port and dot it came.
    Authority(Pattern),
    /// Of [`Dimension::Path`].
    Path(PathPattern),
    /// Of [`Dimension::Path`]: as it came, which is a view of its own beside those of `Path`.
    Written(PathPattern),
    /// Of [`Dimension::Path`]: as it came, and nothing else.
    Verbatim(PathPattern),
    /// Of [`Dimension::Header`]: the name in lower case, and the value; none: any, and more than one.
    Header(Rc<str>, Option<Pattern>),
    /// Of [`Dimension::Header`]: one of the lines of that name.
    Line(Rc<str>, Pattern),
    /// It was not valid: nobody knows whether the attribute has it.
    Invalid,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// A workload; by another name if its trust domain is one of the workload's own.
    Exact(SpiffeId),
    /// A ServiceAccount of the workload's own trust domain.
    ServiceAccount(Rc<str>, Rc<str>),
    /// All below a path of a trust domain; the path ends with a slash.
    Below(Rc<str>, Rc<str>),
    /// All ServiceAccounts of namespaces, of the workload's own trust domain.
    Namespace(Pattern),
    /// All of trust domains; an exact one that is the workload's own stands for its aliases too.
    TrustDomain(Pattern),
    /// Who has no identity.
    Nobody,
    /// By the text of the SPIFFE ID after `spiffe://`.
    Name(Pattern),
    /// A ServiceAccount of whatever trust domain.
    AnyAccount(Rc<str>, Rc<str>),
    /// All ServiceAccounts of namespaces, of whatever trust domain.
    AnyNamespace(Glob),
    /// All whose SPIFFE ID has the namespace and, somewhere after it, the name among its segments, as Istio reads it.
    LooseAccount(Rc<str>, Rc<str>),
    /// All whose SPIFFE ID has `/ns/<namespace>/` somewhere, as Istio reads it.
    LooseNamespace(Glob),
}

/// `iss` and `sub` of a verified token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// `iss`.
    pub issuer: Pattern,
    /// `sub`.
    pub subject: Pattern,
}

/// A member of an object or of one within it: a text, or a list that has one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Names, from the outermost one on.
    pub path: Vec<Box<str>>,
    /// Which of both it may be.
    pub form: Form,
    /// The text.
    pub pattern: Pattern,
}

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// It is the text.
    Text,
    /// It is a list with it.
    List,
    /// Either.
    Either,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// `iss`.
    pub issuer: String,
    /// `sub`; none: any.
    pub subject: Option<String>,
    /// One of them is in `aud`; none: any.
    pub audiences: Option<Vec<String>>,
    /// Claims, each with one of the values.
    pub claims: Vec<(String, Vec<String>)>,
}

impl Token {
    /// Whether a token's payload is such a one.
    #[must_use]
    pub fn fits(&self, payload: &serde_json::Value) -> bool {
        let has = |name: &str, values: &[String]| {
            let one =
                |claim: &serde_json::Value| claim.as_str().is_some_and(|text| values.iter().any(|value| value == text));
            match payload.get(name) {
                Some(serde_json::Value::Array(items)) => items.iter().any(one),
                Some(claim) => one(claim),
                None => false,
            }
        };
        let text = |name: &str| payload.get(name).and_then(serde_json::Value::as_str);
        text("iss") == Some(&self.issuer)
            && self.subject.as_deref().is_none_or(|subject| text("sub") == Some(subject))
            && self.audiences.as_ref().is_none_or(|audiences| has("aud", audiences))
            && self.claims.iter().all(|(name, values)| has(name, values))
    }
}
