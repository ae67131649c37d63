//! Calls under way, and who waits for their answers.
//!
//! A call belongs to the plugin, not to the request for which it was made: several may wait for its answer, and a client
//! that leaves takes it from nobody. Everything here is bounded, since clients decide how much there is of it.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use sidegate_engine::remote::{DocumentId, FetchId};
use sidegate_engine::{Call, CallError, CallId, HttpRequest, Question, Reply, Timestamp};

use crate::answer::{self, Announced};
use crate::dispatch;
use crate::host::{self, Level};
use crate::plugin::{Loaded, Plugin};

/// Requests that may wait at once in one VM, and as many follow-ups: anybody can make a request wait, by a token of an
/// unknown key, and each keeps its headers meanwhile. The engine bounds the calls of each.
pub const MAX_WAITING: usize = 1_000;
/// Calls that may be under way at once in one VM; nobody may wait for them any more.
pub const MAX_UNDER_WAY: usize = 2_000;

/// Envoy's timers go by a clock that it reads once in each round, and a round with much to do takes a while: a call that ends
/// with the last of so many parts of its time may have ended since the time is over.
const PARTS: u32 = 10;

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AskerId {
    /// A request, by its context's id.
    Request(u32),
    /// What follows a request.
    FollowUp(u32),
}

/// Somebody who waits. When one of these is called, Envoy is acting for the asker's context.
pub trait Asker {
    /// Goes on with the answer to a call.
    fn answered(self: Rc<Self>, id: CallId, reply: Result<Reply, CallError>);

    /// Ends, since all calls together took too long.
    fn expired(self: Rc<Self>);
}

/// An asker with what is to be known of it.
#[derive(Clone)]
pub struct Asking {
    /// Which one it is.
    pub id: AskerId,
    /// When it ends if it still waits then.
    pub deadline: Timestamp,
    /// The asker.
    pub asker: Rc<dyn Asker>,
}

/// Calls under way and who waits for them.
#[derive(Default)]
pub struct Calls(RefCell<Table>);

#[derive(Default)]
struct Table {
    /// By the number that Envoy gave.
    under_way: BTreeMap<u32, UnderWay>,
    /// Calls that may be waited for together, by what they ask.
    shared: BTreeMap<[u8; 32], u32>,
    waiting: BTreeMap<AskerId, Waiting>,
    /// How many of those that wait are follow-ups.
    follow_ups: usize,
}

impl Table {
    /// How many requests wait for their own bodies.
    fn bodies(&self) -> usize {
        let for_body = |waiting: &&Waiting| waiting.calls.values().any(|wait| matches!(wait.awaited, Awaited::Body(_)));
        self.waiting.values().filter(for_body).count()
    }
}

struct UnderWay {
    purpose: Purpose,
    /// A longer body is not read.
    max_bytes: usize,
    /// When its time is nearly over.
    late: Timestamp,
}

enum Purpose {
    /// A document, for everybody.
    Fetch {
        id: FetchId,
        /// Whose fetch it is: a newer policy has other documents.
        loaded: Rc<Loaded>,
    },
    /// An answer, for those who wait for it.
    Question { share: Option<[u8; 32]>, waiting: BTreeSet<(AskerId, CallId)> },
}

struct Waiting {
    asking: Asking,
    calls: BTreeMap<CallId, Wait>,
}

struct Wait {
    awaited: Awaited,
    deadline: Timestamp,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// A newer document.
    Document(DocumentId),
    /// The answer to the call with this number.
    Answer(u32),
    /// The body of the request, of so many bytes at most.
    Body(usize),
}

impl Calls {
    /// Whether there is room for somebody more who waits. Requests that wait for their own bodies take no place from
    /// others: it costs a client nothing not to send one.
    fn has_room(&self, id: AskerId, question: &Question) -> bool {
        let table = self.0.borrow();
        let requests = table.waiting.len().saturating_sub(table.follow_ups);
        let waiting = match (id, question) {
            (AskerId::FollowUp(_), _) => table.follow_ups,
            (AskerId::Request(_), _) if requests < MAX_WAITING => requests,
            (AskerId::Request(_), Question::Body { .. }) => table.bodies(),
            (AskerId::Request(_), _) => requests.saturating_sub(table.bodies()),
        };
        waiting < MAX_WAITING || table.waiting.contains_key(&id)
    }

