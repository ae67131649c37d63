//! The outside of sessions, simulated: who waits for which answer, and when it comes.

use std::time::Duration;

use sidegate_engine::{CallError, CallId, HttpReply, HttpRequest, Timestamp};

/// The answer to a call of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of a server.
    Http(Result<HttpReply, CallError>),
    /// Something else, which is looked for when its time has come.
    Other,
}

/// A call under way.
#[derive(Debug, Clone)]
pub struct UnderWay<T> {
    /// When the answer comes.
    pub at: Timestamp,
    /// Who waits for it.
    pub who: usize,
    /// The call.
    pub id: CallId,
    /// What was asked.
    pub question: T,
    /// The answer.
    pub answer: Answer,
    share: Option<[u8; 32]>,
}

/// All calls under way, in the order in which they were made.
#[derive(Debug)]
pub struct Outside<T>(Vec<UnderWay<T>>);

impl<T> Default for Outside<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Outside<T> {
    /// A question whose answer takes no time.
    pub fn ask(&mut self, (who, id): (usize, CallId), question: T, now: Timestamp) {
        self.0.push(UnderWay { at: now, who, id, question, answer: Answer::Other, share: None });
    }

    /// A request to a server. It is sent by `send`, which says what comes back and how long that takes; unless one that asks
    /// for the same is under way, whose answer both then get.
    pub fn send(
        &mut self,
        (who, id): (usize, CallId),
        (request, question): (&HttpRequest, T),
        (now, timeout): (Timestamp, Duration),
        send: impl FnOnce() -> (Result<HttpReply, CallError>, Duration),
    ) {
        let shared = self.0.iter().find(|call| call.share.is_some() && call.share == request.share);
        let (answer, at) = match shared {
            Some(UnderWay { answer, at, .. }) => (answer.clone(), *at),
            None => {
                let (answer, delay) = send();
                (Answer::Http(answer), now.after(delay))
            }
        };
        let end = now.after(timeout);
        let (answer, at) = if at > end { (Answer::Http(Err(CallError::Timeout)), end) } else { (answer, at) };
        self.0.push(UnderWay { at, who, id, question, answer, share: request.share });
    }

    /// The call whose answer comes first; of those that come together, the one made first.
    pub fn next(&mut self) -> Option<UnderWay<T>> {
        let first = self.0.iter().enumerate().min_by_key(|(index, call)| (call.at, *index)).map(|(index, _)| index)?;
        Some(self.0.remove(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(share: Option<u8>) -> HttpRequest {
        HttpRequest {
            method: "GET".to_owned(),
            scheme: "http",
            authority: "a.test".to_owned(),
            path: "/".to_owned(),
            clusters: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            max_response_bytes: 1,
            share: share.map(|share| [share; 32]),
        }
    }

    /// Makes calls that all take 100 ms, one after another each 10 ms; gives back what was sent, and who is answered when.
    fn run(shares: &[Option<u8>], timeout: u64) -> (Vec<usize>, Vec<(usize, u64, bool)>) {
        let (start, mut outside, mut sent) = (Timestamp::from_secs(1), Outside::default(), Vec::new());
        for (who, share) in shares.iter().enumerate() {
            let now = start.after(Duration::from_millis(10 * u64::try_from(who).unwrap()));
            let times = (now, Duration::from_millis(timeout));
            outside.send((who, CallId(0)), (&request(*share), ()), times, || {
                sent.push(who);
                (Ok(HttpReply::default()), Duration::from_millis(100))
            });
        }
        let mut answered = Vec::new();
        while let Some(UnderWay { at, who, answer, .. }) = outside.next() {
            let took = u64::try_from(at.since(start).as_millis()).unwrap();
            answered.push((who, took, matches!(answer, Answer::Http(Ok(_)))));
        }
        (sent, answered)
    }

    #[test]
    fn those_who_ask_for_the_same_get_one_answer() {
        assert_eq!(
            run(&[Some(1), Some(1), Some(2), None, None], 1000),
            (vec![0, 2, 3, 4], vec![(0, 100, true), (1, 100, true), (2, 120, true), (3, 130, true), (4, 140, true)])
        );
    }

    #[test]
    fn an_answer_that_takes_too_long_is_a_timeout() {
        assert_eq!(run(&[None], 99), (vec![0], vec![(0, 99, false)]));
        assert_eq!(run(&[None], 100), (vec![0], vec![(0, 100, true)]));
        // Whoever asks later waits as long as it may, which is until the answer is there.
        assert_eq!(run(&[Some(1), Some(1)], 95), (vec![0], vec![(0, 95, false), (1, 95, false)]));
    }
}
