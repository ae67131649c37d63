//! Istio's policies: whatever one says, it is refused or decides, its values are read without a panic, and strict mode lets in
//! nobody whom `Compat` keeps out. Hosts are left out, which lose their ports in strict mode.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sidegate_engine::east_west::{Chain, Facts, Http, Identity, SpiffeId, address};
use sidegate_engine::{Headers, Policy};

const SOURCES: [&str; 14] = [
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];

const OPERATIONS: [&str; 6] = ["paths", "notPaths", "methods", "notMethods", "ports", "notPorts"];

const ACTIONS: [&str; 4] = ["ALLOW", "DENY", "AUDIT", "CUSTOM"];

type Fields<'a> = Vec<(u8, Vec<&'a str>)>;

fn object(names: &[&str], fields: &Fields<'_>) -> Value {
    let named =
        fields.iter().filter_map(|(name, values)| Some((*names.get(usize::from(*name) % names.len())?, values)));
    Value::Object(named.map(|(name, values)| (name.to_owned(), json!(values))).collect())
}

fn configuration(mode: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig",
        "resources": [{
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": { "name": "a", "namespace": "foo" }, "spec": spec,
        }],
        "workload": { "namespace": "foo", "labels": {} },
        "options": { "eastWest": {
            "lenient": true, "peerAddress": { "sourceAddress": true }, "trustDomainAliases": ["td1"],
            "istio": { "mode": mode },
        } },
    })
    .to_string()
}

fuzz_target!(|input: (u8, Fields<'_>, Fields<'_>, &str, Vec<&str>, (&str, &str, &str, &str))| {
    let (action, source, operation, key, values, (id, path, header, subject)) = input;
    let spec = json!({ "action": ACTIONS[usize::from(action) % ACTIONS.len()], "rules": [{
        "from": [{ "source": object(&SOURCES, &source) }],
        "to": [{ "operation": object(&OPERATIONS, &operation) }],
        "when": [{ "key": key, "values": values }],
    }] });
    let identity = SpiffeId::parse(id).map_or_else(Identity::Invalid, Identity::Known);
    let pairs = [(":method", "GET"), (":path", path), (":authority", "a"), ("x", header), ("x", subject)];
    let headers = Headers::from_pairs(pairs);
    let tokens = [json!({ "iss": "a", "sub": subject, "aud": [header] })];
    let decide = |mode, chain| {
        let policy = Policy::compile_for(chain, configuration(mode, &spec).as_bytes()).ok()?;
        let facts = Facts {
            port: Some(80),
            peer: address("10.0.0.1"),
            client: address("10.0.0.2"),
            http: (chain == Chain::Http).then_some(Http { headers: &headers, tokens: Some(&tokens) }),
            ..Facts::of(&identity)
        };
        Some(policy.workload()?.decide(&facts).allowed)
    };
    for chain in [Chain::Http, Chain::Tcp] {
        if let (Some(true), Some(false)) = (decide("Strict", chain), decide("Compat", chain)) {
            panic!("strict mode is wider: {spec}");
        }
    }
});
