//! Envoy Gateway: an `EnvoyExtensionPolicy`.

use serde_json::{Value, json};

use super::Subject;

/// `gateway.envoyproxy.io/v1alpha1` `EnvoyExtensionPolicy`. It has no FAIL_RELOAD: a VM that died stays dead, and denies.
pub fn extension_policy(subject: &Subject<'_>) -> Result<Value, String> {
    subject.without_bodies("Envoy Gateway")?;
    let target = subject.target()?.ok_or("say by `--target` what it is for: `Gateway/NAME` or `HTTPRoute/NAME`")?;
    if !subject.selector()?.is_empty() {
        return Err("Envoy Gateway has no `--selector`: use `--target`".to_owned());
    }
    // Envoy Gateway makes names of clusters of its own, which a plugin cannot know beforehand.
    for server in &subject.servers {
        anstream::eprintln!(
            "note: {} must be had by a cluster `{}`, which this policy does not make",
            server.origin(),
            server.cluster
        );
    }
    let module = subject.module()?;
    let (kind, field, url) = match module.strip_prefix("oci://") {
        None if module.starts_with("https://") || module.starts_with("http://") => ("HTTP", "http", module),
        image => ("Image", "image", image.unwrap_or(module)),
    };
    let mut source = json!({ "url": url });
    if let Some(sha256) = &subject.arguments.sha256 {
        source["sha256"] = sha256.as_str().into();
    }
    let code = json!({ "type": kind, field: source });
    Ok(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyExtensionPolicy",
        "metadata": subject.metadata(None),
        "spec": {
            "targetRefs": [target],
            "wasm": [{ "name": "sidegate", "rootID": "sidegate", "failOpen": false, "code": code, "config": subject.plugin_config }],
        },
    }))
}
