//! Documents of servers: key sets and what else does not depend on the request. Fetched by the root context, shared by
//! all requests, refreshed before they are old, kept when a refresh fails.
//!
//! Sans-IO. What the root context does on each tick, and whenever a session asks for [`crate::Question::RefreshDocument`]:
//!
//! ```text
//! for id in documents.due(now):                          // nothing is under way for these
//!     documents.adopt(id, shared data of documents.share_key(id), now)   // another worker may have been faster: no longer due
//!     if still due, and the lease is ours:
//!         fetch = documents.begin(id, now)                // from now on it is under way, until its deadline
//!         dispatch fetch to the first of fetch.request.clusters that takes it; none: documents.fetched(fetch.id, Err(why), now)
//!     else: documents.leave(id, now)                      // another worker has the lease; look again in a moment
//! for each reply:
//!     match documents.fetched(id, reply, now):
//!         Fetched::Next(fetch)  => dispatch it       // discovery is done, the key set comes next
//!         Fetched::Done         => write documents.publication(id) to shared data, wake who waits for it
//!         Fetched::Failed(why)  => wake who waits for it with an error, log
//!         Fetched::Stale        => nothing
//! set the tick by documents.next_due()
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::call::{HttpReply, HttpRequest};
use crate::time::Timestamp;
use crate::url::{Upstreams, Url};

mod discovery;
mod document;
mod jitter;
pub(crate) mod jwks;
mod key_set;
mod publication;
mod refresh;
pub mod rego;
pub mod uma;

pub use jwks::Key;
pub use key_set::KeySet;

use document::Document;
use jitter::Jitter;
use publication::Secret;
use refresh::Refresh;

/// Tells the documents of one policy apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId(pub u32);

/// Tells fetches apart, also those of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId {
    /// The document that it is for.
    pub document: DocumentId,
    pub(crate) serial: u32,
}

/// What is fetched, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Location {
    /// A key set that the discovery document of an OpenID Connect issuer names.
    Issuer(String),
    /// A key set, by its URL.
    Jwks(String),
    /// The configuration of a UMA 2.0 server, by its issuer.
    Uma(String),
    /// A policy in Rego.
    Rego(rego::Place),
}

/// What a rule says of its document. Rules that say the same share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// What it is, and where.
    pub location: Location,
    /// Time between refreshes. None: as the server's `Cache-Control` says; but a policy in Rego is not fetched again.
    pub ttl: Option<Duration>,
    /// How long one fetch may take.
    pub timeout: Duration,
}

/// A document to fetch by GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// To be given back with the outcome.
    pub id: FetchId,
    /// What is sent.
    pub request: HttpRequest,
    /// How long it may take; never zero.
    pub timeout: Duration,
}

/// What comes after the outcome of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
#[must_use]
pub enum Fetched {
    /// Another fetch, which is now under way.
    Next(Fetch),
    /// It is there: publish it, wake who waits.
    Done,
    /// It is not there, or none newer; why, in a few words without secrets. Wake who waits.
    Failed(String),
    /// Nobody waits for this any more: it came too late.
    Stale,
}

/// What became of a published document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Adopted {
    /// It is newer than ours and stands in its place. Wake who waits.
    Newer,
    /// Ours is as new.
    Known,
    /// It is not what a worker with this configuration publishes; why.
    Refused(&'static str),
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key set.
    Keys,
    /// The configuration of a UMA 2.0 server.
    Uma,
    /// A policy in Rego.
    Rego,
}

/// What becomes of the wish for a key that a set does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A fetch is due or under way: worth to wait for.
    Wait,
    /// There was one a moment ago: the key is not there.
    TooSoon,
}

/// How a document fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Of which kind it is.
    pub kind: Kind,
    /// What it is, in a few words that go on with "of `name`".
    pub what: &'static str,
    /// The issuer or the URL, as configured.
    pub name: String,
    /// How many keys it has; none before the first fetch, and if it is no key set.
    pub keys: Option<usize>,
    /// When it was fetched, by whichever worker.
    pub fetched_at: Option<Timestamp>,
    /// Why the latest fetch failed, if it did.
    pub failure: Option<String>,
    /// What was passed over in it, and why.
    pub notes: Vec<String>,
}

