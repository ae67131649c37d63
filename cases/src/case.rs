//! A case, as `tests/cases/**/*.yaml` has it. `docs/testing.md` is the manual for those who write one.

mod service;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub use service::{ExpectedCall, GrpcReply, Received, Service, ServiceReply, When, Wire};

/// One case: a configuration, and requests with what is expected of each.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What is shown; a sentence, unique in its file.
    pub title: String,
    /// A whole plugin configuration: a `PluginConfig` body without `apiVersion` and `kind`, or any other document.
    pub config: Option<Value>,
    /// A plugin configuration byte for byte, where it is the bytes that matter.
    pub config_text: Option<String>,
    /// Shorthand: the `spec` of the one AuthConfig, `default/subject`. Without `hosts` it protects `*`.
    pub auth_config: Option<Value>,
    /// Shorthand: documents beside `authConfig`; `apiVersion` and `kind` of a Secret may be left out.
    #[serde(default)]
    pub resources: Vec<Value>,
    /// Shorthand: `options` of the plugin configuration.
    pub options: Option<Value>,
    /// Tokens by name; `${token.NAME}` stands for one.
    #[serde(default)]
    pub tokens: BTreeMap<String, Token>,
    /// Signatures of messages, by name: `${signature.NAME.input}` and `${signature.NAME.value}` stand for them.
    #[serde(default)]
    pub signatures: BTreeMap<String, Signature>,
    /// Outside services by name; `${NAME.url}` stands for the URL of one.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// What Envoy knows beside the request.
    #[serde(default)]
    pub envoy: Surroundings,
    /// Requests, one after another.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// All problems that the configuration has, in any order; the case has no requests then.
    #[serde(default)]
    pub config_errors: Vec<ConfigError>,
}

/// One problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigError {
    /// The document, exactly. Default: `AuthConfig default/subject`.
    #[serde(default = "subject")]
    pub document: String,
    /// Path in the document, exactly. Default: none.
    #[serde(default)]
    pub path: String,
    /// Part of the message.
    pub message: String,
}

fn subject() -> String {
    "AuthConfig default/subject".to_owned()
}

/// A token to be signed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// Name of a key in `fixtures/keys`; its name is the `kid`.
    pub key: Option<String>,
    /// Algorithm. Default: the usual one of the key. `none` has an empty signature; `HS256` takes the PEM of the public
    /// key for its secret.
    pub alg: Option<String>,
    /// Members of the JOSE header, over `alg`, `typ` and `kid`; null takes one out.
    #[serde(default)]
    pub header: BTreeMap<String, Value>,
    /// Claims. `exp`, `nbf` and `iat` may be `+SECONDS` or `-SECONDS` from now. `exp` is `+300` if absent, and left out if
    /// null.
    #[serde(default)]
    pub claims: BTreeMap<String, Value>,
    /// The payload's text in place of claims.
    pub payload: Option<String>,
    /// What is done to the signed token.
    pub tamper: Option<Tamper>,
}

/// What is done to a signed token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tamper {
    /// One bit of the signature is another.
    Signature,
    /// The signature is all zeros.
    ZeroSignature,
    /// The two numbers of an ECDSA signature have as many zeros in front as make it one of the next larger curve.
    LongSignature,
    /// `admin: true` is put among the claims.
    Payload,
    /// The signature is empty.
    NoSignature,
    /// The last part is cut off, with its dot.
    TwoParts,
    /// A fourth part is added.
    FourParts,
    /// The parts are padded, as RFC 7515 forbids.
    Padding,
}

/// What Envoy knows beside the request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Surroundings {
    /// The connection is TLS, and clients may show certificates of `fixtures/certs/ca`.
    pub tls: Option<Tls>,
    /// `forward_client_cert_details` of the connection manager, such as `SANITIZE_SET`, which then writes `cert`, `chain`
    /// and `uri`. Default: Envoy's, `SANITIZE`.
    pub forward_client_cert: Option<String>,
    /// Dynamic metadata of earlier filters: namespace, then a map.
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
    /// `filter_metadata` of the route.
    #[serde(default)]
    pub route_metadata: BTreeMap<String, Value>,
    /// Name of the virtual host. Default `test`.
    pub virtual_host: Option<String>,
}

/// How the listener treats client certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tls {
    /// Certificates that the CA did not sign end the handshake.
    Verify,
    /// Any certificate is let through, for the filter to judge.
    AcceptUntrusted,
}

/// One request and what is expected of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Default `GET`.
    #[serde(default = "get")]
    pub method: String,
    /// With the query. Default `/`.
    #[serde(default = "root")]
    pub path: String,
    /// Default `api.test`.
    #[serde(default = "authority")]
    pub authority: String,
    /// In order, repetitions kept.
    #[serde(default)]
    pub headers: Vec<(String, Raw)>,
    /// Default: none.
    pub body: Option<Raw>,
    /// Name of the client certificate in `fixtures/certs`. Default: none.
    pub certificate: Option<String>,
    /// Attributes by their Envoy name that only the native runner can set, over its own.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Who has opened the connection, for policies over identity; over `certificate`. Native only.
    pub peer: Option<Peer>,
    /// Seconds that pass before this request.
    #[serde(default)]
    pub after: u64,
    /// It is sent while the one before is still under way.
    #[serde(default)]
    pub together: bool,
    /// How often it is sent. Default 1.
    #[serde(default = "once")]
    pub times: usize,
    /// What must come of it.
    pub expect: Expect,
}

