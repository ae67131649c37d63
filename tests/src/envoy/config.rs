//! Envoy's own configuration, for tests.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use crate::case::{Surroundings, Tls};
use crate::fixtures;

/// So that no port is given twice.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A listener with the module in its filter chain.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name, and that of the plugin.
    pub name: String,
    /// Port on loopback; 0: any.
    pub port: u16,
    /// The module.
    pub wasm: std::path::PathBuf,
    /// The plugin configuration.
    pub configuration: String,
    /// What Envoy knows beside the request.
    pub surroundings: Surroundings,
    /// Keys of dynamic metadata that the access log shows: `key` or `key.member`.
    pub metadata: Vec<String>,
    /// Members of the plugin's `PluginConfig`, over the usual ones; null takes one out.
    pub plugin: BTreeMap<String, Value>,
    /// Filters in front of the module.
    pub before: Vec<Value>,
    /// Filters behind it.
    pub behind: Vec<Value>,
    /// Access logs beside the rig's own.
    pub access_logs: Vec<Value>,
    /// Routes before the usual ones.
    pub routes: Vec<Value>,
    /// The filter that decides in place of the module.
    pub decider: Option<Value>,
    /// TLS, in place of that of the surroundings.
    pub transport_socket: Option<Value>,
    /// Filters that see a connection before all others.
    pub listener_filters: Vec<Value>,
    /// Members of the connection manager, or of tcp_proxy, over the usual ones.
    pub manager: BTreeMap<String, Value>,
    /// The cluster that connections go to, if it is no HTTP.
    pub tcp: Option<String>,
}

impl Listener {
    /// With nothing special.
    #[must_use]
    pub fn new(name: &str, wasm: &Path, configuration: &str) -> Self {
        Self {
            name: name.to_owned(),
            port: 0,
            wasm: wasm.to_owned(),
            configuration: configuration.to_owned(),
            surroundings: Surroundings::default(),
            metadata: Vec::new(),
            plugin: BTreeMap::new(),
            before: Vec::new(),
            behind: Vec::new(),
            access_logs: Vec::new(),
            routes: Vec::new(),
            decider: None,
            transport_socket: None,
            listener_filters: Vec::new(),
            manager: BTreeMap::new(),
            tcp: None,
        }
    }

    /// One that sends connections to a cluster.
    #[must_use]
    pub fn tcp(name: &str, wasm: &Path, configuration: &str, cluster: &str) -> Self {
        Self { tcp: Some(cluster.to_owned()), ..Self::new(name, wasm, configuration) }
    }

