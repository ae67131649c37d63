//! JSON Web Key Sets: fetched by the root context, shared by all requests.
//!
//! Sans-IO. What the root context does on each tick, and whenever a session asks for [`crate::Question::RefreshKeys`]:
//!
//! ```text
//! for id in keys.due(now):                          // nothing is under way for these
//!     keys.adopt(id, shared data of keys.share_key(id), now)   // another worker may have been faster: no longer due
//!     if still due, and the lease is ours:
//!         fetch = keys.begin(id, now)                // from now on it is under way, until its deadline
//!         dispatch fetch to the first of fetch.request.clusters that takes it; none: keys.fetched(fetch.id, Err(why), now)
//!     else: keys.leave(id, now)                      // another worker has the lease; look again in a moment
//! for each reply:
//!     match keys.fetched(id, reply, now):
//!         Fetched::Next(fetch)  => dispatch it       // discovery is done, the key set comes next
//!         Fetched::Done         => write keys.publication(id) to shared data, wake who waits for it
//!         Fetched::Failed(why)  => wake who waits for it with an error, log
//!         Fetched::Stale        => nothing
//! set the tick by keys.next_due()
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::call::{HttpReply, HttpRequest};
use crate::crypto::Algorithm;
use crate::time::Timestamp;
use crate::url::Upstreams;

mod discovery;
mod jitter;
mod jwks;
mod publication;
mod refresh;

pub use jwks::Key;

use jitter::Jitter;
use publication::Secret;
use refresh::Refresh;

/// Tells the key sets of one policy apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySetId(pub u32);

/// Tells fetches apart, also those of one key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId {
    /// The key set that it is for.
    pub key_set: KeySetId,
    pub(crate) serial: u32,
}

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// Named by the discovery document of an OpenID Connect issuer.
    Issuer(String),
    /// The URL of the key set itself.
    Jwks(String),
}

/// What a rule says of its key set. Rules that say the same share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Where the keys are.
    pub location: Location,
    /// Time between refreshes; none: as the server's `Cache-Control` says.
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
    /// There are keys: publish them, wake who waits.
    Done,
    /// There are none, or none newer; why, in a few words without secrets. Wake who waits.
    Failed(String),
    /// Nobody waits for this any more: it came too late.
    Stale,
}

/// What became of published keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Adopted {
    /// They are newer than ours and stand in their place. Wake who waits.
    Newer,
    /// Ours are as new.
    Known,
    /// They are not what a worker with this configuration publishes; why.
    Refused(&'static str),
}

/// What becomes of the wish for a key that a set does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A fetch is due or under way: worth to wait for.
    Wait,
    /// There was one a moment ago: the key is not there.
    TooSoon,
}

/// How a key set fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The issuer or the URL of the key set, as configured.
    pub name: String,
    /// How many keys it has; none before the first fetch.
    pub keys: Option<usize>,
    /// When the keys were fetched, by whichever worker.
    pub fetched_at: Option<Timestamp>,
    /// Why the latest fetch failed, if it did.
    pub failure: Option<String>,
    /// Keys of the set that were passed over, and why.
    pub notes: Vec<String>,
}

/// The keys of a set at one time. The same keys are the same set (by [`Rc::ptr_eq`]), however often they were fetched.
#[derive(Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Rc<Key>>,
    algorithms: Vec<Algorithm>,
}

/// Collects the key sets that rules ask for.
#[derive(Debug, Default)]
pub struct KeySetsBuilder {
    upstreams: Rc<Upstreams>,
    ids: HashMap<Source, KeySetId>,
    sets: Vec<Refresh>,
}

impl KeySetsBuilder {
    /// Empty.
    pub fn new(upstreams: Rc<Upstreams>) -> Self {
        Self { upstreams, ids: HashMap::new(), sets: Vec::new() }
    }

    /// The key set for a source: a new one, or the one that is already there for the same.
    ///
    /// # Errors
    /// The URL is not usable: what is wrong, to be said after it.
    pub fn add(&mut self, source: Source) -> Result<KeySetId, &'static str> {
        if let Some(id) = self.ids.get(&source) {
            return Ok(*id);
        }
        let id = KeySetId(u32::try_from(self.sets.len()).map_err(|_| "is one key set too many")?);
        self.sets.push(Refresh::new(id, source.clone())?);
        self.ids.insert(source, id);
        Ok(id)
    }

    /// All of them.
    #[must_use]
    pub fn build(self) -> KeySets {
        let secret = Cell::new(Secret::of(b""));
        KeySets { upstreams: self.upstreams, sets: RefCell::new(self.sets), jitter: Jitter::default(), secret }
    }
}

