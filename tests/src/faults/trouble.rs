//! What may be wrong with a server.

use crate::case::{GrpcReply, Raw, ServiceReply};

use super::SECRET;
use crate::servers::door::Behind;

/// What the log says of an answer that a request waited for in vain.
pub(super) const LATE: &str = "it took too long";

/// More bytes than any rule takes.
const HUGE: usize = 1_100_000;

/// Longer than anybody waits.
const FOR_EVER: u64 = 60_000;

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Nothing, and its certificate is right.
    NoneByTls,
    /// Nobody listens.
    Refused,
    /// The connection ends without an answer.
    Reset,
    /// It speaks something else than HTTP.
    NoHttp,
    /// Its answer does not come in time.
    Slow,
    /// Its answer begins in time, and does not end.
    Stalled,
    /// It answers with status 500.
    Error,
    /// It answers with status 302.
    Redirect,
    /// It answers something that means nothing.
    Garbage,
    /// Its answer breaks off.
    Truncated,
    /// Its answer is longer than the rule takes.
    Huge,
    /// Its answer is good, but claims to be something else.
    ContentType,
    /// Its certificate has expired.
    Expired,
    /// Its certificate is of an authority that Envoy does not know.
    Untrusted,
    /// Its certificate is for another name.
    Misnamed,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::None,
        Self::NoneByTls,
        Self::Refused,
        Self::Reset,
        Self::NoHttp,
        Self::Slow,
        Self::Stalled,
        Self::Error,
        Self::Redirect,
        Self::Garbage,
        Self::Truncated,
        Self::Huge,
        Self::ContentType,
        Self::Expired,
        Self::Untrusted,
        Self::Misnamed,
    ];

    /// Those that are some.
    pub fn real() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|trouble| !matches!(trouble, Self::None | Self::NoneByTls))
    }

    /// Its name, good for a label of a host.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NoneByTls => "none-by-tls",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::NoHttp => "no-http",
            Self::Slow => "slow",
            Self::Stalled => "stalled",
            Self::Error => "error",
            Self::Redirect => "redirect",
            Self::Garbage => "garbage",
            Self::Truncated => "truncated",
            Self::Huge => "huge",
            Self::ContentType => "content-type",
            Self::Expired => "expired",
            Self::Untrusted => "untrusted",
            Self::Misnamed => "misnamed",
        }
    }

    /// What it is, for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::None | Self::NoneByTls => "nothing is wrong",
            Self::Refused => "nobody listens",
            Self::Reset => "the connection is reset",
            Self::NoHttp => "it speaks no HTTP",
            Self::Slow => "it is slow",
            Self::Stalled => "its answer begins and does not end",
            Self::Error => "status 500",
            Self::Redirect => "a redirect",
            Self::Garbage => "garbage",
            Self::Truncated => "its answer breaks off",
            Self::Huge => "its answer is too long",
            Self::ContentType => "another `content-type`",
            Self::Expired => "its certificate has expired",
            Self::Untrusted => "its certificate is of an unknown authority",
            Self::Misnamed => "its certificate is for another name",
        }
    }

    /// Scheme of its URL.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        if self.certificate().is_some() { "https" } else { "http" }
    }

    /// The certificate that it shows, of the fixtures.
    #[must_use]
    pub const fn certificate(self) -> Option<&'static str> {
        match self {
            Self::NoneByTls => Some("localhost"),
            Self::Expired => Some("localhost-expired"),
            Self::Untrusted => Some("localhost-mallory"),
            Self::Misnamed => Some("elsewhere"),
            _ => None,
        }
    }

    /// The Envoy cluster of servers that speak HTTP/1.1.
    #[must_use]
    pub const fn cluster(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NoHttp => "no-http",
            Self::NoneByTls | Self::Expired | Self::Untrusted | Self::Misnamed => self.name(),
            _ => "plain",
        }
    }

    /// The same of a server that is in no trouble, by the same scheme.
    #[must_use]
    pub const fn sound_cluster(self) -> &'static str {
        if self.certificate().is_some() { Self::NoneByTls.cluster() } else { Self::None.cluster() }
    }

    /// What is behind the address of a server that has come into this trouble; none if that is not what changed.
    #[must_use]
    pub const fn behind(self) -> Option<Behind> {
        match (self, self.certificate()) {
            (Self::Refused, _) => Some(Behind::Nobody),
            (Self::NoHttp, _) => Some(Behind::Talker),
            (_, Some(certificate)) => Some(Behind::Tls(certificate)),
            (_, None) => None,
        }
    }

    /// What was behind it before.
    #[must_use]
    pub const fn behind_before(self) -> Behind {
        match Self::NoneByTls.certificate() {
            Some(certificate) if self.certificate().is_some() => Behind::Tls(certificate),
            _ => Behind::Services,
        }
    }

    /// What the log says of a server that gave no answer. Envoy does not tell what was wrong with a certificate.
    pub(super) const fn unanswered(self, grpc: bool) -> &'static str {
        match self {
            Self::Refused | Self::Expired | Self::Untrusted | Self::Misnamed => {
                "reset reason: remote connection failure"
            }
            Self::Reset if grpc => "reset reason: remote reset",
            Self::Reset => "reset reason: connection termination",
            Self::NoHttp => "reset reason: protocol error",
            Self::Slow | Self::Stalled => LATE,
            Self::Truncated => "the answer broke off",
            Self::Huge => "the answer is too long",
            _ => "",
        }
    }

    /// The answer of a server in this trouble that would answer so without.
    #[must_use]
    pub fn of(self, reply: ServiceReply) -> ServiceReply {
        match self {
            Self::Reset => ServiceReply { reset: true, ..reply },
            Self::Slow => ServiceReply { delay: FOR_EVER, ..reply },
            Self::Stalled => ServiceReply { stalls: true, ..reply },
            Self::Truncated => ServiceReply { truncated: true, ..reply },
            // They repeat what nobody is to read: no log may have it.
            Self::Error => ServiceReply { status: Some(500), headers: vec![told()], ..reply },
            Self::Redirect => {
                let elsewhere = ("location".to_owned(), format!("http://sound.test/?{SECRET}"));
                ServiceReply { status: Some(302), headers: vec![elsewhere, told()], ..reply }
            }
            Self::Garbage => {
                let body = Some(Raw::Text(format!("<html>\u{0} {SECRET} {{")));
                let grpc = reply.grpc.map(|_| GrpcReply { message: Some(SECRET.to_owned()), ..GrpcReply::default() });
                ServiceReply { body, grpc, ..reply }
            }
            Self::Huge => huge(reply),
            Self::ContentType => {
                let text = reply.content_type.as_deref() == Some("text/plain");
                let other = if text { "application/json" } else { "text/html" };
                ServiceReply { content_type: Some(other.to_owned()), ..reply }
            }
            Self::None
            | Self::NoneByTls
            | Self::Refused
            | Self::NoHttp
            | Self::Expired
            | Self::Untrusted
            | Self::Misnamed => reply,
        }
    }
}

fn told() -> (String, String) {
    ("x-told".to_owned(), SECRET.to_owned())
}

/// As good as before, but for its length: what grants with it would grant without.
fn huge(reply: ServiceReply) -> ServiceReply {
    let padded = |body: &Raw| Raw::Bytes { base64: [" ".repeat(HUGE).as_bytes(), body.bytes()].concat() };
    // A field that nobody knows (its number is 15) is passed over; five bytes are its length.
    let mut field = vec![0x7a];
    let mut length = HUGE;
    while length > 0x7f {
        field.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).unwrap_or_default());
    field.resize(field.len() + HUGE, b' ');
    let message = |body: &Raw| Raw::Bytes { base64: [&field, body.bytes()].concat() };
    let grpc = reply.grpc.map(|grpc| GrpcReply { body: grpc.body.as_ref().map(message), ..grpc });
    ServiceReply { body: reply.body.as_ref().map(padded), grpc, ..reply }
}
