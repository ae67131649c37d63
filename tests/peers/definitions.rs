//! What kube-apiserver makes of the manifests of our own kinds.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::case::Runner;
use sidegate_tests::{corpus, scene};

use crate::kubernetes::{ROOT, create};
use crate::web::Web;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const POLICIES: &str = "/apis/sidegate.dev/v1alpha1/clusterauthorizationpolicies";

/// The manifest is structural, and what it makes of policies is what Sidegate would: a wrong word is refused, a default filled in.
pub fn check(web: &Web) {
    for (name, manifest) in sidegate_config::schema::manifests() {
        if manifest["kind"] == "CustomResourceDefinition" {
            define(web, &name, &manifest);
        }
    }
    let policy = example();
    // Established is not yet served.
    let end = Instant::now() + Duration::from_secs(30);
    while web.json("GET", POLICIES, ROOT, &Value::Null).is_err() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
    }
    let strictly = format!("{POLICIES}?fieldValidation=Strict");
    let created = create(web, &strictly, &policy).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(created["spec"]["mode"], "Enforce", "the default is filled in");
    assert_eq!(created["spec"]["rules"][0].get("networkAttributes"), None, "and nothing else");
    for (path, wrong) in [
        ("/spec/tier", json!("First")),
        ("/spec/priority", json!(1001)),
        ("/spec/rules/0/action", json!("ALLOW")),
        ("/spec/rules/0/sources", json!("everybody")),
    ] {
        let refused = create(web, &strictly, &with(&policy, path, wrong));
        let error = refused.err().unwrap_or_else(|| panic!("{path}: it is taken"));
        assert!(error.contains(": 422 ") || error.contains(": 400 "), "{path}: {error}");
    }
    misspelled(web, &policy);
}

