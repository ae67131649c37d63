//! One Envoy with three listeners for each pair: Istio's filters, and Sidegate in each of its modes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use prost::Message as _;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use serde_json::{Map, Value, json};
use sidegate_engine::east_west::Chain;
use sidegate_tests::client::{self, Request};
use sidegate_tests::envoy::admin::ListenerState;
use sidegate_tests::envoy::config::Listener;
use sidegate_tests::envoy::{Envoy, Paths};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::calls::{Call, PORT, Who, Words};
use crate::golden::{self, Pair};
use crate::trial;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Istio,
    Strict,
    Compat,
}

pub const SIDES: [Side; 3] = [Side::Istio, Side::Strict, Side::Compat];

pub struct Stage {
    pub envoy: Envoy,
    /// By pair and side: the ports of the files, and those that they are.
    ports: BTreeMap<(usize, Side), BTreeMap<u16, u16>>,
    clients: BTreeMap<Who, Arc<ClientConfig>>,
}

struct Pem {
    certificate: String,
    key: String,
}

impl Stage {
    /// Starts Envoy; `who` are all callers that there will be.
    pub fn start(paths: &Paths, pairs: &[(Pair, Words)], who: impl Iterator<Item = Who>) -> Result<Self, String> {
        let (authority, issuer) = authority()?;
        let names: Vec<&str> = pairs.iter().flat_map(|(_, words)| &words.server_names).map(String::as_str).collect();
        let server = issue(&issuer, &Who::Host, &names)?;
        let mut ports = BTreeMap::new();
        let mut next = 20_000_u16;
        let (mut listeners, mut tried) = (Vec::new(), Vec::new());
        for (number, (pair, words)) in pairs.iter().enumerate() {
            for side in SIDES {
                let own: BTreeMap<u16, u16> = words.ports.iter().map(|port| (*port, free(&mut next))).collect();
                listeners.push(listener(&name(number, side), pair, words, side, &own, paths, (&server, &authority))?);
                tried.push(trial::is_one(pair));
                ports.insert((number, side), own);
            }
        }
        let clients = who.map(|who| Ok((who.clone(), Arc::new(client_config(&issuer, &authority, &who)?))));
        let clients = clients.collect::<Result<_, String>>()?;
        let envoy = Envoy::start(&paths.envoy, 1, |folder| {
            for (listener, tried) in listeners.iter_mut().zip(tried) {
                if tried {
                    log(listener, folder);
                }
            }
            std::fs::write(folder.join("lds.json"), json!({ "resources": listeners }).to_string())
                .map_err(|error| error.to_string())?;
            Ok(json!({
                "node": { "id": "sidegate-tests", "cluster": "sidegate-tests" },
                "admin": { "address": socket(Ipv4Addr::LOCALHOST, 0) },
                "dynamic_resources": { "lds_config": { "path_config_source": { "path": folder.join("lds.json") } } },
            }))
        })?;
        let names: Vec<String> = ports.keys().map(|(number, side)| name(*number, *side)).collect();
        for (name, state) in envoy.admin.listeners(&names.iter().map(String::as_str).collect::<Vec<_>>())? {
            if let ListenerState::Refused(why) = state {
                return Err(format!(
                    "listener {name} is refused: {why}\n{}",
                    envoy.plugin_log(&name, "error").join("\n")
                ));
            }
        }
        Ok(Self { envoy, ports, clients })
    }

