//! Authorino: `AUTHORINO` is a folder with our program around it. The corpus, decided by Authorino behind an Envoy of its own:
//! what comes out otherwise than the corpus expects of Sidegate is a row of `authorino/differences.yaml`.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sidegate_tests::case::{Case, Raw, Request, Runner, Service, ServiceReply, Surroundings};
use sidegate_tests::client::{self, Response};
use sidegate_tests::corpus::{self, Entry};
use sidegate_tests::envoy::admin::ListenerState;
use sidegate_tests::envoy::config::{self, Cluster, Listener};
use sidegate_tests::envoy::{Envoy, Paths};
use sidegate_tests::outcome::{self, Decision, Metadata, Outcome};
use sidegate_tests::prepare::Prepared;
use sidegate_tests::servers::services::Services;
use sidegate_tests::servers::upstream::{Saw, Upstream};
use tokio::runtime::Runtime;

use crate::Suite;
use crate::server::{self, Launch, Server};
use crate::web::Web;

/// Cases that Authorino decides otherwise.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// What Authorino does, and why Sidegate does not.
    reason: String,
    /// Whether it does so by chance.
    #[serde(default)]
    random: bool,
    cases: Vec<String>,
}

struct World {
    documents: Web,
    listeners: BTreeMap<String, SocketAddr>,
    services: Services,
    runtime: Runtime,
    _envoy: Envoy,
    authorino: Server,
    /// Starts Authorino again, on the same ports.
    again: Box<dyn Fn() -> Result<Server, String> + Send>,
}

pub fn suite(paths: &Paths, folder: &Path) -> Result<Suite, String> {
    let known: Vec<Difference> =
        yaml_serde::from_str(include_str!("authorino/differences.yaml")).map_err(|error| error.to_string())?;
    let version = fs::read_to_string(folder.join("version")).map_err(|error| error.to_string())?;
    let entries: Vec<Entry> =
        corpus::load(Runner::Envoy)?.into_iter().filter(|entry| entry.skipped.is_none() && is_fit(entry)).collect();
    let mut reasons = BTreeMap::new();
    for Difference { reason, random, cases } in known {
        reasons.extend(cases.into_iter().map(|case| (case, (reason.clone(), random))));
    }
    if let Some(stray) = reasons.keys().find(|case| entries.iter().all(|entry| entry.id != **case)) {
        return Err(format!("differences.yaml: Authorino is not asked about a case `{stray}`"));
    }
    // All cases put their documents into one Authorino.
    let world = Arc::new(Mutex::new(World::start(paths, folder, &entries)?));
    let cases = entries.into_iter().map(|entry| {
        let world = Arc::clone(&world);
        let reason = reasons.get(&entry.id).cloned();
        Trial::test(entry.id.clone(), move || {
            let decided = world.lock().unwrap_or_else(PoisonError::into_inner).run(&entry);
            match (decided, reason) {
                (Ok(()), None | Some((_, true))) | (Err(_), Some(_)) => Ok(()),
                (Ok(()), Some((reason, false))) => Err(Failed::from(format!("it differs no more: {reason}"))),
                (Err(report), None) => Err(Failed::from(report)),
            }
        })
    });
    Ok(Suite { version: version.trim().to_owned(), cases: cases.collect() })
}

/// Files of cases about what Authorino does not have, as `docs/compatibility.md` lists it.
const OURS: [&str; 10] = [
    "action/deny",
    "conditions/typed",
    "denial/rules",
    "east-west/",
    "grants/secrets",
    "hmac/signatures",
    "imports/composition",
    "selectors/modifiers",
    "strategy/all",
    "templates/double_braces",
];

/// Whether Authorino can be asked: there are AuthConfigs and requests, nothing that only Sidegate has, and no server whose name
/// gRPC would look up.
fn is_fit(entry: &Entry) -> bool {
    if OURS.iter().any(|ours| entry.id.starts_with(ours)) {
        return false;
    }
    let Ok(prepared) = entry.prepare() else { return false };
    let grpc = prepared.configuration.contains("\"spicedb\"");
    options(&prepared).iter().all(|(name, value)| is_upstreams(name, value))
        && !grpc
        && !prepared.case.requests.is_empty()
        && !documents(&prepared).is_empty()
}

fn options(prepared: &Prepared) -> Map<String, Value> {
    let configuration: Value = serde_json::from_str(&prepared.configuration).unwrap_or_default();
    configuration["options"].as_object().cloned().unwrap_or_default()
}

/// Whether an option asks for what Authorino does anyway, or says what it is told in another way: see [`circumstances`].
fn is_upstreams(name: &str, value: &Value) -> bool {
    match name {
        "callbacks" => value == "Blocking",
        "hostPort" | "plainHeaderFormat" => value == "Authorino",
        "trustedForwarders" => *value == json!(["*"]),
        "whenErrors" => value.as_object().is_some_and(|errors| errors.values().all(|error| error == "Skip")),
        "allowOnHeadersStopIteration" | "kubernetes" | "timeout" => true,
        _ => false,
    }
}

