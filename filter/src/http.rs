//! One request: from Envoy's callbacks to a verdict, and its carrying out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sidegate_engine::{
    Allowed, Body, Call, CallError, CallId, Decision, DenialStatus, LocalReply, Progress, Question, Reply, Served,
    Session, Timestamp, Verdict,
};

use crate::calls::{Asker, AskerId, Asking};
use crate::drive;
use crate::follow_up;
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
    body: Cell<Arrived>,
    session: RefCell<Option<Session>>,
}

/// How much of a body has come.
#[derive(Debug, Clone, Copy, Default)]
struct Arrived {
    /// So many bytes, all of which Envoy still has while the request is paused.
    bytes: usize,
    /// There will be no more.
    all: bool,
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
        Self {
            id,
            plugin: Rc::clone(plugin),
            phase: Cell::new(Phase::New),
            body: Cell::default(),
            session: RefCell::default(),
        }
    }

    /// The headers have come; nothing else will if this is the end.
    pub fn headers(self: &Rc<Self>, end: bool) -> Action {
        self.body.set(Arrived { bytes: 0, all: end });
        if self.phase.get() == Phase::New {
            self.decide();
        }
        self.action()
    }

    /// So much of the body has come by now. Only heard of while the request is paused if Envoy has
    /// `allow_on_headers_stop_iteration`.
    pub fn body(self: &Rc<Self>, bytes: usize, end: bool) -> Action {
        self.arrived(Arrived { bytes, all: end });
        self.action()
    }

    /// The trailers have come, and with them the end.
    pub fn trailers(self: &Rc<Self>) -> Action {
        self.arrived(Arrived { all: true, ..self.body.get() });
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
        let taken = snapshot::take(&loaded.policy, &loaded.paths).and_then(|request| Ok((request, host::now()?)));
        match taken {
            Ok((request, now)) => {
                let (session, progress) = Session::start(Rc::clone(&loaded.policy), request, now);
                self.advance(session, progress, now);
            }
            Err(error) => self.fail(&format!("the request cannot be read: {}", error.name())),
        }
    }

    /// Goes on with the reply to a call; Envoy must be acting for this stream.
    fn resume(self: &Rc<Self>, id: CallId, reply: Result<Reply, CallError>) {
        match (self.phase.get(), self.session.take(), host::now()) {
            (Phase::Waiting, Some(mut session), Ok(now)) => {
                let progress = session.resume(id, reply, now);
                self.advance(session, progress, now);
            }
            (Phase::Waiting, _, _) => self.fail("a paused request cannot be taken up again"),
            _ => {}
        }
    }

    /// Lets the request go on if it may, from outside of its own callbacks.
    fn release(&self) {
        if self.phase.get() == Phase::Allowed
            && let Err(error) = host::resume_request()
        {
            host::log(Level::Warn, &format!("a request that was allowed cannot go on: {}", error.name()));
        }
    }

    fn advance(self: &Rc<Self>, mut session: Session, progress: Progress, now: Timestamp) {
        if let Progress::Done(verdict) = progress {
            return self.conclude(session, verdict, now);
        }
        self.phase.set(Phase::Waiting);
        let asking = Asking { id: self.asker(), deadline: session.deadline(), asker: Rc::clone(self) as Rc<dyn Asker> };
        let done = drive::on(
            progress.into(),
            |call| self.ask(&asking, call, now),
            |id, reply| session.resume(id, reply, now).into(),
        );
        if let Some(verdict) = done {
            return self.conclude(session, verdict, now);
        }
        self.session.replace(Some(session));
        if !self.plugin.calls.waits(self.asker()) {
            self.fail("the decision waits for nothing");
        }
    }

    /// Asks, and gives the answer if it is there already.
    fn ask(&self, asking: &Asking, call: Call, now: Timestamp) -> Option<Result<Reply, CallError>> {
        if let Question::Body { max_bytes } = call.question
            && let Some(reply) = self.shown(max_bytes)
        {
            return Some(reply);
        }
        self.plugin.ask(asking, call, now).err().map(Err)
    }

    /// More of the body has come: goes on if somebody waits for it.
    fn arrived(self: &Rc<Self>, arrived: Arrived) {
        self.body.set(arrived);
        if self.phase.get() != Phase::Waiting {
            return;
        }
        for (id, max_bytes) in self.plugin.calls.body_waits(self.asker()) {
            if let Some(reply) = self.shown(max_bytes)
                && self.plugin.calls.take(self.asker(), id).is_some()
            {
                self.resume(id, reply);
            }
        }
    }

    /// The body, if it is there as a whole, or too long already.
    fn shown(&self, max_bytes: usize) -> Option<Result<Reply, CallError>> {
        let Arrived { bytes, all } = self.body.get();
        if bytes > max_bytes {
            return Some(Err(CallError::TooLong));
        }
        if !all {
            return None;
        }
        if bytes == 0 {
            return Some(Ok(Reply::Body(Body::default())));
        }
        Some(match host::request_body(bytes) {
            Ok(body) if body.len() == bytes => Ok(Reply::Body(Body(body))),
            Ok(_) => Err(CallError::Failed("Envoy has not kept the body".to_owned())),
            Err(error) => Err(CallError::Failed(format!("the body cannot be read: {}", error.name()))),
        })
    }

    fn asker(&self) -> AskerId {
        AskerId::Request(self.id)
    }

    fn conclude(&self, session: Session, verdict: Verdict, now: Timestamp) {
        if let Decision::Allow(allowed) = &verdict.decision
            && let Err(error) = apply(allowed, &session)
        {
            return self.fail(&format!("the verdict cannot be carried out: {}", error.name()));
        }
        observe::verdict(&self.plugin, &session.request().headers, &verdict, now.since(session.began()));
        match verdict.decision {
            Decision::Allow(_) => self.settle(Phase::Allowed),
            Decision::Deny(reply) => self.answer(&observe::details(verdict.auth_config.as_deref(), &reply), &reply),
            Decision::Serve(Served { code, headers, body, published: _ }) => {
                self.reply("sidegate_served", code, &headers, &body);
            }
        }
        if let Some(auth_config) = verdict.auth_config {
            follow_up::start(&self.plugin, session, auth_config, now);
        }
    }

    /// Denies since something of ours or of Envoy's did not work.
    fn fail(&self, why: &str) {
        let status = DenialStatus::Unavailable;
        let (headers, body) = (Vec::new(), String::new());
        let reply = LocalReply { status, code: status.code(), headers, body, rule: None, reason: why.to_owned() };
        observe::failure(&self.plugin, &reply);
        self.answer("sidegate_unavailable{host}", &reply);
    }

    fn answer(&self, details: &str, reply: &LocalReply) {
        self.reply(details, reply.code, &reply.headers, &reply.body);
    }

    fn reply(&self, details: &str, code: u16, headers: &[(String, String)], body: &str) {
        self.settle(Phase::Denied);
        let sent = host::send_local_response(code, details, headers, body)
            .or_else(|_| host::send_local_response(503, details, &[], ""))
            .or_else(|_| host::reset_request());
        if let Err(error) = sent {
            host::log(Level::Error, &format!("a request that is not let through cannot be answered: {}", error.name()));
        }
    }

    /// Comes to a phase in which nothing is waited for.
    fn settle(&self, phase: Phase) {
        if self.phase.replace(phase) == Phase::Waiting {
            self.plugin.calls.forget(self.asker());
            self.session.take();
        }
    }
}

impl Asker for Stream {
    fn answered(self: Rc<Self>, id: CallId, reply: Result<Reply, CallError>) {
        self.resume(id, reply);
        self.release();
    }

    fn expired(self: Rc<Self>) {
        match (self.phase.get(), self.session.take(), host::now()) {
            (Phase::Waiting, Some(mut session), Ok(now)) => {
                let verdict = session.expire();
                self.conclude(session, verdict, now);
            }
            (Phase::Waiting, _, _) => self.fail("a paused request took too long"),
            _ => {}
        }
        // All may have been decided, and only callbacks have been late.
        self.release();
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
