//! Keeps the documents of servers fresh: one worker fetches for all, and whoever waits is woken.
//!
//! Nothing is fetched while a plugin is configured: Envoy configures a trial VM too, which would take the lease with it
//! into its grave. The first tick comes a moment later.

use std::rc::Rc;
use std::time::Duration;

use sidegate_engine::remote::{Adopted, DocumentId, Fetch, FetchId, Fetched, RemoteDocuments, Status};
use sidegate_engine::{CallError, HttpReply, Reply, Timestamp};

use crate::host::{self, HostError, Level};
use crate::plugin::{Loaded, Plugin};

/// For how long one worker keeps the others from fetching, should it die; a fetch that ends gives the lease back.
const LEASE: Duration = Duration::from_secs(20);

impl Plugin {
    /// Takes what other workers have fetched, and has the tick come for the rest.
    #[inline(never)]
    pub fn start_documents(&self) {
        let (Some(loaded), Ok(now)) = (self.loaded(), host::now()) else { return };
        let documents = loaded.policy.remote_documents();
        documents.seed(now.nanos());
        for id in documents.ids() {
            self.adopt(&loaded, id, now);
        }
        self.schedule(now);
    }

    /// Refreshes the documents that are due.
    pub(crate) fn refresh_documents(&self, now: Timestamp) {
        let Some(loaded) = self.loaded() else { return };
        for id in loaded.policy.remote_documents().due(now) {
            self.refresh(&loaded, id, now);
        }
    }

    /// When a document is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.loaded()?.policy.remote_documents().next_due()
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
                self.wake_for(id, &Ok(Reply::DocumentRefreshed));
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
        if let Err(why) = self.send_fetch(loaded, fetch.id, &fetch.request, fetch.timeout, now) {
            self.fetched(loaded, fetch.id, Err(why), now);
        }
    }

    /// Takes what came of a fetch.
    pub(crate) fn fetched(
        &self,
        loaded: &Rc<Loaded>,
        fetch: FetchId,
        outcome: Result<HttpReply, String>,
        now: Timestamp,
    ) {
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
                note(documents, id, "fetched");
                if let Some(Status { kind, .. }) = documents.status(id) {
                    self.metrics.fetched(kind, true);
                    self.tell_soon();
                }
                self.wake_for(id, &Ok(Reply::DocumentRefreshed));
            }
            Fetched::Failed(why) => {
                give_lease_back(&lease_key(loaded, id));
                if let Some(Status { kind, what, name, .. }) = documents.status(id) {
                    self.metrics.fetched(kind, false);
                    self.tell_soon();
                    host::log(Level::Error, &format!("the {what} of `{name}` cannot be fetched: {why}"));
                }
                self.wake_for(id, &Err(CallError::Failed(why)));
            }
            Fetched::Stale => {}
        }
    }
}

/// Says that this worker has a new document.
fn note(documents: &RemoteDocuments, id: DocumentId, how: &str) {
    if host::logs(Level::Debug) {
        let Some(Status { what, name, .. }) = documents.status(id) else { return };
        host::log(Level::Debug, &format!("the {what} of `{name}` came: {how}"));
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
