//! However many rules there are, those that are about others cost nothing.

use serde_json::{Value, json};
use sidegate_engine::east_west::{Facts, Identity, SpiffeId};
use sidegate_engine::{Headers, Policy};

const MANY: usize = 100_000;

fn policy(name: usize, rules: &Value, action: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
        "metadata": {"name": format!("p{name}"), "namespace": "prod"},
        "spec": {"targetRefs": [{"kind": "Pod", "selector": {}}], "action": action, "enforcementLevel": "Application", "rules": rules},
    })
}

fn compile(policies: Vec<Value>) -> Policy {
    let configuration = json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": policies, "workload": {"namespace": "prod"},
    });
    Policy::compile(configuration.to_string().as_bytes()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn account(number: usize) -> Value {
    json!({"type": "ServiceAccount", "serviceAccount": {"namespace": format!("ns-{}", number % 100), "name": format!("sa-{number}")}})
}

/// Whether a caller is let in, and how many rules are looked at.
fn call(policy: &Policy, number: usize, port: u16, path: &str) -> (bool, usize) {
    let id = format!("spiffe://cluster.local/ns/ns-{}/sa/sa-{number}", number % 100);
    let identity = Identity::Known(SpiffeId::parse(&id).unwrap());
    let headers = Headers::from_pairs([(":method", "GET"), (":path", path), (":authority", "api")]);
    let http = Some(sidegate_engine::east_west::Http { headers: &headers, tokens: Some(&[]) });
    let facts = Facts { port: Some(port), http, ..Facts::of(&identity) };
    let workload = policy.workload().unwrap();
    (workload.decide(&facts).allowed, workload.looks(&facts))
}

#[test]
fn identities_in_one_rule() {
    let policy = compile(vec![policy(0, &json!([{"sources": (0..MANY).map(account).collect::<Vec<_>>()}]), "ALLOW")]);
    assert_eq!(call(&policy, 7, 80, "/"), (true, 1));
    assert_eq!(call(&policy, MANY - 1, 80, "/"), (true, 1));
    assert_eq!(call(&policy, MANY, 80, "/"), (false, 0));
    assert_eq!(policy.workload().unwrap().values(), MANY);
}

#[test]
fn identities_in_rules_of_their_own() {
    let rules: Vec<_> = (0..MANY)
        .map(|number| json!({"sources": [account(number)], "networkAttributes": {"ports": [80, 8080]}}))
        .collect();
    let policy =
        compile(rules.chunks(100).enumerate().map(|(name, rules)| policy(name, &json!(rules), "ALLOW")).collect());
    assert_eq!(call(&policy, 7, 80, "/"), (true, 1));
    assert_eq!(call(&policy, MANY - 1, 8080, "/"), (true, 1));
    assert_eq!(call(&policy, 7, 81, "/"), (false, 1));
    assert_eq!(call(&policy, MANY, 80, "/"), (false, 0));
}

#[test]
fn the_rarest_values_are_looked_for() {
    // One caller, one port, and paths or ports that differ.
    let by_path = (0..1_000).map(|number| {
        let paths = json!([{"type": "PathPrefix", "value": format!("/p{number}")}]);
        json!({"sources": [account(1)], "networkAttributes": {"ports": [80]}, "applicationAttributes": {"paths": paths}})
    });
    let by_port = (1_000..2_000).map(|port| json!({"sources": [account(1)], "networkAttributes": {"ports": [port]}}));
    let template = (0..1_000).map(|number| {
        let paths = json!([{"type": "Template", "value": format!("/t/{{*}}/{number}/{{**}}")}]);
        json!({"applicationAttributes": {"paths": paths, "methods": ["GET"]}})
    });
    let pairs = (0..1_000).map(|number| {
        let cidr = json!({"type": "CIDR", "cidr": {"address": "Client", "blocks": ["10.0.0.0/8"]}});
        json!({"sources": [{"type": "AllOf", "allOf": [cidr, account(5_000 + number)]}]})
    });
    for (rules, fits, misses) in [
        (by_path.collect::<Vec<_>>(), (1, 80, "/p7/x"), (1, 80, "/q")),
        (by_port.collect(), (1, 1_007, "/"), (1, 80, "/")),
        (template.collect(), (1, 80, "/t/x/7/y"), (1, 80, "/t/x/7")),
    ] {
        let policy = compile(vec![policy(0, &json!(rules), "ALLOW")]);
        assert_eq!(call(&policy, fits.0, fits.1, fits.2), (true, 1));
        assert_eq!(call(&policy, misses.0, misses.1, misses.2), (false, 0));
    }
    let grid = (0..900)
        .map(|number| json!({"sources": [account(number / 30)], "networkAttributes": {"ports": [100 + number % 30]}}));
    let grid = compile(vec![policy(0, &json!(grid.collect::<Vec<_>>()), "ALLOW")]);
    assert_eq!(call(&grid, 29, 129, "/"), (true, 30));
    assert_eq!(call(&grid, 29, 130, "/"), (false, 30));
    let policy = compile(vec![policy(0, &json!(pairs.collect::<Vec<_>>()), "DENY")]);
    // The address of the client is not known here, so a denial by it holds.
    assert_eq!(call(&policy, 5_007, 80, "/"), (false, 1));
    assert_eq!(call(&policy, 7, 80, "/"), (true, 0));
}

#[test]
fn ten_thousand_policies_of_a_mesh_are_read_and_a_workload_takes_its_own() {
    let policies = (0..10_000).map(|number| {
        let mut policy = policy(number, &json!([{"sources": [account(number), account(number + 1)]}]), "ALLOW");
        policy["metadata"]["namespace"] =
            json!(if number % 1_000 == 0 { "prod".to_owned() } else { format!("other-{}", number % 97) });
        policy
    });
    let policy = compile(policies.collect());
    assert_eq!(policy.workload().unwrap().objects().count(), 10);
    assert_eq!(call(&policy, 1_001, 80, "/"), (true, 1));
    assert_eq!(call(&policy, 1_002, 80, "/"), (false, 0));
}
