//! Questions that a session asks the outside, and the answers.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::remote::DocumentId;
use crate::request::Headers;

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
    /// (see [`crate::remote::RemoteDocuments::want`]); the reply comes when the set is fetched, adopted, or the fetch fails.
    RefreshDocument(DocumentId),
    /// Send a request to a server.
    Http(HttpRequest),
    /// Wait for the whole body of the request that is decided, and show it.
    Body {
        /// A longer body is not shown; the answer is [`CallError::TooLong`].
        max_bytes: usize,
    },
}

/// A request to a server, by way of one of Envoy's clusters.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host, with the port if it is not the scheme's own; the value of `:authority`.
    pub authority: String,
    /// Path with query; the value of `:path`.
    pub path: String,
    /// Names of the Envoy clusters that may carry it, to be tried in order until one takes it.
    pub clusters: Vec<String>,
    /// Headers, names in lower case; no pseudo-headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// An answer with a longer body is none.
    pub max_response_bytes: usize,
    /// Requests under way with the same value share one answer; they ask for the same.
    pub share: Option<[u8; 32]>,
}

impl HttpRequest {
    /// Sets a header, whose name is in lower case; what was there of this name is gone.
    pub fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Digest of everything that is sent, of what is taken as an answer, and of a key.
    pub(crate) fn digest(&self, key: &[u8; 32]) -> [u8; 32] {
        let Self { method, scheme, authority, path, clusters, headers, body, max_response_bytes, share: _ } = self;
        let mut digest = Sha256::new().chain_update(key);
        let mut add = |part: &[u8]| {
            // Each part goes with its length, so that no two lists of parts look the same.
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        };
        for part in [method, *scheme, authority, path].into_iter().chain(clusters.iter().map(String::as_str)) {
            add(part.as_bytes());
        }
        for (name, value) in headers {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        add(body);
        add(&max_response_bytes.to_be_bytes());
        digest.finalize().into()
    }
}

impl fmt::Debug for HttpRequest {
    /// Without query, headers and body: they may carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{} {}://{}{path}", self.method, self.scheme, self.authority)
    }
}

/// An answer of a server. What Envoy answers in a server's stead is none, but a [`CallError`].
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HttpReply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub body: Vec<u8>,
    /// Trailers, where gRPC has its status.
    pub trailers: Headers,
}

impl HttpReply {
    /// Whether the body claims to be JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let types = self.headers.iter().filter(|(name, _)| *name == b"content-type");
        types.into_iter().any(|(_, value)| String::from_utf8_lossy(value).contains("application/json"))
    }
}

impl fmt::Debug for HttpReply {
    /// Without headers and body: they may carry secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The key set was fetched; look again.
    DocumentRefreshed,
    /// To [`Question::Http`].
    Http(HttpReply),
    /// To [`Question::Body`].
    Body(Body),
}

/// The body of a request; empty if it has none.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Body(pub Vec<u8>);

impl fmt::Debug for Body {
    /// Without the bytes: they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// It did not come in time.
    Timeout,
    /// There is more of it than the question allows.
    TooLong,
    /// A bound of ours or of Envoy's was reached, by this request or by many together; which. Clients can bring that about,
    /// so what would do without the answer must not.
    Overrun(String),
    /// With this answer, those to all calls for the request are longer together than [`crate::Policy::max_response_bytes`].
    TooMuch,
    /// It could not be asked, or what came was no answer; why, without secrets.
    Failed(String),
}

impl CallError {
    /// A bound of ours was reached.
    #[must_use]
    pub fn overrun() -> Self {
        Self::Overrun("too much is waited for".to_owned())
    }

    /// Why there is no answer, for those who know no [`CallError`].
    #[must_use]
    pub fn in_words(self) -> String {
        match self {
            Self::Timeout => "no answer in time".to_owned(),
            Self::TooLong | Self::TooMuch => "the answer is too long".to_owned(),
            Self::Overrun(why) | Self::Failed(why) => why,
        }
    }

    /// The shell answered another question.
    pub(crate) fn unfit() -> Self {
        Self::Failed("the answer is of another kind".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_shared_by_those_alone_who_would_take_the_same() {
        let request = |path: &str, max_response_bytes| HttpRequest {
            method: "GET".to_owned(),
            scheme: "http",
            authority: "a.test".to_owned(),
            path: path.to_owned(),
            clusters: vec!["a".to_owned()],
            headers: Vec::new(),
            body: Vec::new(),
            max_response_bytes,
            share: None,
        };
        let digest = |path, max_response_bytes| request(path, max_response_bytes).digest(&[0; 32]);
        assert_eq!(digest("/", 10), digest("/", 10));
        assert_ne!(digest("/", 10), digest("/x", 10));
        assert_ne!(digest("/", 10), digest("/", 11), "one of two rules would get more than it takes");
    }
}
