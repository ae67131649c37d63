//! Async inside, state machine outside: the only file that knows of wakers.
//!
//! Nothing here ever wakes anything: a session is polled when a reply has come, and every reply is a reason to poll.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::call::{Call, CallError, CallId, Question, Reply};

/// Calls that one session may make; more than any sane policy has.
const MAX_CALLS: u32 = 64;

/// A computation that stops at questions; none is left once it is done.
pub struct Task<T>(Option<Pin<Box<dyn Future<Output = T>>>>);

impl<T> Task<T> {
    /// Not started yet.
    pub fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }

    /// Runs as far as the replies at hand allow; what is done already stays pending.
    pub fn poll(&mut self) -> Poll<T> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

/// Runs a part of a computation in a function of its own. All that awaits would become one function otherwise, and the larger a
/// function, the longer V8 takes for each byte of it: docs/decisions/0012.
pub fn apart<F: Future>(mut future: Pin<&mut F>) -> impl Future<Output = F::Output> {
    #[inline(never)]
    fn poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        future.poll(cx)
    }
    poll_fn(move |cx| poll(future.as_mut(), cx))
}

/// Questions and replies of one session.
#[derive(Debug, Default)]
pub struct Calls {
    made: Cell<u32>,
    unsent: RefCell<Vec<Call>>,
    replies: RefCell<BTreeMap<CallId, Option<Result<Reply, CallError>>>>,
}

impl Calls {
    /// Asks, and waits for the answer.
    pub async fn ask(&self, question: Question, timeout: Duration) -> Result<Reply, CallError> {
        let id = CallId(self.made.get());
        if id.0 >= MAX_CALLS {
            return Err(CallError::overrun());
        }
        self.made.set(id.0.saturating_add(1));
        self.unsent.borrow_mut().push(Call { id, question, timeout });
        self.replies.borrow_mut().insert(id, None);
        let _waits = Waits { calls: self, id };
        poll_fn(|_| match self.replies.borrow_mut().get_mut(&id).and_then(Option::take) {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        })
        .await
    }

    /// The questions not yet handed out.
    pub fn take_unsent(&self) -> Vec<Call> {
        self.unsent.take()
    }

    /// Keeps a reply for the one who waits for it; a reply that nobody waits for is dropped.
    pub fn reply(&self, id: CallId, reply: Result<Reply, CallError>) {
        if let Some(waiting) = self.replies.borrow_mut().get_mut(&id) {
            *waiting = Some(reply);
        }
    }

    /// Answers everything that is not answered yet.
    pub fn time_out(&self) {
        for reply in self.replies.borrow_mut().values_mut().filter(|reply| reply.is_none()) {
            *reply = Some(Err(CallError::Timeout));
        }
    }
}

/// Somebody who waits for an answer. Once it is dropped the question is not handed out any more, nor the answer kept that may
/// still come.
struct Waits<'a> {
    calls: &'a Calls,
    id: CallId,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.calls.replies.borrow_mut().remove(&self.id);
        self.calls.unsent.borrow_mut().retain(|call| call.id != self.id);
    }
}

/// A computation as it stands when it was started.
#[derive(Debug)]
pub enum Started<T, F> {
    /// It needed nobody.
    Done(T),
    /// It may have to wait for others.
    Waits(F),
}

