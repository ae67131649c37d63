//! What becomes of Istio's policies lets nobody in whom they keep out: by the rows of `tests/east-west/istio.yaml`, and by calls made
//! up from each of its policies and, with `ISTIO_TESTDATA`, from Istio's own.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};
use sidegate_engine::east_west::explain::access_change;
use sidegate_engine::east_west::{Chain, Facts, Http, Identity, SpiffeId, address};
use sidegate_engine::{Headers, Policy};

use crate::fed;

fn table() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/east-west/istio.yaml");
    yaml_serde::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Istio's policies of the table, as documents by name.
fn policies(table: &Value) -> BTreeMap<String, Value> {
    let istio = table["policies"].as_object().unwrap().iter().filter(|(_, policy)| policy["istio"] == true);
    let document = |(name, policy): (&String, &Value)| {
        let namespace = policy.get("namespace").unwrap_or(&table["namespace"]);
        let annotations = policy.get("annotations").cloned().unwrap_or_else(|| json!({}));
        let document = json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": { "name": name, "namespace": namespace, "annotations": annotations }, "spec": policy["spec"],
        });
        (name.clone(), document)
    };
    istio.map(document).collect()
}

/// Documents by name, migrated together; whether something was told of each.
fn migrated(documents: &BTreeMap<String, Value>, options: &Value, more: &[&str]) -> BTreeMap<String, Value> {
    let config = json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "options": { "eastWest": options },
        "resources": documents.values().collect::<Vec<_>>(),
    });
    let ran = fed(&[&["migrate", "-f", "-"], more].concat(), &config.to_string());
    assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.err);
    let out: Value = yaml_serde::from_str(&ran.out).unwrap();
    let resources = out["resources"].as_array().unwrap().iter();
    resources.map(|document| (document["metadata"]["name"].as_str().unwrap().to_owned(), document.clone())).collect()
}

fn is_ours(document: &Value) -> bool {
    document["apiVersion"] != "security.istio.io/v1" && document["apiVersion"] != "security.istio.io/v1beta1"
}

fn compiled(resources: &[Value], workload: &Value, options: &Value, chain: Chain) -> Result<Policy, String> {
    let config = json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": resources, "workload": workload,
        "options": { "eastWest": options },
    });
    Policy::compile_for(chain, config.to_string().as_bytes()).map_err(|problems| format!("{problems:?}"))
}

#[test]
fn each_row_is_decided_no_wider() {
    let (same, narrower) = rows_decided(&[], |_, _| true);
    assert!(same > 40, "{same} rows are decided the same");
    // By callers of another trust domain, in namespaces that Istio takes for the same; and by spellings of hosts.
    assert!(narrower.len() <= 8, "{narrower:?}");
}

/// With what may be taken for granted nobody has more either, as far as it is so: by callers of the workload's own trust domain, and by
/// paths and hosts in their normal form.
#[test]
fn what_is_assumed_lets_nobody_more_in_where_it_holds() {
    let (without, _) = rows_decided(&[], holds);
    let (same, narrower) = rows_decided(&["--assume", "normal-forms", "--assume", "one-trust-domain"], holds);
    assert!(
        same > without,
        "{same} rows are decided the same, and {without} without an assumption; narrower: {narrower:?}"
    );
}

