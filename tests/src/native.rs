//! Runs a case by the engine alone.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use prost::Message as _;
use serde_json::Value;
use sidegate_engine::policy::AuthConfig;
use sidegate_engine::remote::Fetched;
use sidegate_engine::{
    Attribute, Body, Call, CallError, Decision, Headers, HttpReply, HttpRequest, Needs, Policy, Progress, Question,
    Reply, Session, Timestamp, Verdict,
};

use crate::case::{Case, HeaderValue, Request};
use crate::fixtures;
use crate::outcome::{self, Metadata, Outcome};
use crate::prepare::{self, Prepared};
use crate::problems;

/// Runs a case.
///
/// # Errors
/// What is not as expected, ready to be read.
pub fn run(prepared: &Prepared) -> Result<(), String> {
    let Prepared { case, configuration, .. } = prepared;
    let policy = match (Policy::compile(configuration.as_bytes()), case.config_errors.is_empty()) {
        (Ok(policy), true) => Rc::new(policy),
        (Ok(_), false) => return Err("the configuration is taken, though it has errors".to_owned()),
        (Err(problems), true) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(format!("the configuration is refused:\n  {}", problems.join("\n  ")));
        }
        (Err(problems), false) => return problems::compare(&case.config_errors, &problems),
    };
    let now = u64::try_from(prepare::now()).unwrap_or_default();
    let mut world = World { prepared, policy, now: Timestamp::from_secs(now), request: 1 };
    world.fetch_keys();
    for (index, request) in case.requests.iter().enumerate() {
        world.request = index + 1;
        for _ in 0..request.times {
            world.now = world.now.after(Duration::from_secs(request.after));
            world.fetch_keys();
            let outcome = world.send(case, request)?;
            outcome::judge(&request.expect, &outcome)
                .map_err(|report| format!("request {} {} {}\n{report}", index + 1, request.method, request.path))?;
        }
    }
    Ok(())
}

/// The engine and what the filter would be to it.
struct World<'a> {
    prepared: &'a Prepared,
    policy: Rc<Policy>,
    now: Timestamp,
    request: usize,
}

