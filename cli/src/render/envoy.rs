//! Envoy's own configuration: a listener with the filter, one upstream, and a cluster for each server that policies call.

use serde_json::{Value, json};

use super::Subject;
use super::servers::Server;

/// Where the module is in a container.
const MODULE: &str = "/etc/envoy/sidegate.wasm";

pub fn bootstrap(subject: &Subject<'_>) -> Value {
    let (host, port) = subject.upstream();
    let mut clusters = vec![cluster("upstream", host, port)];
    for server in &subject.servers {
        if !clusters.iter().any(|known| known["name"] == server.cluster.as_str()) {
            clusters.push(of_server(subject, server));
        }
    }
    json!({
        "admin": { "address": address("127.0.0.1", subject.arguments.admin) },
        "static_resources": { "listeners": [listener(subject)], "clusters": clusters },
    })
}

fn listener(subject: &Subject<'_>) -> Value {
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } });
    let access_log = json!({
        "name": "stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": { "json_format": {
                "request": "%REQ(:METHOD)% %REQ(:AUTHORITY)%%REQ(:PATH)%",
                "code": "%RESPONSE_CODE%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "decision": "%FILTER_STATE(wasm.sidegate.decision:PLAIN)%",
                "auth_config": "%FILTER_STATE(wasm.sidegate.auth_config:PLAIN)%",
                "rule": "%FILTER_STATE(wasm.sidegate.rule:PLAIN)%",
                "reason": "%FILTER_STATE(wasm.sidegate.reason:PLAIN)%",
            } },
        },
    });
    let router = json!({
        "name": "router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    json!({
        "name": "ingress",
        "address": address("0.0.0.0", subject.arguments.listen),
        "filter_chains": [{ "filters": [{
            "name": "http",
            "typed_config": {
                "@type":
                    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "ingress",
                // A request that waits for a VM that died would wait five minutes otherwise.
                "stream_idle_timeout": "15s",
                // Policies and upstream are to see one spelling of a path.
                "normalize_path": true,
                "merge_slashes": true,
                "path_with_escaped_slashes_action": "REJECT_REQUEST",
                "access_log": [access_log],
                "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
                "http_filters": [filter(subject), router],
            },
        }] }],
    })
}

fn filter(subject: &Subject<'_>) -> Value {
    let mut plugin = json!({
        "name": "sidegate",
        "root_id": "sidegate",
        // A new VM in place of one that died; until then every request is denied.
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
    if subject.reads_bodies() {
        plugin["allow_on_headers_stop_iteration"] = true.into();
    }
    json!({
        "name": "sidegate",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": plugin,
        },
    })
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
