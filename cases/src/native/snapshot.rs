//! What the filter would take of a request.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use prost::Message as _;
use serde_json::Value;
use sidegate_engine::policy::AuthConfig;
use sidegate_engine::{Attribute, Headers, Needs, Policy};

use crate::case::{Case, ID, Peer, Request};
use crate::fixtures;

/// What the filter would take of the request: all headers, and those attributes that the policy reads.
pub fn of(policy: &Policy, case: &Case, request: &Request, id: &str) -> Result<sidegate_engine::Request, String> {
    let scheme = if case.envoy.tls.is_some() { "https" } else { "http" };
    let mut pairs: Vec<(String, Vec<u8>)> = vec![
        (":authority".to_owned(), request.authority.clone().into()),
        (":path".to_owned(), request.path.clone().into()),
        (":method".to_owned(), request.method.clone().into()),
        (":scheme".to_owned(), scheme.into()),
    ];
    for (name, value) in &request.headers {
        pairs.push((name.clone(), value.bytes().to_vec()));
    }
    if let Some(id) = request.id(id) {
        pairs.push((ID.to_owned(), id.as_bytes().to_vec()));
    }
    pairs.push(("x-forwarded-proto".to_owned(), scheme.into()));
    let attributes = attributes(case, request, policy)?;
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
    insert(&mut snapshot, policy.lookup_needs());
    if let Some(AuthConfig { needs, .. }) = policy.auth_config_for(&snapshot).map(Rc::as_ref) {
        insert(&mut snapshot, *needs);
    }
    Ok(snapshot)
}

/// What Envoy would know of this request.
fn attributes(case: &Case, request: &Request, policy: &Policy) -> Result<HashMap<Attribute, Vec<u8>>, String> {
    let mut all: HashMap<Attribute, Vec<u8>> = HashMap::from([
        (Attribute::SourceAddress, b"127.0.0.1:40000".to_vec()),
        (Attribute::DestinationAddress, b"127.0.0.1:8000".to_vec()),
        (Attribute::DestinationPort, b"8000".to_vec()),
        (Attribute::Protocol, b"HTTP/1.1".to_vec()),
        (Attribute::Scheme, if case.envoy.tls.is_some() { b"https".to_vec() } else { b"http".to_vec() }),
        (Attribute::Size, request.body.as_ref().map_or(0, |body| body.bytes().len()).to_string().into_bytes()),
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
    if let Some(peer) = &request.peer {
        connect(peer, &mut all);
    }
    for (name, value) in &request.attributes {
        all.insert(attribute(name)?, value.clone().into_bytes());
    }
    Ok(all)
}

/// What Envoy would know of a peer.
fn connect(peer: &Peer, all: &mut HashMap<Attribute, Vec<u8>>) {
    let Peer { identity, validated, own, port, address, client } = peer.clone();
    all.insert(Attribute::Mtls, identity.is_some().to_string().into_bytes());
    if identity.is_some() {
        all.insert(Attribute::PeerCertificateValid, validated.unwrap_or(true).to_string().into_bytes());
    }
    let client = client.or_else(|| address.clone());
    for (attribute, value) in [
        (Attribute::PeerUriSan, identity.clone()),
        (Attribute::PeerPrincipal, identity),
        (Attribute::OwnUriSan, own),
        (Attribute::DestinationPort, port.map(|port| port.to_string())),
        (Attribute::PeerAddress, address),
        (Attribute::SourceAddress, client),
    ] {
        if let Some(value) = value {
            all.insert(attribute, value.into_bytes());
        }
    }
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