fn define(web: &Web, name: &str, manifest: &Value) {
    create(web, &format!("{DEFINITIONS}?fieldValidation=Strict"), manifest)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let path = format!("{DEFINITIONS}/{}", manifest["metadata"]["name"].as_str().unwrap_or_default());
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let found = web.json("GET", &path, ROOT, &Value::Null).unwrap_or_else(|error| panic!("{name}: {error}"));
        let conditions = found["status"]["conditions"].clone();
        let is = |kind: &str| {
            let mut all = conditions.as_array().into_iter().flatten();
            all.any(|condition| condition["type"] == kind && condition["status"] == "True")
        };
        assert!(!is("NonStructuralSchema"), "{name}: {conditions}");
        if is("Established") {
            return;
        }
        assert!(Instant::now() < end, "{name} is not served");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn example() -> Value {
    sidegate_config::schema::schemas()["clusterauthorizationpolicy-sidegate-v1alpha1.json"]["examples"][0].clone()
}

/// A policy that is another one at one place.
fn with(policy: &Value, path: &str, value: Value) -> Value {
    let mut policy = policy.clone();
    policy["metadata"]["name"] = "other".into();
    *policy.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
    policy
}

/// A misspelled field is never dropped, which would leave a rule that is wider than what was written: it is kept, and Sidegate refuses
/// the policy; and where our admission policy is, the API server refuses it, from whatever client.
fn misspelled(web: &Web, policy: &Value) {
    let carelessly = format!("{POLICIES}?fieldValidation=Ignore");
    let path = format!("{POLICIES}/other");
    let source = json!({ "type": "Namespace", "namespace": "dev" });
    let wrong = [
        ("spec.rules[].source", with(policy, "/spec/rules/0", json!({ "action": "Allow", "source": [source] }))),
        ("spec.rule", with(policy, "/spec", json!({ "tier": "Admin", "priority": 1, "rule": [] }))),
        (
            "spec.rules[].sources[].namespaces",
            with(policy, "/spec/rules/0/sources", json!([{ "type": "Namespace", "namespaces": "dev" }])),
        ),
        (
            "spec.rules[].sources[].allOf[].namespaces",
            with(
                policy,
                "/spec/rules/0/sources",
                json!([{ "type": "AllOf", "allOf": [{ "type": "Namespace", "namespaces": "dev" }] }]),
            ),
        ),
    ];
    for (field, wrong) in &wrong {
        let name = field.rsplit('.').next().unwrap_or_default();
        create(web, &carelessly, wrong).unwrap_or_else(|error| panic!("{field}: {error}"));
        let kept = web.json("GET", &path, ROOT, &Value::Null).unwrap_or_else(|error| panic!("{field}: {error}"));
        let said = validated(&kept).expect_err(field);
        assert!(said.contains("unknown field") && said.contains(name), "{field}: {said}");
        web.json("DELETE", &path, ROOT, &Value::Null).unwrap_or_else(|error| panic!("{field}: {error}"));
    }
    for (name, manifest) in sidegate_config::schema::manifests() {
        for item in manifest["items"].as_array().into_iter().flatten() {
            let kind = item["kind"].as_str().unwrap_or_default().to_lowercase();
            let plural =
                if kind.ends_with('y') { format!("{}ies", kind.trim_end_matches('y')) } else { format!("{kind}s") };
            create(web, &format!("{ADMISSION}/{plural}?fieldValidation=Strict"), item)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    let refused = |wrong: &Value| match create(web, &carelessly, wrong) {
        Err(error) => Some(error),
        Ok(_) => web.json("DELETE", &path, ROOT, &Value::Null).ok().and(None),
    };
    let end = Instant::now() + Duration::from_secs(60);
    while refused(&wrong[0].1).is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(500));
    }
    for (field, wrong) in &wrong {
        let error = refused(wrong).unwrap_or_else(|| panic!("{field}: it is taken"));
        let (place, _) = field.rsplit_once('.').unwrap_or_default();
        assert!(error.contains(&format!("{place} has a field that is not known")), "{field}: {error}");
    }
    for (number, mut policy) in written().into_iter().enumerate() {
        policy["metadata"]["name"] = format!("written-{number}").into();
        let kept = create(web, &carelessly, &policy).unwrap_or_else(|error| panic!("{policy}: {error}"));
        assert!(has_all(&kept["spec"], &policy["spec"]), "of {policy} something is dropped: {kept}");
    }
}

/// Whether all that was written is there; defaults may be, too.
fn has_all(kept: &Value, written: &Value) -> bool {
    match (kept, written) {
        (Value::Object(kept), Value::Object(written)) => {
            written.iter().all(|(name, value)| kept.get(name).is_some_and(|kept| has_all(kept, value)))
        }
        (Value::Array(kept), Value::Array(written)) => {
            kept.len() == written.len() && kept.iter().zip(written).all(|(kept, written)| has_all(kept, written))
        }
        _ => kept == written,
    }
}

/// What `sidegate validate` says of what the API server gives back.
fn validated(policy: &Value) -> Result<(), String> {
    let command = Command::new(scene::programs().join("sidegate"))
        .args(["validate", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = command.unwrap_or_else(|error| panic!("sidegate, which `cargo build -p sidegate` makes: {error}"));
    let mut input = child.stdin.take().unwrap_or_else(|| panic!("it reads nothing"));
    input.write_all(policy.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    drop(input);
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{error}"));
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stdout).into_owned()) }
}

/// The policies of the corpus.
fn written() -> Vec<Value> {
    let entries = corpus::load(Runner::Native).unwrap_or_else(|error| panic!("{error}"));
    let right = entries.iter().filter_map(|entry| {
        let prepared = entry.prepare().ok()?;
        prepared.case.config_errors.is_empty().then(|| serde_json::from_str::<Value>(&prepared.configuration).ok())?
    });
    let resources = right.flat_map(|configuration| configuration["resources"].as_array().cloned().unwrap_or_default());
    let policies = resources.filter(|resource| resource["kind"] == "ClusterAuthorizationPolicy");
    policies.chain([with(&example(), "/spec", everything())]).collect()
}

/// Every field that there is.
fn everything() -> Value {
    let selector = json!({
        "matchLabels": { "app": "api" },
        "matchExpressions": [{ "key": "tier", "operator": "In", "values": ["front"] }],
    });
    let cidr = json!({ "address": "Peer", "blocks": ["10.0.0.0/8"], "except": ["10.1.0.0/16"] });
    let jwt = json!({ "issuer": "https://idp.test", "subject": "a", "audiences": ["b"], "claims": { "c": ["d"] } });
    let sources = json!([
        { "type": "ServiceAccount", "serviceAccount": { "namespace": "prod", "name": "web" } },
        { "type": "SPIFFE", "spiffe": "spiffe://cluster.local/ns/prod/sa/web" },
        { "type": "Namespace", "namespace": "prod" },
        { "type": "TrustDomain", "trustDomain": "cluster.local" },
        { "type": "CIDR", "cidr": cidr },
        { "type": "JWT", "jwt": jwt },
        { "type": "Unauthenticated" },
        { "type": "AllOf", "allOf": [{ "type": "Namespace", "namespace": "prod" }, { "type": "CIDR", "cidr": cidr }] },
    ]);
    json!({
        "tier": "Baseline",
        "priority": 7,
        "mode": "Audit",
        "subject": { "podSelector": selector, "namespaceSelector": selector },
        "rules": [{
            "name": "everything",
            "action": "Pass",
            "sources": sources,
            "networkAttributes": { "ports": [8080] },
            "applicationAttributes": {
                "methods": ["GET"],
                "hosts": ["api.test"],
                "paths": [{ "type": "Exact", "value": "/" }],
                "headers": [{ "name": "a", "values": ["b"] }, { "name": "c", "present": true }, { "name": "d", "absent": true }],
            },
        }],
    })
}
