//! A project for Docker Compose: Envoy with the module, and an upstream that tells what it got.

use serde_json::{Value, json};

use super::{Subject, envoy};
use crate::emit;

pub fn project(subject: &Subject<'_>) -> Value {
    let (host, _) = subject.upstream();
    let listen = subject.arguments.listen;
    // Compose fills in what begins with `$`.
    let bootstrap = emit::document(&envoy::bootstrap(subject)).replace('$', "$$");
    let module = subject.arguments.module.as_deref().unwrap_or("/etc/envoy/sidegate.wasm");
    json!({
        "services": {
            "envoy": {
                "image": "envoyproxy/envoy:v1.40.0",
                "command": ["envoy", "-c", "/etc/envoy/envoy.yaml"],
                "configs": [{ "source": "envoy", "target": "/etc/envoy/envoy.yaml" }],
                "volumes": [format!("./sidegate.wasm:{module}:ro")],
                "ports": [format!("{listen}:{listen}")],
                "depends_on": [host],
            },
            host: { "image": "traefik/whoami" },
        },
        "configs": { "envoy": { "content": bootstrap } },
    })
}