    /// The status of the answer, of a connection as if it were HTTP; and what the call is known by in the log.
    pub async fn ask(
        &self,
        (pair, chain): (usize, Chain),
        side: Side,
        (number, call): (usize, &Call),
    ) -> Result<(u16, String), String> {
        let port = self.ports[&(pair, side)].get(&call.port).ok_or("no such port")?;
        let to: Ipv4Addr = call.to.parse().map_err(text)?;
        let from: Ipv4Addr = call.from.parse().map_err(text)?;
        let socket = TcpSocket::new_v4().map_err(text)?;
        socket.bind(SocketAddr::V4(SocketAddrV4::new(from, 0))).map_err(text)?;
        let stream = socket.connect(SocketAddr::V4(SocketAddrV4::new(to, *port))).await.map_err(text)?;
        let from = stream.local_addr().map_err(text)?.to_string();
        let name = match &call.server_name {
            Some(name) => ServerName::try_from(name.clone()).map_err(text)?,
            None => ServerName::try_from("127.0.0.1").map_err(text)?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.clients[&call.who]));
        let mut stream = connector.connect(name, stream).await.map_err(text)?;
        if chain == Chain::Tcp {
            let mut heard = [0; 5];
            drop(stream.write_all(b"hello").await);
            let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut heard)).await;
            let read = read.map_err(|_| "neither an answer nor an end".to_owned())?;
            return Ok((if read.is_ok() && &heard == b"hello" { 200 } else { 403 }, from));
        }
        let number = number.to_string();
        let mut request = Request::new(&call.method, &call.path, &call.host).header(trial::NUMBER, &number);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        for (name, value) in [("x-token", &call.token), ("x-metadata", &call.metadata)] {
            if let Some(value) = value {
                request = request.header(name, encoded(value));
            }
        }
        if let Some(client) = &call.client {
            request = request.header("x-forwarded-for", client);
        }
        Ok((client::exchange(&mut stream, &request.body(None)).await?.status, number))
    }
}

/// The name of a listener.
pub fn name(number: usize, side: Side) -> String {
    format!("pair-{number}-{side:?}")
}

/// A port that is free.
fn free(next: &mut u16) -> u16 {
    loop {
        *next += 1;
        if std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *next)).is_ok() {
            return *next;
        }
    }
}

fn socket(address: Ipv4Addr, port: u16) -> Value {
    json!({ "socket_address": { "address": address.to_string(), "port_value": port } })
}

fn listener(
    name: &str,
    pair: &Pair,
    words: &Words,
    side: Side,
    ports: &BTreeMap<u16, u16>,
    paths: &Paths,
    (server, authority): (&Pem, &str),
) -> Result<Value, String> {
    let port = |port| ports.get(&port).copied().unwrap_or(1);
    let default = port(PORT);
    let mut addresses: Vec<Value> = ports.values().map(|port| socket(Ipv4Addr::LOCALHOST, *port)).collect();
    addresses.retain(|address| address["socket_address"]["port_value"] != default);
    let mut destinations = words.destinations.clone();
    destinations.sort();
    destinations.dedup();
    for destination in &destinations {
        addresses.push(socket(destination.parse().map_err(text)?, default));
    }
    let mut deciders = pair.filters.clone();
    if side == Side::Istio {
        deciders.iter_mut().for_each(|filter| golden::replace(filter, &mut |number| port(number)));
    } else {
        let mut policies = pair.policies.clone();
        policies.iter_mut().for_each(|policy| golden::replace(policy, &mut |number| port(number)));
        let ours = Listener::new(name, &paths.wasm, &configuration(pair, &policies, side).to_string());
        deciders = vec![if pair.chain == Chain::Tcp { ours.network_filter() } else { ours.wasm_filter() }];
    }
    let filters = match pair.chain {
        Chain::Http => vec![manager(before().into_iter().chain(deciders).chain([router()]).collect())],
        Chain::Tcp => deciders.into_iter().chain([echo()]).collect(),
    };
    Ok(json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "address": socket(Ipv4Addr::LOCALHOST, default),
        "additional_addresses": addresses.into_iter().map(|it| json!({ "address": it })).collect::<Vec<_>>(),
        "filter_chains": [{
            "filters": filters,
            "transport_socket": { "name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": { "inline_string": server.certificate },
                        "private_key": { "inline_string": server.key },
                    }],
                    "validation_context": { "trusted_ca": { "inline_string": authority } },
                },
            } },
        }],
    }))
}

fn manager(filters: Vec<Value>) -> Value {
    json!({ "name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "normalize_path": true,
        // Those of the files, which nobody else has.
        "http_protocol_options": { "allow_custom_methods": true },
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/" }, "direct_response": { "status": 200 } },
        ] }] },
        "http_filters": filters,
    } })
}