/// The key sets of a policy. Shared by root context and streams of a worker.
#[derive(Debug)]
pub struct KeySets {
    upstreams: Rc<Upstreams>,
    sets: RefCell<Vec<Refresh>>,
    jitter: Jitter,
    secret: Cell<Secret>,
}

impl KeySets {
    /// Says by which configuration, to the byte, other workers are known. [`crate::Policy::compile`] does this; who makes
    /// a policy of documents and shares keys must do it before.
    pub fn bind(&self, configuration: &[u8]) {
        self.secret.set(Secret::of(configuration));
    }

    /// Spreads refreshes and retries of many proxies over time. Any number will do; it need not be secret.
    pub fn seed(&self, seed: u64) {
        self.jitter.seed(seed);
    }

    /// The sets that want a fetch now and have none under way.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<KeySetId> {
        let is_due = |(id, set): (KeySetId, &mut Refresh)| set.is_due(now, &self.jitter).then_some(id);
        self.ids().zip(self.sets.borrow_mut().iter_mut()).filter_map(is_due).collect()
    }

    /// When there is something to do next ([`Self::due`], or a fetch is lost); none: never.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.sets.borrow().iter().map(Refresh::next).min()
    }

    /// Starts the fetch that is due; it is under way until its outcome comes or its time is over. None if nothing is due.
    #[must_use]
    pub fn begin(&self, id: KeySetId, now: Timestamp) -> Option<Fetch> {
        self.with(id, |set| set.is_due(now, &self.jitter).then(|| set.begin(&self.upstreams, now)))?
    }

    /// Leaves the fetch that is due to another worker, who is at it: this set is due again in a moment.
    pub fn leave(&self, id: KeySetId, now: Timestamp) {
        self.with(id, |set| set.leave(now));
    }

    /// Takes the outcome of a fetch; `Err` says why there was no answer, without secrets.
    pub fn fetched(&self, id: FetchId, outcome: Result<HttpReply, String>, now: Timestamp) -> Fetched {
        self.with(id.key_set, |set| set.fetched(id.serial, outcome, &self.upstreams, now, &self.jitter))
            .unwrap_or(Fetched::Stale)
    }

    /// The keys at hand; none before the first fetch.
    #[must_use]
    pub fn current(&self, id: KeySetId) -> Option<Rc<KeySet>> {
        self.with(id, |set| set.current().cloned())?
    }

    /// Asks for a key that the set does not have: makes a fetch due, at most one in ten seconds.
    #[must_use]
    pub fn want(&self, id: KeySetId, now: Timestamp) -> Wanted {
        self.with(id, |set| set.want(now)).unwrap_or(Wanted::TooSoon)
    }

    /// Name under which workers of the same configuration share a set; no other configuration has it.
    #[must_use]
    pub fn share_key(&self, id: KeySetId) -> String {
        let identity = self.with(id, |set| {
            let Source { location, ttl, timeout } = &set.source;
            let (kind, url) = match location {
                Location::Issuer(issuer) => ("issuer", issuer),
                Location::Jwks(url) => ("jwks", url),
            };
            format!("{kind} {} {} {url}", ttl.unwrap_or_default().as_millis(), timeout.as_millis())
        });
        self.secret.get().name(&identity.unwrap_or_default())
    }

    /// What to share with the other workers; none before the first fetch.
    #[must_use]
    pub fn publication(&self, id: KeySetId) -> Option<Vec<u8>> {
        let name = self.share_key(id);
        self.with(id, |set| {
            let (facts, document) = set.publication()?;
            self.secret.get().seal(&name, &facts, document)
        })?
    }

    /// Takes what another worker shared, if it is newer than ours. The bytes need not be trusted: they carry a proof
    /// that only a worker with the same configuration can make.
    pub fn adopt(&self, id: KeySetId, publication: &[u8], now: Timestamp) -> Adopted {
        let secret = self.secret.get();
        let Some((facts, document)) = secret.open(&self.share_key(id), publication) else {
            return Adopted::Refused("it was not published under this configuration");
        };
        self.with(id, |set| set.adopt(facts, document, now, &self.jitter))
            .unwrap_or(Adopted::Refused("there is no such key set"))
    }

    /// How a set fares.
    #[must_use]
    pub fn status(&self, id: KeySetId) -> Option<Status> {
        self.with(id, |set| set.status())
    }

    /// All sets.
    pub fn ids(&self) -> impl Iterator<Item = KeySetId> + use<> {
        let count = u32::try_from(self.sets.borrow().len()).unwrap_or(u32::MAX);
        (0..count).map(KeySetId)
    }

    fn with<T>(&self, KeySetId(index): KeySetId, act: impl FnOnce(&mut Refresh) -> T) -> Option<T> {
        self.sets.borrow_mut().get_mut(usize::try_from(index).ok()?).map(act)
    }
}