    fn wait(&self, asking: &Asking, id: CallId, wait: Wait) {
        let mut guard = self.0.borrow_mut();
        let table = &mut *guard;
        if let Awaited::Answer(token) = wait.awaited
            && let Some(UnderWay { purpose: Purpose::Question { waiting, .. }, .. }) = table.under_way.get_mut(&token)
        {
            waiting.insert((asking.id, id));
        }
        let waiting = match table.waiting.entry(asking.id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                if let AskerId::FollowUp(_) = asking.id {
                    table.follow_ups = table.follow_ups.saturating_add(1);
                }
                entry.insert(Waiting { asking: asking.clone(), calls: BTreeMap::new() })
            }
        };
        waiting.calls.insert(id, wait);
    }

    /// Whether somebody waits for anything.
    pub fn waits(&self, asker: AskerId) -> bool {
        self.0.borrow().waiting.contains_key(&asker)
    }

    /// Somebody waits for nothing any more. The calls go on.
    pub fn forget(&self, asker: AskerId) {
        let calls = self.0.borrow().waiting.get(&asker).map(|waiting| waiting.calls.keys().copied().collect());
        let calls: Vec<CallId> = calls.unwrap_or_default();
        for id in calls {
            self.take(asker, id);
        }
    }

    /// The calls by which somebody waits for a body, with the most bytes that it may have.
    pub fn body_waits(&self, asker: AskerId) -> Vec<(CallId, usize)> {
        let table = self.0.borrow();
        let calls = table.waiting.get(&asker).into_iter().flat_map(|waiting| &waiting.calls);
        let body = calls.filter_map(|(id, wait)| match wait.awaited {
            Awaited::Body(max_bytes) => Some((*id, max_bytes)),
            Awaited::Document(_) | Awaited::Answer(_) => None,
        });
        body.collect()
    }

    /// Ends one wait; gives who waited, if somebody did.
    pub fn take(&self, asker: AskerId, id: CallId) -> Option<Asking> {
        let mut guard = self.0.borrow_mut();
        let table = &mut *guard;
        let Entry::Occupied(mut entry) = table.waiting.entry(asker) else { return None };
        let wait = entry.get_mut().calls.remove(&id)?;
        if let Awaited::Answer(token) = wait.awaited
            && let Some(UnderWay { purpose: Purpose::Question { waiting, .. }, .. }) = table.under_way.get_mut(&token)
        {
            waiting.remove(&(asker, id));
        }
        if !entry.get().calls.is_empty() {
            return Some(entry.get().asking.clone());
        }
        if let AskerId::FollowUp(_) = asker {
            table.follow_ups = table.follow_ups.saturating_sub(1);
        }
        Some(entry.remove().asking)
    }

    /// Forgets everything: the plugin ends.
    pub fn clear(&self) {
        // What is dropped may hold the plugin, and with it this table.
        drop(self.0.take());
    }

    /// The next point in time at which somebody has waited long enough.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let table = self.0.borrow();
        let deadline =
            |waiting: &Waiting| waiting.calls.values().map(|wait| wait.deadline).chain([waiting.asking.deadline]).min();
        table.waiting.values().filter_map(deadline).min()
    }

    /// Those who end now.
    fn expired(&self, now: Timestamp) -> Vec<Asking> {
        let table = self.0.borrow();
        let askings = table.waiting.values().map(|waiting| &waiting.asking);
        askings.filter(|asking| asking.deadline <= now).cloned().collect()
    }

    fn select(&self, which: impl Fn(&Wait) -> bool) -> Vec<(AskerId, CallId)> {
        let table = self.0.borrow();
        let calls = table.waiting.iter().flat_map(|(asker, waiting)| {
            let which = &which;
            waiting.calls.iter().filter(|(_, wait)| which(wait)).map(|(id, _)| (*asker, *id))
        });
        calls.collect()
    }

    fn is_full(&self) -> bool {
        self.0.borrow().under_way.len() >= MAX_UNDER_WAY
    }

    fn shared(&self, share: Option<&[u8; 32]>) -> Option<u32> {
        self.0.borrow().shared.get(share?).copied()
    }

    fn insert(&self, token: u32, under_way: UnderWay) {
        let mut table = self.0.borrow_mut();
        if let Purpose::Question { share: Some(share), .. } = under_way.purpose {
            table.shared.insert(share, token);
        }
        table.under_way.insert(token, under_way);
    }

    fn remove(&self, token: u32) -> Option<UnderWay> {
        let mut table = self.0.borrow_mut();
        let under_way = table.under_way.remove(&token)?;
        if let Purpose::Question { share: Some(share), .. } = &under_way.purpose {
            table.shared.remove(share);
        }
        Some(under_way)
    }

    /// Calls under way, and who waits: none when all is quiet.
    #[cfg(test)]
    pub fn counts(&self) -> [usize; 4] {
        let table = self.0.borrow();
        [table.under_way.len(), table.shared.len(), table.waiting.len(), table.follow_ups]
    }
}