/// A signature of a message (RFC 9421) with `hmac-sha256`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signature {
    /// The key, as text.
    pub key: String,
    /// `keyid`.
    pub key_id: String,
    /// Default `sig`.
    #[serde(default = "label")]
    pub label: String,
    /// What is signed: components and their values, in order.
    pub lines: Vec<(String, String)>,
    /// Seconds from now, as `'-5'`. Default `'0'`.
    #[serde(default = "now")]
    pub created: String,
    /// Further parameters, as they are written.
    #[serde(default)]
    pub parameters: String,
}

fn label() -> String {
    "sig".to_owned()
}

fn now() -> String {
    "0".to_owned()
}

/// Who has opened a connection, as Envoy would show it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// The first URI SAN of a client certificate, and what the filter state of identities has. Default: there is none.
    pub identity: Option<String>,
    /// Whether Envoy has validated that certificate. Default true.
    pub validated: Option<bool>,
    /// The first URI SAN of our own certificate.
    pub own: Option<String>,
    /// The port of ours that it has connected to. Default 8000.
    pub port: Option<u16>,
    /// Its address.
    pub address: Option<String>,
    /// The address of the client as Envoy trusts it. Default: that of the peer.
    pub client: Option<String>,
}

/// The header that names a request.
pub const ID: &str = "x-request-id";

impl Request {
    /// The value of [`ID`] that the runner adds, if the case gives it none.
    #[must_use]
    pub fn id<'a>(&self, id: &'a str) -> Option<&'a str> {
        let given = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(ID));
        (!given).then_some(id)
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

fn authority() -> String {
    "api.test".to_owned()
}

const fn once() -> usize {
    1
}

/// Bytes of a header or a body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Raw {
    /// Text.
    Text(String),
    /// Bytes that no text can have.
    Bytes {
        /// In base64.
        #[serde(deserialize_with = "base64")]
        base64: Vec<u8>,
    },
}

impl Raw {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes { base64 } => base64,
        }
    }
}

fn base64<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// What must come of a request. Exactly one of `allow`, `deny` and `serve`; what is not said is not looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// The request reaches the upstream.
    pub allow: Option<Allow>,
    /// Sidegate answers.
    pub deny: Option<Deny>,
    /// Sidegate serves one of its own documents, or says that there is none.
    pub serve: Option<Serve>,
    /// The AuthConfig that decided, `namespace/name`; null: none did.
    #[serde(default, deserialize_with = "present")]
    pub auth_config: Option<Option<String>>,
    /// Lines that the step trace has, in this order, others between them; each by a part of it. Native only.
    #[serde(default)]
    pub trace: Vec<String>,
    /// The requests that services get before the verdict, in the order of their arrival at each. Documents that
    /// are fetched in their own time, such as key sets, are left out.
    pub calls: Option<Vec<ExpectedCall>>,
    /// The requests that services get after the verdict, likewise.
    pub later: Option<Vec<ExpectedCall>>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// What the upstream sees.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// Headers by name: the value, a list of values, or null for none.
    #[serde(default)]
    pub upstream: BTreeMap<String, Seen>,
    /// Dynamic metadata by key; all there is if given at all.
    pub metadata: Option<BTreeMap<String, Value>>,
}

/// Headers of one name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Seen {
    /// Not there.
    Absent(()),
    /// There once.
    Once(String),
    /// There so often.
    All(Vec<String>),
}

/// What a client gets that asks for one of Sidegate's own documents.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Serve {
    /// HTTP status.
    pub status: u16,
    /// Headers by lower-case name; others may be there.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Body, exactly.
    pub body: Option<String>,
    /// Body as JSON.
    pub json: Option<Value>,
}

/// What the client is told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deny {
    /// HTTP status.
    pub status: u16,
    /// `X-Ext-Auth-Reason`, exactly.
    pub reason: Option<Text>,
    /// All headers that Sidegate sets, exactly, in order, names in any case.
    pub headers: Option<Vec<(String, Text)>>,
    /// Body, exactly.
    pub body: Option<String>,
    /// `NOT_FOUND`, `UNAUTHENTICATED`, `PERMISSION_DENIED` or `UNAVAILABLE`.
    pub kind: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
}

/// Text that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// Exactly this.
    Exact(String),
    /// This somewhere in it.
    Part {
        /// The part.
        contains: String,
    },
    /// Exactly these bytes.
    Bytes {
        /// In base64.
        #[serde(deserialize_with = "base64")]
        base64: Vec<u8>,
    },
}

impl Text {
    /// Whether a text is as expected.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        self.fits_bytes(text.as_bytes())
    }

    /// Whether bytes are as expected.
    #[must_use]
    pub fn fits_bytes(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => expected.as_bytes() == bytes,
            Self::Part { contains } => String::from_utf8_lossy(bytes).contains(contains.as_str()),
            Self::Bytes { base64 } => base64 == bytes,
        }
    }
}

/// A case that a runner leaves out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// Its id, `file: title`.
    pub case: String,
    /// The runner that leaves it out.
    pub runner: Runner,
    /// Why.
    pub reason: String,
}

/// Who runs cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// The engine alone.
    Native,
    /// A real Envoy.
    Envoy,
}
