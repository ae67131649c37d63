//! A case, as `tests/cases/**/*.yaml` has it. `docs/testing.md` is the manual for those who write one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

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

/// An outside service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Nobody listens.
    #[serde(default)]
    pub down: bool,
    /// It is an OpenID Connect issuer with these keys: discovery at its usual place, keys at `/jwks`.
    pub issuer: Option<Vec<String>>,
    /// Replies by path (over those of `issuer`); everything else is 404. Of several the last whose `from` has come counts.
    #[serde(default)]
    pub replies: BTreeMap<String, Vec<ServiceReply>>,
}

/// What a service answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceReply {
    /// Number of the request of the case, from 1, before which this reply begins to count. Default: from the start.
    #[serde(default)]
    pub from: usize,
    /// Milliseconds that it takes. Natively a reply that takes longer than the call may is a timeout.
    #[serde(default)]
    pub delay: u64,
    /// HTTP status. Default 200.
    pub status: Option<u16>,
    /// Headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Body as text.
    pub body: Option<String>,
    /// Body as JSON.
    pub json: Option<Value>,
    /// Body as a key set of these fixture keys.
    pub jwks: Option<Vec<String>>,
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
    pub headers: Vec<(String, HeaderValue)>,
    /// Default: none.
    pub body: Option<String>,
    /// Name of the client certificate in `fixtures/certs`. Default: none.
    pub certificate: Option<String>,
    /// Attributes by their Envoy name that only the native runner can set, over its own.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Seconds that pass before this request.
    #[serde(default)]
    pub after: u64,
    /// How often it is sent. Default 1.
    #[serde(default = "once")]
    pub times: usize,
    /// What must come of it.
    pub expect: Expect,
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

/// Value of a header.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// Text.
    Text(String),
    /// Bytes that no text can have.
    Bytes {
        /// In base64.
        base64: String,
    },
}

/// What must come of a request. Exactly one of `allow` and `deny`; what is not said is not looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// The request reaches the upstream.
    pub allow: Option<Allow>,
    /// Sidegate answers.
    pub deny: Option<Deny>,
    /// The AuthConfig that decided, `namespace/name`; null: none did.
    #[serde(default, deserialize_with = "present")]
    pub auth_config: Option<Option<String>>,
    /// Lines that the step trace has, in this order, others between them; each by a part of it. Native only.
    #[serde(default)]
    pub trace: Vec<String>,
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
}

impl Text {
    /// Whether a text is as expected.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(expected) => expected == text,
            Self::Part { contains } => text.contains(contains.as_str()),
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
