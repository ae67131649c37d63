//! What people are told is what is done.

use serde_json::json;
use sidegate_engine::Policy;
use sidegate_engine::east_west::explain::{Candidates, Question, access_change, explain};
use sidegate_engine::east_west::object::{Value, Who};
use sidegate_engine::east_west::{Block, Chain, Facts, Identity, Pattern, SpiffeId};

use crate::made::Dice;
use crate::plain::World;

const CONFIGURATION: &str = r##"{
  "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig",
  "workload": {"namespace": "prod", "labels": {"app": "api"}},
  "resources": [
    {"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
     "metadata": {"name": "callers", "namespace": "prod"},
     "spec": {"targetRefs": [{"kind": "Pod", "selector": {"matchLabels": {"app": "api"}}}], "action": "ALLOW",
       "enforcementLevel": "Network", "rules": [
         {"name": "sleep", "sources": [{"type": "ServiceAccount", "serviceAccount": {"namespace": "foo", "name": "sleep"}}],
          "networkAttributes": {"ports": [8080]}},
         {"sources": [{"type": "Namespace", "namespace": "monitoring"}], "networkAttributes": {"ports": [9090]}}]}},
    {"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
     "metadata": {"name": "web", "namespace": "prod"},
     "spec": {"targetRefs": [{"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}}], "action": "ALLOW",
       "enforcementLevel": "Network"}},
    {"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
     "metadata": {"name": "elsewhere", "namespace": "other"},
     "spec": {"targetRefs": [{"kind": "Pod", "selector": {}}], "action": "ALLOW", "enforcementLevel": "Network"}},
    {"apiVersion": "sidegate.dev/v1alpha1", "kind": "ClusterAuthorizationPolicy", "metadata": {"name": "no-dev"},
     "spec": {"tier": "Admin", "priority": 10, "rules": [{"action": "Deny", "sources": [{"type": "Namespace", "namespace": "dev"}]}]}}
  ]
}"##;

fn facts(identity: &Identity) -> Facts<'_> {
    Facts { port: Some(8080), ..Facts::of(identity) }
}

fn known(text: &str) -> Identity {
    Identity::Known(SpiffeId::parse(text).unwrap())
}

#[test]
fn a_workload_is_explained() {
    let policy = Policy::compile(CONFIGURATION.as_bytes()).unwrap();
    let identity = known("spiffe://cluster.local/ns/foo/sa/web");
    let question = Question {
        workload: policy.workload().unwrap().workload().clone(),
        chain: Chain::Tcp,
        port: None,
        call: Some(facts(&identity)),
    };
    let explanation = explain(policy.mesh().unwrap(), &question).unwrap();
    let expected = "\
workload in namespace prod {app=api} of cluster.local
policy Admin/no-dev: Admin 10, ordered rules, Enforce: all namespaces, all pods
policy prod/callers: Namespace, ALLOW Network, Enforce: namespace prod, pods with app=api
port 8080: closed (at level Network by prod/callers)
port 8080: Deny namespace dev: Admin/no-dev#0
port 8080: Allow foo/sleep: prod/callers#0[sleep]
port 9090: closed (at level Network by prod/callers)
port 9090: Deny namespace dev: Admin/no-dev#0
port 9090: Allow namespace monitoring: prod/callers#1
port other: closed (at level Network by prod/callers)
port other: Deny namespace dev: Admin/no-dev#0
not selected prod/web: the selector does not fit the labels of the workload
look Admin: Admin/no-dev#0 Deny: no (namespace dev)
look Namespace ALLOW Network: prod/callers#0[sleep] Allow: no (foo/sleep)
look Namespace ALLOW Network: prod/callers#1 Allow: no (namespace monitoring)
decision DENY by implicit(Network) (Namespace)
";
    assert_eq!(explanation.to_string(), expected);
    let json = explanation.to_json();
    assert_eq!(
        json["ports"][0],
        json!({
            "port": "8080", "state": "closed", "why": "at level Network by prod/callers",
            "rules": ["Deny namespace dev: Admin/no-dev#0", "Allow foo/sleep: prod/callers#0[sleep]"],
        })
    );
    assert_eq!(json["decision"]["decider"], "implicit(Network)");
    assert_eq!(json["trace"][1]["failing"], "foo/sleep");
    assert_eq!(explain(policy.mesh().unwrap(), &question).unwrap(), explanation);
}

