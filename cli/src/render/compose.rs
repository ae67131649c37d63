//! A project for Docker Compose: Envoy with the module, and an upstream, which is an Envoy too, that tells what it got.

use serde_json::{Value, json};

use super::{Subject, envoy};
use crate::emit;

const IMAGE: &str = "envoyproxy/envoy:v1.40.0";

/// The service of the proxy.
const PROXY: &str = "envoy";

pub fn project(subject: &Subject<'_>) -> Result<Value, String> {
    let (host, port) = subject.upstream();
    if host == PROXY {
        return Err(format!("`--upstream`: `{PROXY}` is the proxy itself: name what is protected otherwise"));
    }
    let module = subject.arguments.module.as_deref().unwrap_or(envoy::MODULE);
    let ports: Vec<String> = subject.requests().iter().map(|port| format!("{port}:{port}")).collect();
    let listens = subject.requests().map(|port| {
        json!({ "test": ["CMD", "bash", "-c", format!("</dev/tcp/localhost/{port}")], "interval": "1s", "retries": 60 })
    });
    let service = |config: &str| {
        json!({
            "image": IMAGE,
            "command": ["envoy", "-c", "/etc/envoy/envoy.yaml"],
            "configs": [{ "source": config, "target": "/etc/envoy/envoy.yaml" }],
        })
    };
    let mut proxy = service("envoy");
    proxy["volumes"] = json!([format!("./sidegate.wasm:{module}:ro")]);
    proxy["ports"] = json!(ports);
    proxy["depends_on"] = json!([host]);
    proxy["healthcheck"] = json!(listens);
    Ok(json!({
        "services": { PROXY: proxy, host: service("upstream") },
        "configs": {
            "envoy": { "content": content(&envoy::bootstrap(subject)) },
            "upstream": { "content": content(&envoy::upstream(port)) },
        },
    }))
}

/// Compose fills in what begins with `$`.
fn content(bootstrap: &Value) -> String {
    emit::document(bootstrap).replace('$', "$$")
}
