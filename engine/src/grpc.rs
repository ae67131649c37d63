//! gRPC with one message each way, over [`crate::call::Question::Http`] (gRPC over HTTP2, the protocol's specification).

use std::time::Duration;

use percent_encoding::percent_decode_str;
use prost::Message;

use crate::call::{HttpReply, HttpRequest};
use crate::request::Headers;

/// Flag and length in front of a message.
const PREFIX: usize = 5;

/// Characters of a server's message that logs show.
const MAX_TEXT: usize = 200;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server says so.
    Status(Status),
    /// What came is no answer of gRPC; why.
    Malformed(String),
}

/// The outcome that the server tells, other than OK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which.
    pub code: Code,
    /// The server's words, cut short and in one line.
    pub text: String,
}

/// Outcomes, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the status codes of gRPC by their names")]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// By number; those that nobody knows are [`Code::Unknown`], as the specification has it. None: OK.
    const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::Cancelled,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

/// Makes a request one of gRPC.
pub fn call(request: &mut HttpRequest, message: &impl Message, timeout: Duration) {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    request.headers.extend(headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // Eight digits at most; a longer time than that is nobody's.
    let millis = timeout.as_millis().min(99_999_999);
    request.headers.push(("grpc-timeout".to_owned(), format!("{millis}m")));
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    request.body = [&[0], length.to_be_bytes().as_slice(), &message].concat();
}

/// The one message of an answer.
///
/// # Errors
/// The server says that there is none, or it is no answer of gRPC.
pub fn answer<M: Message + Default>(reply: &HttpReply) -> Result<M, Fault> {
    let HttpReply { status, headers, body, trailers } = reply;
    let malformed = |why: &str| Err(Fault::Malformed(why.to_owned()));
    // Without a body there are no trailers, and the headers have what would be in them.
    match told(trailers).or_else(|| told(headers)) {
        Some(Ok(None)) => {}
        Some(Ok(Some(status))) => return Err(Fault::Status(status)),
        Some(Err(())) => return malformed("`grpc-status` is no number"),
        None if *status != 200 => return Err(Fault::Malformed(format!("the HTTP status is {status}"))),
        None => return malformed("there is no `grpc-status`: is the cluster one of HTTP/2?"),
    }
    if *status != 200 {
        return Err(Fault::Malformed(format!("the HTTP status is {status}")));
    }
    if !headers.text("content-type").is_some_and(|kind| is_grpc(&kind)) {
        return malformed("the `content-type` is not that of gRPC");
    }
    match message(body) {
        Ok(bytes) => M::decode(bytes).or_else(|_| malformed("the message cannot be decoded")),
        Err(why) => malformed(why),
    }
}

/// The outcome in headers or trailers, if there is one; `None` within: OK.
fn told(headers: &Headers) -> Option<Result<Option<Status>, ()>> {
    let number = headers.text("grpc-status")?;
    let Ok(number) = number.parse() else { return Some(Err(())) };
    Some(Ok(Code::from_number(number).map(|code| {
        let text = headers.text("grpc-message").unwrap_or_default();
        let text = percent_decode_str(&text).decode_utf8_lossy();
        let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Status { code, text: one_line.take(MAX_TEXT).collect() }
    })))
}

fn is_grpc(kind: &str) -> bool {
    kind.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}

/// What is in the one frame of a body.
fn message(body: &[u8]) -> Result<&[u8], &'static str> {
    const CUT: &str = "the message breaks off";
    let Some(([flag, length @ ..], rest)) = body.split_first_chunk::<PREFIX>() else {
        return Err(if body.is_empty() { "there is no message" } else { CUT });
    };
    match (flag, usize::try_from(u32::from_be_bytes(*length))) {
        (0, Ok(length)) if length == rest.len() => Ok(rest),
        (0, Ok(length)) if length < rest.len() => Err("there is more than one message"),
        (0, _) => Err(CUT),
        (1, _) => Err("the message is compressed, which was not asked for"),
        _ => Err("the message has an unknown flag"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message with one text.
    #[derive(Message)]
    struct Text {
        #[prost(string, tag = "1")]
        text: String,
    }

    fn reply(body: &[u8], trailers: &[(&str, &str)]) -> HttpReply {
        HttpReply {
            status: 200,
            headers: Headers::from_pairs([("content-type", "application/grpc+proto")]),
            body: body.to_vec(),
            trailers: Headers::from_pairs(trailers.iter().copied()),
        }
    }

    fn text(body: &[u8]) -> Result<String, Fault> {
        answer::<Text>(&reply(body, &[("grpc-status", "0")])).map(|message| message.text)
    }

    fn malformed(why: &str) -> Fault {
        Fault::Malformed(why.to_owned())
    }

    #[test]
    fn a_call_is_framed_and_its_answer_unframed() {
        let mut request = HttpRequest {
            method: "POST".to_owned(),
            scheme: "http",
            authority: "a".to_owned(),
            path: "/s/M".to_owned(),
            clusters: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            max_response_bytes: 0,
            share: None,
        };
        call(&mut request, &Text { text: "hi".to_owned() }, Duration::from_secs(5));
        assert_eq!(request.body, b"\0\0\0\0\x04\x0a\x02hi");
        assert!(request.headers.contains(&("grpc-timeout".to_owned(), "5000m".to_owned())));
        call(&mut request, &Text::default(), Duration::MAX);
        assert_eq!(request.headers.last().unwrap().1, "99999999m");
        assert_eq!(text(b"\0\0\0\0\x04\x0a\x02hi"), Ok("hi".to_owned()));
        assert_eq!(text(b"\0\0\0\0\0"), Ok(String::new()));
    }

    #[test]
    fn one_whole_message_and_nothing_else() {
        for (body, why) in [
            (&b""[..], "there is no message"),
            (b"\0\0\0\0", "the message breaks off"),
            (b"\0\0\0\0\x04\x0a\x02h", "the message breaks off"),
            (b"\0\xff\xff\xff\xff\x0a\x02hi", "the message breaks off"),
            (b"\0\0\0\0\x04\x0a\x02hi\0\0\0\0\0", "there is more than one message"),
            (b"\x01\0\0\0\x04\x0a\x02hi", "the message is compressed, which was not asked for"),
            (b"\x02\0\0\0\0", "the message has an unknown flag"),
            (b"\0\0\0\0\x04\x0a\x09hi", "the message cannot be decoded"),
        ] {
            assert_eq!(text(body), Err(malformed(why)), "{body:?}");
        }
    }

    #[test]
    fn the_status_is_in_the_trailers_or_in_the_headers() {
        let failed = |trailers: &[(&str, &str)]| answer::<Text>(&reply(b"", trailers)).map(drop);
        let status = |code, text: &str| Err(Fault::Status(Status { code, text: text.to_owned() }));
        assert_eq!(
            failed(&[("grpc-status", "9"), ("grpc-message", "no%20such\nthing")]),
            status(Code::FailedPrecondition, "no such thing")
        );
        assert_eq!(failed(&[("grpc-status", "77")]), status(Code::Unknown, ""));
        assert_eq!(failed(&[("grpc-status", "-1")]), Err(malformed("`grpc-status` is no number")));
        assert_eq!(failed(&[]), Err(malformed("there is no `grpc-status`: is the cluster one of HTTP/2?")));
        let headers = [("content-type", "application/grpc"), ("grpc-status", "14")];
        let only = HttpReply { status: 200, headers: Headers::from_pairs(headers), ..HttpReply::default() };
        assert_eq!(answer::<Text>(&only).map(drop), status(Code::Unavailable, ""));
        let only = HttpReply { status: 503, ..HttpReply::default() };
        assert_eq!(answer::<Text>(&only).map(drop), Err(malformed("the HTTP status is 503")));
        let strange = HttpReply { status: 404, ..reply(b"\0\0\0\0\0", &[("grpc-status", "0")]) };
        assert_eq!(answer::<Text>(&strange).map(drop), Err(malformed("the HTTP status is 404")));
        let html = Headers::from_pairs([("content-type", "application/grpcx")]);
        let strange = HttpReply { headers: html, ..reply(b"\0\0\0\0\0", &[("grpc-status", "0")]) };
        assert_eq!(answer::<Text>(&strange).map(drop), Err(malformed("the `content-type` is not that of gRPC")));
    }

    #[test]
    fn what_a_server_says_is_cut_short() {
        let long = "é".repeat(1000);
        let Err(Fault::Status(status)) = answer::<Text>(&reply(b"", &[("grpc-status", "2"), ("grpc-message", &long)]))
        else {
            panic!("no status")
        };
        assert_eq!(status.text.chars().count(), MAX_TEXT);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(body in prop::collection::vec(any::<u8>(), 0..64), status in ".{0,4}", text in ".{0,16}") {
            let trailers = [("grpc-status", status.as_str()), ("grpc-message", text.as_str())];
            drop(answer::<Text>(&reply(&body, &trailers)));
            if let Ok(inner) = message(&body) {
                prop_assert_eq!(inner.len() + PREFIX, body.len());
            }
        }
    }
}
