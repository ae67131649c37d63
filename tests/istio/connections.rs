//! Golden files for connections, and what of those for requests is about connections too.

use std::path::Path;

use serde_json::{Value, json};
use sidegate_engine::east_west::Chain;

use crate::golden::{LOCAL, Pair, documents, enforce};

/// As Istio's `builder_test.go` pairs them, of `CUSTOM` what chooses whom the provider is asked about.
const GOLDEN: [(&str, &[&str]); 7] = [
    ("allow-both-http-tcp", &["allow-both-http-tcp-out"]),
    ("allow-only-http", &["allow-only-http-out"]),
    ("audit-both-http-tcp", &["audit-both-http-tcp-out"]),
    ("custom-both-http-tcp", &["custom-both-http-tcp-out1"]),
    ("custom-only-http", &[]),
    ("deny-both-http-tcp", &["deny-both-http-tcp-out"]),
    ("dry-run-mix", &["dry-run-mix-out"]),
];

/// Words of fields and keys that connections do not have.
const OF_REQUESTS: [&str; 5] = ["equestPrincipals", "osts\"", "ethods\"", "aths\"", "\"request."];

/// All, whole and by single rules.
///
/// # Errors
/// A file is not as it is known.
pub fn pairs(folder: &Path) -> Result<Vec<Pair>, String> {
    let mut pairs = Vec::new();
    for (name, outputs) in GOLDEN {
        let policies = documents(&folder.join(format!("tcp/{name}-in.yaml")))?;
        let mut filters = Vec::new();
        for output in outputs {
            filters.extend(documents(&folder.join(format!("tcp/{output}.yaml")))?);
        }
        if name.starts_with("custom") {
            filters.iter_mut().for_each(enforce);
        }
        let name = format!("tcp/{name}");
        let pair = Pair { file: name.clone(), name, policies, filters, domains: LOCAL, chain: Chain::Tcp };
        pairs.extend(rules(&pair));
        pairs.push(pair);
    }
    Ok(pairs)
}

/// Each rule of a policy alone.
fn rules(pair: &Pair) -> Vec<Pair> {
    let [policy] = &pair.policies[..] else { return Vec::new() };
    let alone = |(number, rule): (usize, &Value)| {
        let mut alone = pair.clone();
        alone.name = format!("{} rule {number}", pair.name);
        alone.file = format!("{}, a rule each", pair.file);
        alone.policies[0]["spec"]["rules"] = json!([rule]);
        for filter in &mut alone.filters {
            if let Some(Value::Object(policies)) = filter.pointer_mut("/typedConfig/rules/policies") {
                policies.retain(|name, _| name.ends_with(&format!("-rule[{number}]")));
            }
        }
        alone
    };
    policy["spec"]["rules"].as_array().into_iter().flatten().enumerate().map(alone).collect()
}

/// The same of connections, if they have what it is about.
pub fn of_connections(pair: &Pair) -> Option<Pair> {
    let policies = serde_json::to_string(&pair.policies).ok()?;
    if OF_REQUESTS.iter().any(|word| policies.contains(word)) {
        return None;
    }
    let filter = |filter: &Value| {
        json!({ "name": "envoy.filters.network.rbac", "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
            "rules": filter["typedConfig"]["rules"], "statPrefix": "tcp.",
        } })
    };
    Some(Pair {
        name: format!("tcp: {}", pair.name),
        file: format!("{}, of connections", pair.file),
        filters: pair.filters.iter().map(filter).collect(),
        chain: Chain::Tcp,
        ..pair.clone()
    })
}
