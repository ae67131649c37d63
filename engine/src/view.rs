//! The Authorization JSON: a view of request and results so far, resolved on demand.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::request::Request;
use crate::time::Timestamp;

/// Results of the pipeline so far: `auth` of the Authorization JSON.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// `auth.identity`.
    pub identity: Option<Rc<Value>>,
    /// `auth.metadata.<name>`.
    pub metadata: BTreeMap<Rc<str>, Rc<Value>>,
    /// `auth.authorization.<name>`; the ones that granted.
    pub authorization: BTreeMap<Rc<str>, Rc<Value>>,
    /// `auth.response.<name>`.
    pub response: BTreeMap<Rc<str>, Rc<Value>>,
}

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
}
