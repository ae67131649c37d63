//! Envoy's own configuration: listeners with the filter for requests, and with that for connections; one upstream, and a cluster
//! for each server that policies call.

use serde_json::{Value, json};

use super::Subject;
use super::servers::Server;
use crate::args::Render;

/// Where the module is in a container.
pub const MODULE: &str = "/etc/envoy/sidegate.wasm";

/// The type of Envoy's tcp_proxy, for whoever patches one.
pub const TCP_PROXY: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

const CONNECTION_MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// Port of the listener for requests if nobody says another.
pub const LISTEN: u16 = 8000;

pub fn bootstrap(subject: &Subject<'_>) -> Value {
    let (host, port) = subject.upstream();
    let tcp = &subject.arguments.tcp;
    let requests = subject.requests();
    let mut listeners: Vec<Value> = requests.iter().map(|port| listener(subject, *port)).collect();
    listeners.extend(tcp.iter().map(|port| connections(subject, *port)));
    let mut clusters: Vec<Value> = requests.iter().map(|_| cluster("upstream", host, port)).collect();
    clusters.extend(tcp.iter().map(|port| cluster(&behind(*port), host, *port)));
    for server in &subject.servers {
        if !clusters.iter().any(|known| known["name"] == server.cluster.as_str()) {
            clusters.push(of_server(subject, server));
        }
    }
    json!({
        "admin": { "address": address("127.0.0.1", subject.arguments.admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// An Envoy that answers each request with what it has heard of it.
pub fn upstream(port: u16) -> Value {
    let answer = json!({
        "status": 200,
        "body_format": { "text_format_source": { "inline_string": "%REQ(:METHOD)% %REQ(:PATH)%\n" } },
    });
    let route = json!({ "match": { "prefix": "/" }, "direct_response": answer });
    json!({
        "static_resources": { "listeners": [{
            "name": "upstream",
            "address": address("0.0.0.0", port),
            "filter_chains": [{ "filters": [{
                "name": "http",
                "typed_config": {
                    "@type": CONNECTION_MANAGER,
                    "stat_prefix": "upstream",
                    "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
                    "http_filters": [router()],
                },
            }] }],
        }] },
    })
}

/// The cluster of what is behind a port of connections.
fn behind(port: u16) -> String {
    format!("upstream:{port}")
}

/// What `tcp_proxy` must have where TLS says who calls: a server that speaks first is not heard before that is known.
pub fn waiting_for_handshake() -> Value {
    json!({ "upstream_connect_mode": "ON_DOWNSTREAM_TLS_HANDSHAKE", "max_early_data_bytes": 16384 })
}

/// A listener for connections that are no HTTP.
fn connections(subject: &Subject<'_>, port: u16) -> Value {
    let mut proxy = json!({
        "@type": TCP_PROXY,
        "stat_prefix": format!("tcp_{port}"),
        "cluster": behind(port),
        "access_log": [access_log(&json!({
            "decision": "%FILTER_STATE(wasm.sidegate.decision:PLAIN)%",
            "decider": "%FILTER_STATE(wasm.sidegate.decider:PLAIN)%",
            "peer": "%FILTER_STATE(wasm.sidegate.peer:PLAIN)%",
            "sent": "%BYTES_SENT%",
        }))],
    });
    if let (Value::Object(waiting), Some(_), Some(proxy)) =
        (waiting_for_handshake(), &subject.arguments.cert_file, proxy.as_object_mut())
    {
        proxy.extend(waiting);
    }
    let filter = json!({
        "name": "sidegate",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
            "config": plugin(subject, "sidegate_tcp"),
        },
    });
    let chain = json!({ "filters": [filter, { "name": "tcp", "typed_config": proxy }] });
    json!({
        "name": format!("tcp-{port}"),
        "address": address("0.0.0.0", port),
        "filter_chains": [with_tls(subject, chain)],
    })
}

/// A filter chain in TLS, if there is a certificate. Of a resumed session Envoy does not say that the client's certificate was
/// validated, so there is none.
fn with_tls(subject: &Subject<'_>, mut chain: Value) -> Value {
    let Render { cert_file: Some(certificate), key_file: Some(key), client_ca_file: Some(ca), .. } = subject.arguments
    else {
        return chain;
    };
    chain["transport_socket"] = json!({
        "name": "tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "disable_stateless_session_resumption": true,
            "disable_stateful_session_resumption": true,
            "common_tls_context": {
                "tls_certificates":
                    [{ "certificate_chain": { "filename": certificate }, "private_key": { "filename": key } }],
                "validation_context": { "trusted_ca": { "filename": ca } },
            },
        },
    });
    chain
}

fn access_log(fields: &Value) -> Value {
    json!({
        "name": "stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": { "json_format": fields },
        },
    })
}

fn router() -> Value {
    json!({
        "name": "router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    })
}

/// A listener for requests.
fn listener(subject: &Subject<'_>, port: u16) -> Value {
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } });
    let access_log = access_log(&json!({
        "request": "%REQ(:METHOD)% %REQ(:AUTHORITY)%%REQ(:PATH)%",
        "code": "%RESPONSE_CODE%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "decision": "%FILTER_STATE(wasm.sidegate.decision:PLAIN)%",
        "auth_config": "%FILTER_STATE(wasm.sidegate.auth_config:PLAIN)%",
        "rule": "%FILTER_STATE(wasm.sidegate.rule:PLAIN)%",
        "reason": "%FILTER_STATE(wasm.sidegate.reason:PLAIN)%",
    }));
    json!({
        "name": "ingress",
        "address": address("0.0.0.0", port),
        "filter_chains": [with_tls(subject, json!({ "filters": [{
            "name": "http",
            "typed_config": {
                "@type": CONNECTION_MANAGER,
                "stat_prefix": "ingress",
                // A request that waits for a VM that died would wait five minutes otherwise.
                "stream_idle_timeout": "15s",
                // Policies and upstream are to see one spelling of a path.
                "normalize_path": true,
                "merge_slashes": true,
                "path_with_escaped_slashes_action": "REJECT_REQUEST",
                "access_log": [access_log],
                "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
                "http_filters": [filter(subject), router()],
            },
        }] }))],
    })
}

fn filter(subject: &Subject<'_>) -> Value {
    json!({
        "name": "sidegate",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": plugin(subject, "sidegate"),
        },
    })
}

