//! One request on its way to a verdict.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::authentication::Proof;
use crate::call::{Call, CallError, CallId, HttpReply, HttpRequest, Question, Reply};
use crate::east_west::Ruling;
use crate::exec::{Calls, Task};
use crate::policy::{AuthConfig, Policy};
#[cfg(feature = "opa")]
use crate::rego;
use crate::remote::DocumentId;
use crate::request::{Attribute, Request};
use crate::time::Timestamp;
use crate::trace::StepRecord;
use crate::verdict::{Decision, Overrun, Verdict};
#[cfg(feature = "opa")]
use crate::view::Place;
use crate::view::{Auth, View};
use crate::{cache, callbacks, pipeline};

/// Headers that tell the servers which request a call is made for: Envoy's id, W3C Trace Context and Baggage, and B3.
const TRACE_CONTEXT: [&str; 10] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// Envoy's clock stands still while it is busy, so a call may end so much before its time.
const EARLY: Duration = Duration::from_millis(50);

/// What happens next.
#[derive(Debug)]
pub enum Progress {
    /// Make these calls (none: some are still under way), and come back with the replies.
    Pending(Vec<Call>),
    /// Carry this out.
    Done(Verdict),
}

/// One request on its way to a verdict.
pub struct Session {
    cx: Cx,
    task: Task<Verdict>,
    deadline: Timestamp,
}

impl Session {
    /// Decides as far as can be without asking anybody; most requests are done here.
    #[must_use]
    pub fn start(policy: Rc<Policy>, request: Request, now: Timestamp) -> (Self, Progress) {
        let deadline = now.after(policy.timeout());
        let state = Rc::new(State { now: Cell::new(now), deadline: Cell::new(deadline), ..State::default() });
        let cx = Cx { policy, request: Rc::new(request), time: now, state, share: None };
        let task = Task::new({
            let cx = cx.clone();
            async move { pipeline::decide(&cx).await }
        });
        let mut session = Self { cx, task, deadline };
        let progress = session.advance();
        (session, progress)
    }

    /// Goes on with a reply. Replies to calls that nobody waits for any more change nothing.
    pub fn resume(&mut self, id: CallId, reply: Result<Reply, CallError>, now: Timestamp) -> Progress {
        if now >= self.deadline {
            return Progress::Done(self.expire());
        }
        self.cx.state.now.set(now);
        self.cx.state.calls.reply(id, reply);
        self.advance()
    }

    /// When the request came.
    #[must_use]
    pub const fn began(&self) -> Timestamp {
        self.cx.time
    }

    /// When all of its calls must be answered: then it is to be ended by [`Session::expire`].
    #[must_use]
    pub const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Ends it at its deadline: the rules that wait are told of as cancelled. What was decided stands; it is callbacks that were late.
    #[must_use]
    pub fn expire(&mut self) -> Verdict {
        self.task = Task::new(std::future::pending());
        pipeline::timed_out(&self.cx)
    }

    /// What is still to be done once the verdict has been carried out; none if nothing is.
    #[must_use]
    pub fn follow_up(self, now: Timestamp) -> Option<(FollowUp, Following)> {
        let Self { mut cx, task, deadline: _ } = self;
        let policy = cx.state.call_back.take()?;
        drop(task);
        cx.let_go(&policy);
        // What is late now is told as late; nobody is kept waiting by it.
        cx.state.deadline.set(Timestamp::from_nanos(u64::MAX));
        let task = Task::new({
            let cx = cx.clone();
            async move { callbacks::call_all(&policy.callbacks, &cx).await }
        });
        let mut follow_up = FollowUp { deadline: now.after(cx.policy.timeout()), cx, task };
        let following = follow_up.advance();
        Some((follow_up, following))
    }

    /// The request that is decided.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.cx.request
    }

    /// The policy that it is decided by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.cx.policy
    }

    fn advance(&mut self) -> Progress {
        match self.task.poll() {
            Poll::Ready(verdict) => Progress::Done(verdict),
            Poll::Pending if self.cx.state.over.get() => Progress::Done(self.expire()),
            Poll::Pending => Progress::Pending(self.cx.state.calls.take_unsent()),
        }
    }
}

