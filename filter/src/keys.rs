//! Keeps the documents of servers fresh: one worker fetches for all, and whoever waits is woken.
//!
//! Nothing is fetched while a plugin is configured: Envoy configures a trial VM too, which would take the lease with it
//! into its grave. The first tick comes a moment later.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use sidegate_engine::remote::{Adopted, DocumentId, Fetch, FetchId, Fetched, RemoteDocuments, Status};
use sidegate_engine::{Call, CallError, CallId, Headers, HttpReply, HttpRequest, Question, Reply, Timestamp};

use crate::host::{self, HostError, Level};
use crate::http::Stream;
use crate::plugin::{Loaded, Plugin};

/// Shortest and longest time to the next tick.
const TICKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(60));
/// For how long one worker keeps the others from fetching, should it die; a fetch that ends gives the lease back.
const LEASE: Duration = Duration::from_secs(20);
/// Requests that may wait at once in one VM: anybody can make one wait, by a token of an unknown key, and each keeps its
/// headers meanwhile.
const MAX_WAITING: usize = 1_000;
/// More than any document has; the engine refuses less, but this bounds what is copied.
const MAX_BODY: usize = 4 << 20;

/// Fetches under way and requests that wait for them.
#[derive(Default)]
pub struct Keys {
    fetches: RefCell<HashMap<u32, UnderWay>>,
    waiting: RefCell<BTreeMap<(u32, CallId), Waiter>>,
    tick: Cell<Duration>,
}

struct UnderWay {
    id: FetchId,
    /// Whose fetch it is: a newer policy has other documents.
    loaded: Rc<Loaded>,
}

struct Waiter {
    stream: Rc<Stream>,
    document: DocumentId,
    deadline: Timestamp,
}

impl Plugin {
    /// Takes what other workers have fetched, and has the tick come for the rest.
    pub fn start_keys(&self) {
        let (Some(loaded), Ok(now)) = (self.loaded(), host::now()) else { return };
        let documents = loaded.policy.remote_documents();
        documents.seed(now.nanos());
        for id in documents.ids() {
            self.adopt(&loaded, id, now);
        }
        self.schedule(now);
    }

    /// Looks after all documents and all requests that wait.
    pub fn tick_keys(&self) {
        let (Some(loaded), Ok(now)) = (self.loaded(), host::now()) else { return };
        for id in loaded.policy.remote_documents().due(now) {
            self.refresh(&loaded, id, now);
        }
        self.wake(|waiter| waiter.deadline <= now, &Err(CallError::Timeout));
        self.schedule(now);
    }

    /// Has a paused request wait for the answer to a call; false if too many wait already.
    #[must_use]
    pub fn wait(&self, stream: &Rc<Stream>, call: &Call, now: Timestamp) -> bool {
        if self.keys.waiting.borrow().len() >= MAX_WAITING {
            return false;
        }
        let Question::RefreshKeys(document) = call.question else { return false };
        let waiter = Waiter { stream: Rc::clone(stream), document, deadline: now.after(call.timeout) };
        self.keys.waiting.borrow_mut().insert((stream.id, call.id), waiter);
        self.schedule(now);
        true
    }

    /// Whether the request waits for anything.
    pub fn waits(&self, stream: u32) -> bool {
        self.keys.waiting.borrow().range(calls_of(stream)).next().is_some()
    }

    /// The request waits for nothing any more.
    pub fn forget(&self, stream: u32) {
        let mut waiting = self.keys.waiting.borrow_mut();
        while let Some(key) = waiting.range(calls_of(stream)).next().map(|(key, _)| *key) {
            waiting.remove(&key);
        }
    }

    /// Takes the answer to a fetch.
    pub fn fetch_answered(&self, token: u32, headers: u32) {
        let Some(UnderWay { id, loaded }) = self.keys.fetches.borrow_mut().remove(&token) else { return };
        let Ok(now) = host::now() else { return };
        self.fetched(&loaded, id, response(headers), now);
        self.schedule(now);
    }