#[test]
fn the_trace_ends_where_the_decision_comes_from() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let world = dice.world();
        let policy = crate::compiled(&world);
        for _ in 0..5 {
            let call = dice.call();
            let question = Question {
                workload: policy.workload().unwrap().workload().clone(),
                chain: Chain::Http,
                port: None,
                call: Some(call.facts()),
            };
            let explanation = explain(policy.mesh().unwrap(), &question).unwrap();
            let decision = &explanation.to_json()["decision"];
            let decider = decision["decider"].as_str().unwrap().trim_end_matches("(unavailable)").to_owned();
            if decider == "identity-invalid" {
                continue;
            }
            let taken: Vec<_> = explanation.looked_at().filter(|look| look.ends_with(", taken")).collect();
            let effect = if decision["decision"] == "ALLOW" { "Allow" } else { "Deny" };
            let says = |look: &String| {
                look.contains(&format!(": {decider} {effect}")) || look.contains(&format!(": {decider} Pass"))
            };
            if decider.contains('#') {
                assert!(taken.iter().any(says), "seed {seed}: {decider} in {taken:#?}");
            } else {
                let last = taken.last().is_none_or(|look| look.contains(" Pass") || look.contains("ALLOW Network"));
                assert!(last, "seed {seed}: {decider} in {taken:#?}");
            }
        }
    }
}

/// Whatever call is decided otherwise without a policy, calls made up from the rules show that somebody's access changes.
#[test]
fn whose_access_changes_is_found() {
    let (mut changed, mut decided) = (0, 0);
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let world = dice.world_of(2, 1);
        let policy = crate::compiled(&world);
        let (mesh, workload) = (policy.mesh().unwrap(), policy.workload().unwrap().workload().clone());
        let fewer = crate::compiled(&World { policies: world.policies[1..].to_vec(), ..world });
        let without = fewer.mesh().unwrap();
        let (old, new) = (
            mesh.select(workload.clone(), Chain::Http).unwrap(),
            without.select(workload.clone(), Chain::Http).unwrap(),
        );
        let change = access_change([mesh, without], [workload.clone(), workload], Chain::Http, None).unwrap();
        // Where there is too much to try it all, that is said, and what is said to change does.
        if change.is_partly() {
            assert!(change.to_string().contains("not known beyond") && !change.is_nothing(), "seed {seed}: {change}");
            continue;
        }
        decided += 1;
        for _ in 0..150 {
            let call = dice.call();
            // What cannot be read, nobody asks of on purpose.
            if !call.is_readable() {
                continue;
            }
            let (before, after) = (old.decide(&call.facts()), new.decide(&call.facts()));
            if before.allowed != after.allowed {
                changed += 1;
                assert!(change.changes_access(), "seed {seed}: {call:?}: {before} -> {after}\n{change}");
                assert!(!after.allowed || change.allows_more(), "seed {seed}: {call:?}: {before} -> {after}\n{change}");
            }
        }
    }
    assert!(changed > 50 && decided >= 15, "{changed} in {decided} worlds");
}

/// Policies that select by one of several values, or by none of some, are told apart by each of them; tokens by whom they are for.
#[test]
fn what_only_some_workloads_see_is_found() {
    let compiled = |selector: serde_json::Value, audience: &str| {
        let configuration = json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "options": {"eastWest": {}},
            "workload": {"namespace": "prod"},
            "resources": [{
                "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
                "metadata": {"name": "a", "namespace": "prod"},
                "spec": {"targetRefs": [{"kind": "Pod", "selector": selector}], "action": "ALLOW",
                         "enforcementLevel": "Application",
                         "rules": [{"sources": [{"type": "JWT", "jwt": {"issuer": "idp", "audiences": [audience]}}]}]},
            }],
        });
        Policy::compile(configuration.to_string().as_bytes()).unwrap()
    };
    let of = |operator: &str, values: &[&str]| {
        let mut requirement = json!({"key": "app", "operator": operator});
        if !values.is_empty() {
            requirement["values"] = json!(values);
        }
        json!({"matchExpressions": [requirement]})
    };
    for (before, after, app) in [
        (of("In", &["a", "b"]), of("In", &["a"]), "b"),
        (of("In", &["a"]), of("In", &["a", "b", "c"]), "c"),
        (of("NotIn", &["a"]), of("NotIn", &["a", "b"]), "b"),
        (json!({}), of("DoesNotExist", &[]), "any"),
        (json!({}), of("NotIn", &["x"]), "x"),
    ] {
        let [before, after] = [before, after].map(|selector| compiled(selector, "api"));
        let [before, after] = [before.mesh().unwrap(), after.mesh().unwrap()];
        let workloads = Candidates::of([before, after]).workloads;
        let wanted = ("prod".to_owned(), [("app".to_owned(), app.to_owned())].into());
        assert!(workloads.contains(&wanted), "{app}: {workloads:?}");
    }
    let [before, after] = ["api", "shop"].map(|audience| compiled(json!({}), audience));
    let workload = before.workload().unwrap().workload().clone();
    let meshes = [before.mesh().unwrap(), after.mesh().unwrap()];
    let change = access_change(meshes, [workload.clone(), workload], Chain::Http, None).unwrap().to_string();
    for line in [
        "- port other: Allow token of idp with aud=api: prod/a#0",
        "+ port other: Allow token of idp with aud=shop: prod/a#0",
    ] {
        assert!(change.contains(line), "{line}: {change}");
    }
    assert!(change.contains("newly denied") && change.contains("newly allowed"), "{change}");
}

