//! One key set over time: when it is due, what is fetched next, what comes of it.

use std::rc::Rc;
use std::time::Duration;

use super::discovery::{self, Discovery};
use super::jitter::Jitter;
use super::jwks::{self, Key, Keys};
use super::publication::Facts;
use super::{Adopted, Fetch, FetchId, Fetched, KeySet, KeySetId, Location, Source, Status, Wanted};
use crate::call::{HttpReply, HttpRequest};
use crate::crypto::Algorithm;
use crate::time::Timestamp;
use crate::url::{Upstreams, Url};

/// Time between refreshes, if neither configuration nor server says another.
const INTERVAL: Duration = Duration::from_secs(300);

/// Bounds of what the server may say.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Longest pause after failures.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Time between fetches for the sake of unknown keys.
const WANT_INTERVAL: Duration = Duration::from_secs(10);

/// When to look again after another worker was left to fetch.
const LEAVE: Duration = Duration::from_millis(500);

/// How much later than its timeout the outcome of a fetch may come before it counts as lost.
const GRACE: Duration = Duration::from_secs(2);

/// How much later than our own time another worker's may be.
const MAX_SKEW: Duration = Duration::from_secs(60);

/// One key set.
#[derive(Debug)]
pub struct Refresh {
    id: KeySetId,
    pub source: Source,
    /// Of the discovery document, or of the key set itself.
    url: Url,
    /// Where discovery says that the keys are, and what they are used with.
    discovery: Option<Discovery>,
    good: Option<Good>,
    next: Timestamp,
    flight: Option<Flight>,
    serial: u32,
    failures: u32,
    failure: Option<String>,
    /// A key is wanted that the set does not have, and no fetch for it has begun.
    wanted: bool,
    wanted_at: Option<Timestamp>,
}

/// The latest keys that were good.
#[derive(Debug)]
struct Good {
    set: Rc<KeySet>,
    document: Vec<u8>,
    notes: Vec<String>,
    fetched_at: Timestamp,
    interval: Duration,
}

/// A fetch under way.
#[derive(Debug)]
struct Flight {
    serial: u32,
    stage: Stage,
    deadline: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Discovery,
    Jwks,
}