/// Gives back what it gets.
fn echo() -> Value {
    json!({ "name": "echo", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo" } })
}

/// Has a listener log what comes of policies that are tried out.
fn log(listener: &mut Value, folder: &Path) {
    let log = trial::access_log(folder, listener["name"].as_str().unwrap_or_default());
    match listener.pointer_mut("/filter_chains/0/filters/0") {
        Some(filter) if filter["name"] == "http" => filter["typed_config"]["access_log"] = json!([log]),
        _ => listener["access_log"] = json!([log]),
    }
}

fn configuration(pair: &Pair, policies: &[Value], side: Side) -> Value {
    let (own, aliases) = pair.domains.split_first().unwrap_or((&"cluster.local", &[]));
    json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": policies,
        "workload": { "namespace": "foo", "labels": { "app": "httpbin", "version": "v1" }, "trustDomain": own },
        "options": { "eastWest": {
            "trustDomainAliases": aliases,
            "peerAddress": { "filterState": "test.peer" },
            "istio": { "mode": format!("{side:?}") },
        } },
    })
}

/// What other filters would know: tokens, metadata, and the address of the peer.
fn before() -> [Value; 2] {
    let rule = |header: &str, namespace: &str, key: &str| {
        json!({ "header": header, "remove": true, "on_header_present": {
            "metadata_namespace": namespace, "key": key, "type": "PROTOBUF_VALUE", "encode": "BASE64",
        } })
    };
    [
        json!({ "name": "metadata", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config",
            "request_rules": [
                rule("x-token", "envoy.filters.http.jwt_authn", "payload"), rule("x-metadata", "envoy.filters.a.b", "c"),
            ],
        } }),
        json!({ "name": "peer", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{ "object_key": "test.peer", "factory_key": "envoy.string", "format_string": {
                "text_format_source": { "inline_string": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%" },
            } }],
        } }),
    ]
}

fn router() -> Value {
    json!({ "name": "router", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } })
}

/// As `google.protobuf.Value`, in base64.
fn encoded(value: &Value) -> String {
    base64::engine::general_purpose::STANDARD.encode(proto(value).encode_to_vec())
}

fn proto(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let members =
        |members: &Map<String, Value>| members.iter().map(|(name, value)| (name.clone(), proto(value))).collect();
    prost_types::Value {
        kind: Some(match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(truth) => Kind::BoolValue(*truth),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(items) => {
                Kind::ListValue(prost_types::ListValue { values: items.iter().map(proto).collect() })
            }
            Value::Object(object) => Kind::StructValue(prost_types::Struct { fields: members(object) }),
        }),
    }
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>), String> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().map_err(text)?;
    Ok((params.self_signed(&key).map_err(text)?.pem(), Issuer::new(params, key)))
}

fn issue(issuer: &Issuer<'static, KeyPair>, who: &Who, names: &[&str]) -> Result<Pem, String> {
    let mut params = CertificateParams::default();
    let name = |text: &str| Ia5String::try_from(text).map_err(|error| error.to_string());
    if let Who::Uris(uris) = who {
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(name(uri)?));
        }
    } else {
        params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        for host in ["client.test"].iter().chain(names) {
            params.subject_alt_names.push(SanType::DnsName(name(host)?));
        }
    }
    let key = KeyPair::generate().map_err(text)?;
    let certificate = params.signed_by(&key, issuer).map_err(text)?.pem();
    Ok(Pem { certificate, key: key.serialize_pem() })
}

fn client_config(issuer: &Issuer<'static, KeyPair>, authority: &str, who: &Who) -> Result<ClientConfig, String> {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(text);
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority)?).map_err(text)?;
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = if *who == Who::Nobody {
        builder.with_no_client_auth()
    } else {
        let own = issue(issuer, who, &[])?;
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(text)?;
        builder.with_client_auth_cert(vec![certificate(&own.certificate)?], key).map_err(text)?
    };
    // Whoever resumes shows no certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
