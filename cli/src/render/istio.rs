//! Istio: the plugin as a `WasmPlugin` or a `TrafficExtension`, and what its mesh must know of the servers that policies
//! call.

use serde_json::{Map, Value, json};

use super::Subject;
use super::servers::Server;

/// `extensions.istio.io/v1alpha1` `WasmPlugin`, with services and TLS of the servers.
pub fn wasm_plugin(subject: &Subject<'_>) -> Result<Vec<Value>, String> {
    all(subject, "WasmPlugin", |mut spec, plugin| {
        spec.extend(plugin);
        spec
    })
}

/// `extensions.istio.io/v1alpha1` `TrafficExtension`, which Istio has since 1.30.
pub fn traffic_extension(subject: &Subject<'_>) -> Result<Vec<Value>, String> {
    all(subject, "TrafficExtension", |mut spec, plugin| {
        spec.insert("wasm".to_owned(), plugin.into());
        spec
    })
}

type Fields = Map<String, Value>;

fn all(subject: &Subject<'_>, kind: &str, join: fn(Fields, Fields) -> Fields) -> Result<Vec<Value>, String> {
    subject.without_bodies("Istio")?;
    let extension = |suffix: &str, spec: Fields| {
        json!({
            "apiVersion": "extensions.istio.io/v1alpha1", "kind": kind, "metadata": named(subject, suffix), "spec": spec,
        })
    };
    let mut manifests = vec![extension("", join(targets(subject)?, plugin(subject)?))];
    let ports = &subject.arguments.tcp;
    if !ports.is_empty() {
        let mut targets = targets(subject)?;
        let numbers: Vec<Value> = ports.iter().map(|port| json!({ "number": port })).collect();
        targets.insert("match".to_owned(), json!([{ "mode": "SERVER", "ports": numbers }]));
        let mut plugin = plugin(subject)?;
        plugin.insert("type".to_owned(), "NETWORK".into());
        plugin.insert("pluginName".to_owned(), "sidegate_tcp".into());
        manifests.push(extension("-tcp", join(targets, plugin)));
        manifests.push(waiting_for_handshake(subject)?);
    }
    for server in &subject.servers {
        manifests.extend(service_entry(subject, server));
        manifests.extend(destination_rule(subject, server));
    }
    Ok(manifests)
}

/// The metadata of the manifest, under a name of its own.
fn named(subject: &Subject<'_>, suffix: &str) -> Value {
    let mut metadata = subject.metadata(None);
    metadata["name"] = format!("{}{suffix}", metadata["name"].as_str().unwrap_or_default()).into();
    metadata
}

/// Istio writes `tcp_proxy` itself, and has no field for when the server is dialled.
fn waiting_for_handshake(subject: &Subject<'_>) -> Result<Value, String> {
    let mut value = super::envoy::waiting_for_handshake();
    value["@type"] = super::envoy::TCP_PROXY.into();
    let patches = subject.arguments.tcp.iter().map(|port| {
        json!({
            "applyTo": "NETWORK_FILTER",
            "match": {
                "context": "SIDECAR_INBOUND",
                "listener": {
                    "filterChain": { "destinationPort": port, "filter": { "name": "envoy.filters.network.tcp_proxy" } },
                },
            },
            "patch": { "operation": "MERGE", "value": { "typed_config": value } },
        })
    });
    let mut spec = json!({ "configPatches": patches.collect::<Vec<_>>() });
    let labels = subject.selector()?;
    if !labels.is_empty() {
        spec["workloadSelector"] = json!({ "labels": labels });
    }
    Ok(json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": named(subject, "-tcp"), "spec": spec,
    }))
}

/// Manifests without those that are there already.
pub fn each_once(mut manifests: Vec<Value>) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    manifests.retain(|manifest| {
        let same = |other: &Value| other["kind"] == manifest["kind"] && other["metadata"] == manifest["metadata"];
        let known = manifest.get("metadata").is_some() && seen.iter().any(same);
        seen.push(manifest.clone());
        !known
    });
    manifests
}

/// Whom it is for, and where in the chain it stands: after Istio's own authentication.
fn targets(subject: &Subject<'_>) -> Result<Map<String, Value>, String> {
    let mut spec = Map::from_iter([("phase".to_owned(), "AUTHZ".into())]);
    if let Some(target) = subject.target()? {
        spec.insert("targetRefs".to_owned(), json!([target]));
    }
    let labels = subject.selector()?;
    if !labels.is_empty() {
        spec.insert("selector".to_owned(), json!({ "matchLabels": labels }));
    }
    Ok(spec)
}

/// The fields that both kinds have.
fn plugin(subject: &Subject<'_>) -> Result<Map<String, Value>, String> {
    let mut fields = Map::from_iter([
        ("url".to_owned(), subject.module()?.into()),
        ("pluginName".to_owned(), "sidegate".into()),
        // A new VM in place of one that died; until then every request is denied. Istio has it since 1.27.
        ("failStrategy".to_owned(), "FAIL_RELOAD".into()),
        ("pluginConfig".to_owned(), subject.plugin_config.clone()),
    ]);
    fields.extend(subject.arguments.sha256.iter().map(|sha256| ("sha256".to_owned(), sha256.as_str().into())));
    Ok(fields)
}

/// A server outside is made known to the mesh; a service of the cluster is known.
fn service_entry(subject: &Subject<'_>, server: &Server) -> Option<Value> {
    if server.named || server.is_in_cluster() {
        return None;
    }
    let protocol = match (server.grpc, server.is_tls()) {
        (true, _) => "GRPC",
        (false, true) => "HTTPS",
        (false, false) => "HTTP",
    };
    let port = server.url.port;
    let name = format!("{}-{port}", protocol.to_lowercase());
    Some(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": subject.metadata(Some(server)),
        "spec": {
            "hosts": [server.istio_host()],
            "location": "MESH_EXTERNAL",
            "ports": [{ "number": port, "name": name, "protocol": protocol }],
            "resolution": "DNS",
        },
    }))
}

/// The proxy begins TLS, and looks at the certificate.
fn destination_rule(subject: &Subject<'_>, server: &Server) -> Option<Value> {
    if server.named || !server.is_tls() {
        return None;
    }
    let host = &server.url.host;
    let mut tls = json!({ "mode": "SIMPLE", "sni": host, "subjectAltNames": [host] });
    if server.kubernetes {
        tls["caCertificates"] = subject.ca_file(server).into();
    }
    Some(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": subject.metadata(Some(server)),
        "spec": {
            "host": server.istio_host(),
            "trafficPolicy": { "portLevelSettings": [{ "port": { "number": server.url.port }, "tls": tls }] },
        },
    }))
}