/// What goes on after the verdict: callbacks, for which no request waits. It needs nothing of the request's stream.
pub struct FollowUp {
    cx: Cx,
    task: Task<()>,
    deadline: Timestamp,
}

/// What happens next in a [`FollowUp`].
#[derive(Debug)]
pub enum Following {
    /// Make these calls (none: some are still under way), and come back with the replies.
    Pending(Vec<Call>),
    /// All is done; how.
    Done(Vec<StepRecord>),
}

impl FollowUp {
    /// Goes on with a reply. Replies to calls that nobody waits for any more change nothing.
    pub fn resume(&mut self, id: CallId, reply: Result<Reply, CallError>, now: Timestamp) -> Following {
        if now > self.deadline {
            return Following::Done(self.expire());
        }
        self.cx.state.now.set(now);
        self.cx.state.calls.reply(id, reply);
        self.advance()
    }

    /// When all of its calls must be answered: then it is to be ended by [`FollowUp::expire`].
    #[must_use]
    pub const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Ends it at its deadline: what is under way has taken too long, and what comes after that is left out.
    #[must_use]
    pub fn expire(&mut self) -> Vec<StepRecord> {
        self.cx.state.calls.time_out();
        let _: Poll<()> = self.task.poll();
        self.cx.take_steps()
    }

    fn advance(&mut self) -> Following {
        match self.task.poll() {
            Poll::Ready(()) => Following::Done(self.cx.take_steps()),
            Poll::Pending => Following::Pending(self.cx.state.calls.take_unsent()),
        }
    }
}

/// What evaluators have at hand. Cheap to clone; clones see the same.
#[derive(Debug, Clone)]
pub struct Cx {
    /// The compiled configuration.
    pub policy: Rc<Policy>,
    /// The request.
    pub request: Rc<Request>,
    /// When the request came.
    pub time: Timestamp,
    state: Rc<State>,
    /// Key of the cache that the calls are made for.
    share: Option<cache::Key>,
}

/// What changes while a request is decided.
#[derive(Debug, Default)]
struct State {
    now: Cell<Timestamp>,
    /// When the request must be decided.
    deadline: Cell<Timestamp>,
    /// That is now.
    over: Cell<bool>,
    auth: RefCell<Rc<Auth>>,
    calls: Calls,
    steps: RefCell<Vec<StepRecord>>,
    /// How the identity was proved.
    proofs: RefCell<Vec<Rc<Proof>>>,
    /// The Authorization JSON as policies in Rego read it, and what it was made of.
    #[cfg(feature = "opa")]
    rego_input: RefCell<Option<(Rc<Auth>, regorus::Value)>>,
    /// Bytes of all answers so far.
    answered: Cell<usize>,
    /// A call was not made, or its answer not taken, since a bound of ours was reached.
    overrun: Cell<Option<Overrun>>,
    /// The AuthConfig whose callbacks are to be sent after the verdict.
    call_back: RefCell<Option<Rc<AuthConfig>>>,
    /// What is decided, while callbacks are waited for.
    decision: RefCell<Option<Decision>>,
    /// What policies over identity said.
    ruling: RefCell<Option<Rc<Ruling>>>,
}

