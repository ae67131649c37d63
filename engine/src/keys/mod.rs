//! JSON Web Key Sets: fetched by the root context, shared by all requests.
//!
//! Sans-IO. What the root context does on each tick, and whenever a session asks for [`crate::Question::RefreshKeys`]:
//!
//! ```text
//! for id in keys.due(now):                          // nothing is under way for these
//!     keys.adopt(id, shared data of keys.share_key(id), now)   // another worker may have been faster: no longer due
//!     if still due, and the lease is ours:
//!         fetch = keys.begin(id, now)                // from now on it is under way, until its deadline
//!         dispatch fetch to the first of fetch.clusters that takes it; none: keys.fetched(fetch.id, Err(why), now)
//!     else: keys.leave(id, now)                      // another worker has the lease; look again in a moment
//! for each reply:
//!     match keys.fetched(id, reply, now):
//!         Fetched::Next(fetch)  => dispatch it       // discovery is done, the key set comes next
//!         Fetched::Done         => write keys.publication(id) to shared data, wake who waits for it
//!         Fetched::Failed(why)  => wake who waits for it with an error, log
//!         Fetched::Stale        => nothing
//! set the tick by keys.next_due(now)
//! ```

use std::time::Duration;

use sidegate_config::Upstream;

use crate::time::Timestamp;

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
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host, with the port if it is not the scheme's own; the value of `:authority`.
    pub authority: String,
    /// Path with query; the value of `:path`.
    pub path: String,
    /// Names of the Envoy clusters that may carry it, to be tried in order until one takes it.
    pub clusters: Vec<String>,
    /// How long it may take; never zero.
    pub timeout: Duration,
}

/// An answer to a [`Fetch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    /// HTTP status.
    pub status: u16,
    /// All `cache-control` headers, joined by commas.
    pub cache_control: Option<String>,
    /// Body. Too much of it is refused.
    pub body: Vec<u8>,
}

/// What comes after the outcome of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// Collects the key sets that rules ask for.
#[derive(Debug)]
pub struct KeySetsBuilder {}

impl KeySetsBuilder {
    /// Empty.
    pub fn new(_upstreams: &[Upstream]) -> Self {
        Self {}
    }

    /// The key set for a source: a new one, or the one that is already there for the same.
    ///
    /// # Errors
    /// The URL is not usable; why, with the remedy.
    pub fn add(&mut self, _source: Source) -> Result<KeySetId, String> {
        todo!()
    }

    /// All of them.
    pub fn build(self) -> KeySets {
        KeySets {}
    }
}

/// The key sets of a policy. Shared by root context and streams of a worker.
#[derive(Debug)]
pub struct KeySets {}

impl KeySets {
    /// Spreads refreshes and retries of many proxies over time. Any number will do; it need not be secret.
    pub fn seed(&self, _seed: u64) {
        todo!()
    }

    /// The sets that want a fetch now and have none under way.
    #[must_use]
    pub fn due(&self, _now: Timestamp) -> Vec<KeySetId> {
        todo!()
    }

    /// When [`Self::due`] has something next; none: never.
    #[must_use]
    pub fn next_due(&self, _now: Timestamp) -> Option<Timestamp> {
        todo!()
    }

    /// Starts the fetch that is due; it is under way until its outcome comes or its time is over. None if nothing is due.
    #[must_use]
    pub fn begin(&self, _id: KeySetId, _now: Timestamp) -> Option<Fetch> {
        todo!()
    }

    /// Leaves the fetch that is due to another worker, who is at it: this set is due again in a moment.
    pub fn leave(&self, _id: KeySetId, _now: Timestamp) {
        todo!()
    }

    /// Takes the outcome of a fetch; `Err` says why there was no answer.
    pub fn fetched(&self, _id: FetchId, _outcome: Result<FetchResponse, String>, _now: Timestamp) -> Fetched {
        todo!()
    }

    /// Asks for a key that the set does not have: makes a fetch due, at most one in ten seconds.
    #[must_use]
    pub fn want(&self, _id: KeySetId, _now: Timestamp) -> Wanted {
        todo!()
    }

    /// Name under which workers of the same configuration share a set; no other configuration has it.
    #[must_use]
    pub fn share_key(&self, _id: KeySetId) -> String {
        todo!()
    }

    /// What to share with the other workers; none before the first fetch.
    #[must_use]
    pub fn publication(&self, _id: KeySetId) -> Option<Vec<u8>> {
        todo!()
    }

    /// Takes what another worker shared, if it is newer than ours. The bytes need not be trusted: they carry a proof
    /// that only a worker with the same configuration can make.
    pub fn adopt(&self, _id: KeySetId, _publication: &[u8], _now: Timestamp) -> Adopted {
        todo!()
    }

    /// How a set fares.
    #[must_use]
    pub fn status(&self, _id: KeySetId) -> Option<Status> {
        todo!()
    }

    /// All sets.
    pub fn ids(&self) -> impl Iterator<Item = KeySetId> {
        std::iter::empty()
    }
}