/// What Authorino is told beside the documents, as a query.
fn circumstances(prepared: &Prepared) -> String {
    let options = options(prepared);
    let timeout = options.get("timeout").map(|timeout| format!("timeout={timeout}ms"));
    let kubernetes = options.get("kubernetes").and_then(|api| Some(format!("kubernetes={}", api["url"].as_str()?)));
    timeout.into_iter().chain(kubernetes).collect::<Vec<_>>().join("&")
}

/// The service that stands in for the API server, with what client libraries ask of one before they ask for a review.
fn api_server(prepared: &Prepared) -> Option<(String, Service)> {
    let options = options(prepared);
    let (_, place) = options.get("kubernetes")?["url"].as_str()?.split_once("://")?;
    let (authority, prefix) = place
        .split_once('/')
        .map_or((place, String::new()), |(authority, path)| (authority, format!("/{}", path.trim_end_matches('/'))));
    let mut service = prepared.services.get(authority)?.clone();
    let mut add = |path: &str, json: Value| {
        let reply = ServiceReply { json: Some(json), ..ServiceReply::default() };
        service.replies.insert(format!("{prefix}{path}"), vec![reply]);
    };
    let reviews = [
        ("authentication.k8s.io", "tokenreviews", "TokenReview"),
        ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    ];
    let group = |name: &str| {
        let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
        json!({ "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version })
    };
    let groups: Vec<Value> = reviews.iter().map(|(name, _, _)| group(name)).collect();
    add("/api", json!({ "kind": "APIVersions", "versions": ["v1"] }));
    add("/apis", json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }));
    for (name, resource, kind) in reviews {
        let review =
            json!({ "name": resource, "singularName": "", "namespaced": false, "kind": kind, "verbs": ["create"] });
        let version = format!("{name}/v1");
        add(&format!("/apis/{name}"), group(name));
        add(
            &format!("/apis/{version}"),
            json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [review] }),
        );
    }
    Some((authority.to_owned(), service))
}

/// The documents of a plugin configuration.
fn documents(prepared: &Prepared) -> Vec<Value> {
    fn flatten(document: &Value, all: &mut Vec<Value>) {
        let inner = ["resources", "items"].into_iter().find_map(|field| document[field].as_array());
        match inner {
            Some(inner) => inner.iter().for_each(|document| flatten(document, all)),
            None if document["kind"] == "AuthConfig" || document["kind"] == "Secret" => all.push(document.clone()),
            None => {}
        }
    }
    let mut all = Vec::new();
    flatten(&serde_json::from_str(&prepared.configuration).unwrap_or_default(), &mut all);
    all
}