/// Collects the documents that rules ask for.
#[derive(Debug, Default)]
pub struct RemoteDocumentsBuilder {
    upstreams: Rc<Upstreams>,
    ids: HashMap<Source, DocumentId>,
    documents: Vec<Refresh>,
}

impl RemoteDocumentsBuilder {
    /// Empty.
    pub fn new(upstreams: Rc<Upstreams>) -> Self {
        Self { upstreams, ids: HashMap::new(), documents: Vec::new() }
    }

    /// The document of a source: a new one, or the one that is already there for the same.
    ///
    /// # Errors
    /// The URL is not usable: what is wrong, to be said after it.
    pub fn add(&mut self, source: Source) -> Result<DocumentId, &'static str> {
        if let Some(id) = self.ids.get(&source) {
            return Ok(*id);
        }
        let id = DocumentId(u32::try_from(self.documents.len()).map_err(|_| "is one document too many")?);
        self.documents.push(Refresh::new(id, source.clone())?);
        self.ids.insert(source, id);
        Ok(id)
    }

    /// All of them.
    #[must_use]
    pub fn build(self) -> RemoteDocuments {
        let secret = Cell::new(Secret::of(b""));
        let documents = RefCell::new(self.documents);
        RemoteDocuments { upstreams: self.upstreams, documents, jitter: Jitter::default(), secret }
    }
}

/// The documents of a policy. Shared by root context and streams of a worker.
#[derive(Debug)]
pub struct RemoteDocuments {
    upstreams: Rc<Upstreams>,
    documents: RefCell<Vec<Refresh>>,
    jitter: Jitter,
    secret: Cell<Secret>,
}

impl RemoteDocuments {
    /// Says by which configuration, to the byte, other workers are known. [`crate::Policy::compile`] does this; who makes
    /// a policy of documents and shares what is fetched must do it before.
    pub fn bind(&self, configuration: &[u8]) {
        self.secret.set(Secret::of(configuration));
    }

    /// Spreads refreshes and retries of many proxies over time. Any number will do; it need not be secret.
    pub fn seed(&self, seed: u64) {
        self.jitter.seed(seed);
    }

