//! What becomes of Linkerd's policies lets nobody in whom they keep out: for each way to be wider one question that is denied, and
//! one that is let in.

use serde_json::{Value, json};
use sidegate_engine::Policy;
use sidegate_engine::east_west::{Chain, Facts, Identity, SpiffeId, address};

use crate::{Ran, fed};

const WEB: &str = "spiffe://cluster.local/ns/n/sa/web";
const OTHER: &str = "spiffe://cluster.local/ns/n/sa/other";

fn document(kind: &str, name: &str, spec: &str) -> String {
    let version = if kind == "ServerAuthorization" { "v1beta1" } else { "v1alpha1" };
    format!(
        "apiVersion: policy.linkerd.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: n}}\nspec: {spec}\n---\n"
    )
}

fn server() -> String {
    document("Server", "s", "{podSelector: {matchLabels: {app: a}}, port: 8080}")
}

/// A policy about the Server, with what is written of its requirements.
fn policy(required: &str) -> String {
    document(
        "AuthorizationPolicy",
        "p",
        &format!("{{targetRef: {{group: policy.linkerd.io, kind: Server, name: s}}{required}}}"),
    )
}

/// One that requires a MeshTLSAuthentication.
fn with_identities(spec: &str) -> String {
    let required = ", requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: m}]";
    server() + &policy(required) + &document("MeshTLSAuthentication", "m", spec)
}

/// One that requires a NetworkAuthentication.
fn with_networks(spec: &str) -> String {
    let required = ", requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: NetworkAuthentication, name: m}]";
    server() + &policy(required) + &document("NetworkAuthentication", "m", spec)
}

fn authorization(client: &str) -> String {
    server() + &document("ServerAuthorization", "p", &format!("{{server: {{name: s}}, client: {client}}}"))
}

#[track_caller]
fn migrated(documents: &str) -> Ran {
    let ran = fed(&["migrate", "-f", "-"], documents);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran
}

/// Whether a connection to a port of the pods with `app: a` is let in by what has become ours.
#[track_caller]
fn lets_in(ran: &Ran, from: &str, peer: &str, port: u16) -> bool {
    let documents = ran.out.split("---\n").map(|text| yaml_serde::from_str(text).unwrap());
    let ours: Vec<Value> = documents.filter(|document: &Value| document["kind"] == "XAuthorizationPolicy").collect();
    let config = json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": ours,
        "workload": { "namespace": "n", "labels": { "app": "a" } },
    });
    let policy = Policy::compile_for(Chain::Tcp, config.to_string().as_bytes()).unwrap();
    let identity = match from {
        "nobody" => Identity::Absent,
        id => Identity::Known(SpiffeId::parse(id).unwrap()),
    };
    let facts = Facts { port: Some(port), peer: Some(address(peer).unwrap()), ..Facts::of(&identity) };
    policy.workload().unwrap().decide(&facts).allowed
}

/// Lets in nobody, and says so at a path.
#[track_caller]
fn lets_in_nobody(documents: &str, told: &str) {
    let ran = migrated(documents);
    assert!(ran.err.contains(told), "{told}: {}", ran.err);
    assert!(ran.out.contains("kind: XAuthorizationPolicy"), "{}", ran.out);
    for from in [WEB, OTHER, "nobody", "spiffe://td/ns/a/sa/b"] {
        assert!(!lets_in(&ran, from, "10.0.0.1", 8080), "{from}: {}", ran.out);
    }
}

#[test]
fn without_networks_the_cluster_is_meant_and_not_the_world() {
    for client in [
        "{unauthenticated: true}",
        "{unauthenticated: true, networks: []}",
        "{unauthenticated: true, network: [{cidr: 10.0.0.0/8}]}",
        "{meshTLS: {serviceAccounts: [{name: web}]}}",
    ] {
        lets_in_nobody(&authorization(client), "ServerAuthorization n/p: spec.client.networks: is not there");
    }
    let ran = migrated(&authorization("{unauthenticated: true, networks: [{cidr: 10.0.0.0/8}]}"));
    assert!(lets_in(&ran, "nobody", "10.0.0.1", 8080));
    assert!(!lets_in(&ran, "nobody", "11.0.0.1", 8080));
}

