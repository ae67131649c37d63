//! OAuth 2.0 client credentials grant (RFC 6749 section 4.4): access tokens for ourselves.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::Endpoint;
use crate::call::{HttpReply, HttpRequest};
use crate::error::StepError;
use crate::response::header;
use crate::secret::Secret;
use crate::session::Cx;
use crate::time::Timestamp;

/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(10);

/// How long after a token was given up the next one is not, whoever refuses it: else each request could cost two more.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a token is kept of which the server does not say when it ends.
const UNSAID: Duration = Duration::from_secs(300);

/// Longest answer of a token endpoint.
const MAX_BYTES: usize = 64 << 10;

/// Says that requests for a token may share an answer; the rest of what is shared by is what is sent.
const SHARED: [u8; 32] = *b"an access token of a sidegate VM";

/// A client, and the latest token that it got.
#[derive(Debug)]
pub struct ClientCredentials {
    id: String,
    secret: Secret,
    /// Further parameters of the request.
    parameters: Vec<(String, String)>,
    /// Whether a token is kept.
    keeps: bool,
    /// How the server wants the secret, once it took it.
    style: Cell<Option<Style>>,
    kept: RefCell<Option<Kept>>,
    /// When a token was given up that somebody refused.
    gave_up: Cell<Option<Timestamp>>,
}

#[derive(Debug)]
struct Kept {
    token: Secret,
    until: Timestamp,
}

/// Where the client's secret goes (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// HTTP Basic authentication.
    Basic,
    /// Parameters of the body.
    Body,
}

/// A token, or why there is none.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    access_token: String,
    expires_in: Value,
    error: Value,
}

impl ClientCredentials {
    /// A client that has no token yet.
    pub const fn new(id: String, secret: Secret, parameters: Vec<(String, String)>, keeps: bool) -> Self {
        Self {
            id,
            secret,
            parameters,
            keeps,
            style: Cell::new(None),
            kept: RefCell::new(None),
            gave_up: Cell::new(None),
        }
    }

    /// An access token: the one at hand if it is good for a while, else a new one. Requests that need one at the same time
    /// share it.
    ///
    /// # Errors
    /// The server gives none.
    pub async fn token(&self, endpoint: &Endpoint, cx: &Cx) -> Result<Secret, StepError> {
        if let Some(kept) = self.kept.borrow().as_ref().filter(|kept| cx.now() < kept.until) {
            return Ok(kept.token.clone());
        }
        let sharing = if self.keeps { cx.sharing(SHARED) } else { cx.clone() };
        let (style, reply) = match self.style.get() {
            Some(style) => (style, endpoint.ask(self.request(endpoint, style), &sharing).await?),
            None => self.probe(endpoint, &sharing).await?,
        };
        let taken = read(endpoint, &reply);
        self.style.set(taken.is_ok().then_some(style));
        let (token, lifetime) = taken?;
        let until = cx.now().after(lifetime.saturating_sub(MARGIN));
        self.kept
            .replace(Some(Kept { token: token.clone(), until }).filter(|kept| self.keeps && cx.now() < kept.until));
        Ok(token)
    }

    /// Somebody said of this token that it is none: gives it up, if it is the one at hand, and none was a moment ago.
    pub fn refused(&self, token: &Secret, now: Timestamp) {
        let patient = self.gave_up.get().is_some_and(|at| now < at.after(PATIENCE));
        let mut kept = self.kept.borrow_mut();
        if !patient && kept.take_if(|kept| kept.token == *token).is_some() {
            self.gave_up.set(Some(now));
        }
    }

    /// Asks in the way that every server must understand, and if it is refused in the other.
    async fn probe(&self, endpoint: &Endpoint, cx: &Cx) -> Result<(Style, HttpReply), StepError> {
        let reply = endpoint.ask(self.request(endpoint, Style::Basic), cx).await?;
        if matches!(reply.status, 400 | 401) {
            return Ok((Style::Body, endpoint.ask(self.request(endpoint, Style::Body), cx).await?));
        }
        Ok((Style::Basic, reply))
    }

    fn request(&self, endpoint: &Endpoint, style: Style) -> HttpRequest {
        let mut request = endpoint.request("POST");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&self.parameters);
        match style {
            Style::Basic => {
                let [id, secret]: [String; 2] = [&self.id, self.secret.reveal()]
                    .map(|text| form_urlencoded::byte_serialize(text.as_bytes()).collect());
                request.set_header("authorization", format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
            }
            Style::Body => {
                form.append_pair("client_id", &self.id).append_pair("client_secret", self.secret.reveal());
            }
        }
        request.set_header("content-type", "application/x-www-form-urlencoded");
        request.set_header("accept", "application/json");
        request.body = form.finish().into_bytes();
        request.max_response_bytes = MAX_BYTES;
        request
    }
}

/// The token in an answer, and how long it is good.
fn read(endpoint: &Endpoint, reply: &HttpReply) -> Result<(Secret, Duration), StepError> {
    let HttpReply { status, headers, body, .. } = reply;
    let answer =
        serde_json::from_slice(body).ok().or_else(|| headers.text("content-type").and_then(|kind| form(&kind, body)));
    let Answer { access_token, expires_in, error } = answer.unwrap_or_default();
    let error = error.as_str().unwrap_or_default();
    // Some servers refuse with status 200.
    if !(200..300).contains(status) || !error.is_empty() {
        let error = if is_code(error) { format!(", `{error}`") } else { String::new() };
        return Err(endpoint.unfit(format!("it answers with status {status}{error}")));
    }
    if access_token.is_empty() {
        return Err(endpoint.unfit("the answer has no access token"));
    }
    if !header::is_value(&access_token) {
        return Err(endpoint.unfit("the access token cannot be sent in a header"));
    }
    // Some servers write the number as text.
    let seconds = expires_in.as_f64().or_else(|| expires_in.as_str()?.parse().ok());
    let lifetime = seconds.map_or(UNSAID, |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
    Ok((Secret::new(access_token), lifetime))
}

/// An answer that is a form, as some servers write it; so those who use Go's library are used to it.
fn form(content_type: &str, body: &[u8]) -> Option<Answer> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(kind.as_str(), "application/x-www-form-urlencoded" | "text/plain") {
        return None;
    }
    let mut answer = Answer::default();
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            "access_token" => answer.access_token = value.into_owned(),
            "expires_in" => answer.expires_in = Value::String(value.into_owned()),
            "error" => answer.error = Value::String(value.into_owned()),
            _ => {}
        }
    }
    Some(answer)
}

/// Whether it is an error code (RFC 6749 section 5.2) and not something that an answer may repeat of our request.
fn is_code(error: &str) -> bool {
    error.len() <= 64 && !error.is_empty() && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_given_up_only_if_it_is_the_one_that_was_refused_and_once_in_ten_seconds() {
        let client = ClientCredentials::new("we".to_owned(), Secret::new("s3cret"), Vec::new(), true);
        let at = |secs| Timestamp::default().after(Duration::from_secs(secs));
        let keep = |token| drop(client.kept.replace(Some(Kept { token: Secret::new(token), until: at(1000) })));
        let refuse = |token, secs| {
            client.refused(&Secret::new(token), at(secs));
            client.kept.borrow().is_none()
        };
        keep("t2");
        assert!(!refuse("t1", 100), "t1 was asked with before t2 came");
        assert!(refuse("t2", 100));
        assert!(refuse("t2", 101), "it is gone already");
        keep("t3");
        assert!(!refuse("t3", 109));
        assert!(refuse("t3", 110));
    }
}