    /// The documents that want a fetch now and have none under way.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<DocumentId> {
        let is_due = |(id, document): (DocumentId, &mut Refresh)| document.is_due(now, &self.jitter).then_some(id);
        self.ids().zip(self.documents.borrow_mut().iter_mut()).filter_map(is_due).collect()
    }

    /// When there is something to do next ([`Self::due`], or a fetch is lost); none: never.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.documents.borrow().iter().map(Refresh::next).min()
    }

    /// Starts the fetch that is due; it is under way until its outcome comes or its time is over. None if nothing is due.
    #[must_use]
    pub fn begin(&self, id: DocumentId, now: Timestamp) -> Option<Fetch> {
        self.with(id, |document| document.is_due(now, &self.jitter).then(|| document.begin(&self.upstreams, now)))?
    }

    /// Leaves the fetch that is due to another worker, who is at it: this one is due again in a moment.
    pub fn leave(&self, id: DocumentId, now: Timestamp) {
        self.with(id, |document| document.leave(now));
    }

    /// Takes the outcome of a fetch; `Err` says why there was no answer, without secrets.
    pub fn fetched(&self, id: FetchId, outcome: Result<HttpReply, String>, now: Timestamp) -> Fetched {
        self.with(id.document, |document| document.fetched(id.serial, outcome, &self.upstreams, now, &self.jitter))
            .unwrap_or(Fetched::Stale)
    }

    /// Whether there are key sets among them, by which tokens are checked.
    #[must_use]
    pub fn has_key_sets(&self) -> bool {
        let is_key_set = |location: &Location| matches!(location, Location::Issuer(_) | Location::Jwks(_));
        self.documents.borrow().iter().any(|document| is_key_set(&document.source.location))
    }

    /// The keys at hand; none before the first fetch.
    #[must_use]
    pub fn key_set(&self, id: DocumentId) -> Option<Rc<KeySet>> {
        match self.with(id, |document| document.current().cloned())?? {
            Document::Keys(set) => Some(set),
            Document::Uma(_) | Document::Rego(_) => None,
        }
    }

    /// What a UMA server says of itself; none before the first fetch.
    #[must_use]
    pub fn uma(&self, id: DocumentId) -> Option<Rc<uma::Configuration>> {
        match self.with(id, |document| document.current().cloned())?? {
            Document::Uma(configuration) => Some(configuration),
            Document::Keys(_) | Document::Rego(_) => None,
        }
    }

    /// The text of a policy; none before the first fetch. The same text is the same `Rc`, however often it was fetched.
    #[must_use]
    pub fn rego(&self, id: DocumentId) -> Option<Rc<str>> {
        match self.with(id, |document| document.current().cloned())?? {
            Document::Rego(text) => Some(text),
            Document::Keys(_) | Document::Uma(_) => None,
        }
    }

    /// Where the issuer of a key set says more of who shows an access token; none if it does not, or not yet.
    #[must_use]
    pub fn user_info_endpoint(&self, id: DocumentId) -> Option<Url> {
        self.with(id, |document| document.discovery()?.user_info.clone())?
    }

    /// Asks for a key that a set does not have: makes a fetch due, at most one in ten seconds.
    #[must_use]
    pub fn want(&self, id: DocumentId, now: Timestamp) -> Wanted {
        self.with(id, |document| document.want(now)).unwrap_or(Wanted::TooSoon)
    }

    /// Name under which workers of the same configuration share a document; no other configuration has it.
    #[must_use]
    pub fn share_key(&self, id: DocumentId) -> String {
        let identity = self.with(id, |document| {
            let Source { location, ttl, timeout } = &document.source;
            // The number tells apart what differs in nothing that is written here: the same configuration gives the same.
            let (kind, url) = match location {
                Location::Issuer(issuer) => ("issuer", issuer),
                Location::Jwks(url) => ("jwks", url),
                Location::Uma(issuer) => ("uma", issuer),
                Location::Rego(rego::Place { url, .. }) => ("rego", url),
            };
            format!("{kind} {} {} {} {url}", id.0, ttl.unwrap_or_default().as_millis(), timeout.as_millis())
        });
        self.secret.get().name(&identity.unwrap_or_default())
    }

    /// What to share with the other workers; none before the first fetch.
    #[must_use]
    pub fn publication(&self, id: DocumentId) -> Option<Vec<u8>> {
        let name = self.share_key(id);
        self.with(id, |document| {
            let (facts, content) = document.publication()?;
            self.secret.get().seal(&name, &facts, content)
        })?
    }

    /// Takes what another worker shared, if it is newer than ours. The bytes need not be trusted: they carry a proof
    /// that only a worker with the same configuration can make.
    pub fn adopt(&self, id: DocumentId, publication: &[u8], now: Timestamp) -> Adopted {
        let secret = self.secret.get();
        let Some((facts, content)) = secret.open(&self.share_key(id), publication) else {
            return Adopted::Refused("it was not published under this configuration");
        };
        self.with(id, |document| document.adopt(facts, content, now, &self.jitter))
            .unwrap_or(Adopted::Refused("there is no such document"))
    }

    /// How a document fares.
    #[must_use]
    pub fn status(&self, id: DocumentId) -> Option<Status> {
        self.with(id, |document| document.status())
    }

    /// All documents.
    pub fn ids(&self) -> impl Iterator<Item = DocumentId> + use<> {
        let count = u32::try_from(self.documents.borrow().len()).unwrap_or(u32::MAX);
        (0..count).map(DocumentId)
    }

    fn with<T>(&self, DocumentId(index): DocumentId, act: impl FnOnce(&mut Refresh) -> T) -> Option<T> {
        self.documents.borrow_mut().get_mut(usize::try_from(index).ok()?).map(act)
    }
}