impl Plugin {
    /// Asks for somebody, who is told the answer when it comes.
    ///
    /// # Errors
    /// The answer, if it is one of these already: there is too much to wait for, or nobody to ask.
    pub fn ask(&self, asking: &Asking, call: Call, now: Timestamp) -> Result<(), CallError> {
        let Call { id, question, timeout } = call;
        if !self.calls.has_room(asking.id, &question) {
            return Err(CallError::overrun());
        }
        let awaited = match question {
            Question::RefreshDocument(document) => Awaited::Document(document),
            Question::Http(request) => Awaited::Answer(self.send(request, timeout, now)?),
            Question::Body { max_bytes } => Awaited::Body(max_bytes),
        };
        let deadline = now.after(timeout);
        self.calls.wait(asking, id, Wait { awaited, deadline });
        let due = match awaited {
            Awaited::Document(_) => self.next_due(),
            Awaited::Answer(_) | Awaited::Body(_) => None,
        };
        self.tick_by(due.unwrap_or(deadline).min(deadline).min(asking.deadline), now);
        Ok(())
    }

    /// Sends a request, or finds the one under way that asks for the same.
    fn send(&self, request: HttpRequest, timeout: Duration, now: Timestamp) -> Result<u32, CallError> {
        if let Some(token) = self.calls.shared(request.share.as_ref()) {
            return Ok(token);
        }
        if self.calls.is_full() {
            return Err(CallError::overrun());
        }
        let token = dispatch::send(&request, timeout)?;
        let purpose = Purpose::Question { share: request.share, waiting: BTreeSet::new() };
        let late = nearly_over(timeout, now);
        self.calls.insert(token, UnderWay { purpose, max_bytes: request.max_response_bytes, late });
        Ok(token)
    }

    /// Sends a request for a document.
    ///
    /// # Errors
    /// Why nobody takes it.
    pub(crate) fn send_fetch(
        &self,
        loaded: &Rc<Loaded>,
        id: FetchId,
        request: &HttpRequest,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<(), String> {
        let token = dispatch::send(request, timeout).map_err(CallError::in_words)?;
        let purpose = Purpose::Fetch { id, loaded: Rc::clone(loaded) };
        let late = nearly_over(timeout, now);
        self.calls.insert(token, UnderWay { purpose, max_bytes: request.max_response_bytes, late });
        Ok(())
    }

    /// Takes the answer to a call.
    pub fn answered(&self, token: u32, announced: Announced) {
        let Some(UnderWay { purpose, max_bytes, late }) = self.calls.remove(token) else { return };
        let Ok(now) = host::now() else { return };
        let is_late = now >= late;
        match purpose {
            Purpose::Fetch { id, loaded } => {
                let outcome = answer::read(announced, max_bytes, is_late).map_err(CallError::in_words);
                self.fetched(&loaded, id, outcome, now);
                self.schedule(now);
            }
            Purpose::Question { waiting, .. } if waiting.is_empty() => {}
            Purpose::Question { waiting, .. } => {
                let reply = answer::read(announced, max_bytes, is_late).map(Reply::Http);
                self.wake(waiting, &reply);
            }
        }
    }

    /// Goes on with those who wait for a newer document.
    pub(crate) fn wake_for(&self, document: DocumentId, reply: &Result<Reply, CallError>) {
        self.wake(self.calls.select(|wait| wait.awaited == Awaited::Document(document)), reply);
    }

    /// Ends what has waited long enough.
    pub(crate) fn expire_calls(&self, now: Timestamp) {
        for asking in self.calls.expired(now) {
            self.calls.forget(asking.id);
            if self.acts_for(asking.id) {
                asking.asker.expired();
            }
        }
        self.wake(self.calls.select(|wait| wait.deadline <= now), &Err(CallError::Timeout));
    }

    /// Goes on with those who wait.
    fn wake(&self, waits: impl IntoIterator<Item = (AskerId, CallId)>, reply: &Result<Reply, CallError>) {
        for (asker, id) in waits {
            // One by one: who goes on with one answer may still wait for another, or for none any more.
            let Some(asking) = self.calls.take(asker, id) else { continue };
            if self.acts_for(asker) {
                asking.asker.answered(id, reply.clone());
            } else {
                self.calls.forget(asker);
            }
        }
        if let Err(error) = host::set_effective_context(self.id) {
            host::log(Level::Error, &format!("the root context cannot be acted for: {}", error.name()));
        }
    }

    /// Has Envoy act for somebody who waits. A stream that is gone leaves us acting for whom we acted before: its answer
    /// must not go to another.
    fn acts_for(&self, asker: AskerId) -> bool {
        let context = match asker {
            AskerId::Request(id) => id,
            AskerId::FollowUp(_) => self.id,
        };
        host::set_effective_context(context).is_ok()
    }
}

fn nearly_over(timeout: Duration, now: Timestamp) -> Timestamp {
    now.after(timeout.saturating_sub(timeout.checked_div(PARTS).unwrap_or_default()))
}
