//! Policies over identity between two sidecars: Sidegate beside Envoy's RBAC, by how many callers they name.
//!
//! `wrk` shows no certificate, so an Envoy of the caller's stands in front of each that is measured.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_tests::mtls::{self, Authority, Clients};

use crate::Settings;
use crate::envoy::{Envoy, Tls};
use crate::load::{self, LOAD_PROCESSOR, MEASURED_PROCESSOR, Sample};
use crate::report::Spread;
use crate::scenario::{self, Modules};

/// The name on the command line.
pub const NAME: &str = "mesh";

/// How often each is loaded.
const ROUNDS: usize = 8;

/// What others are compared with.
const EMPTY: &str = "empty Wasm filter";

const SERVER: &str = "spiffe://cluster.local/ns/prod/sa/api";
const CALLER: &str = "spiffe://cluster.local/ns/foo/sa/sleep";

/// How many callers Envoy's RBAC names, which takes milliseconds for thousands.
const OF_RBAC: [usize; 3] = [10, 1_000, 10_000];
/// How many Sidegate does.
const OF_SIDEGATE: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
/// Policies with mixed rules.
const POLICIES: usize = 1_000;

/// What was measured of one filter.
#[derive(Debug)]
pub struct Row {
    /// Who decides, and by what.
    pub title: String,
    /// Microseconds of CPU for each request.
    pub cpu: Spread,
    /// The same as a multiple of the empty Wasm filter's in the same round.
    pub to_empty: Spread,
    /// Median of the latency, in microseconds.
    pub p50: Spread,
    /// MB that Envoy holds.
    pub memory: f64,
}