impl World {
    fn start(paths: &Paths, folder: &Path, entries: &[Entry]) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let (upstream, services) = runtime
            .block_on(async { Ok::<_, std::io::Error>((Upstream::start("upstream").await?, Services::start().await?)) })
            .map_err(|error| error.to_string())?;
        let [grpc, http] = server::free_ports()?;
        let documents = Web::new(http, "localhost")?;
        let (folder, served) = (folder.to_owned(), services.address);
        let again = Box::new(move || start(&folder, grpc, http, served));
        let authorino = again()?;
        let usual = Cluster::new("upstream", upstream.address);
        let clusters = [
            Cluster { name: "upstream-h2".to_owned(), http2: true, ..usual.clone() },
            usual,
            Cluster { http2: true, ..Cluster::new("authorino", SocketAddr::from(([127, 0, 0, 1], grpc))) },
        ];
        let listeners = listeners(paths, entries);
        let envoy = Envoy::start(&paths.envoy, 1, |folder| config::bootstrap(folder, &clusters, &listeners))?;
        let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let mut addresses = BTreeMap::new();
        for (name, state) in envoy.admin.listeners(&names)? {
            match state {
                ListenerState::Active(address) => drop(addresses.insert(name, address)),
                ListenerState::Refused(why) => return Err(format!("Envoy refuses the listener {name}: {why}")),
            }
        }
        Ok(Self { documents, listeners: addresses, services, runtime, _envoy: envoy, authorino, again })
    }

    fn run(&mut self, entry: &Entry) -> Result<(), String> {
        let decided = self.decide(entry);
        // Envoy says 500 of an Authorino that does not answer: it is about to end.
        let patience = if decided.as_ref().is_err_and(|report| report.contains("500")) { 5000 } else { 0 };
        if !self.authorino.ends_within(Duration::from_millis(patience)) {
            return decided;
        }
        let last_words = self.authorino.last_words();
        self.authorino = (self.again)()?;
        Err(format!("Authorino ends:\n{last_words}"))
    }

    fn decide(&self, entry: &Entry) -> Result<(), String> {
        let prepared = entry.prepare()?;
        let case = &prepared.case;
        self.services.add(&prepared.services);
        self.services.add(&api_server(&prepared).into_iter().collect());
        self.services.request(prepared.services.keys(), 1);
        let text: Vec<String> = documents(&prepared).iter().map(Value::to_string).collect();
        let path = format!("/documents?{}", circumstances(&prepared));
        let put = client::Request::new("PUT", &path, "localhost").body(Some(&text.join("\n---\n")));
        let answer = self.documents.send(&put)?;
        let answer = String::from_utf8_lossy(&answer.body).trim().to_owned();
        if answer != "{}" {
            return Err(format!("Authorino refuses documents: {answer}"));
        }
        for (index, request) in case.requests.iter().enumerate() {
            self.services.request(prepared.services.keys(), index + 1);
            for _ in 0..request.times {
                std::thread::sleep(Duration::from_secs(request.after));
                let outcome = self.send(case, request)?;
                let mut expect = request.expect.clone();
                // What ext_authz does not tell.
                expect.auth_config = None;
                if let Some(allow) = &mut expect.allow {
                    allow.metadata = None;
                }
                if let Some(deny) = &mut expect.deny {
                    (deny.kind, deny.rule) = (None, None);
                }
                outcome::judge(&expect, &outcome)
                    .map_err(|report| format!("request {} {} {}\n{report}", index + 1, request.method, request.path))?;
            }
        }
        Ok(())
    }

    fn send(&self, case: &Case, request: &Request) -> Result<Outcome, String> {
        let mut wire = client::Request::new(&request.method, &request.path, &request.authority);
        for (name, value) in &request.headers {
            wire = wire.header(name, value.bytes());
        }
        let wire = wire.bytes(request.body.as_ref().map(Raw::bytes));
        let address = *self.listeners.get(&listener_name(&case.envoy)).ok_or("there is no listener for this case")?;
        let response = self.runtime.block_on(async {
            match case.envoy.tls {
                Some(_) => client::send_tls(address, request.certificate.as_deref(), &wire).await,
                None => client::send(address, &wire).await,
            }
        })?;
        outcome(request, response)
    }
}

fn start(folder: &Path, grpc: u16, http: u16, services: SocketAddr) -> Result<Server, String> {
    let arguments = [
        &format!("-crd={}", folder.join("manifests.yaml").display()),
        &format!("-grpc=127.0.0.1:{grpc}"),
        &format!("-http=127.0.0.1:{http}"),
        &format!("-services={services}"),
    ];
    let launch = Launch {
        name: "authorino",
        program: &folder.join("authorino"),
        arguments: arguments.map(String::clone).into(),
        environment: Vec::new(),
        patience: Duration::from_secs(30),
    };
    let web = Web::new(http, "localhost")?;
    Server::start(launch, server::folder("authorino")?, || web.is_ready("/documents"))
}

/// A listener for each kind of surroundings.
fn listeners(paths: &Paths, entries: &[Entry]) -> Vec<Listener> {
    let all = entries.iter().filter_map(|entry| entry.prepare().ok()).map(|prepared| prepared.case.envoy);
    let kinds: BTreeMap<String, Surroundings> = all.map(|kind| (listener_name(&kind), kind)).collect();
    let listener = |(name, surroundings): (String, Surroundings)| {
        let mut namespaces: Vec<&String> = surroundings.metadata.keys().collect();
        namespaces.dedup();
        let decider = json!({ "name": "ext_authz", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "grpc_service": { "envoy_grpc": { "cluster_name": "authorino" }, "timeout": "10s" },
            "status_on_error": { "code": "InternalServerError" },
            "include_peer_certificate": true,
            "metadata_context_namespaces": namespaces,
            "with_request_body": { "max_request_bytes": 8192 },
        } });
        Listener { surroundings: surroundings.clone(), decider: Some(decider), ..Listener::new(&name, &paths.wasm, "") }
    };
    kinds.into_iter().map(listener).collect()
}

fn listener_name(surroundings: &Surroundings) -> String {
    format!("{surroundings:?}")
}

fn outcome(request: &Request, response: Response) -> Result<Outcome, String> {
    let decision = if response.header("x-upstream").is_some() {
        let saw: Saw = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
        Decision::Allowed { headers: saw.headers, metadata: Metadata::default() }
    } else {
        let mut envoys = vec!["content-length", "date", "server", "connection"];
        let mut expected = request.expect.deny.iter().flat_map(|deny| deny.headers.iter().flatten());
        if !expected.any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            envoys.push("content-type");
        }
        Decision::Denied {
            status: response.status,
            headers: response.headers.into_iter().filter(|(name, _)| !envoys.contains(&name.as_str())).collect(),
            body: String::from_utf8_lossy(&response.body).into_owned(),
            kind: String::new(),
            rule: None,
        }
    };
    Ok(Outcome { decision, ..Outcome::default() })
}
