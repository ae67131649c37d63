//! One request on its way to a verdict.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::call::{Call, CallError, CallId, Question, Reply};
use crate::exec::{Calls, Task};
use crate::pipeline;
use crate::policy::Policy;
use crate::request::Request;
use crate::time::Timestamp;
use crate::trace::StepRecord;
use crate::verdict::Verdict;
use crate::view::{Auth, View};

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
    cx: Rc<Cx>,
    task: Task<Verdict>,
    deadline: Timestamp,
}

impl Session {
    /// Decides as far as can be without asking anybody; most requests are done here.
    #[must_use]
    pub fn start(policy: Rc<Policy>, request: Request, now: Timestamp) -> (Self, Progress) {
        let deadline = now.after(policy.timeout());
        let cx = Rc::new(Cx {
            policy,
            request: Rc::new(request),
            time: now,
            auth: RefCell::default(),
            calls: Calls::default(),
            steps: RefCell::default(),
        });
        let task = Task::new({
            let cx = Rc::clone(&cx);
            async move { pipeline::decide(&cx).await }
        });
        let mut session = Self { cx, task, deadline };
        let progress = session.advance();
        (session, progress)
    }

    /// Goes on with a reply. Replies to calls that nobody waits for any more change nothing.
    pub fn resume(&mut self, id: CallId, reply: Result<Reply, CallError>, now: Timestamp) -> Progress {
        if now > self.deadline {
            return Progress::Done(pipeline::timed_out(&self.cx));
        }
        self.cx.calls.reply(id, reply);
        self.advance()
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
            Poll::Pending => Progress::Pending(self.cx.calls.take_unsent()),
        }
    }
}

/// What evaluators have at hand.
#[derive(Debug)]
pub struct Cx {
    /// The compiled configuration.
    pub policy: Rc<Policy>,
    /// The request.
    pub request: Rc<Request>,
    /// When the request came.
    pub time: Timestamp,
    auth: RefCell<Rc<Auth>>,
    calls: Calls,
    steps: RefCell<Vec<StepRecord>>,
}

impl Cx {
    /// What expressions can see at this moment.
    #[must_use]
    pub fn view(&self) -> View {
        View { request: Rc::clone(&self.request), time: self.time, auth: Rc::clone(&self.auth.borrow()) }
    }

    /// Adds to the results that expressions can see.
    pub fn update(&self, change: impl FnOnce(&mut Auth)) {
        change(Rc::make_mut(&mut self.auth.borrow_mut()));
    }

    /// Asks the outside, and waits for the answer.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn call(&self, question: Question, timeout: Duration) -> Result<Reply, CallError> {
        self.calls.ask(question, timeout.min(self.policy.timeout())).await
    }

    /// Notes what became of a step.
    pub fn record(&self, step: StepRecord) {
        self.steps.borrow_mut().push(step);
    }

    /// The notes so far, taken out.
    pub(crate) fn take_steps(&self) -> Vec<StepRecord> {
        self.steps.take()
    }
}