impl World<'_> {
    /// What the root context does on a tick, with nobody else to share keys with.
    fn fetch_keys(&self) {
        let keys = self.policy.remote_documents();
        for id in keys.due(self.now) {
            let mut next = keys.begin(id, self.now);
            while let Some(fetch) = next.take() {
                let reply = self.answer(&fetch.request, fetch.timeout).map_err(|error| format!("{error:?}"));
                if let Fetched::Next(fetch) = keys.fetched(fetch.id, reply, self.now) {
                    next = Some(fetch);
                }
            }
        }
    }

    /// What a server answers, without the time that it takes.
    fn answer(&self, request: &HttpRequest, timeout: Duration) -> Result<HttpReply, CallError> {
        let service = self.prepared.services.get(&request.authority);
        let Some(service) = service.filter(|service| !service.down && !request.clusters.is_empty()) else {
            return Err(CallError::Failed("connection refused".to_owned()));
        };
        let Some(reply) = service.reply(&request.path, self.request) else {
            return Ok(HttpReply { status: 404, ..HttpReply::default() });
        };
        if Duration::from_millis(reply.delay) > timeout {
            return Err(CallError::Timeout);
        }
        let (status, headers, body) = reply.wire();
        if body.len() > request.max_response_bytes {
            return Err(CallError::Failed("the answer is too long".to_owned()));
        }
        let headers = Headers::from_pairs(headers);
        Ok(HttpReply { status, headers, body: body.into(), trailers: Headers::default() })
    }

    /// How long the answer to a call takes.
    fn delay(&self, call: &Call) -> Duration {
        let Question::Http(request) = &call.question else { return Duration::ZERO };
        let service = self.prepared.services.get(&request.authority);
        let reply = service.and_then(|service| service.reply(&request.path, self.request));
        Duration::from_millis(reply.map_or(0, |reply| reply.delay)).min(call.timeout)
    }

    fn send(&self, case: &Case, request: &Request) -> Result<Outcome, String> {
        let snapshot = self.snapshot(case, request)?;
        let headers = snapshot.headers.clone();
        let (mut session, mut progress) = Session::start(Rc::clone(&self.policy), snapshot, self.now);
        let mut waiting: Vec<(Timestamp, Call)> = Vec::new();
        let mut now = self.now;
        loop {
            match progress {
                Progress::Done(verdict) => return Ok(outcome(verdict, &headers)),
                Progress::Pending(calls) => {
                    waiting.extend(calls.into_iter().map(|call| (now.after(self.delay(&call)), call)));
                }
            }
            // The answer that comes first; of those that come together, the one asked for first.
            let first = waiting.iter().enumerate().min_by_key(|(index, (at, _))| (*at, *index)).map(|(index, _)| index);
            let Some(first) = first else { return Err("the session waits, but for nothing".to_owned()) };
            let (at, call) = waiting.remove(first);
            now = at;
            let reply = match &call.question {
                Question::RefreshKeys(_) => {
                    self.fetch_keys();
                    Ok(Reply::KeysRefreshed)
                }
                Question::Http(request) => self.answer(request, call.timeout).map(Reply::Http),
                Question::Body { max_bytes } => match request.body.clone().unwrap_or_default() {
                    body if body.len() > *max_bytes => Err(CallError::TooLong),
                    body => Ok(Reply::Body(Body(body.into()))),
                },
            };
            progress = session.resume(call.id, reply, now);
        }
    }

    /// What the filter would take of the request: all headers, and those attributes that the policy reads.
    fn snapshot(&self, case: &Case, request: &Request) -> Result<sidegate_engine::Request, String> {
        let scheme = if case.envoy.tls.is_some() { "https" } else { "http" };
        let mut pairs: Vec<(String, Vec<u8>)> = vec![
            (":authority".to_owned(), request.authority.clone().into()),
            (":path".to_owned(), request.path.clone().into()),
            (":method".to_owned(), request.method.clone().into()),
            (":scheme".to_owned(), scheme.into()),
        ];
        for (name, value) in &request.headers {
            pairs.push((name.clone(), bytes(value)?));
        }
        pairs.push(("x-forwarded-proto".to_owned(), scheme.into()));
        let attributes = attributes(case, request, &self.policy)?;
        let mut snapshot = sidegate_engine::Request { headers: Headers::from_pairs(pairs), ..Default::default() };
        let insert = |snapshot: &mut sidegate_engine::Request, needs: Needs| {
            for attribute in
                needs.iter().filter(|attribute| snapshot.attributes.bytes(*attribute).is_none()).collect::<Vec<_>>()
            {
                if let Some(value) = attributes.get(&attribute) {
                    snapshot.attributes.insert(attribute, value.clone());
                }
            }
        };
        insert(&mut snapshot, self.policy.lookup_needs());
        if let Some(AuthConfig { needs, .. }) = self.policy.auth_config_for(&snapshot).map(Rc::as_ref) {
            insert(&mut snapshot, *needs);
        }
        Ok(snapshot)
    }
}

/// The bytes of a header.
///
/// # Errors
/// They are no base64.
pub fn bytes(value: &HeaderValue) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    match value {
        HeaderValue::Text(text) => Ok(text.clone().into_bytes()),
        HeaderValue::Bytes { base64 } => base64::engine::general_purpose::STANDARD
            .decode(base64)
            .map_err(|error| format!("`{base64}` is no base64: {error}")),
    }
}

fn outcome(verdict: Verdict, headers: &Headers) -> Outcome {
    let Verdict { decision, auth_config, steps } = verdict;
    let decision = match decision {
        Decision::Allow(allowed) => {
            let removed = |name: &String| {
                allowed.remove_headers.contains(name) || allowed.set_headers.iter().any(|(set, _)| set == name)
            };
            // White space around a value does not go over the wire (RFC 9110 section 5.5).
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
            let set = allowed.set_headers.iter().map(|(name, value)| (name.clone(), text(value.as_bytes())));
            let sent = headers.iter().map(|(name, value)| (text(name), text(value))).filter(|(name, _)| !removed(name));
            outcome::Decision::Allowed {
                headers: sent.chain(set).collect(),
                metadata: Metadata::Typed(allowed.dynamic_metadata.into_iter().collect()),
            }
        }
        Decision::Deny(reply) => outcome::Decision::Denied {
            status: reply.code,
            headers: reply.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
            body: reply.body,
            kind: reply.status.name().to_owned(),
            rule: reply.rule.map(|rule| rule.to_string()),
        },
    };
    let trace = Some(steps.iter().map(ToString::to_string).collect());
    Outcome { decision, auth_config: auth_config.map(|id| id.to_string()), trace }
}