/// By the root's id the module knows whether it is for requests or for connections.
fn plugin(subject: &Subject<'_>, root_id: &str) -> Value {
    let mut plugin = json!({
        "name": root_id,
        "root_id": root_id,
        // A new VM in place of one that died; until then everything is denied.
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "vm_id": "sidegate",
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": subject.arguments.module.as_deref().unwrap_or(MODULE) } },
        },
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": format!("{:#}\n", subject.plugin_config),
        },
    });
    if subject.reads_bodies() && root_id == "sidegate" {
        plugin["allow_on_headers_stop_iteration"] = true.into();
    }
    plugin
}

fn of_server(subject: &Subject<'_>, server: &Server) -> Value {
    let host = server.url.host.trim_start_matches('[').trim_end_matches(']');
    let mut cluster = cluster(&server.cluster, host, server.url.port);
    if server.is_tls() {
        cluster["transport_socket"] = json!({
            "name": "tls",
            "typed_config": tls(host, subject.ca_file(server)),
        });
    }
    if server.grpc {
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        });
    }
    cluster
}

/// TLS to a host whose certificate must be for it.
fn tls(host: &str, ca_file: &str) -> Value {
    let is_address = is_address(host);
    let mut tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": { "validation_context": {
            "trusted_ca": { "filename": ca_file },
            "match_typed_subject_alt_names":
                [{ "san_type": if is_address { "IP_ADDRESS" } else { "DNS" }, "matcher": { "exact": host } }],
        } },
    });
    if !is_address {
        tls["sni"] = host.into();
    }
    tls
}

fn cluster(name: &str, host: &str, port: u16) -> Value {
    json!({
        "name": name,
        "type": if is_address(host) { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(host, port) } }] }],
        },
    })
}

fn address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

fn is_address(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
}