/// Whether what is assumed is so of a call.
fn holds(request: &Value, trust_domain: &str) -> bool {
    let ours = format!("spiffe://{trust_domain}/ns/");
    let ids = request["identities"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let (path, host) = (request["path"].as_str().unwrap_or("/"), request["host"].as_str().unwrap_or("api.test"));
    let is_account = |id: &str| id.strip_prefix(&ours).is_some_and(|rest| rest.split('/').nth(1) == Some("sa"));
    let plain = !path.contains("//") && !path.contains("/.") && !path.contains(['%', '\\', ';', '#']);
    ids.into_iter().all(is_account)
        && plain
        && !host.contains([':', '%'])
        && *host == host.to_lowercase()
        && !host.ends_with('.')
}

/// Rows that are decided the same by what is migrated, and those by which somebody has less; of those calls that are `looked_at`.
fn rows_decided(more: &[&str], looked_at: fn(&Value, &str) -> bool) -> (usize, Vec<String>) {
    let table = table();
    let documents = policies(&table);
    let mut by_options = BTreeMap::new();
    let (mut same, mut narrower) = (0, Vec::new());
    for row in table["rows"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let mut options = table["options"].clone();
        let own = row["options"].as_object().cloned().unwrap_or_default();
        options.as_object_mut().unwrap().extend(own);
        let after = &*by_options.entry(options.to_string()).or_insert_with(|| migrated(&documents, &options, more));
        let names: Vec<&str> = row["policies"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Cluster-wide policies change what a root namespace's denial becomes, and other kinds are not Istio's.
        if row.get("cluster").is_some() || !names.iter().any(|name| after.get(*name).is_some_and(is_ours)) {
            continue;
        }
        let native = |name: &str| {
            json!({
                "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
                "metadata": { "name": name, "namespace": table["namespace"] }, "spec": table["policies"][name]["spec"],
            })
        };
        let mut resources: Vec<Value> =
            names.iter().map(|name| after.get(*name).cloned().unwrap_or_else(|| native(name))).collect();
        for (name, labels) in table["namespaces"].as_object().into_iter().flatten() {
            resources.push(
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } }),
            );
        }
        let mut request = table["request"].clone();
        request.as_object_mut().unwrap().extend(row["request"].as_object().cloned().unwrap_or_default());
        let chain = if request["connection"] == true { Chain::Tcp } else { Chain::Http };
        let mut workload = request["workload"].clone();
        workload["trustDomain"] = row.get("trustDomain").unwrap_or(&table["trustDomain"]).clone();
        if !looked_at(&request, workload["trustDomain"].as_str().unwrap_or_default()) {
            continue;
        }
        let Ok(policy) = compiled(&resources, &workload, &options, chain) else { continue };
        let allowed = decide(&policy, &request, chain);
        let wanted = row["want"].as_str().unwrap().starts_with("ALLOW");
        assert!(wanted || !allowed, "{id}: Istio keeps out, and ours lets in: {resources:#?}");
        if wanted == allowed { same += 1 } else { narrower.push(id.to_owned()) }
    }
    (same, narrower)
}