/// What Envoy would know of this request.
fn attributes(case: &Case, request: &Request, policy: &Policy) -> Result<HashMap<Attribute, Vec<u8>>, String> {
    let mut all: HashMap<Attribute, Vec<u8>> = HashMap::from([
        (Attribute::SourceAddress, b"127.0.0.1:40000".to_vec()),
        (Attribute::DestinationAddress, b"127.0.0.1:8000".to_vec()),
        (Attribute::Protocol, b"HTTP/1.1".to_vec()),
        (Attribute::Scheme, if case.envoy.tls.is_some() { b"https".to_vec() } else { b"http".to_vec() }),
        (Attribute::Size, request.body.as_ref().map_or(0, String::len).to_string().into_bytes()),
        (Attribute::Mtls, request.certificate.is_some().to_string().into_bytes()),
        (Attribute::RequestedServerName, if case.envoy.tls.is_some() { b"localhost".to_vec() } else { Vec::new() }),
        (Attribute::Metadata, metadata(&case.envoy.metadata)),
    ]);
    if let Some(name) = request.certificate.as_deref() {
        let valid = ["alice", "bob", "carol"].contains(&name);
        let account = if ["bob", "carol"].contains(&name) { name } else { "alice" };
        all.insert(Attribute::PeerCertificate, fixtures::text(&format!("certs/{name}.pem"))?.into_bytes());
        all.insert(Attribute::PeerCertificateValid, valid.to_string().into_bytes());
        all.insert(Attribute::PeerUriSan, format!("spiffe://acme.test/ns/default/sa/{account}").into_bytes());
    }
    if let Some(host) = policy.host_override().and_then(|source| match &source.route_metadata {
        Some(key) => {
            let namespace = case.envoy.route_metadata.get(key.namespace.as_deref().unwrap_or("sidegate"))?;
            namespace.get(key.key.as_deref().unwrap_or("host"))?.as_str()
        }
        None => Some(case.envoy.virtual_host.as_deref().unwrap_or("test")),
    }) {
        all.insert(Attribute::HostOverride, host.as_bytes().to_vec());
    }
    for (name, value) in &request.attributes {
        all.insert(attribute(name)?, value.clone().into_bytes());
    }
    Ok(all)
}

fn attribute(name: &str) -> Result<Attribute, String> {
    Ok(match name {
        "source.address" => Attribute::SourceAddress,
        "destination.address" => Attribute::DestinationAddress,
        "request.protocol" => Attribute::Protocol,
        "request.scheme" => Attribute::Scheme,
        "request.size" => Attribute::Size,
        "connection.mtls" => Attribute::Mtls,
        "connection.peer_certificate_valid" => Attribute::PeerCertificateValid,
        "connection.peer_certificate" => Attribute::PeerCertificate,
        "connection.uri_san_peer_certificate" => Attribute::PeerUriSan,
        "connection.requested_server_name" => Attribute::RequestedServerName,
        _ => return Err(format!("`{name}` is no attribute that a case can set")),
    })
}

/// `envoy.config.core.v3.Metadata`, as far as the engine reads it.
#[derive(Clone, PartialEq, prost::Message)]
struct MetadataMessage {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, prost_types::Struct>,
}

fn metadata(namespaces: &BTreeMap<String, Value>) -> Vec<u8> {
    let filter_metadata = namespaces.iter().filter_map(|(name, value)| {
        let prost_types::value::Kind::StructValue(members) = to_proto(value).kind? else { return None };
        Some((name.clone(), members))
    });
    MetadataMessage { filter_metadata: filter_metadata.collect() }.encode_to_vec()
}

fn to_proto(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue { values: items.iter().map(to_proto).collect() }),
        Value::Object(members) => Kind::StructValue(prost_types::Struct {
            fields: members.iter().map(|(name, value)| (name.clone(), to_proto(value))).collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}
