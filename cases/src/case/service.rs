//! Outside services: what a case says of them, what they get, and what they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Raw, Text};

/// An outside service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Nobody listens.
    #[serde(default)]
    pub down: bool,
    /// It speaks gRPC, so HTTP/2.
    #[serde(default)]
    pub grpc: bool,
    /// Its port, as clients write it. Default: none, so that of the scheme.
    pub port: Option<u16>,
    /// The URL that a policy knows it by, if it cannot be told another one. Default: one of its own. Native only.
    pub url: Option<String>,
    /// It is an OpenID Connect issuer with these keys: discovery at its usual place, keys at `/jwks`, both
    /// below its URL.
    pub issuer: Option<Vec<String>>,
    /// Replies by path (over those of `issuer`); everything else is 404. Of several the last counts whose `from` has come
    /// and whose `when` holds.
    #[serde(default)]
    pub replies: BTreeMap<String, Vec<ServiceReply>>,
    /// Paths of documents that are fetched in their own time, not for a request.
    #[serde(skip)]
    pub documents: BTreeSet<String>,
}

/// What a service answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceReply {
    /// Number of the request of the case, from 1, before which this reply begins to count. Default: from the start.
    #[serde(default)]
    pub from: usize,
    /// What the request to the service must be like.
    pub when: Option<When>,
    /// Milliseconds that it takes. Natively a reply that takes longer than the call may is a timeout.
    #[serde(default)]
    pub delay: u64,
    /// HTTP status. Default 200.
    pub status: Option<u16>,
    /// Headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// `content-type`. Default: none; of `json` and `jwks` `application/json`, of `grpc` `application/grpc`.
    pub content_type: Option<String>,
    /// Body byte for byte.
    pub body: Option<Raw>,
    /// Body as JSON.
    pub json: Option<Value>,
    /// Body as a key set of these fixture keys.
    pub jwks: Option<Vec<String>>,
    /// Body of so many bytes.
    pub big: Option<usize>,
    /// The message and the status of a gRPC call.
    pub grpc: Option<GrpcReply>,
    /// The connection ends without an answer.
    #[serde(default)]
    pub reset: bool,
    /// The body is announced longer than it is; then the connection ends.
    #[serde(default)]
    pub truncated: bool,
    /// The body is announced longer than it is; then nothing more comes, and the connection stays.
    #[serde(default)]
    pub stalls: bool,
}

/// What a gRPC service answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcReply {
    /// `grpc-status`. Default 0.
    #[serde(default)]
    pub status: u32,
    /// `grpc-message`.
    pub message: Option<String>,
    /// The one message, without the five bytes before it. Default: none at all.
    pub body: Option<Raw>,
}

/// What a request to a service must be like; what is not said is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Method.
    pub method: Option<String>,
    /// Parameters of the query, decoded; null: absent.
    #[serde(default)]
    pub query: BTreeMap<String, Option<Text>>,
    /// Headers by lower-case name; null: absent.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<Text>>,
    /// Body, of gRPC the message.
    pub body: Option<Text>,
    /// Body as JSON: of objects those members that are said.
    pub json: Option<Value>,
    /// Body as a form: those fields that are said; null: absent.
    #[serde(default)]
    pub form: BTreeMap<String, Option<Text>>,
}

/// A request that a service is expected to get.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedCall {
    /// Name of the service.
    pub service: String,
    /// Path with query.
    pub path: Option<Text>,
    /// Everything else.
    pub when: When,
}

impl<'de> Deserialize<'de> for ExpectedCall {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut members = Map::deserialize(from)?;
        let service = members.remove("service").ok_or_else(|| D::Error::missing_field("service"))?;
        let path = members.remove("path").unwrap_or_default();
        Ok(Self {
            service: serde_json::from_value(service).map_err(D::Error::custom)?,
            path: serde_json::from_value(path).map_err(D::Error::custom)?,
            when: serde_json::from_value(Value::Object(members)).map_err(D::Error::custom)?,
        })
    }
}

impl ExpectedCall {
    /// The first thing that is otherwise: what should be, and what is.
    #[must_use]
    pub fn differs(&self, request: &Received) -> Option<(String, String)> {
        let fits = self.path.as_ref().is_none_or(|path| match path {
            Text::Exact(exact) if !exact.contains('?') => exact == request.path_alone(),
            path => path.fits(&request.path),
        });
        if fits { self.when.differs(request) } else { Some((self.to_string(), request.path.clone())) }
    }
}

