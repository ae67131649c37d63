//! Policies over identity, as JSON of one, and a request: none is let in that a denial of everybody is about.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sidegate_engine::east_west::{Facts, Http, Identity, SpiffeId};
use sidegate_engine::{Headers, Policy};

fuzz_target!(|input: (&[u8], &str, u16)| {
    let (spec, path, port) = input;
    let Ok(spec) = serde_json::from_slice::<Value>(spec) else { return };
    let document = |spec: Value| {
        json!({
            "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
            "metadata": {"name": "a", "namespace": "prod"}, "spec": spec,
        })
    };
    let everybody = json!({
        "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
        "metadata": {"name": "deny", "namespace": "prod"},
        "spec": {"targetRefs": [{"kind": "Pod", "selector": {}}], "action": "DENY", "enforcementLevel": "Network", "rules": [{}]},
    });
    let configuration = json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [document(spec), everybody],
        "workload": {"namespace": "prod"},
        "options": {"eastWest": {"lenient": true, "peerAddress": {"filterState": "x"}}},
    });
    let policy = match Policy::compile(configuration.to_string().as_bytes()) {
        Ok(policy) => policy,
        Err(problems) => return assert!(!problems.is_empty(), "a configuration is refused without a reason"),
    };
    let workload = policy.workload().expect("it is named");
    let headers = Headers::from_pairs([(":path", path), (":method", "GET"), (":authority", "a")]);
    for identity in
        [Identity::Absent, Identity::Known(SpiffeId::parse("spiffe://cluster.local/ns/a/sa/b").expect("it is one"))]
    {
        for http in [None, Some(Http { headers: &headers, tokens: Some(&[]) })] {
            let facts = Facts { port: Some(port), http, ..Facts::of(&identity) };
            assert!(!workload.decide(&facts).allowed);
        }
    }
});
