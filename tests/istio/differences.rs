//! Why Sidegate may decide otherwise than Istio.

use std::collections::BTreeMap;

use serde::Deserialize;
use sidegate_engine::east_west::{Chain, SpiffeId};

use crate::calls::{Call, Who};
use crate::golden::Pair;
use crate::stage::Side;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    pub reason: String,
    modes: Vec<String>,
    /// Sidegate may let in whom Istio keeps out.
    #[serde(default)]
    wider: bool,
}

/// Those that are known, by name.
pub fn known() -> Result<BTreeMap<String, Difference>, String> {
    yaml_serde::from_str(include_str!("differences.yaml")).map_err(|error| format!("differences.yaml: {error}"))
}

/// The first of those that are known which a call is about; `allowed`: by Sidegate.
pub fn explains<'d>(
    known: &'d BTreeMap<String, Difference>,
    (pair, call): (&Pair, &Call),
    side: Side,
    allowed: bool,
) -> Option<&'d str> {
    let known = known.iter().filter(|(_, it)| it.modes.contains(&format!("{side:?}")) && (it.wider || !allowed));
    known.map(|(name, _)| name.as_str()).find(|name| is_about(name, pair, call))
}

fn is_about(name: &str, pair: &Pair, call: &Call) -> bool {
    let policies = serde_json::to_string(&pair.policies).unwrap_or_default().to_lowercase();
    let looks_at = |words: &[&str]| words.iter().any(|word| policies.contains(word));
    let uris: &[String] = if let Who::Uris(uris) = &call.who { uris } else { &[] };
    match name {
        "metadata-of-connections" => pair.chain == Chain::Tcp && looks_at(&["experimental.envoy.filters"]),
        "custom-of-connections" => pair.chain == Chain::Tcp && pair.filters.is_empty() && looks_at(&["custom"]),
        "several-names" => uris.len() > 1,
        "no-spiffe-id" => uris.iter().any(|uri| SpiffeId::parse(uri).is_err()),
        "no-name" => {
            call.who == Who::Host
                && looks_at(&["principals", "namespaces", "serviceaccounts", "trustdomains", "source."])
        }
        "host" => looks_at(&["hosts"]) && (call.host.contains(':') || call.host.ends_with('.')),
        "names-by-structure" => {
            let apart = |uri: &String| uri.contains("/x/ns/") || uri.contains("/k/v/");
            looks_at(&["namespace", "serviceaccount"]) && uris.iter().any(apart)
        }
        "path" => looks_at(&["paths"]) && ["//", "%", ";"].iter().any(|odd| call.path.contains(odd)),
        "header-lines" => {
            looks_at(&["request.headers"])
                && (call.headers.len() > 1 || call.headers.iter().any(|(_, it)| it.contains(',')))
        }
        _ => false,
    }
}