    fn to_json(&self, folder: &Path) -> Value {
        let filters = match &self.tcp {
            None => vec![json!({ "name": "http", "typed_config": self.over(self.connection_manager(folder)) })],
            Some(cluster) => {
                let proxy = json!({
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": self.name,
                    "cluster": cluster,
                    "access_log": [connection_log(folder, &self.name)],
                });
                let decider = self.decider.clone().unwrap_or_else(|| self.network_filter());
                vec![decider, json!({ "name": "tcp", "typed_config": self.over(proxy) })]
            }
        };
        let mut chain = json!({ "filters": filters });
        if let Some(tls) = self.transport_socket.clone().or_else(|| self.surroundings.tls.map(transport_socket)) {
            chain["transport_socket"] = tls;
        }
        json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": self.name,
            "stat_prefix": self.name,
            "address": socket(SocketAddr::from(([127, 0, 0, 1], self.port))),
            "listener_filters": self.listener_filters,
            "filter_chains": [chain],
        })
    }

    fn over(&self, mut usual: Value) -> Value {
        for (name, value) in &self.manager {
            usual[name] = value.clone();
        }
        usual
    }

    fn connection_manager(&self, folder: &Path) -> Value {
        let Surroundings { tls: _, forward_client_cert, metadata, route_metadata, virtual_host } = &self.surroundings;
        let mut filters = Vec::new();
        if !metadata.is_empty() {
            let namespaces: Vec<Value> = metadata
                .iter()
                .map(|(namespace, value)| json!({ "metadata_namespace": namespace, "value": value, "allow_overwrite": true }))
                .collect();
            filters.push(json!({ "name": "metadata", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
                "metadata": namespaces,
            } }));
        }
        filters.extend(self.before.iter().cloned());
        filters.push(self.decider.clone().unwrap_or_else(|| self.wasm_filter()));
        filters.extend(self.behind.iter().cloned());
        filters.push(json!({ "name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        } }));
        let route = |matching: Value, cluster: &str| {
            json!({
                "match": matching,
                "route": { "cluster": cluster, "timeout": "10s" },
                "metadata": { "filter_metadata": route_metadata },
            })
        };
        let usual = [
            route(json!({ "connect_matcher": {} }), "upstream"),
            route(json!({ "prefix": "/", "grpc": {} }), "upstream-h2"),
            route(json!({ "prefix": "/" }), "upstream"),
        ];
        let mut logs = vec![access_log(folder, &self.metadata)];
        logs.extend(self.access_logs.iter().cloned());
        json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "generate_request_id": false,
            "server_header_transformation": "PASS_THROUGH",
            "stream_idle_timeout": "5s",
            "max_request_headers_kb": 96,
            "common_http_protocol_options": { "max_headers_count": 400 },
            "http2_protocol_options": { "allow_connect": true },
            "upgrade_configs": [{ "upgrade_type": "websocket" }, { "upgrade_type": "CONNECT" }],
            "forward_client_cert_details": forward_client_cert.as_deref().unwrap_or("SANITIZE"),
            "set_current_client_cert_details": { "cert": true, "chain": true, "uri": true },
            "access_log": logs,
            "route_config": { "virtual_hosts": [{
                "name": virtual_host.as_deref().unwrap_or("test"),
                "domains": ["*"],
                "routes": self.routes.iter().cloned().chain(usual).collect::<Vec<_>>(),
            }] },
            "http_filters": filters,
        })
    }

    /// The filter itself.
    #[must_use]
    pub fn wasm_filter(&self) -> Value {
        json!({ "name": "sidegate", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": self.plugin(&self.name),
        } })
    }

    /// The filter itself, for connections.
    #[must_use]
    pub fn network_filter(&self) -> Value {
        json!({ "name": "sidegate", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
            "config": self.plugin("sidegate_tcp"),
        } })
    }

    fn plugin(&self, root: &str) -> Value {
        let mut plugin = json!({
            "name": self.name,
            "root_id": root,
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": "sidegate",
                "runtime": "envoy.wasm.runtime.v8",
                "code": { "local": { "filename": self.wasm } },
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": self.configuration,
            },
        });
        for (name, value) in &self.plugin {
            plugin[name] = value.clone();
        }
        plugin
    }
}

/// Writes `lds.json` at once, as Envoy's file watch wants it.
///
/// # Errors
/// It cannot be written.
pub fn write_listeners(folder: &Path, listeners: &[Listener]) -> Result<(), String> {
    let resources: Vec<Value> = listeners.iter().map(|listener| listener.to_json(folder)).collect();
    let text = json!({ "resources": resources }).to_string();
    let (draft, file) = (folder.join("lds.json.draft"), folder.join("lds.json"));
    fs::write(&draft, text).and_then(|()| fs::rename(draft, file)).map_err(|error| error.to_string())
}

/// A port that is free, for a listener that must say which one. The system gives none of these to anybody who takes any.
///
/// # Errors
/// None is free.
pub fn free_port() -> Result<u16, String> {
    let process = u16::try_from(std::process::id() % 100).unwrap_or_default();
    let first = 20_000 + process * 100;
    let mut next = NEXT_PORT.fetch_add(1, Ordering::Relaxed) % 100;
    for _ in 0..100 {
        let port = first + next;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
        next = NEXT_PORT.fetch_add(1, Ordering::Relaxed) % 100;
    }
    Err(format!("none of the ports from {first} on is free"))
}

