//! Servers that rules ask.

use std::time::Duration;

use sidegate_config::Options;

use crate::call::{CallError, HttpReply, HttpRequest};
use crate::compile::Compiler;
use crate::error::StepError;
use crate::session::Cx;
use crate::url::{Upstreams, Url, shown};
use crate::verdict::Overrun;

pub mod address;
pub mod client_credentials;

/// Default of every `timeout`, and what 0 means: Envoy would wait for ever.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer of a server, unless the rule says another.
pub const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// Longest answers of all servers that are asked for one request together, unless the options say another.
const MAX_RESPONSE_BYTES_OF_ALL: usize = 4 << 20;

/// `options.maxResponseBytes`.
#[must_use]
pub fn max_response_bytes_of_all(options: &Options) -> usize {
    options.max_response_bytes.unwrap_or(MAX_RESPONSE_BYTES_OF_ALL)
}

/// A `maxResponseBytes`; 0 is the default.
#[must_use]
pub fn max_response_bytes(bytes: Option<u64>) -> usize {
    bytes.filter(|bytes| *bytes > 0).map_or(MAX_RESPONSE_BYTES, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// A `timeout` in milliseconds.
#[must_use]
pub fn timeout(millis: Option<u64>) -> Duration {
    millis.filter(|millis| *millis > 0).map_or(TIMEOUT, Duration::from_millis)
}

/// A request without headers and body.
#[must_use]
pub fn request(method: &str, url: &Url, clusters: Vec<String>) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        scheme: url.scheme,
        authority: url.authority(),
        path: url.path.clone(),
        clusters,
        headers: Vec::new(),
        body: Vec::new(),
        max_response_bytes: MAX_RESPONSE_BYTES,
        share: None,
    }
}

/// A server, a path of it, and how long it may take to answer.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: Url,
    clusters: Vec<String>,
    timeout: Duration,
    /// What it is, to be said to clients and in logs.
    what: &'static str,
}

impl Endpoint {
    /// Compiles a URL; if it is none the problem goes to the compiler.
    pub fn compile(what: &'static str, url: &str, millis: Option<u64>, compiler: &mut Compiler<'_>) -> Option<Self> {
        match Url::parse(url) {
            Ok(url) => Some(Self::new(what, url, &compiler.shared.upstreams, timeout(millis))),
            Err(reason) => {
                compiler.problem(format!("`{}` {reason}; write `https://host[:port]/path`", shown(url)));
                None
            }
        }
    }

    /// Of a URL that is one.
    #[must_use]
    pub fn new(what: &'static str, url: Url, upstreams: &Upstreams, timeout: Duration) -> Self {
        Self { clusters: upstreams.clusters(&url), url, timeout, what }
    }

    /// The same, for answers that may take so many milliseconds.
    #[must_use]
    pub fn within(self, millis: Option<u64>) -> Self {
        Self { timeout: timeout(millis), ..self }
    }

    /// The URL.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// How long an answer may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A request without headers and body.
    #[must_use]
    pub fn request(&self, method: &str) -> HttpRequest {
        request(method, &self.url, self.clusters.clone())
    }

    /// Sends a request to it.
    ///
    /// # Errors
    /// There is no answer: it cannot be decided now.
    pub async fn ask(&self, request: HttpRequest, cx: &Cx) -> Result<HttpReply, StepError> {
        cx.http(request, self.timeout).await.map_err(|error| no_answer(self.what, error))
    }

    /// The answer is not what it should be: it cannot be decided now.
    #[must_use]
    pub fn unfit(&self, why: impl Into<String>) -> StepError {
        StepError::unavailable(format!("the {} does not answer as it should", self.what)).because(why)
    }
}

/// A server did not answer: it cannot be decided now.
#[must_use]
pub fn no_answer(what: &str, error: CallError) -> StepError {
    let why = match error {
        CallError::Timeout => "it took too long".to_owned(),
        CallError::TooLong => "the answer is too long".to_owned(),
        CallError::TooMuch => Overrun::Answers.reason().to_owned(),
        CallError::Overrun(why) | CallError::Failed(why) => why,
    };
    StepError::unavailable(format!("the {what} does not answer")).because(why)
}