/// Measures all.
///
/// # Errors
/// An Envoy does not start, or a request is not let in.
pub fn measure(settings: &Settings, upstream: &Envoy) -> Result<Vec<Row>, String> {
    let authority = Authority::new("bench")?;
    let own = authority.issue_named(&["localhost"], &[SERVER])?;
    let caller = authority.issue_named(&[], &[CALLER])?;
    let listening = Tls { listener: Some(mtls::server(&own, &authority, Clients::Required)), upstream: None };
    let calling = Tls { listener: None, upstream: Some(mtls::client(&caller, &authority, SERVER)) };
    let routes = crate::to_upstream();
    let mut pairs = Vec::new();
    for (title, filters) in filters(&settings.modules) {
        eprintln!("starting two sidecars: {title}");
        let program: &Path = &settings.program;
        let server = Envoy::start_with(program, &routes, &filters, Some(upstream.address), &listening)?;
        let front = Envoy::start_with(program, &routes, &[], Some(server.address), &calling)?;
        server.pin(MEASURED_PROCESSOR)?;
        front.pin(LOAD_PROCESSOR)?;
        pairs.push((title, server, front));
    }
    let mut samples: Vec<Vec<Sample>> = pairs.iter().map(|_| Vec::new()).collect();
    let requests = [("api.bench".to_owned(), String::new())];
    for round in 0..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for ((title, server, front), samples) in pairs.iter().zip(&mut samples) {
            let sample = load::run_through(server, front.address, "none", &requests, Duration::from_secs(1))
                .map_err(|error| format!("{title}: {error}"))?;
            // The first one warms up.
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let empty = pairs.iter().position(|(title, ..)| title == EMPTY).and_then(|at| samples.get(at));
    let empty = empty.ok_or("nothing is measured of the empty filter")?;
    let row = |((title, server, _), samples): (&(String, Envoy, Envoy), &Vec<Sample>)| Row {
        title: title.clone(),
        cpu: Spread::of(samples.iter().map(|sample| sample.cpu)),
        to_empty: Spread::of(samples.iter().zip(empty).map(|(sample, empty)| sample.cpu / empty.cpu)),
        p50: Spread::of(samples.iter().map(|sample| sample.p50)),
        memory: server.memory(),
    };
    Ok(pairs.iter().zip(&samples).map(row).collect())
}

fn filters(modules: &Modules) -> Vec<(String, Vec<Value>)> {
    let mut all =
        vec![("mTLS, no policy".to_owned(), Vec::new()), (EMPTY.to_owned(), vec![scenario::wasm(&modules.empty, "")])];
    all.extend(OF_RBAC.map(|count| {
        let principals: Vec<Value> = callers(count).map(|caller| principal(&caller)).collect();
        let policy = json!({ "permissions": [{ "any": true }], "principals": principals });
        (format!("native `rbac`, {} principals", thousands(count)), vec![rbac(json!({ "callers": policy }))])
    }));
    all.extend(OF_SIDEGATE.map(|count| {
        let sources: Vec<Value> = callers(count).map(|caller| json!({ "type": "SPIFFE", "spiffe": caller })).collect();
        let policies = vec![policy("callers", "Network", &json!([{ "sources": sources }]))];
        (format!("Sidegate, {} identities", thousands(count)), vec![sidegate(&modules.full, &policies)])
    }));
    let native: serde_json::Map<String, Value> = callers(POLICIES)
        .enumerate()
        .map(|(number, caller)| {
            let path = json!({ "url_path": { "path": { "prefix": path(number) } } });
            let method = json!({ "header": { "name": ":method", "string_match": { "exact": "GET" } } });
            let permission = json!({ "and_rules": { "rules": [method, path] } });
            (name(number), json!({ "permissions": [permission], "principals": [principal(&caller)] }))
        })
        .collect();
    all.push((format!("native `rbac`, {} policies", thousands(POLICIES)), vec![rbac(Value::Object(native))]));
    let ours: Vec<Value> = callers(POLICIES)
        .enumerate()
        .map(|(number, caller)| {
            let rule = json!({
                "sources": [{ "type": "SPIFFE", "spiffe": caller }],
                "applicationAttributes": {
                    "methods": ["GET"], "paths": [{ "type": "StringPrefix", "value": path(number) }],
                },
            });
            policy(&name(number), "Application", &json!([rule]))
        })
        .collect();
    all.push((format!("Sidegate, {} policies", thousands(POLICIES)), vec![sidegate(&modules.full, &ours)]));
    all
}

/// So many, of which the last one calls.
fn callers(count: usize) -> impl Iterator<Item = String> {
    let others = (1..count).map(|number| format!("spiffe://cluster.local/ns/team-{}/sa/app-{number}", number % 100));
    others.chain([CALLER.to_owned()])
}

/// Sorts as the numbers do, for RBAC goes by name.
fn name(number: usize) -> String {
    format!("policy-{number:06}")
}

/// What the policy lets its caller ask for: the last one what is asked for, the others something else.
fn path(number: usize) -> String {
    if number + 1 == POLICIES { "/hello".to_owned() } else { format!("/team-{number}/") }
}

fn principal(caller: &str) -> Value {
    json!({ "authenticated": { "principal_name": { "exact": caller } } })
}

fn rbac(policies: Value) -> Value {
    json!({ "name": "envoy.filters.http.rbac", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": { "action": "ALLOW", "policies": policies },
    } })
}

fn policy(name: &str, level: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.x-k8s.io/v1alpha1",
        "kind": "XAuthorizationPolicy",
        "metadata": { "name": name, "namespace": "prod" },
        "spec": {
            "targetRefs": [{ "kind": "Pod", "selector": {} }], "action": "ALLOW", "enforcementLevel": level, "rules": rules,
        },
    })
}

fn sidegate(module: &str, policies: &[Value]) -> Value {
    let configuration = json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": policies,
        "workload": { "namespace": "prod", "serviceAccount": "api", "trustDomain": "cluster.local" },
    });
    scenario::wasm(module, &configuration.to_string())
}

fn thousands(count: usize) -> String {
    match (count / 1000, count % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}