impl Refresh {
    /// Due at once.
    ///
    /// # Errors
    /// The URL is not usable: what is wrong, to be said after it.
    pub fn new(id: KeySetId, source: Source) -> Result<Self, &'static str> {
        let url = match &source.location {
            Location::Issuer(issuer) => discovery::url(issuer)?,
            Location::Jwks(url) => Url::parse(url)?,
        };
        Ok(Self {
            id,
            source,
            url,
            discovery: None,
            good: None,
            next: Timestamp::default(),
            flight: None,
            serial: 0,
            failures: 0,
            failure: None,
            wanted: false,
            wanted_at: None,
        })
    }

    /// The keys at hand.
    pub fn current(&self) -> Option<&Rc<KeySet>> {
        self.good.as_ref().map(|good| &good.set)
    }

    /// Whether a fetch should begin. A fetch whose time is over counts as failed.
    pub fn is_due(&mut self, now: Timestamp, jitter: &Jitter) -> bool {
        if self.flight.as_ref().is_some_and(|flight| flight.deadline <= now) {
            let _ = self.failed("there was no answer".to_owned(), now, jitter);
        }
        self.flight.is_none() && self.next <= now
    }

    /// When something is to be done next.
    pub fn next(&self) -> Timestamp {
        self.flight.as_ref().map_or(self.next, |flight| flight.deadline)
    }

    /// Begins the fetch that is due.
    pub fn begin(&mut self, upstreams: &Upstreams, now: Timestamp) -> Fetch {
        let known = matches!(self.source.location, Location::Jwks(_)) || (self.wanted && self.discovery.is_some());
        self.wanted = false;
        self.fetch(if known { Stage::Jwks } else { Stage::Discovery }, upstreams, now)
    }

    fn fetch(&mut self, stage: Stage, upstreams: &Upstreams, now: Timestamp) -> Fetch {
        self.serial = self.serial.wrapping_add(1);
        let timeout = self.source.timeout;
        let deadline = now.after(timeout).after(GRACE);
        self.flight = Some(Flight { serial: self.serial, stage, deadline });
        let url = match (stage, &self.discovery) {
            (Stage::Jwks, Some(discovery)) => &discovery.jwks,
            _ => &self.url,
        };
        Fetch {
            id: FetchId { key_set: self.id, serial: self.serial },
            request: HttpRequest {
                method: "GET".to_owned(),
                scheme: url.scheme,
                authority: url.authority(),
                path: url.path.clone(),
                clusters: upstreams.clusters(url),
                headers: vec![("accept".to_owned(), "application/json".to_owned())],
                body: Vec::new(),
                max_response_bytes: jwks::MAX_BYTES,
                share: None,
            },
            timeout,
        }
    }

    /// Leaves the fetch that is due to another worker.
    pub fn leave(&mut self, now: Timestamp) {
        self.next = now.after(LEAVE);
    }

    /// Takes the outcome of a fetch.
    pub fn fetched(
        &mut self,
        serial: u32,
        outcome: Result<HttpReply, String>,
        upstreams: &Upstreams,
        now: Timestamp,
        jitter: &Jitter,
    ) -> Fetched {
        let Some(Flight { stage, .. }) = self.flight.take_if(|flight| flight.serial == serial) else {
            return Fetched::Stale;
        };
        let taken = outcome.and_then(|response| match stage {
            Stage::Discovery => {
                self.discovered(&response).map(|()| Fetched::Next(self.fetch(Stage::Jwks, upstreams, now)))
            }
            Stage::Jwks => self.loaded(response, now, jitter).map(|()| Fetched::Done),
        });
        taken.unwrap_or_else(|reason| self.failed(reason, now, jitter))
    }

    fn discovered(&mut self, response: &HttpReply) -> Result<(), String> {
        if let Location::Issuer(issuer) = &self.source.location {
            self.discovery = Some(discovery::parse(body(response)?, issuer)?);
        }
        Ok(())
    }

    fn loaded(&mut self, response: HttpReply, now: Timestamp, jitter: &Jitter) -> Result<(), String> {
        let keys = jwks::parse(body(&response)?)?;
        let stated = response.headers.text("cache-control").and_then(|text| max_age(&text));
        let stated = stated.map_or(INTERVAL, |age| age.clamp(MIN_INTERVAL, MAX_INTERVAL));
        let interval = self.source.ttl.unwrap_or(stated);
        self.keep(keys, response.body, interval, now, jitter);
        Ok(())
    }

    fn keep(&mut self, keys: Keys, document: Vec<u8>, interval: Duration, at: Timestamp, jitter: &Jitter) {
        let Keys { keys, notes } = keys;
        let algorithms = self.discovery.as_ref().map(|discovery| discovery.algorithms.clone());
        let set = KeySet { keys, algorithms: algorithms.unwrap_or_else(|| Algorithm::ALL.to_vec()) };
        // The same keys are the same set, so that what was verified by it need not be looked up again.
        let set = self.current().filter(|current| ***current == set).cloned().unwrap_or_else(|| Rc::new(set));
        self.good = Some(Good { set, document, notes, fetched_at: at, interval });
        self.next = at.after(jitter.spread(interval, 0.76..0.84));
        self.failures = 0;
        self.failure = None;
    }

    fn failed(&mut self, reason: String, now: Timestamp, jitter: &Jitter) -> Fetched {
        self.flight = None;
        self.wanted = false;
        let pause = Duration::from_secs(1_u64.checked_shl(self.failures.min(16)).unwrap_or(u64::MAX)).min(MAX_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.next = now.after(jitter.spread(pause, 0.5..1.0));
        self.failure = Some(reason.clone());
        Fetched::Failed(reason)
    }

    /// Asks for a key that the set does not have.
    pub fn want(&mut self, now: Timestamp) -> Wanted {
        if self.flight.is_some() || self.wanted {
            return Wanted::Wait;
        }
        if self.wanted_at.is_some_and(|at| now.since(at) < WANT_INTERVAL) {
            return Wanted::TooSoon;
        }
        self.wanted_at = Some(now);
        self.wanted = true;
        self.next = self.next.min(now);
        Wanted::Wait
    }

    /// What to tell the other workers.
    pub fn publication(&self) -> Option<(Facts, &[u8])> {
        let Good { document, fetched_at, interval, .. } = self.good.as_ref()?;
        let facts = Facts {
            fetched_at: fetched_at.nanos(),
            interval: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            wanted_at: self.wanted_at.map(Timestamp::nanos),
            jwks_url: self.discovery.as_ref().map(|discovery| discovery.jwks.to_string()),
            algorithms: self.algorithms().map(|algorithm| algorithm.name().to_owned()).collect(),
        };
        Some((facts, document))
    }

    fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.discovery.iter().flat_map(|discovery| discovery.algorithms.iter().copied())
    }

    /// Takes what another worker published.
    pub fn adopt(&mut self, facts: Facts, document: &[u8], now: Timestamp, jitter: &Jitter) -> Adopted {
        let Facts { fetched_at, interval, wanted_at, jwks_url, algorithms } = facts;
        let fetched_at = Timestamp::from_nanos(fetched_at);
        if self.good.as_ref().is_some_and(|good| good.fetched_at >= fetched_at) {
            return Adopted::Known;
        }
        if fetched_at > now.after(MAX_SKEW) {
            return Adopted::Refused("it comes from the future");
        }
        let Ok(keys) = jwks::parse(document) else { return Adopted::Refused("it is no key set") };
        match (&self.source.location, jwks_url.as_deref().map(Url::parse)) {
            (Location::Issuer(_), Some(Ok(jwks))) => {
                let algorithms = algorithms.iter().filter_map(|name| Algorithm::from_name(name)).collect();
                self.discovery = Some(Discovery { jwks, algorithms });
            }
            (Location::Jwks(_), None) => {}
            _ => return Adopted::Refused("it is of another kind of source"),
        }
        self.keep(keys, document.to_vec(), Duration::from_nanos(interval), fetched_at, jitter);
        // What was fetched before a key was wanted may well be without it.
        self.wanted = self.wanted && self.wanted_at.is_some_and(|wanted_at| fetched_at < wanted_at);
        if self.wanted {
            self.next = now;
        }
        self.wanted_at = self.wanted_at.max(wanted_at.map(Timestamp::from_nanos).filter(|at| *at <= now));
        Adopted::Newer
    }

    /// How it fares.
    pub fn status(&self) -> Status {
        let (Location::Issuer(name) | Location::Jwks(name)) = &self.source.location;
        Status {
            name: name.clone(),
            keys: self.good.as_ref().map(|good| good.set.keys.len()),
            fetched_at: self.good.as_ref().map(|good| good.fetched_at),
            failure: self.failure.clone(),
            notes: self.good.as_ref().map(|good| good.notes.clone()).unwrap_or_default(),
        }
    }
}

