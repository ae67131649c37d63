//! Questions that a session asks the outside, and the answers.

use std::time::Duration;

use crate::keys::KeySetId;

/// Tells the calls of one session apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u32);

/// A question to the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// To be given back with the reply.
    pub id: CallId,
    /// What is asked.
    pub question: Question,
    /// How long the answer may take; then the reply is [`CallError::Timeout`].
    pub timeout: Duration,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Refresh a key set, because a token names a key that it does not have. The fetch is due already, or under way
    /// (see [`crate::keys::KeySets::want`]); the reply comes when the set is fetched, adopted, or the fetch fails.
    RefreshKeys(KeySetId),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The key set was fetched; look again.
    KeysRefreshed,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// It did not come in time.
    Timeout,
    /// It could not be asked, or what came was no answer; why, without secrets.
    Failed(String),
}
