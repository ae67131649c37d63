//! One document over time: when it is due, what is fetched next, what comes of it.

use std::time::Duration;

use super::discovery::{self, Discovery};
use super::document::Document;
use super::jitter::Jitter;
use super::publication::Facts;
use super::{Adopted, DocumentId, Fetch, FetchId, Fetched, Kind, Location, Source, Status, Wanted, jwks, rego, uma};
use crate::call::{HttpReply, HttpRequest};
use crate::crypto::Algorithm;
use crate::outbound;
use crate::time::Timestamp;
use crate::url::{Upstreams, Url};

/// Time between refreshes, if neither configuration nor server says another.
const INTERVAL: Duration = Duration::from_secs(300);

/// Time to the refresh of what is never refreshed.
const NEVER: Duration = Duration::from_nanos(u64::MAX);

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

/// One document.
#[derive(Debug)]
pub struct Refresh {
    id: DocumentId,
    pub source: Source,
    /// Of the discovery document, or of the document itself.
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

/// The latest document that was good.
#[derive(Debug)]
struct Good {
    document: Document,
    /// What it was read from.
    content: Vec<u8>,
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
    Document,
}

impl Refresh {
    /// Due at once.
    ///
    /// # Errors
    /// The URL is not usable: what is wrong, to be said after it.
    pub fn new(id: DocumentId, source: Source) -> Result<Self, &'static str> {
        let url = match &source.location {
            Location::Issuer(issuer) => discovery::url(issuer)?,
            Location::Jwks(url) | Location::Rego(rego::Place { url, .. }) => Url::parse(url)?,
            Location::Uma(issuer) => uma::url(issuer)?,
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

    /// The document at hand.
    pub fn current(&self) -> Option<&Document> {
        self.good.as_ref().map(|good| &good.document)
    }

    /// What discovery said, once it was good.
    pub const fn discovery(&self) -> Option<&Discovery> {
        self.discovery.as_ref()
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
        let by_discovery = matches!(self.source.location, Location::Issuer(_));
        let known = !by_discovery || (self.wanted && self.discovery.is_some());
        self.wanted = false;
        self.fetch(if known { Stage::Document } else { Stage::Discovery }, upstreams, now)
    }

    fn fetch(&mut self, stage: Stage, upstreams: &Upstreams, now: Timestamp) -> Fetch {
        self.serial = self.serial.wrapping_add(1);
        let timeout = self.source.timeout;
        let deadline = now.after(timeout).after(GRACE);
        self.flight = Some(Flight { serial: self.serial, stage, deadline });
        let url = match (stage, &self.discovery) {
            (Stage::Document, Some(discovery)) => &discovery.jwks,
            _ => &self.url,
        };
        let mut request = outbound::request("GET", url, upstreams.clusters(url));
        self.dress(&mut request);
        Fetch { id: FetchId { document: self.id, serial: self.serial }, request, timeout }
    }

    /// Adds to a request what the kind of document needs.
    fn dress(&self, request: &mut HttpRequest) {
        match &self.source.location {
            Location::Issuer(_) | Location::Jwks(_) | Location::Uma(_) => {
                // kube-apiserver refuses to give its key set, of the second kind, to who asks for the first alone.
                let kinds = "application/json, application/jwk-set+json";
                request.headers.push(("accept".to_owned(), kinds.to_owned()));
                request.max_response_bytes = jwks::MAX_BYTES;
            }
            Location::Rego(rego::Place { url: _, credential, max_bytes, version: _, all_values: _ }) => {
                if let Some(credential) = credential {
                    credential.place(request);
                }
                request.max_response_bytes = *max_bytes;
            }
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
                self.discovered(&response).map(|()| Fetched::Next(self.fetch(Stage::Document, upstreams, now)))
            }
            Stage::Document => self.loaded(response, now, jitter).map(|()| Fetched::Done),
        });
        taken.unwrap_or_else(|reason| self.failed(reason, now, jitter))
    }

    fn discovered(&mut self, response: &HttpReply) -> Result<(), String> {
        if let Location::Issuer(issuer) = &self.source.location {
            check_status(response)?;
            self.discovery = Some(discovery::parse(&response.body, issuer)?);
        }
        Ok(())
    }

    fn loaded(&mut self, reply: HttpReply, now: Timestamp, jitter: &Jitter) -> Result<(), String> {
        check_status(&reply)?;
        let interval = self.source.ttl.unwrap_or_else(|| self.interval(&reply));
        let content = match &self.source.location {
            Location::Issuer(_) | Location::Jwks(_) | Location::Uma(_) => reply.body,
            Location::Rego(_) => rego::unwrap(reply)?,
        };
        let (document, notes) = Document::read(&self.source.location, self.discovery.as_ref(), &content)?;
        self.keep(Good { document, content, notes, fetched_at: now, interval }, jitter);
        Ok(())
    }