/// A bootstrap that takes its listeners from `lds.json`, where these stand at first.
///
/// # Errors
/// That file cannot be written.
pub fn bootstrap(folder: &Path, clusters: &[Cluster], listeners: &[Listener]) -> Result<Value, String> {
    write_listeners(folder, listeners)?;
    Ok(json!({
        "node": { "id": "sidegate-tests", "cluster": "sidegate-tests" },
        "admin": { "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))) },
        "dynamic_resources": { "lds_config": { "path_config_source": { "path": folder.join("lds.json") } } },
        "static_resources": { "clusters": clusters.iter().map(Cluster::to_json).collect::<Vec<_>>() },
    }))
}

/// A cluster of one server.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Where the server is.
    pub address: SocketAddr,
    /// Whether it is spoken to in HTTP/2.
    pub http2: bool,
    /// Whether it is spoken to in TLS, as `localhost`, with a certificate of the fixtures' authority.
    pub tls: bool,
    /// Members of its configuration, over the usual ones.
    pub members: BTreeMap<String, Value>,
}

impl Cluster {
    /// Of HTTP/1.1.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr) -> Self {
        Self { name: name.to_owned(), address, http2: false, tls: false, members: BTreeMap::new() }
    }

    fn to_json(&self) -> Value {
        let protocol = if self.http2 { "http2_protocol_options" } else { "http_protocol_options" };
        let explicit = json!({ protocol: {} });
        let mut cluster = json!({
            "name": self.name,
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": { "cluster_name": self.name, "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": socket(self.address) } },
            ] }] },
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": explicit,
            } },
        });
        if self.tls {
            cluster["transport_socket"] = upstream_transport_socket();
        }
        for (name, value) in &self.members {
            cluster[name] = value.clone();
        }
        cluster
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn transport_socket(tls: Tls) -> Value {
    let file = |name: &str| json!({ "filename": fixtures::path(&format!("certs/{name}")) });
    let verification = match tls {
        Tls::Verify => "VERIFY_TRUST_CHAIN",
        Tls::AcceptUntrusted => "ACCEPT_UNTRUSTED",
    };
    json!({ "name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [{ "certificate_chain": file("localhost.pem"), "private_key": file("localhost.key") }],
            "validation_context": { "trusted_ca": file("ca.pem"), "trust_chain_verification": verification },
        },
    } })
}

fn upstream_transport_socket() -> Value {
    json!({ "name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": { "validation_context": {
            "trusted_ca": { "filename": fixtures::path("certs/ca.pem") },
            "match_typed_subject_alt_names": [{ "san_type": "DNS", "matcher": { "exact": "localhost" } }],
        } },
    } })
}

/// One line for each connection that has ended: which listener, and what the filter says of the decision.
fn connection_log(folder: &Path, listener: &str) -> Value {
    let state = |key: &str| format!("%FILTER_STATE(wasm.sidegate.{key}:PLAIN)%");
    let facts = ["decision", "decider", "peer", "shadow"].map(state).join(" ");
    json!({ "name": "log", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": folder.join("connections.log"),
        "log_format": { "text_format_source": {
            "inline_string": format!("{listener} {facts} %BYTES_SENT% %BYTES_RECEIVED% %DOWNSTREAM_LOCAL_CLOSE_REASON%\n"),
        } },
    } })
}

/// One JSON object a line: who asked, and what the filter says of the decision.
fn access_log(folder: &Path, metadata: &[String]) -> Value {
    let state = |key: &str| format!("%FILTER_STATE(wasm.sidegate.{key}:PLAIN)%");
    let metadata: BTreeMap<&String, String> =
        metadata.iter().map(|key| (key, state(&format!("metadata.{key}")))).collect();
    json!({ "name": "log", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": folder.join("access.log"),
        "log_format": { "json_format": {
            "id": "%REQ(X-REQUEST-ID)%",
            "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
            "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
            "path": "%REQ(:PATH)%",
            "code": "%RESPONSE_CODE%",
            "details": "%RESPONSE_CODE_DETAILS%",
            "flags": "%RESPONSE_FLAGS%",
            "decision": state("decision"),
            "auth_config": state("auth_config"),
            "rule": state("rule"),
            "reason": state("reason"),
            "decider": state("decider"),
            "identity": state("peer"),
            "shadow": state("shadow"),
            "record": state("record"),
            "metadata": metadata,
        } },
    } })
}