fn decide(policy: &Policy, request: &Value, chain: Chain) -> bool {
    let text = |name: &str, default: &str| request[name].as_str().unwrap_or(default).to_owned();
    let ids: Vec<&str> = request["identities"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let identity = match ids.as_slice() {
        [] => Identity::Absent,
        [id] => SpiffeId::parse(id).map_or_else(Identity::Invalid, Identity::Known),
        _ => Identity::Invalid("more than one"),
    };
    let mut pairs = vec![
        (":method".to_owned(), text("method", "GET")),
        (":path".to_owned(), text("path", "/")),
        (":authority".to_owned(), text("host", "api.test")),
    ];
    for header in request["headers"].as_array().into_iter().flatten() {
        pairs.push((header[0].as_str().unwrap().to_owned(), header[1].as_str().unwrap().to_owned()));
    }
    let headers = Headers::from_pairs(pairs);
    let tokens: Vec<Value> = request.get("token").into_iter().cloned().collect();
    let metadata = request.get("metadata").cloned().unwrap_or_default();
    let server_name = text("serverName", "");
    let is_http = chain == Chain::Http;
    let facts = Facts {
        port: request["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
        peer: request["peer"].as_str().and_then(address),
        client: request["client"].as_str().and_then(address),
        destination: request["destination"].as_str().and_then(address),
        server_name: Some(&server_name),
        metadata: is_http.then_some(&metadata),
        http: is_http.then_some(Http { headers: &headers, tokens: Some(&tokens) }),
        ..Facts::of(&identity)
    };
    policy.workload().unwrap().decide(&facts).allowed
}

/// Decided by calls made up from both: nobody is let in by ours whom Istio's keeps out. Where all policies together name too much to
/// try all of it, each is compared with what became of it: of a union each part is no wider then.
fn no_wider(name: &str, before: &[Value], after: &[Value], workload: &Value) {
    let options = json!({ "peerAddress": { "sourceAddress": true } });
    for chain in [Chain::Http, Chain::Tcp] {
        let of = |resources: &[Value]| {
            let policy = compiled(resources, workload, &options, chain).unwrap();
            (policy.mesh().unwrap().clone(), policy.workload().unwrap().workload().clone())
        };
        let ((old_mesh, old), (new_mesh, new)) = (of(before), of(after));
        let change = access_change([&old_mesh, &new_mesh], [old, new], chain, None).unwrap();
        assert!(!change.allows_more(), "{name} {chain:?}: {change}");
        if !change.is_partly() {
            continue;
        }
        assert!(before.len() > 1, "{name} {chain:?}: not all calls were tried: {change}");
        for policy in before {
            let same = |other: &&Value| other["metadata"]["name"] == policy["metadata"]["name"];
            let became = after.iter().find(same).unwrap_or_else(|| panic!("{name}: {policy} is gone"));
            no_wider(name, std::slice::from_ref(policy), std::slice::from_ref(became), workload);
        }
    }
}

#[test]
fn each_policy_lets_nobody_more_in() {
    let table = table();
    let documents = policies(&table);
    let after = migrated(&documents, &json!({}), &[]);
    let mut ours = 0;
    for (name, document) in &documents {
        let namespace = document["metadata"]["namespace"].as_str().unwrap();
        let namespace = if namespace == "istio-system" { "prod" } else { namespace };
        let labels = json!({ "app": "api", "gateway.networking.k8s.io/gateway-name": "gw" });
        let workload = json!({ "namespace": namespace, "labels": labels, "trustDomain": "cluster.local" });
        if is_ours(&after[name]) {
            ours += 1;
            no_wider(name, std::slice::from_ref(document), std::slice::from_ref(&after[name]), &workload);
        }
    }
    assert!(ours > 30, "{ours} of {} are carried over", documents.len());
    // What may be taken for granted makes more of them ours, and the engine takes those, too.
    let more = migrated(&documents, &json!({}), &["--assume", "normal-forms", "--assume", "one-trust-domain"]);
    assert!(more.values().filter(|document| is_ours(document)).count() > ours + 5);
    for document in more.values().filter(|document| is_ours(document)) {
        let workload = json!({ "namespace": "prod", "labels": {} });
        let options = json!({ "peerAddress": { "sourceAddress": true } });
        compiled(std::slice::from_ref(document), &workload, &options, Chain::Http).unwrap();
    }
}

/// With `ISTIO_TESTDATA`: Istio's own inputs.
#[test]
fn istios_own_policies_let_nobody_more_in() {
    let Some(folder) = env::var_os("ISTIO_TESTDATA") else {
        eprintln!("ISTIO_TESTDATA is not set: Istio's own policies are left out");
        return;
    };
    let mut ours = 0;
    for below in ["http", "tcp"] {
        for entry in fs::read_dir(Path::new(&folder).join(below)).unwrap() {
            let path = entry.unwrap().path();
            if !path.to_string_lossy().ends_with("-in.yaml") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let read = |text: &str| -> Vec<Value> {
                let documents =
                    text.split("\n---").map(|text| yaml_serde::from_str(text.trim_start_matches("---")).unwrap());
                documents.filter(|document: &Value| document["kind"].is_string()).collect()
            };
            let ran = fed(&["migrate", "-f", "-"], &text);
            let (before, after) = (read(&text), read(&ran.out));
            ours += after.iter().filter(|document| is_ours(document)).count();
            let workload = json!({ "namespace": "foo", "labels": { "app": "httpbin", "version": "v1" } });
            no_wider(&path.display().to_string(), &before, &after, &workload);
        }
    }
    assert!(ours > 10, "{ours} of Istio's own policies are carried over");
}