    fn refresh(&self, loaded: &Rc<Loaded>, id: DocumentId, now: Timestamp) {
        if self.adopt(loaded, id, now) {
            return;
        }
        let documents = loaded.policy.remote_documents();
        if !take_lease(&lease_key(loaded, id), now) {
            documents.leave(id, now);
        } else if let Some(fetch) = documents.begin(id, now) {
            self.fetch(loaded, fetch, now);
        }
    }

    /// Takes what another worker fetched, if it is newer than ours.
    fn adopt(&self, loaded: &Rc<Loaded>, id: DocumentId, now: Timestamp) -> bool {
        let documents = loaded.policy.remote_documents();
        let Ok((publication, _)) = host::shared_data(&documents.share_key(id)) else { return false };
        match documents.adopt(id, &publication, now) {
            Adopted::Newer => {
                note(documents, id, "fetched by another worker");
                self.wake_for(id, &Ok(Reply::KeysRefreshed));
                true
            }
            Adopted::Known => false,
            Adopted::Refused(why) => {
                host::log(Level::Warn, &format!("a document that another plugin shared is not used: {why}"));
                false
            }
        }
    }

    fn fetch(&self, loaded: &Rc<Loaded>, fetch: Fetch, now: Timestamp) {
        match dispatch(&fetch.request, fetch.timeout) {
            Ok(token) => {
                let under_way = UnderWay { id: fetch.id, loaded: Rc::clone(loaded) };
                self.keys.fetches.borrow_mut().insert(token, under_way);
            }
            Err(why) => self.fetched(loaded, fetch.id, Err(why), now),
        }
    }

    fn fetched(&self, loaded: &Rc<Loaded>, fetch: FetchId, outcome: Result<HttpReply, String>, now: Timestamp) {
        let (documents, id) = (loaded.policy.remote_documents(), fetch.document);
        match documents.fetched(fetch, outcome, now) {
            Fetched::Next(fetch) => self.fetch(loaded, fetch, now),
            Fetched::Done => {
                if let Some(publication) = documents.publication(id)
                    && let Err(error) = host::set_shared_data(&documents.share_key(id), &publication, None)
                {
                    host::log(
                        Level::Warn,
                        &format!("a document cannot be shared with other workers: {}", error.name()),
                    );
                }
                give_lease_back(&lease_key(loaded, id));
                self.metrics.keys_fetched(true);
                note(documents, id, "fetched");
                self.wake_for(id, &Ok(Reply::KeysRefreshed));
            }
            Fetched::Failed(why) => {
                give_lease_back(&lease_key(loaded, id));
                self.metrics.keys_fetched(false);
                if let Some(Status { what, name, .. }) = documents.status(id) {
                    host::log(Level::Error, &format!("the {what} of `{name}` cannot be fetched: {why}"));
                }
                self.wake_for(id, &Err(CallError::Failed(why)));
            }
            Fetched::Stale => {}
        }
    }

    fn wake_for(&self, document: DocumentId, reply: &Result<Reply, CallError>) {
        self.wake(|waiter| waiter.document == document, reply);
    }

    /// Goes on with the requests that wait for this.
    fn wake(&self, which: impl Fn(&Waiter) -> bool, reply: &Result<Reply, CallError>) {
        let waiting = self.keys.waiting.borrow();
        let woken: Vec<_> = waiting.iter().filter(|(_, waiter)| which(waiter)).map(|(key, _)| *key).collect();
        drop(waiting);
        for (stream, call) in woken {
            // One by one: a request that goes on with one answer may still wait for another, or for none any more.
            let Some(waiter) = self.keys.waiting.borrow_mut().remove(&(stream, call)) else { continue };
            // A stream that is gone leaves us acting for whom we acted before: its answer must not go to another.
            if host::set_effective_context(stream).is_ok() {
                waiter.stream.resume(call, reply.clone());
            }
        }
        if let Err(error) = host::set_effective_context(self.id) {
            host::log(Level::Error, &format!("the root context cannot be acted for: {}", error.name()));
        }
    }