impl fmt::Display for ExpectedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.when.method.as_deref().unwrap_or("any method"))?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, " {path:?}"))
    }
}

/// A request that a service got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// In order, names in lower case, without pseudo-headers.
    pub headers: Vec<(String, String)>,
    /// Body; of gRPC the message.
    pub body: Vec<u8>,
}

/// Bytes in front of a gRPC message: not compressed, and its length.
const FRAME: usize = 5;

impl Service {
    /// Takes a request as it came over the wire.
    #[must_use]
    pub fn receive(&self, mut request: Received) -> Received {
        if self.grpc {
            request.body.drain(..FRAME.min(request.body.len()));
        }
        request
    }

    /// The reply to a request that comes when the `number`-th request of the case is under way; none is 404.
    #[must_use]
    pub fn reply(&self, request: &Received, number: usize) -> Option<&ServiceReply> {
        let counts = |reply: &&ServiceReply| {
            reply.from <= number && reply.when.as_ref().is_none_or(|when| when.differs(request).is_none())
        };
        self.replies.get(request.path_alone())?.iter().rfind(counts)
    }

    /// Whether a path is that of a document, such as a key set, which is fetched in its own time, not for a request.
    #[must_use]
    pub fn has_document(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or_default();
        let keys = || self.replies.get(path).is_some_and(|replies| replies.iter().any(|reply| reply.jwks.is_some()));
        path.contains("/.well-known/") || self.documents.contains(path) || keys()
    }
}

impl Received {
    /// The path without the query.
    #[must_use]
    pub fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn query(&self) -> &str {
        self.path.split_once('?').map_or("", |(_, query)| query)
    }
}

impl When {
    /// The first thing that is otherwise: what should be, and what is.
    #[must_use]
    pub fn differs(&self, request: &Received) -> Option<(String, String)> {
        let Self { method, query, headers, body, json, form } = self;
        let text = String::from_utf8_lossy(&request.body);
        let sent: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut rows = Vec::new();
        rows.extend(method.iter().map(|method| (method.clone(), request.method.clone(), *method == request.method)));
        let parts = [("query", query, request.query()), ("form", form, &*text)];
        for (what, fields, encoded) in parts {
            rows.extend(
                fields.iter().map(|(name, value)| of_name(what, name, value.as_ref(), field(encoded, name).as_deref())),
            );
        }
        rows.extend(headers.iter().map(|(name, value)| of_name("header", name, value.as_ref(), request.header(name))));
        rows.extend(body.iter().map(|body| (format!("{body:?}"), format!("{text:?}"), body.fits_bytes(&request.body))));
        rows.extend(json.iter().map(|json| (json.to_string(), text.clone().into_owned(), has(&sent, json))));
        rows.into_iter().find(|(.., fits)| !fits).map(|(expected, got, _)| (expected, got))
    }
}

fn of_name(what: &str, name: &str, expected: Option<&Text>, got: Option<&str>) -> (String, String, bool) {
    let fits = match (expected, got) {
        (Some(expected), Some(got)) => expected.fits(got),
        (expected, got) => expected.is_none() && got.is_none(),
    };
    (format!("{what} {name}: {expected:?}"), format!("{what} {name}: {got:?}"), fits)
}

/// A field of a form or a query (`application/x-www-form-urlencoded`).
fn field(encoded: &str, name: &str) -> Option<String> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = encoded.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Whether a value is as expected; of objects those members count that are expected.
fn has(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Object(members), Value::Object(expected)) => {
            expected.iter().all(|(name, expected)| has(members.get(name).unwrap_or(&Value::Null), expected))
        }
        (value, expected) => value == expected,
    }
}

/// A reply as it goes over the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wire {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Vec<(String, String)>,
}

impl ServiceReply {
    /// Status, headers, body and trailers as they go over the wire.
    #[must_use]
    pub fn wire(&self) -> Wire {
        let Self { status, headers, content_type, body, json, big, grpc, .. } = self;
        let (kind, body) = match (json, body, big, grpc) {
            (Some(json), ..) => (Some("application/json"), json.to_string().into_bytes()),
            (_, Some(body), ..) => (None, body.bytes().to_vec()),
            (_, _, Some(bytes), _) => (None, vec![b'x'; *bytes]),
            (_, _, _, Some(grpc)) => (Some("application/grpc"), grpc.framed()),
            (None, None, None, None) => (None, Vec::new()),
        };
        let kind = content_type.as_deref().or(kind).map(|kind| ("content-type".to_owned(), kind.to_owned()));
        Wire {
            status: status.unwrap_or(200),
            headers: headers.iter().cloned().chain(kind).collect(),
            body,
            trailers: grpc.iter().flat_map(GrpcReply::trailers).collect(),
        }
    }
}