/// The body of a good answer. A redirect is none: its target may be anywhere.
fn body(response: &HttpReply) -> Result<&[u8], String> {
    match response.status {
        200 => Ok(&response.body),
        status => Err(format!("the answer has status {status}")),
    }
}

/// `max-age` of a `Cache-Control` (RFC 9111 section 5.2.2.1); zero if the answer is not to be kept.
fn max_age(cache_control: &str) -> Option<Duration> {
    let directives = cache_control.split(',').map(|directive| directive.trim().to_ascii_lowercase());
    let seconds = directives.filter_map(|directive| match directive.as_str() {
        "no-store" | "no-cache" => Some(0),
        other => other.strip_prefix("max-age=")?.trim_matches('"').parse().ok(),
    });
    seconds.min().map(Duration::from_secs)
}

impl KeySet {
    /// Whether tokens may be signed so.
    #[must_use]
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// The algorithms that tokens may be signed with.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Whether a key has this id.
    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The keys that a signature may be of: those with the id (none given: all) that are for the algorithm.
    pub fn candidates(&self, algorithm: Algorithm, kid: Option<&str>) -> impl Iterator<Item = &Rc<Key>> {
        let fits = move |key: &&Rc<Key>| kid.is_none() || key.kid.as_deref() == kid;
        let allowed = self.allows(algorithm);
        self.keys.iter().filter(fits).filter(move |key| allowed && key.algorithms.contains(&algorithm))
    }

    /// Whether a signature by this key still counts.
    #[must_use]
    pub fn has(&self, algorithm: Algorithm, key: &Key) -> bool {
        self.allows(algorithm) && self.keys.iter().any(|known| **known == *key)
    }
}