    /// Has the next tick come when there is something to do.
    fn schedule(&self, now: Timestamp) {
        let due = self.loaded().and_then(|loaded| loaded.policy.remote_documents().next_due());
        let deadline = self.keys.waiting.borrow().values().map(|waiter| waiter.deadline).min();
        let next = due.into_iter().chain(deadline).min();
        let period = next.map_or(Duration::ZERO, |at| at.since(now).clamp(TICKS.0, TICKS.1));
        if self.keys.tick.replace(period) != period
            && let Err(error) = host::set_tick_period(period)
        {
            host::log(Level::Error, &format!("documents of servers will not be refreshed in time: {}", error.name()));
        }
    }
}

const fn calls_of(stream: u32) -> std::ops::RangeInclusive<(u32, CallId)> {
    (stream, CallId(0))..=(stream, CallId(u32::MAX))
}

/// Sends a fetch to the first of its clusters that there is.
fn dispatch(request: &HttpRequest, timeout: Duration) -> Result<u32, String> {
    let HttpRequest { method, scheme, authority, path, clusters, headers, .. } = request;
    let pseudo = [
        (":method", method.as_str()),
        (":scheme", scheme),
        (":authority", authority.as_str()),
        (":path", path.as_str()),
    ];
    let headers: Vec<_> =
        pseudo.into_iter().chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect();
    for cluster in clusters {
        match host::dispatch_http_call(cluster, &headers, timeout) {
            Ok(token) => return Ok(token),
            Err(HostError::BadArgument) => {}
            Err(HostError::Internal) => return Err(format!("cluster `{cluster}` has no endpoint that takes the call")),
            Err(error) => return Err(format!("Envoy does not call cluster `{cluster}`: {}", error.name())),
        }
    }
    let tried = clusters.iter().map(|cluster| format!("`{cluster}`")).collect::<Vec<_>>().join(", ");
    Err(format!(
        "Envoy has no cluster for {scheme}://{authority}, tried {tried}: \
         define one, or name it for this URL in `upstreams`"
    ))
}

/// The answer that has just come. Some failures come without headers.
fn response(headers: u32) -> Result<HttpReply, String> {
    if headers == 0 {
        return Err("the answer was too long or broke off".to_owned());
    }
    let unreadable = |error: HostError| format!("the answer cannot be read: {}", error.name());
    let headers = host::call_response_headers().map_err(unreadable)?;
    let headers = Headers::from_wire(headers).ok_or_else(|| "the answer has broken headers".to_owned())?;
    let status = headers.text(":status").and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = match host::call_response_body(MAX_BODY) {
        Ok(body) => body,
        Err(HostError::NotFound) => Vec::new(),
        Err(error) => return Err(unreadable(error)),
    };
    Ok(HttpReply { status, headers, body, trailers: Headers::default() })
}

/// Says that this worker has a new document.
fn note(documents: &RemoteDocuments, id: DocumentId, how: &str) {
    if host::logs(Level::Debug) {
        let name = documents.status(id).map(|status| status.name).unwrap_or_default();
        host::log(Level::Debug, &format!("the keys of `{name}` are here: {how}"));
    }
}

fn lease_key(loaded: &Loaded, id: DocumentId) -> String {
    format!("{}/lease", loaded.policy.remote_documents().share_key(id))
}

/// Takes the right to fetch, if no other worker has it. Its value is the time when it ends.
fn take_lease(key: &str, now: Timestamp) -> bool {
    let current = host::shared_data(key).or_else(|_| {
        // Compare-and-swap on a key that is not there succeeds for everybody, so it must be there first.
        host::set_shared_data(key, &[0; 8], None)?;
        host::shared_data(key)
    });
    // A host without shared data has one worker fetch for itself.
    let Ok((value, cas)) = current else { return true };
    let end = value.try_into().map_or(Timestamp::default(), |bytes| Timestamp::from_nanos(u64::from_le_bytes(bytes)));
    // What lies further ahead than any lease was not written by a worker of ours.
    let taken = end > now && end <= now.after(LEASE);
    !taken && host::set_shared_data(key, &now.after(LEASE).nanos().to_le_bytes(), Some(cas)).is_ok()
}

fn give_lease_back(key: &str) {
    // If this fails the lease runs out.
    let _: Result<(), HostError> = host::set_shared_data(key, &[0; 8], None);
}