#[test]
fn of_stars_only_linkerds_are_wild() {
    for identity in [
        "spiffe://td/ns/a/*",
        "spiffe://td/*",
        "web.n.serviceaccount.identity.linkerd.*",
        "w*.n.serviceaccount.identity.linkerd.cluster.local",
        "web.*.serviceaccount.identity.linkerd.cluster.local",
        "web.n.serviceaccount.identity.*.cluster.local",
    ] {
        lets_in_nobody(&with_identities(&format!("{{identities: ['{identity}']}}")), "spec.identities[0]: `");
    }
    for reference in ["{kind: ServiceAccount, name: '*'}", "{kind: Namespace, name: '*'}", "{kind: Namespace}"] {
        lets_in_nobody(
            &with_identities(&format!("{{identityRefs: [{reference}]}}")),
            "spec.identityRefs[0]: is nobody",
        );
    }
    let ran = migrated(&with_identities("{identities: ['spiffe://td/ns/a/sa/b']}"));
    assert!(lets_in(&ran, "spiffe://td/ns/a/sa/b", "10.0.0.1", 8080));
    assert!(!lets_in(&ran, "spiffe://td/ns/a/sa/c", "10.0.0.1", 8080));
    let ran = migrated(&with_identities("{identities: ['*.n.serviceaccount.identity.linkerd.cluster.local']}"));
    assert!(lets_in(&ran, WEB, "10.0.0.1", 8080));
    assert!(!lets_in(&ran, "spiffe://cluster.local/ns/m/sa/web", "10.0.0.1", 8080));
    assert!(!lets_in(&ran, "nobody", "10.0.0.1", 8080));
}

#[test]
fn only_a_written_empty_list_requires_nothing() {
    for required in [
        "",
        ", requiredAuthenticationRef: [{kind: ServiceAccount, name: web}]",
        ", requiredAuthenticationRefs: {kind: ServiceAccount, name: web}",
        ", requiredAuthenticationRefs: ",
    ] {
        lets_in_nobody(&(server() + &policy(required)), "spec.requiredAuthenticationRefs: is no list");
    }
    for reference in [
        "{kind: ServiceAccount, name: '*'}",
        "{kind: ServiceAccount}",
        "{group: example.com, kind: ServiceAccount, name: web}",
        "{kind: Namespace, name: n}",
    ] {
        let required = format!(", requiredAuthenticationRefs: [{reference}]");
        lets_in_nobody(
            &(server() + &policy(&required)),
            "spec.requiredAuthenticationRefs[0]: is nothing that is known",
        );
    }
    let two = ", requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}, {kind: ServiceAccount, name: web}]";
    lets_in_nobody(&(server() + &policy(two)), "spec.requiredAuthenticationRefs[1]: is one too many");
    let ran = migrated(&(server() + &policy(", requiredAuthenticationRefs: []")));
    assert!(lets_in(&ran, "nobody", "10.0.0.1", 8080));
    assert!(!lets_in(&ran, "nobody", "10.0.0.1", 8081));
    let ran = migrated(&(server() + &policy(", requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]")));
    assert!(lets_in(&ran, WEB, "10.0.0.1", 8080));
    assert!(!lets_in(&ran, OTHER, "10.0.0.1", 8080));
}

#[test]
fn a_network_that_cannot_be_read_is_left_out() {
    for (network, told) in [
        ("{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 5]}", "spec.networks[0]: `except` has what is no block"),
        ("{cidr: 10.0.0.0/8, except: [10.1]}", "spec.networks[0]: `except` has what is no block"),
        ("{cidr: 10.0.0.0/8, except: 10.1.0.0/16}", "spec.networks[0]: `except` is no list"),
        ("{cidr: 10.0.0.0/8, exept: [10.1.0.0/16]}", "spec.networks[0].exept: is no field that is known"),
        ("{except: [10.1.0.0/16]}", "spec.networks[0]: `cidr` is no block"),
    ] {
        lets_in_nobody(&with_networks(&format!("{{networks: [{network}]}}")), told);
    }
    let ran = migrated(&with_networks("{networks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}"));
    assert!(lets_in(&ran, "nobody", "10.0.0.1", 8080));
    assert!(!lets_in(&ran, "nobody", "10.1.0.1", 8080));
}