impl GrpcReply {
    fn framed(&self) -> Vec<u8> {
        let Some(message) = &self.body else { return Vec::new() };
        let length = u32::try_from(message.bytes().len()).unwrap_or(u32::MAX);
        [&[0], &length.to_be_bytes()[..], message.bytes()].concat()
    }

    fn trailers(&self) -> impl Iterator<Item = (String, String)> + use<'_> {
        let message = self.message.iter().map(|message| ("grpc-message".to_owned(), message.clone()));
        std::iter::once(("grpc-status".to_owned(), self.status.to_string())).chain(message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn received(method: &str, path: &str, body: &str) -> Received {
        let headers = vec![("x-a".to_owned(), "1".to_owned())];
        Received { method: method.to_owned(), path: path.to_owned(), headers, body: body.as_bytes().to_vec() }
    }

    fn service(document: Value) -> Service {
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn of_replies_the_last_that_fits_counts() {
        let service = service(json!({"replies": {"/a": [
            {"status": 200},
            {"status": 201, "when": {"method": "POST"}},
            {"status": 202, "when": {"query": {"q": "a b", "none": null}}},
            {"status": 203, "when": {"headers": {"x-a": "1", "x-b": null}, "body": {"contains": "hello"}}},
            {"status": 204, "when": {"json": {"a": {"b": 1}}}},
            {"status": 205, "when": {"form": {"grant": "x/y"}}},
            {"status": 500, "from": 2},
        ]}}));
        let status = |method, path, body| {
            let reply = service.reply(&received(method, path, body), 1);
            reply.and_then(|reply| reply.status)
        };
        assert_eq!(status("GET", "/a", ""), Some(200));
        assert_eq!(status("POST", "/a", ""), Some(201));
        assert_eq!(status("POST", "/a?x=y&q=a+b", ""), Some(202));
        assert_eq!(status("GET", "/a?q=a%20b&none=1", ""), Some(200));
        assert_eq!(status("GET", "/a", "say hello"), Some(203));
        assert_eq!(status("GET", "/a", r#"{"a": {"b": 1, "c": 2}, "d": 3}"#), Some(204));
        assert_eq!(status("GET", "/a", r#"{"a": {"b": 2}}"#), Some(200));
        assert_eq!(status("GET", "/a", "b=1&grant=x%2Fy"), Some(205));
        assert_eq!(status("GET", "/b", ""), None);
        assert_eq!(service.reply(&received("GET", "/a", ""), 2).and_then(|reply| reply.status), Some(500));
    }

    #[test]
    fn a_grpc_message_is_framed_and_has_its_status_behind_it() {
        let reply: ServiceReply =
            serde_json::from_value(json!({"grpc": {"status": 7, "message": "no", "body": {"base64": "AQI="}}}))
                .unwrap();
        let Wire { status, headers, body, trailers } = reply.wire();
        assert_eq!((status, body), (200, vec![0, 0, 0, 0, 2, 1, 2]));
        assert_eq!(headers, [("content-type".to_owned(), "application/grpc".to_owned())]);
        let trailer = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(trailers, [trailer("grpc-status", "7"), trailer("grpc-message", "no")]);
        let service = Service { grpc: true, ..Service::default() };
        assert_eq!(service.receive(received("POST", "/", "\0\0\0\0\u{2}ab")).body, b"ab");
    }

    #[test]
    fn documents_are_key_sets_and_what_leads_to_them() {
        let mut service = service(json!({"replies": {"/keys": [{"jwks": []}], "/other": [{"json": {}}]}}));
        assert!(service.has_document("/keys?a"));
        assert!(service.has_document("/realm/.well-known/openid-configuration"));
        assert!(!service.has_document("/other") && !service.has_document("/none"));
        service.documents.insert("/other".to_owned());
        assert!(service.has_document("/other"));
    }

    #[test]
    fn a_field_that_no_call_has_is_an_error() {
        let call = |document| serde_json::from_value::<ExpectedCall>(document);
        assert!(call(json!({"service": "a", "path": "/b", "json": {"c": 1}})).is_ok());
        assert!(call(json!({"service": "a", "paht": "/b"})).is_err());
        assert!(call(json!({"path": "/b"})).is_err());
    }
}