    /// Time to the next refresh, if the configuration does not say it.
    fn interval(&self, reply: &HttpReply) -> Duration {
        match &self.source.location {
            Location::Rego(_) => NEVER,
            Location::Issuer(_) | Location::Jwks(_) | Location::Uma(_) => {
                let stated = reply.headers.text("cache-control").and_then(|text| max_age(&text));
                stated.map_or(INTERVAL, |age| age.clamp(MIN_INTERVAL, MAX_INTERVAL))
            }
        }
    }

    fn keep(&mut self, mut good: Good, jitter: &Jitter) {
        // The same content is the same document, so that what was made by it (verified, compiled) need not be made again.
        if let Some(current) = self.current().filter(|current| **current == good.document) {
            good.document = current.clone();
        }
        self.next = good.fetched_at.after(jitter.spread(good.interval, 0.76..0.84));
        self.good = Some(good);
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
        let Good { content, fetched_at, interval, .. } = self.good.as_ref()?;
        let facts = Facts {
            fetched_at: fetched_at.nanos(),
            interval: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            wanted_at: self.wanted_at.map(Timestamp::nanos),
            jwks_url: self.discovery.as_ref().map(|discovery| discovery.jwks.to_string()),
            algorithms: self.algorithms().map(|algorithm| algorithm.name().to_owned()).collect(),
            user_info_url: self
                .discovery
                .as_ref()
                .and_then(|discovery| discovery.user_info.as_ref())
                .map(Url::to_string),
        };
        Some((facts, content))
    }

    fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.discovery.iter().flat_map(|discovery| discovery.algorithms.iter().copied())
    }

    /// Takes what another worker published.
    pub fn adopt(&mut self, facts: Facts, content: &[u8], now: Timestamp, jitter: &Jitter) -> Adopted {
        let Facts { fetched_at, interval, wanted_at, jwks_url, algorithms, user_info_url } = facts;
        let (fetched_at, interval) = (Timestamp::from_nanos(fetched_at), Duration::from_nanos(interval));
        if self.good.as_ref().is_some_and(|good| good.fetched_at >= fetched_at) {
            return Adopted::Known;
        }
        if fetched_at > now.after(MAX_SKEW) {
            return Adopted::Refused("it comes from the future");
        }
        let discovery = match (&self.source.location, jwks_url.as_deref().map(Url::parse)) {
            (Location::Issuer(_), Some(Ok(jwks))) => {
                let algorithms = algorithms.iter().filter_map(|name| Algorithm::from_name(name)).collect();
                let user_info = user_info_url.and_then(|url| Url::parse(&url).ok());
                Some(Discovery { jwks, algorithms, user_info })
            }
            (Location::Jwks(_) | Location::Uma(_) | Location::Rego(_), None) => None,
            _ => return Adopted::Refused("it is of another kind of source"),
        };
        let Ok((document, notes)) = Document::read(&self.source.location, discovery.as_ref(), content) else {
            return Adopted::Refused("it is no such document");
        };
        self.discovery = discovery;
        self.keep(Good { document, content: content.to_vec(), notes, fetched_at, interval }, jitter);
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
        let keys = |good: &Good| match &good.document {
            Document::Keys(set) => Some(set.keys.len()),
            Document::Uma(_) | Document::Rego(_) => None,
        };
        let (kind, what, name) = match &self.source.location {
            Location::Issuer(name) | Location::Jwks(name) => (Kind::Keys, "keys", name.as_str()),
            Location::Uma(name) => (Kind::Uma, "UMA configuration", name.as_str()),
            Location::Rego(place) => (Kind::Rego, "policy", place.url.as_str()),
        };
        // The query may have secrets.
        let name = name.split('?').next().unwrap_or_default();
        Status {
            kind,
            what,
            name: name.to_owned(),
            keys: self.good.as_ref().and_then(keys),
            fetched_at: self.good.as_ref().map(|good| good.fetched_at),
            failure: self.failure.clone(),
            notes: self.good.as_ref().map(|good| good.notes.clone()).unwrap_or_default(),
        }
    }
}

/// Whether an answer is one. A redirect is none: its target may be anywhere.
fn check_status(reply: &HttpReply) -> Result<(), String> {
    match reply.status {
        200 => Ok(()),
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