#[test]
fn fields_that_nobody_knows_are_told() {
    let documents = "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: s, namespace: n}\nsepc: {}\n\
                     spec: {podSelector: {}, port: 1, acessPolicy: deny}\n---\n"
        .to_owned()
        + &document(
            "ServerAuthorization",
            "p",
            "{server: {name: s}, client: {meshTls: {}, meshTLS: {identites: [], serviceAccounts: [{nam: a}]}}}",
        );
    let ran = migrated(&documents);
    for path in [
        "Server n/s: sepc",
        "Server n/s: spec.acessPolicy",
        "ServerAuthorization n/p: spec.client.meshTls",
        "ServerAuthorization n/p: spec.client.meshTLS.identites",
        "ServerAuthorization n/p: spec.client.meshTLS.serviceAccounts[0].nam",
    ] {
        assert!(ran.err.contains(&format!("{path}: is no field that is known")), "{path}: {}", ran.err);
    }
}

#[test]
fn linkerds_default_policy_is_told_of() {
    let ran = migrated(&server());
    assert_eq!(ran.err.matches("options.eastWest.default: Deny").count(), 1, "{}", ran.err);
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: n\n  annotations: {config.linkerd.io/default-inbound-policy: deny}\n";
    let ran = migrated(namespace);
    let told = "<stdin>:5:17: note: Namespace n: metadata.annotations.config.linkerd.io/default-inbound-policy: is not carried over";
    assert!(ran.err.contains(told), "{}", ran.err);
    assert_eq!(migrated("apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n").err, "");
}

#[test]
fn a_name_is_one_port_of_all_workloads_or_none() {
    let server = document(
        "Server",
        "s",
        "{podSelector: {matchLabels: {app: a}}, port: http, accessPolicy: all-unauthenticated}",
    );
    // Two versions of one workload, which are alike but for their ports.
    let deployment = |name: &str, ports: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: n}}\nspec:\n  template:\n    metadata: {{labels: {{app: a}}}}\n    \
             spec: {{containers: [{{name: c, ports: {ports}}}]}}\n---\n"
        )
    };
    let v1 = deployment("v1", "[{name: http, containerPort: 8080}]");
    for other in ["[{name: http, containerPort: 9090}, {name: admin, containerPort: 8080}]", "[]"] {
        let documents = server.clone() + &v1 + &deployment("v2", other);
        lets_in_nobody(&documents, "Server n/s: spec.port: `http` is not the same port of all workloads");
        assert!(!lets_in(&migrated(&documents), "nobody", "10.0.0.1", 9090));
    }
    lets_in_nobody(&server, "Server n/s: spec.port: `http` is the name of a port, and no workload here says which");
    let ran = migrated(&(server + &v1 + &deployment("v2", "[{name: http, containerPort: 8080}]")));
    assert!(lets_in(&ran, "nobody", "10.0.0.1", 8080));
    assert!(!lets_in(&ran, "nobody", "10.0.0.1", 9090));
}

/// Nothing becomes ours, all stays, and that is told.
#[track_caller]
fn all_stays(documents: &str, told: &[&str]) {
    let ran = migrated(documents);
    assert!(!ran.out.contains("XAuthorizationPolicy"), "{}", ran.out);
    assert_eq!(ran.out, documents);
    told.iter().for_each(|told| assert!(ran.err.contains(told), "{told}: {}", ran.err));
}