impl Cx {
    /// The time of the latest event: the request's arrival, or a reply.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.now.get()
    }

    /// The same, for a rule whose result is kept under this key: who asks for the same at the same time shares its calls.
    #[must_use]
    pub fn sharing(&self, key: cache::Key) -> Self {
        Self { share: Some(key), ..self.clone() }
    }

    /// What expressions can see at this moment.
    #[must_use]
    pub fn view(&self) -> View {
        View { request: Rc::clone(&self.request), time: self.time, auth: Rc::clone(&self.state.auth.borrow()) }
    }

    /// All of it as policies in Rego read it; made once, and again when there are new results.
    #[cfg(feature = "opa")]
    #[must_use]
    pub fn rego_input(&self) -> regorus::Value {
        let view = self.view();
        let mut made = self.state.rego_input.borrow_mut();
        // The body is there before the first rule is asked, or never.
        match made.as_ref().filter(|(auth, _)| Rc::ptr_eq(auth, &view.auth)) {
            Some((_, input)) => input.clone(),
            None => {
                let input = Place::ROOT.read(&view).map_or(regorus::Value::Undefined, |json| rego::from_json(&json));
                *made = Some((Rc::clone(&view.auth), input.clone()));
                input
            }
        }
    }

    /// Adds to the results that expressions can see.
    pub fn update(&self, change: impl FnOnce(&mut Auth)) {
        change(Rc::make_mut(&mut self.state.auth.borrow_mut()));
    }

    /// Notes how the identity was proved.
    pub(crate) fn proved_by(&self, proof: &Rc<Proof>) {
        self.state.proofs.borrow_mut().push(Rc::clone(proof));
    }

    /// How the identity was proved, by each rule that did; none before it was.
    #[must_use]
    pub fn proofs(&self) -> Vec<Rc<Proof>> {
        self.state.proofs.borrow().clone()
    }

    /// Asks for newer keys, and waits until they are there.
    ///
    /// # Errors
    /// They did not come.
    pub async fn refresh_keys(&self, key_set: DocumentId, timeout: Duration) -> Result<(), CallError> {
        match self.ask(Question::RefreshDocument(key_set), timeout).await? {
            Reply::DocumentRefreshed => Ok(()),
            Reply::Http(_) | Reply::Body(_) => Err(CallError::unfit()),
        }
    }

    /// Sends a request, and waits for the answer. The request's trace context and id go with it.
    ///
    /// # Errors
    /// There was none.
    pub async fn http(&self, mut request: HttpRequest, timeout: Duration) -> Result<HttpReply, CallError> {
        request.share = self.share.map(|key| request.digest(&key));
        for name in TRACE_CONTEXT {
            // What a rule says of itself is not said over.
            if !request.headers.iter().any(|(given, _)| given == name)
                && let Some(value) = self.request.headers.text(name)
            {
                request.headers.push((name.to_owned(), value.into_owned()));
            }
        }
        match self.ask(Question::Http(request), timeout).await? {
            Reply::Http(reply) => Ok(reply),
            Reply::DocumentRefreshed | Reply::Body(_) => Err(CallError::unfit()),
        }
    }

    /// Waits for the body of the request, and keeps it where expressions see it.
    ///
    /// # Errors
    /// It did not come, or is too long.
    pub(crate) async fn read_body(&self) -> Result<(), CallError> {
        let question = Question::Body { max_bytes: self.policy.max_request_bytes() };
        match self.ask(question, self.policy.timeout()).await? {
            // A second body would be no body; the first one stands.
            Reply::Body(body) => {
                drop(self.request.body.set(body));
                Ok(())
            }
            Reply::DocumentRefreshed | Reply::Http(_) => Err(CallError::unfit()),
        }
    }

    async fn ask(&self, question: Question, timeout: Duration) -> Result<Reply, CallError> {
        let has_longer = self.now().after(timeout) >= self.state.deadline.get();
        let answer = self.state.calls.ask(question, timeout.min(self.policy.timeout())).await;
        if has_longer && answer == Err(CallError::Timeout) && self.now().after(EARLY) >= self.state.deadline.get() {
            // It is not this call that took too long, but all of them: nothing goes on without its answer.
            self.state.over.set(true);
            std::future::pending::<()>().await;
        }
        let answer = answer.and_then(|reply| self.take(reply));
        match &answer {
            Err(CallError::Overrun(_)) => self.state.overrun.set(Some(Overrun::Calls)),
            Err(CallError::TooMuch) => self.state.overrun.set(Some(Overrun::Answers)),
            _ => {}
        }
        answer
    }

    /// What rules make of answers stays until the request is decided: it has a bound, however many they are.
    fn take(&self, reply: Reply) -> Result<Reply, CallError> {
        if let Reply::Http(HttpReply { body, .. }) = &reply {
            let answered = self.state.answered.get().saturating_add(body.len());
            self.state.answered.set(answered);
            if answered > self.policy.max_response_bytes() {
                return Err(CallError::TooMuch);
            }
        }
        Ok(reply)
    }

    /// The bound that was reached, so that a call was not made, or its answer not taken.
    pub(crate) fn overrun(&self) -> Option<Overrun> {
        self.state.overrun.get()
    }

    /// Forgets that, where nothing depends on it.
    pub(crate) fn forget_overrun(&self) {
        self.state.overrun.take();
    }

    /// Lets go of what only the decision read, since callbacks may take their time.
    fn let_go(&mut self, policy: &AuthConfig) {
        #[cfg(feature = "opa")]
        self.state.rego_input.take();
        self.state.answered.take();
        // Whoever reads an object whole sees the body in it if somebody asked for it; wherever the body is, the size is.
        let needs = policy.read_by_callbacks;
        let seen = needs.has(Attribute::Body) || needs.has(Attribute::Size);
        if !seen && let Some(request) = Rc::get_mut(&mut self.request) {
            request.body.take();
        }
    }

    /// Leaves the callbacks of an AuthConfig to the time after the verdict.
    pub(crate) fn call_back_later(&self, policy: &Rc<AuthConfig>) {
        self.state.call_back.replace(Some(Rc::clone(policy)));
    }

    /// Notes what is decided, while callbacks are waited for.
    pub(crate) fn decided(&self, decision: Decision) {
        self.state.decision.replace(Some(decision));
    }

    /// What is decided already; to be carried out by who takes it.
    pub(crate) fn take_decision(&self) -> Option<Decision> {
        self.state.decision.take()
    }

    /// Notes what policies over identity said.
    pub(crate) fn ruled(&self, ruling: &Rc<Ruling>) {
        self.state.ruling.replace(Some(Rc::clone(ruling)));
    }

    /// What policies over identity said; none if there are none.
    pub(crate) fn ruling(&self) -> Option<Rc<Ruling>> {
        self.state.ruling.borrow().clone()
    }

    /// Notes what became of a step.
    pub fn record(&self, step: StepRecord) {
        self.state.steps.borrow_mut().push(step);
    }

    /// The notes so far.
    pub(crate) fn steps(&self) -> Vec<StepRecord> {
        self.state.steps.borrow().clone()
    }

    /// The notes so far, taken out.
    pub(crate) fn take_steps(&self) -> Vec<StepRecord> {
        self.state.steps.take()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::Body;
    use crate::request::Headers;

    /// What is left of a request's body once its callback is under way, and what is sent.
    fn kept(callback: &serde_json::Value) -> (bool, Vec<u8>) {
        let spec = json!({
            "hosts": ["*"],
            "authentication": { "anybody": { "anonymous": {} } },
            "authorization": { "hello": { "patternMatching": { "patterns": [
                { "selector": "request.body", "operator": "eq", "value": "hello" },
            ] } } },
            "callbacks": { "it": { "http": { "url": "http://a/", "method": "POST", "body": callback } } },
        });
        let auth_config = json!({
            "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": { "name": "a" }, "spec": spec,
        });
        let options = json!({ "allowOnHeadersStopIteration": true });
        let policy = Policy::compile(json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [auth_config], "options": options,
        }).to_string().as_bytes());
        let headers = Headers::from_pairs([(":authority", "a"), (":path", "/"), (":method", "POST")]);
        let request = Request { headers, ..Request::default() };
        let now = Timestamp::default();
        let (mut session, _) = Session::start(Rc::new(policy.unwrap()), request, now);
        let progress = session.resume(CallId(0), Ok(Reply::Body(Body(b"hello".to_vec()))), now);
        assert!(matches!(progress, Progress::Done(_)));
        let (follow_up, following) = session.follow_up(now).unwrap();
        let Following::Pending(calls) = following else { panic!("{following:?}") };
        let [Call { question: Question::Http(request), .. }] = calls.as_slice() else { panic!("{calls:?}") };
        (follow_up.cx.request.body.get().is_some(), request.body.clone())
    }

    #[test]
    fn a_body_is_kept_for_callbacks_that_may_show_it_alone() {
        assert_eq!(kept(&json!({ "value": "done" })), (false, b"done".to_vec()));
        assert_eq!(kept(&json!({ "selector": "request.path" })), (false, b"/".to_vec()));
        assert_eq!(kept(&json!({ "selector": "request.body" })), (true, b"hello".to_vec()));
        let (kept, sent) = kept(&json!({ "selector": "request" }));
        assert!(kept && String::from_utf8_lossy(&sent).contains(r#""body":"hello""#), "{sent:?}");
    }
}