/// Runs all at once, in order, and shows each result to `visit` as it comes; a break ends the others. One that needs no
/// call is done before the next one starts.
pub async fn each<F: Future, B>(
    computations: impl Iterator<Item = Started<F::Output, F>>,
    mut visit: impl FnMut(F::Output) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let mut unstarted = computations;
    let mut waiting: Vec<Pin<Box<F>>> = Vec::new();
    poll_fn(move |context| {
        let mut index = 0;
        while let Some(future) = waiting.get_mut(index) {
            match future.as_mut().poll(context) {
                Poll::Pending => index = index.saturating_add(1),
                Poll::Ready(output) => {
                    drop(waiting.remove(index));
                    if let ControlFlow::Break(value) = visit(output) {
                        return Poll::Ready(ControlFlow::Break(value));
                    }
                }
            }
        }
        for started in unstarted.by_ref() {
            let output = match started {
                Started::Done(output) => output,
                Started::Waits(future) => {
                    let mut future = Box::pin(future);
                    match future.as_mut().poll(context) {
                        Poll::Ready(output) => output,
                        Poll::Pending => {
                            waiting.push(future);
                            continue;
                        }
                    }
                }
            };
            if let ControlFlow::Break(value) = visit(output) {
                return Poll::Ready(ControlFlow::Break(value));
            }
        }
        if waiting.is_empty() { Poll::Ready(ControlFlow::Continue(())) } else { Poll::Pending }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::remote::DocumentId;

    async fn ask(calls: &Calls, key_set: u32) -> Result<Reply, CallError> {
        calls.ask(Question::RefreshDocument(DocumentId(key_set)), Duration::from_secs(1)).await
    }

    #[test]
    fn a_task_stops_at_a_question_and_goes_on_with_the_reply() {
        let calls = Rc::new(Calls::default());
        let mut task = Task::new({
            let calls = Rc::clone(&calls);
            async move { (ask(&calls, 1).await, ask(&calls, 2).await) }
        });
        assert!(task.poll().is_pending());
        assert_eq!(calls.take_unsent().len(), 1);
        calls.reply(CallId(7), Ok(Reply::DocumentRefreshed));
        assert!(task.poll().is_pending(), "a reply to a call that was never made changes nothing");
        calls.reply(CallId(0), Ok(Reply::DocumentRefreshed));
        assert!(task.poll().is_pending());
        calls.reply(CallId(1), Err(CallError::Timeout));
        assert_eq!(task.poll(), Poll::Ready((Ok(Reply::DocumentRefreshed), Err(CallError::Timeout))));
    }

    #[test]
    fn what_is_not_answered_can_time_out_at_once() {
        let calls = Rc::new(Calls::default());
        let mut task = Task::new({
            let calls = Rc::clone(&calls);
            async move { (ask(&calls, 1).await, ask(&calls, 2).await) }
        });
        assert!(task.poll().is_pending());
        calls.time_out();
        assert!(task.poll().is_pending(), "a later question");
        calls.time_out();
        assert_eq!(task.poll(), Poll::Ready((Err(CallError::Timeout), Err(CallError::Timeout))));
    }

    #[test]
    fn one_session_cannot_call_without_end() {
        let calls = Rc::new(Calls::default());
        let mut task = Task::new({
            let calls = Rc::clone(&calls);
            async move {
                let asking = (0..=MAX_CALLS).map(|index| Started::Waits(ask(&calls, index)));
                let refused =
                    |reply| if let Err(error) = reply { ControlFlow::Break(error) } else { ControlFlow::Continue(()) };
                each(asking, refused).await
            }
        });
        assert!(matches!(task.poll(), Poll::Ready(ControlFlow::Break(CallError::Overrun(_)))));
    }

    #[test]
    fn each_runs_all_at_once_and_ends_with_the_first_break() {
        let calls = Rc::new(Calls::default());
        let mut task = Task::new({
            let calls = Rc::clone(&calls);
            async move {
                let asking = [1, 2].into_iter().map(|key_set| {
                    let calls = &calls;
                    Started::Waits(async move { ask(calls, key_set).await.map(|_| key_set) })
                });
                each(asking, |reply| reply.map_or(ControlFlow::Continue(()), ControlFlow::Break)).await
            }
        });
        assert!(task.poll().is_pending());
        assert_eq!(calls.take_unsent().len(), 2, "both are under way together");
        calls.reply(CallId(1), Ok(Reply::DocumentRefreshed));
        assert_eq!(task.poll(), Poll::Ready(ControlFlow::Break(2)));
    }

    #[test]
    fn who_does_not_wait_any_more_asks_nothing_and_keeps_nothing() {
        let calls = Rc::new(Calls::default());
        let mut task = Task::new({
            let calls = Rc::clone(&calls);
            async move {
                let asking = [1, 2].into_iter().map(|key_set| {
                    let calls = &calls;
                    Started::Waits(async move { if key_set == 1 { ask(calls, 1).await.is_ok() } else { true } })
                });
                let first = each(asking, |done| if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
                assert!(first.await.is_break());
                ask(&calls, 3).await
            }
        });
        assert!(task.poll().is_pending());
        let asked = calls.take_unsent();
        assert_eq!(asked.len(), 1, "the first was left before it was handed out: {asked:?}");
        assert_eq!(asked.first().map(|call| call.id), Some(CallId(1)));
        calls.reply(CallId(0), Ok(Reply::DocumentRefreshed));
        assert_eq!(calls.replies.borrow().len(), 1, "an answer is kept that nobody takes");
        calls.reply(CallId(1), Ok(Reply::DocumentRefreshed));
        assert_eq!(task.poll(), Poll::Ready(Ok(Reply::DocumentRefreshed)));
        assert!(calls.replies.borrow().is_empty());
    }

    #[test]
    fn each_does_not_start_what_a_break_makes_needless() {
        let mut started = 0;
        let futures = [1, 2, 3]
            .into_iter()
            .inspect(|_| started += 1)
            .map(|value| if value == 2 { Started::Done(value) } else { Started::Waits(async move { value }) });
        let mut first =
            Box::pin(each(
                futures,
                |value| if value == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
            ));
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        drop(first);
        assert_eq!(started, 2);
    }
}
