//! Istio: the plugin as a `WasmPlugin` or a `TrafficExtension`, and what its mesh must know of the servers that policies
//! call.

use serde_json::{Map, Value, json};

use super::Subject;
use super::servers::Server;

/// `extensions.istio.io/v1alpha1` `WasmPlugin`, with services and TLS of the servers.
pub fn wasm_plugin(subject: &Subject<'_>) -> Result<Vec<Value>, String> {
    let mut spec = targets(subject)?;
    spec.extend(plugin(subject)?);
    all(subject, "WasmPlugin", spec)
}

/// `extensions.istio.io/v1alpha1` `TrafficExtension`, which Istio has since 1.30.
pub fn traffic_extension(subject: &Subject<'_>) -> Result<Vec<Value>, String> {
    let mut spec = targets(subject)?;
    spec.insert("wasm".to_owned(), Value::Object(plugin(subject)?));
    all(subject, "TrafficExtension", spec)
}

fn all(subject: &Subject<'_>, kind: &str, spec: Map<String, Value>) -> Result<Vec<Value>, String> {
    subject.without_bodies("Istio")?;
    let plugin = json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": kind, "metadata": subject.metadata(None), "spec": spec,
    });
    let mut manifests = vec![plugin];
    for server in &subject.servers {
        manifests.extend(service_entry(subject, server));
        manifests.extend(destination_rule(subject, server));
    }
    Ok(manifests)
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
