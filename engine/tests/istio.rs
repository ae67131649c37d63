//! Istio's policies: what is told of what is not carried over, or cannot be.

use serde_json::{Value, json};
use sidegate_engine::Policy;
use sidegate_engine::east_west::Chain;

fn configuration(name: &str, spec: &Value, options: &Value) -> String {
    json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig",
        "resources": [{
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": "foo"}, "spec": spec,
        }],
        "workload": {"namespace": "foo", "labels": {"app": "httpbin"}},
        "options": {"eastWest": options},
    })
    .to_string()
}

fn compiled(spec: &Value, options: &Value) -> Result<Policy, Vec<String>> {
    let compiled = Policy::compile(configuration("httpbin", spec, options).as_bytes());
    compiled.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn notes(spec: &Value) -> Vec<String> {
    let policy = compiled(spec, &json!({})).unwrap();
    let notes = policy.mesh().unwrap().notes().iter();
    notes.map(|note| note.to_string().replace("Istio AuthorizationPolicy foo/httpbin: ", "")).collect()
}

fn problems(spec: &Value) -> Vec<String> {
    let problems = compiled(spec, &json!({})).unwrap_err();
    problems.iter().map(|problem| problem.replace("Istio AuthorizationPolicy foo/httpbin: ", "")).collect()
}

fn starts(told: &[String], expected: &[&str]) {
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told} is not {expected}");
    }
}

#[test]
fn nothing_is_said_of_what_is_carried_over() {
    let spec = json!({
        "selector": {"matchLabels": {"app": "httpbin"}},
        "rules": [{"from": [{"source": {"principals": ["*"], "namespaces": ["a*b*c"], "requestPrincipals": ["a/b"]}}],
                   "to": [{"operation": {"paths": ["/a", "/a/{*}"], "ports": ["80"]}}],
                   "when": [{"key": "request.headers[a]", "values": ["x*"]}]}],
    });
    assert!(notes(&spec).is_empty());
}

#[test]
fn what_is_not_as_it_looks_is_noted_by_its_path() {
    starts(
        &notes(&json!({"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]})),
        &["spec.action: nobody asks"],
    );
    starts(
        &notes(&json!({"action": "DENY", "provider": {"name": "x"}})),
        &["spec.provider: goes with", "spec.rules: there"],
    );
    let references = json!([
        {"kind": "Service", "name": "a"},
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "a", "namespace": "bar"},
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "a"},
    ]);
    starts(
        &notes(&json!({"targetRefs": references})),
        &["spec.targetRefs[0]: is not carried over: `Service`", "spec.targetRefs[1]: is not carried over: a policy"],
    );
    let source = json!({"principals": ["spiffe://a/b", "a*b"], "requestPrincipals": ["alice"]});
    starts(
        &notes(&json!({"rules": [{"from": [{"source": source}]}]})),
        &[
            "spec.rules[0].from[0].source.principals[0]: fits nobody",
            "spec.rules[0].from[0].source.principals[1]: has a `*`",
            "spec.rules[0].from[0].source.requestPrincipals[0]: has no `/`",
        ],
    );
    let paths = json!([{"to": [{"operation": {"paths": ["/a//b", "/a/{*}", "/a", "b", "/a;x"]}}]}]);
    starts(
        &notes(&json!({"rules": paths})),
        &[
            "spec.rules[0].to[0].operation.paths[0]: fits no request",
            "spec.rules[0].to[0].operation.paths[3]: fits no request",
            "spec.rules[0].to[0].operation.paths[4]: fits no request",
        ],
    );
    starts(&notes(&json!({"action": "DENY", "rules": paths})), &["spec.rules[0]: looks at HTTP alone"]);
}

#[test]
fn what_is_not_valid_is_refused_by_its_path() {
    starts(
        &problems(&json!({"selector": {}, "targetRefs": [{"kind": "Service", "name": "a"}]})),
        &["spec: has more than"],
    );
    starts(&problems(&json!({"selector": {"matchLabels": {"a": "*"}}})), &["spec.selector.matchLabels: labels"]);
    let rule = json!({
        "from": [{"source": {}}, {}, {"source": {"serviceAccounts": ["a/b/c", "*"], "namespaces": ["x"]}},
                 {"source": {"trustDomains": ["a*b", "A"], "remoteIpBlocks": ["x"], "principals": [""]}}],
        "to": [],
        "when": [{"key": "destination.labels[a]", "values": ["b"]}, {"key": "source.ip"}, {"key": "request.headers", "values": ["a"]},
                 {"key": "destination.port", "notValues": ["+80", "65536", ""]}],
    });
    starts(
        &problems(&json!({"action": "DENY", "rules": [rule]})),
        &[
            "spec.rules[0].from[0].source: must not be empty",
            "spec.rules[0].from[1].source: must not be empty",
            "spec.rules[0].from[2].source.serviceAccounts[0]: `a/b/c` is neither",
            "spec.rules[0].from[2].source.serviceAccounts[1]: `*` is neither",
            "spec.rules[0].from[2].source: has `serviceAccounts` beside",
            "spec.rules[0].from[3].source.principals[0]: is empty",
            "spec.rules[0].from[3].source.trustDomains[0]: `a*b` has",
            "spec.rules[0].from[3].source.trustDomains[1]: `A`: a trust domain",
            "spec.rules[0].from[3].source.remoteIpBlocks[0]: `x` is no IP",
            "spec.rules[0].to: must not be empty",
            "spec.rules[0].when[0].key: `destination.labels[a]` is no attribute",
            "spec.rules[0].when[1]: needs `values`",
            "spec.rules[0].when[2].key: `request.headers` is no attribute",
            "spec.rules[0].when[3].notValues[0]: `+80` is no port",
            "spec.rules[0].when[3].notValues[1]: `65536` is no port",
            "spec.rules[0].when[3].notValues[2]: is empty",
        ],
    );
}

#[test]
fn addresses_of_peers_need_somebody_who_sees_them() {
    let spec = json!({"rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}]});
    starts(&problems(&spec), &["spec.rules: has a CIDR of the peer"]);
    let policy = configuration("a", &spec, &json!({}));
    assert!(Policy::compile_for(Chain::Tcp, policy.as_bytes()).is_ok());
}

#[test]
fn the_name_that_istio_gives_a_rule_goes_with_the_record() {
    use sidegate_engine::east_west::{Facts, Identity};
    let policy = compiled(&json!({"action": "DENY", "rules": [{}]}), &json!({})).unwrap();
    let record = policy.workload().unwrap().decide(&Facts::of(&Identity::Absent)).to_json();
    assert_eq!(record["decider"], "foo/httpbin#0");
    assert_eq!(record["alias"], "ns[foo]-policy[httpbin]-rule[0]");
}
