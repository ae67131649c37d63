//! One request: from Envoy's callbacks to a verdict, and its carrying out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sidegate_engine::{
    Allowed, CallError, CallId, Decision, DenialStatus, LocalReply, Progress, Reply, Session, Timestamp, Verdict,
};

use crate::host::{self, HostError, Level};
use crate::observe;
use crate::plugin::Plugin;
use crate::snapshot;

/// What Envoy may do with what it has of a request; the numbers are the ABI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Let it pass.
    Continue = 0,
    /// Keep it.
    Pause = 1,
}

/// One request.
pub struct Stream {
    /// The context's id.
    pub id: u32,
    plugin: Rc<Plugin>,
    phase: Cell<Phase>,
    session: RefCell<Option<Session>>,
}

/// How far a request is. Headers, body and trailers pass in [`Phase::Allowed`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The headers have not come yet.
    New,
    /// Somebody was asked.
    Waiting,
    /// The verdict was to allow, and all of it has been carried out.
    Allowed,
    /// The request was answered.
    Denied,
    /// The client is gone.
    Gone,
}

// INVARIANT: with `allow_on_headers_stop_iteration` a `Continue` from any of the request's callbacks releases the whole
// request, so all of them end in `action`.
impl Stream {
    /// A request whose headers have not come yet.
    #[must_use]
    pub fn new(id: u32, plugin: &Rc<Plugin>) -> Self {
        Self { id, plugin: Rc::clone(plugin), phase: Cell::new(Phase::New), session: RefCell::default() }
    }

    /// The headers have come.
    pub fn headers(self: &Rc<Self>) -> Action {
        if self.phase.get() == Phase::New {
            self.decide();
        }
        self.action()
    }

    /// Some of the body has come.
    pub fn body(&self) -> Action {
        self.action()
    }

    /// The trailers have come.
    pub fn trailers(&self) -> Action {
        self.action()
    }

    /// The headers of the response have come. Responses, our own local reply among them, are none of our business;
    /// unless nobody asked us about the request, since a capability restriction leaves out the callback for its headers.
    pub fn response_headers(&self) -> Action {
        if self.phase.get() == Phase::New {
            self.fail("the request was not shown to the filter");
        }
        Action::Continue
    }

    /// The request is over, or its client is gone.
    pub fn gone(&self) {
        self.settle(Phase::Gone);
    }

    /// The one place that says whether anything of the request may pass.
    fn action(&self) -> Action {
        if self.phase.get() == Phase::Allowed { Action::Continue } else { Action::Pause }
    }

    fn decide(self: &Rc<Self>) {
        let Some(loaded) = self.plugin.loaded() else { return self.fail("no configuration is in force") };
        let taken =
            snapshot::take(&loaded.policy, &loaded.host_override).and_then(|request| Ok((request, host::now()?)));
        match taken {
            Ok((request, now)) => {
                let (session, progress) = Session::start(Rc::clone(&loaded.policy), request, now);
                self.advance(session, progress, now);
            }
            Err(error) => self.fail(&format!("the request cannot be read: {}", error.name())),
        }
    }

    /// Goes on with the reply to a call, for a request that is paused; Envoy must be acting for this stream.
    pub fn resume(self: &Rc<Self>, id: CallId, reply: Result<Reply, CallError>) {
        let session = self.session.take();
        match (self.phase.get(), session, host::now()) {
            (Phase::Waiting, Some(mut session), Ok(now)) => {
                let progress = session.resume(id, reply, now);
                self.advance(session, progress, now);
            }
            (Phase::Waiting, _, _) => self.fail("a paused request cannot be taken up again"),
            _ => return,
        }
        if self.phase.get() == Phase::Allowed
            && let Err(error) = host::resume_request()
        {
            host::log(Level::Warn, &format!("a request that was allowed cannot go on: {}", error.name()));
        }
    }

    fn advance(self: &Rc<Self>, session: Session, progress: Progress, now: Timestamp) {
        match progress {
            Progress::Pending(calls) => {
                self.phase.set(Phase::Waiting);
                self.session.replace(Some(session));
                if !calls.iter().all(|call| self.plugin.wait(self, call, now)) {
                    self.fail("too many requests wait for keys");
                } else if !self.plugin.waits(self.id) {
                    self.fail("the decision waits for nothing");
                }
            }
            Progress::Done(verdict) => self.conclude(&session, verdict),
        }
    }

    fn conclude(&self, session: &Session, verdict: Verdict) {
        if let Decision::Allow(allowed) = &verdict.decision
            && let Err(error) = apply(allowed, session)
        {
            return self.fail(&format!("the verdict cannot be carried out: {}", error.name()));
        }
        observe::verdict(&self.plugin.metrics, &session.request().headers, &verdict);
        match verdict.decision {
            Decision::Allow(_) => self.settle(Phase::Allowed),
            Decision::Deny(reply) => self.answer(&observe::details(verdict.auth_config.as_deref(), &reply), &reply),
        }
    }

    /// Denies since something of ours or of Envoy's did not work.
    fn fail(&self, why: &str) {
        let status = DenialStatus::Unavailable;
        let (headers, body) = (Vec::new(), String::new());
        let reply = LocalReply { status, code: status.code(), headers, body, rule: None, reason: why.to_owned() };
        observe::failure(&self.plugin.metrics, &reply);
        self.answer("sidegate_unavailable{host}", &reply);
    }

    fn answer(&self, details: &str, reply: &LocalReply) {
        self.settle(Phase::Denied);
        let sent = host::send_local_response(reply.code, details, &reply.headers, &reply.body)
            .or_else(|_| host::send_local_response(503, details, &[], ""))
            .or_else(|_| host::reset_request());
        if let Err(error) = sent {
            host::log(Level::Error, &format!("a denied request cannot be answered: {}", error.name()));
        }
    }

    /// Comes to a phase in which nothing is waited for.
    fn settle(&self, phase: Phase) {
        if self.phase.replace(phase) == Phase::Waiting {
            self.plugin.forget(self.id);
            self.session.take();
        }
    }
}

/// Does to the request what the verdict says; all of it, or the request must not pass.
fn apply(allowed: &Allowed, session: &Session) -> Result<(), HostError> {
    for name in &allowed.remove_headers {
        host::remove_request_header(name)?;
    }
    for (name, value) in &allowed.set_headers {
        host::set_request_header(name, value.as_bytes())?;
    }
    let carrier = session.policy().options().dynamic_metadata_header.as_deref();
    observe::dynamic_metadata(&allowed.dynamic_metadata, carrier)
}
