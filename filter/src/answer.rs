//! Reads what came of a call: a server's answer, or what Envoy says in its stead.

use sidegate_engine::{CallError, Headers, HttpReply};

use crate::host::{self, HostError};

/// Envoy's router writes this into each answer of a server, over what the server may have written, and into none that it
/// makes itself: 503 if nobody listens or the connection breaks, 502 for what is no HTTP, 504 if the time is over. (Seen in Envoy
/// 1.40. Should an Envoy not write it, every call fails and says so.)
const FROM_A_SERVER: &str = "x-envoy-upstream-service-time";

/// How Envoy's words end if a circuit breaker is open. Mostly it says so when the call is made: see [`crate::dispatch`].
const OVERFLOW: &str = "reset reason: overflow";

/// Envoy's words in gRPC if the time is over; in HTTP it is the status that says so.
const TIME_IS_OVER: &str = "upstream request timeout";

/// Most of Envoy's words that are repeated.
const MAX_WORDS: usize = 200;

/// What Envoy says of an answer before it is read.
#[derive(Debug, Clone, Copy)]
pub struct Announced {
    /// How many headers it has.
    pub headers: u32,
    /// Length of its body.
    pub body: usize,
    /// How many trailers it has.
    pub trailers: u32,
}

/// The answer that has just come.
///
/// # Errors
/// It is none.
pub fn read(announced: Announced, max_bytes: usize, is_late: bool) -> Result<HttpReply, CallError> {
    // An answer that breaks off, whatever the reason, comes without anything.
    if announced.headers == 0 {
        return Err(if is_late {
            CallError::Timeout
        } else {
            failed("the answer broke off, or is longer than Envoy keeps")
        });
    }
    let headers = header_map(host::call_response_headers())?;
    if !headers.has(FROM_A_SERVER) {
        return Err(in_a_servers_stead(&headers));
    }
    let status = status(&headers);
    if announced.body > max_bytes {
        return Err(CallError::TooLong);
    }
    let body = body(max_bytes)?;
    let trailers = match announced.trailers {
        0 => Headers::default(),
        _ => header_map(host::call_response_trailers())?,
    };
    Ok(HttpReply { status, headers, body, trailers })
}

fn in_a_servers_stead(headers: &Headers) -> CallError {
    // Who asks in gRPC is told by headers, with status 200.
    let (status, words) = match headers.text("grpc-status") {
        Some(code) => {
            let words = headers.text("grpc-message").unwrap_or_default().into_owned();
            (format!("gRPC status {code}"), words.into_bytes())
        }
        None => match status(headers) {
            504 => return CallError::Timeout,
            status => (status.to_string(), body(MAX_WORDS).unwrap_or_default()),
        },
    };
    let words = String::from_utf8_lossy(&words);
    let words: String = words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    if words == TIME_IS_OVER {
        return CallError::Timeout;
    }
    let why = format!("no server answered: {status} of Envoy itself ({words})");
    if words.ends_with(OVERFLOW) { CallError::Overrun(why) } else { CallError::Failed(why) }
}

fn status(headers: &Headers) -> u16 {
    headers.text(":status").and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn body(limit: usize) -> Result<Vec<u8>, CallError> {
    match host::call_response_body(limit) {
        Err(HostError::NotFound) => Ok(Vec::new()),
        body => body.map_err(unreadable),
    }
}

fn header_map(wire: Result<Vec<u8>, HostError>) -> Result<Headers, CallError> {
    Headers::from_wire(wire.map_err(unreadable)?).ok_or_else(|| failed("the answer has broken headers"))
}

fn unreadable(error: HostError) -> CallError {
    CallError::Failed(format!("the answer cannot be read: {}", error.name()))
}

fn failed(why: &str) -> CallError {
    CallError::Failed(why.to_owned())
}
