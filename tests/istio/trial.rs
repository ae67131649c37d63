//! Policies that are tried out: what Istio's filters and Sidegate say would come of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::golden::Pair;
use crate::stage::Side;

/// The file that decisions are logged in.
pub const LOG: &str = "trials.log";

/// By the listener, and the number of the request, or the address that a connection comes from.
pub type Lines = BTreeMap<(String, String), Value>;

/// The header with the number.
pub const NUMBER: &str = "x-number";

/// Logs what is said of each request or connection.
pub fn access_log(folder: &Path, listener: &str) -> Value {
    json!({ "name": "trials", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": folder.join(LOG),
        "log_format": { "json_format": {
            "listener": listener,
            "from": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
            "number": format!("%REQ({NUMBER})%"),
            "http": "%DYNAMIC_METADATA(envoy.filters.http.rbac)%",
            "tcp": "%DYNAMIC_METADATA(envoy.filters.network.rbac)%",
            "sidegate": "%FILTER_STATE(wasm.sidegate.shadow:PLAIN)%",
        } },
    } })
}

/// Whether policies are tried out in it.
pub fn is_one(pair: &Pair) -> bool {
    pair.policies.iter().any(|policy| policy.pointer("/metadata/annotations/istio.io~1dry-run").is_some())
}

/// What was logged, once it is so many lines.
///
/// # Errors
/// They do not come.
pub fn read(folder: &Path, wanted: impl Fn(&Lines) -> bool) -> Result<Lines, String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(folder.join(LOG)).unwrap_or_default();
        let mut lines = Lines::new();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let call = line["number"].as_str().or_else(|| line["from"].as_str());
            if let (Some(listener), Some(call)) = (line["listener"].as_str(), call) {
                lines.insert((listener.to_owned(), call.to_owned()), line);
            }
        }
        if wanted(&lines) {
            return Ok(lines);
        }
        if Instant::now() > end {
            return Err(format!("{} decisions are logged alone", lines.len()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether a caller would be let in if all were enforced; `allowed`: as it is.
pub fn would_allow(pair: &Pair, side: Side, line: &Value, allowed: bool) -> bool {
    if side != Side::Istio {
        return line["sidegate"].as_str().filter(|said| *said != "-").map_or(allowed, |said| said.starts_with("allow"));
    }
    let said = |action: &str| {
        let name = format!("istio_dry_run_{action}_shadow_engine_result");
        [&line["http"], &line["tcp"]]
            .into_iter()
            .find_map(|metadata| metadata[&name].as_str().map(|it| it == "allowed"))
    };
    // Istio tries out those that let in apart from those that keep out, and both apart from what is enforced.
    let enforced = |filter: &Value| filter["typedConfig"].get("rules").is_some();
    let lets_in = pair.filters.iter().any(enforced).then_some(allowed);
    let any_lets_in = match (lets_in, said("allow")) {
        (None, None) => true,
        (lets_in, would) => lets_in == Some(true) || would == Some(true),
    };
    any_lets_in && said("deny") != Some(false)
}