/// Whether rules look at what a stranger has, too: any identity, or any address.
fn mentions_all(value: &Value) -> bool {
    let all = |text| Block::parse(text).unwrap();
    match value {
        Value::Who(Who::TrustDomain(Pattern::Any) | Who::Namespace(Pattern::Any) | Who::Name(Pattern::Any)) => true,
        Value::Block(block) => *block == all("0.0.0.0/0") || *block == all("::/0"),
        _ => false,
    }
}

/// What is said of a port is what becomes of a connection of somebody whom no rule mentions.
#[test]
fn a_port_is_as_open_for_connections_as_it_is_said() {
    let stranger = known("spiffe://stranger.test/ns/stranger/sa/stranger");
    let address = Some("203.0.113.77".parse().unwrap());
    let mut seen = [0, 0];
    for seed in 0..2000 {
        let world = Dice::new(seed).world();
        let policy = crate::compiled(&world);
        let (mesh, workload) = (policy.mesh().unwrap(), policy.workload().unwrap().workload().clone());
        let rules = mesh.objects().flat_map(|object| &object.rules);
        let mut values = rules.flat_map(|rule| &rule.groups).flatten().flatten().flat_map(|term| &term.values);
        if values.any(mentions_all) {
            continue;
        }
        let question = Question { workload: workload.clone(), chain: Chain::Tcp, port: None, call: None };
        let explanation = explain(mesh, &question).unwrap().to_json();
        let selected = mesh.select(workload, Chain::Tcp).unwrap();
        for view in explanation["ports"].as_array().unwrap() {
            let port = view["port"].as_str().unwrap().parse().unwrap_or(1);
            let ruling = selected.decide(&Facts {
                port: Some(port),
                peer: address,
                client: address,
                destination: address,
                server_name: Some(""),
                ..Facts::of(&stranger)
            });
            seen[usize::from(ruling.allowed)] += 1;
            assert_eq!(view["state"] == "open", ruling.allowed, "seed {seed}: {view:#}: {ruling}");
        }
    }
    assert!(seen[0] > 300 && seen[1] > 100, "{seen:?}");
}

/// Over a connection a method cannot be read, so that a denial by it keeps everybody out; and so does one that is not valid.
#[test]
fn a_port_that_is_shut_is_not_said_to_be_open() {
    let said = |rule: serde_json::Value, chain| {
        let configuration = json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig",
            "workload": {"namespace": "prod", "labels": {"app": "api"}},
            "options": {"eastWest": {"lenient": true, "default": "Allow"}},
            "resources": [{
                "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
                "metadata": {"name": "kept-out", "namespace": "prod"},
                "spec": {"targetRefs": [{"kind": "Pod", "selector": {}}], "action": "DENY",
                         "enforcementLevel": "Application", "rules": [rule]},
            }],
        });
        let policy = Policy::compile(configuration.to_string().as_bytes()).unwrap();
        let workload = policy.workload().unwrap().workload().clone();
        let question = Question { workload, chain, port: None, call: None };
        let explanation = explain(policy.mesh().unwrap(), &question).unwrap().to_json();
        let text = |field: &str| explanation["ports"][0][field].as_str().unwrap().to_owned();
        (text("state"), text("why"))
    };
    let open = ("open".to_owned(), "the default".to_owned());
    let closed = ("closed".to_owned(), "prod/kept-out#0".to_owned());
    let deletes = json!({"applicationAttributes": {"methods": ["DELETE"]}});
    assert_eq!(said(deletes.clone(), Chain::Tcp), closed);
    assert_eq!(said(deletes, Chain::Http), open);
    let broken = json!({"sources": [{"type": "SPIFFE", "spiffe": "no ID"}]});
    assert_eq!(said(broken.clone(), Chain::Tcp), closed);
    assert_eq!(said(broken, Chain::Http), closed);
    let of_dev = json!({"sources": [{"type": "Namespace", "namespace": "dev"}],
                        "applicationAttributes": {"methods": ["DELETE"]}});
    assert_eq!(said(of_dev, Chain::Tcp), open);
}