#[test]
fn a_server_with_routes_stays_with_all_that_it_needs() {
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: n}\n\
                 spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: s}]}\n---\n";
    let documents = with_identities("{identities: ['*']}")
        + route
        + &document(
            "AuthorizationPolicy",
            "all",
            "{targetRef: {kind: Namespace, name: n}, requiredAuthenticationRefs: []}",
        )
        + &document("ServerAuthorization", "z", "{server: {name: s}, client: {unauthenticated: true}}");
    all_stays(
        &documents,
        &[
            "Server n/s: has the HTTPRoute `r`, and answers 404 to what fits no route",
            "AuthorizationPolicy n/p: spec.targetRef: is about the Server `s`, which stays",
            "AuthorizationPolicy n/all: spec.targetRef: is about the Server `s`, which stays",
            "ServerAuthorization n/z: spec.server: is about the Server `s`, which stays",
            "MeshTLSAuthentication n/m: is required by `p`, which stays",
        ],
    );
    // By a route of another Server it does not.
    let other = documents.replace("kind: Server, name: s}]}", "kind: Server, name: t}]}");
    assert!(lets_in(&migrated(&other), WEB, "10.0.0.1", 8080));
}

#[test]
fn authentications_go_only_with_all_that_need_them() {
    let ran = migrated(&with_identities("{identityRefs: [{kind: ServiceAccount, name: web}]}"));
    assert!(!ran.out.contains("MeshTLSAuthentication"), "{}", ran.out);
    assert!(lets_in(&ran, WEB, "10.0.0.1", 8080));
    let about_route = document(
        "AuthorizationPolicy",
        "of-a-route",
        "{targetRef: {group: policy.linkerd.io, kind: HTTPRoute, name: r}, requiredAuthenticationRefs: [{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: m}]}",
    );
    let ran = migrated(&(with_identities("{identityRefs: [{kind: ServiceAccount, name: web}]}") + &about_route));
    assert!(ran.out.contains("kind: MeshTLSAuthentication\nmetadata: {name: m"), "{}", ran.out);
    assert!(ran.err.contains("MeshTLSAuthentication n/m: is required by `of-a-route`, which stays"), "{}", ran.err);
    assert!(lets_in(&ran, WEB, "10.0.0.1", 8080));
    assert!(!lets_in(&ran, OTHER, "10.0.0.1", 8080));
    all_stays(
        &document("NetworkAuthentication", "m", "{networks: [{cidr: 10.0.0.0/8}]}"),
        &["NetworkAuthentication n/m: is required by no policy that is here"],
    );
}

#[test]
fn a_server_whose_pods_ours_cannot_select_stays() {
    let policies = policy(", requiredAuthenticationRefs: []");
    for (spec, told) in [
        ("{port: 8080}", "Server n/s: spec: has no `podSelector`"),
        ("{podSelector: , port: 8080}", "Server n/s: spec.podSelector: is no selector"),
        ("{podSelector: {matchLabel: {app: a}}, port: 8080}", "Server n/s: spec.podSelector: is no selector"),
        ("{podSelector: {matchLabels: {app: [a]}}, port: 8080}", "Server n/s: spec.podSelector: is no selector"),
    ] {
        all_stays(
            &(document("Server", "s", spec) + &policies),
            &[told, "AuthorizationPolicy n/p: spec.targetRef: is about the Server `s`"],
        );
    }
    assert!(lets_in(&migrated(&(server() + &policies)), "nobody", "10.0.0.1", 8080));
}

#[test]
fn a_document_that_says_something_twice_lets_nobody_in() {
    let twice = ", requiredAuthenticationRefs: [], requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]";
    lets_in_nobody(&(server() + &policy(twice)), "AuthorizationPolicy n/p: says something twice");
    let spec = "{podSelector: {matchLabels: {app: a}}, podSelector: {matchLabels: {app: b}}, port: 8080}";
    let told = ["Server n/s: says something twice", "AuthorizationPolicy n/p: spec.targetRef: is about no Server"];
    all_stays(&(document("Server", "s", spec) + &policy(", requiredAuthenticationRefs: []")), &told);
}
