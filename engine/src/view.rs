//! The Authorization JSON: a view of request and results so far, resolved on demand.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::request::{Needs, Request};
use crate::time::Timestamp;

pub mod metadata;
mod target;
mod tree;

/// Results of the pipeline so far: `auth` of the Authorization JSON.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// `auth.identity`.
    pub identity: Option<Rc<Value>>,
    /// Who issued the token that the identity is from, where a rule knows; no expression sees it.
    pub issuer: Option<Rc<str>>,
    /// `auth.metadata.<name>`.
    pub metadata: Results,
    /// `auth.authorization.<name>`; the ones that granted.
    pub authorization: Results,
    /// `auth.response.<name>`.
    pub response: Results,
    /// `auth.callbacks.<name>`; the answers of those of lower priority numbers.
    pub callbacks: Results,
}

/// Results by the name of the rule.
pub type Results = BTreeMap<Rc<str>, Rc<Value>>;

/// What expressions can see. Cheap to clone, and unchanged by what happens after it was taken.
#[derive(Debug, Clone)]
pub struct View {
    /// The request.
    pub request: Rc<Request>,
    /// When the request came.
    pub time: Timestamp,
    /// Results so far.
    pub auth: Rc<Auth>,
}

impl View {
    /// The same, with another identity.
    #[must_use]
    pub fn with_identity(mut self, identity: Rc<Value>) -> Self {
        Rc::make_mut(&mut self.auth).identity = Some(identity);
        self
    }

    /// What is at a path of plain member names, the first of which is a root: `context`, `metadata`, `request`, `source`,
    /// `destination` or `auth`. Only what is asked for is read and built. Lists have no members.
    #[must_use]
    pub fn get<S: AsRef<str>>(&self, path: &[S]) -> Option<Cow<'_, Value>> {
        let (place, rest) = Place::find(path)?;
        rest.iter().try_fold(place.read(self)?, |value, name| member(value, name.as_ref()))
    }

    /// One root, built whole.
    #[must_use]
    pub fn root(&self, name: &str) -> Option<Value> {
        self.get(&[name]).map(Cow::into_owned)
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.headers.text(name)
    }
}

/// The member of an object.
fn member<'a>(value: Cow<'a, Value>, name: &str) -> Option<Cow<'a, Value>> {
    match value {
        Cow::Borrowed(value) => value.get(name).map(Cow::Borrowed),
        Cow::Owned(Value::Object(mut members)) => members.remove(name).map(Cow::Owned),
        Cow::Owned(_) => None,
    }
}

/// A place in the Authorization JSON: found once, when an expression is compiled, and read for each request.
#[derive(Debug, Clone)]
pub struct Place {
    node: &'static tree::Node,
    /// The member's name, in an object whose members nobody knows beforehand.
    name: Option<String>,
}

impl Place {
    /// The whole.
    pub const ROOT: Self = Self { node: &tree::ROOT, name: None };

    /// Follows a path of member names as far as the shape of the Authorization JSON is known; the names that are left lead
    /// on within the value read there. `None`: nothing can ever be at this path.
    pub fn find<S: AsRef<str>>(path: &[S]) -> Option<(Self, &[S])> {
        let mut node = &tree::ROOT;
        let mut rest = path;
        while let Some((name, after)) = rest.split_first() {
            match node {
                tree::Node::Object(members) | tree::Node::Optional(members) => {
                    node = members.iter().find(|(known, _)| *known == name.as_ref()).map(|(_, node)| node)?;
                    rest = after;
                }
                tree::Node::Headers | tree::Node::FilterMetadata | tree::Node::Results(_) => {
                    return Some((Self { node, name: Some(name.as_ref().to_owned()) }, after));
                }
                tree::Node::Value(..) | tree::Node::Identity => break,
            }
        }
        Some((Self { node, name: None }, rest))
    }

    /// What is read of a request by that: the attributes that must be fetched for it, and whether it is of the request at all.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.node.needs()
    }

    /// Whether it is all request headers.
    #[must_use]
    pub const fn is_headers(&self) -> bool {
        matches!((self.node, &self.name), (tree::Node::Headers, None))
    }

    /// What is there.
    #[must_use]
    pub fn read<'a>(&self, view: &'a View) -> Option<Cow<'a, Value>> {
        match &self.name {
            Some(name) => self.node.read_member(view, name),
            None => self.node.read(view),
        }
    }
}
