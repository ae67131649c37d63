//! Asks for a computation of the engine until it is done or waits.

use std::collections::VecDeque;

use sidegate_engine::{Call, CallError, CallId, Progress, Reply, Verdict};

/// What the engine wants next.
pub enum Next<T> {
    /// Answers to these calls, and to those under way.
    Pending(Vec<Call>),
    /// Nothing; this came of it.
    Done(T),
}

/// Asks what is to be asked, and goes on with each answer that is there at once. None: the rest comes later.
pub fn on<T>(
    mut next: Next<T>,
    mut ask: impl FnMut(Call) -> Option<Result<Reply, CallError>>,
    mut resume: impl FnMut(CallId, Result<Reply, CallError>) -> Next<T>,
) -> Option<T> {
    let mut answers = VecDeque::new();
    loop {
        match next {
            Next::Done(outcome) => return Some(outcome),
            Next::Pending(calls) => {
                answers.extend(calls.into_iter().filter_map(|call| Some((call.id, ask(call)?))));
            }
        }
        let (id, reply) = answers.pop_front()?;
        next = resume(id, reply);
    }
}

impl From<Progress> for Next<Verdict> {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Pending(calls) => Self::Pending(calls),
            Progress::Done(verdict) => Self::Done(verdict),
        }
    }
}
