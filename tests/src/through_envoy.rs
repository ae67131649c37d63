//! Runs cases through one real Envoy: a listener for each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidegate_engine::Policy;
use sidegate_engine::remote::Status;
use tokio::runtime::Runtime;

use crate::calls::{self, Call, Calls};
use crate::case::{Case, ID, Raw, Request};
use crate::client::{self, Response, http2};
use crate::corpus::Entry;
use crate::envoy::admin::ListenerState;
use crate::envoy::config::{self, Cluster, Listener};
use crate::envoy::{Envoy, Paths};
use crate::outcome::{self, Decision, Metadata, Outcome};
use crate::prepare::Prepared;
use crate::problems;
use crate::servers::services::Services;
use crate::servers::upstream::{Saw, Upstream};

/// How long calls may take that come after the verdict.
const LATER: Duration = Duration::from_secs(5);
/// How long services wait for the first of requests that are sent together.
const TOGETHER: Duration = Duration::from_secs(1);

/// Envoy with a listener for each case, and the servers around it.
pub struct Rig {
    envoy: Envoy,
    runtime: Runtime,
    services: Services,
    listeners: BTreeMap<String, ListenerState>,
    /// How many requests were sent.
    sent: AtomicUsize,
    /// How many requests of one id were sent to one listener.
    named: Mutex<BTreeMap<(String, SocketAddr), usize>>,
}

impl Rig {
    /// Starts everything.
    ///
    /// # Errors
    /// Envoy does not start, or a case is not well-formed.
    pub fn start(paths: &Paths, entries: &[Entry]) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let (upstream, services) = runtime
            .block_on(async { Ok::<_, std::io::Error>((Upstream::start("upstream").await?, Services::start().await?)) })
            .map_err(|error| error.to_string())?;
        let mut listeners = Vec::new();
        for entry in entries {
            // What is wrong with a case is told when it is run.
            let Ok(case) = entry.prepare() else { continue };
            services.add(&case.services);
            services.request(case.services.keys(), 1);
            listeners.push(listener(&name(entry), &case, paths));
        }
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let clusters = [
            Cluster::new("upstream", upstream.address),
            Cluster { http2: true, ..Cluster::new("upstream-h2", upstream.address) },
            Cluster::new("services", services.address),
            Cluster { http2: true, ..Cluster::new("services-h2", services.address) },
            Cluster::new("nobody", nobody),
        ];
        // One worker, so that what a case says of memories (tokens, caches, keys) has one meaning; e2e has two.
        let envoy = Envoy::start(&paths.envoy, 1, |folder| config::bootstrap(folder, &clusters, &listeners))?;
        let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let states = envoy.admin.listeners(&names)?;
        Ok(Self { envoy, runtime, services, listeners: states, sent: AtomicUsize::default(), named: Mutex::default() })
    }

    /// Waits until every worker has the key sets and other documents that the policy wants.
    fn wait_for_documents(&self, name: &str, prepared: &Prepared) -> Result<(), String> {
        let policy = Policy::compile(prepared.configuration.as_bytes())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let documents = policy.remote_documents();
        let mut wanted = documents.ids().filter_map(|id| documents.status(id));
        wanted.try_for_each(|Status { what, name: of, .. }| self.envoy.wait_for_document(name, what, &of))
    }

    /// Problems that the filter has with the configuration of a case, a line each.
    #[must_use]
    pub fn problems(&self, entry: &Entry) -> Vec<String> {
        match self.listeners.get(&name(entry)) {
            Some(ListenerState::Refused(_)) => self.envoy.plugin_log(&name(entry), "error"),
            _ => Vec::new(),
        }
    }

    /// Lines of Envoy's log and of its metrics that have a secret of one of these cases: what a Secret holds, or a signed token.
    #[must_use]
    pub fn told_secrets(&self, entries: &[Entry]) -> Vec<String> {
        let cases = entries.iter().filter_map(|entry| entry.prepare().ok());
        let mut secrets: Vec<String> = cases.flat_map(|case| secrets(&case.configuration)).collect();
        secrets.push("eyJ".to_owned());
        let metrics = self.envoy.admin.get("/stats").unwrap_or_else(|error| error);
        let log = self.envoy.log();
        let lines = log.lines().chain(metrics.lines());
        lines.filter(|line| secrets.iter().any(|secret| line.contains(secret))).map(str::to_owned).collect()
    }

    /// Runs a case.
    ///
    /// # Errors
    /// What is not as expected, ready to be read.
    pub fn run(&self, entry: &Entry) -> Result<(), String> {
        // Anew, so that tokens are fresh.
        let prepared = entry.prepare()?;
        let case = &prepared.case;
        let name = name(entry);
        let state = self.listeners.get(&name).ok_or("Envoy knows nothing of this case")?;
        let address = match (state, case.config_errors.is_empty()) {
            (ListenerState::Active(address), true) => *address,
            (ListenerState::Active(_), false) => {
                return Err("the configuration is taken, though it has errors".to_owned());
            }
            (ListenerState::Refused(why), true) => {
                let log = self.envoy.plugin_log(&name, "error").join("\n  ");
                return Err(format!("Envoy refuses the listener: {why}\n  {log}"));
            }
            (ListenerState::Refused(_), false) => {
                return problems::compare_lines(&case.config_errors, &self.envoy.plugin_log(&name, "error"));
            }
        };
        self.wait_for_documents(&name, &prepared)?;
        for (first, group) in prepared.groups() {
            self.services.request(prepared.services.keys(), first + 1);
            for _ in 0..group.iter().map(|request| request.times).max().unwrap_or(1) {
                std::thread::sleep(Duration::from_secs(group.iter().map(|request| request.after).sum()));
                self.play((&name, address), &prepared, (first, group))?;
            }
        }
        Ok(())
    }

    /// Sends requests that are under way together, and judges what comes of them.
    fn play(
        &self,
        (name, address): (&str, SocketAddr),
        prepared: &Prepared,
        (first, group): (usize, &[Request]),
    ) -> Result<(), String> {
        drop(self.services.take_calls(prepared.services.keys()));
        let sent: Vec<_> = group.iter().map(|request| self.sending(request)).collect();
        let responses = match group {
            [_] => vec![self.send_alone(address, &prepared.case, &sent)?],
            _ => self.send_together(address, &sent, prepared)?,
        };
        let outcomes = group.iter().zip(&sent).zip(responses).map(|((request, sending), response)| {
            let log = self.logged(address, sending, &response)?;
            outcome(request, response, &log)
        });
        let mut outcomes: Vec<Outcome> = outcomes.collect::<Result<_, String>>()?;
        let calls = self.calls(group, prepared);
        calls::judge_all((first, group), &outcomes, &calls).or_else(|_| {
            // Not before it is needed: the log is long.
            for (outcome, Sending { id, .. }) in outcomes.iter_mut().zip(&sent) {
                outcome.trace = self.trace(name, id);
            }
            calls::judge_all((first, group), &outcomes, &calls)
        })
    }

    /// What services got, once all has come that is expected.
    fn calls(&self, group: &[Request], prepared: &Prepared) -> Calls {
        let expected = calls::expected(group).unwrap_or(0);
        let end = Instant::now() + LATER;
        while self.services.calls(prepared.services.keys()) < expected && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let got = self.services.take_calls(prepared.services.keys()).into_iter();
        let named = got.filter_map(|(authority, request)| {
            Some(Call { service: prepared.service_name(&authority)?.to_owned(), request })
        });
        Calls { before: named.collect(), later: None }
    }

    fn sending<'a>(&self, request: &'a Request) -> Sending<'a> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let ours = format!("rig-{number}");
        let named = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(ID));
        let id = named.map(|(_, id)| String::from_utf8_lossy(id.bytes()).into_owned());
        Sending { request, added: request.id(&ours).map(ToOwned::to_owned), id: id.unwrap_or(ours) }
    }

    fn send_alone(&self, address: SocketAddr, case: &Case, sent: &[Sending<'_>]) -> Result<Response, String> {
        let [Sending { request, added, .. }] = sent else { return Err("one request is sent alone".to_owned()) };
        let mut wire = client::Request::new(&request.method, &request.path, &request.authority);
        for (name, value) in &request.headers {
            wire = wire.header(name, value.bytes());
        }
        if let Some(id) = added {
            wire = wire.header(ID, id);
        }
        let wire = wire.bytes(request.body.as_ref().map(Raw::bytes));
        self.runtime.block_on(async {
            match case.envoy.tls {
                Some(_) => client::send_tls(address, request.certificate.as_deref(), &wire).await,
                None => client::send(address, &wire).await,
            }
        })
    }

    /// Over one connection, so that one worker gets all of them, and no service answers before all are there.
    fn send_together(
        &self,
        address: SocketAddr,
        sent: &[Sending<'_>],
        prepared: &Prepared,
    ) -> Result<Vec<Response>, String> {
        let requests: Vec<_> = sent
            .iter()
            .map(|Sending { request, added, .. }| {
                let Request { method, path, authority, headers, body, .. } = request;
                let mut wire = http2::Request::new(method, path, authority);
                for (name, value) in headers {
                    wire = wire.header(name, value.bytes());
                }
                if let Some(id) = added {
                    wire = wire.header(ID, id.as_bytes());
                }
                wire.body(body.as_ref().map(Raw::bytes))
            })
            .collect::<Result<_, _>>()?;
        let hold = |held| prepared.services.keys().for_each(|authority| self.services.hold(authority, held));
        hold(true);
        let release = async {
            let end = Instant::now() + TOGETHER;
            while self.services.calls(prepared.services.keys()) == 0 && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            hold(false);
        };
        let (responses, ()) = self.runtime.block_on(async { tokio::join!(http2::send(address, requests), release) });
        responses
    }

    /// The line that the access log has for a request.
    fn logged(
        &self,
        address: SocketAddr,
        Sending { id, .. }: &Sending<'_>,
        response: &Response,
    ) -> Result<Value, String> {
        // A case may give several requests one id; the latest is ours.
        let number = {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            let number = named.entry((id.clone(), address)).or_default();
            *number += 1;
            *number
        };
        let local = address.to_string();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let log = self.envoy.access_log();
            // Nearly all lines are those of others, so they are not parsed.
            let candidates = log.lines().filter(|line| line.contains(id.as_str()));
            let lines = candidates.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut ours = lines.filter(|line| line["id"] == **id && line["local"] == local);
            if let Some(line) = ours.nth(number - 1) {
                return Ok(line);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("the access log has no line for {id}; the response was {} {:?}", response.status, response.headers))
    }

    /// The step trace of a request, which is a line of the debug log.
    fn trace(&self, plugin: &str, id: &str) -> Option<Vec<String>> {
        let start = format!("request {id} to ");
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            let lines = self.envoy.plugin_log(plugin, "debug");
            if let Some(line) = lines.iter().rev().find_map(|line| line.strip_prefix(&start)) {
                return Some(line.split("; ").map(ToOwned::to_owned).collect());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

/// A request on its way.
struct Sending<'a> {
    request: &'a Request,
    /// How it is named in logs.
    id: String,
    /// The same, if the case does not say it itself.
    added: Option<String>,
}

/// What the Secrets of a configuration hold, a line of each that nobody would write by chance; certificates are for everybody.
fn secrets(configuration: &str) -> Vec<String> {
    const BY_CHANCE: usize = 12;
    let configuration: Value = serde_json::from_str(configuration).unwrap_or_default();
    let resources = configuration["resources"].as_array().into_iter().flatten();
    let held = resources.filter(|resource| resource["kind"] == "Secret").flat_map(|secret| {
        let held = [&secret["stringData"], &secret["data"]].map(Value::as_object);
        held.into_iter()
            .flatten()
            .flatten()
            .filter(|(key, _)| !key.ends_with(".crt"))
            .filter_map(|(_, text)| text.as_str())
    });
    let lines = held.filter_map(|text| text.lines().find(|line| line.len() >= BY_CHANCE && !line.starts_with("-----")));
    lines.map(str::to_owned).collect()
}

fn name(entry: &Entry) -> String {
    format!("case-{}", entry.number)
}

fn listener(name: &str, prepared: &Prepared, paths: &Paths) -> Listener {
    let expected = prepared.case.requests.iter().filter_map(|request| request.expect.allow.as_ref()?.metadata.as_ref());
    let configuration: Value = serde_json::from_str(&prepared.configuration).unwrap_or_default();
    let stops = configuration["options"]["allowOnHeadersStopIteration"] == true;
    let plugin = stops.then(|| ("allow_on_headers_stop_iteration".to_owned(), Value::Bool(true)));
    Listener {
        plugin: plugin.into_iter().collect(),
        surroundings: prepared.case.envoy.clone(),
        metadata: expected.flat_map(|metadata| outcome::flat(metadata).into_keys()).collect(),
        ..Listener::new(name, &paths.wasm, &prepared.configuration)
    }
}

fn outcome(request: &Request, response: Response, log: &Value) -> Result<Outcome, String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty() && *text != "-").map(ToOwned::to_owned);
    let decision = if response.header("x-upstream").is_some() {
        let saw: Saw = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
        let metadata = log["metadata"].as_object().into_iter().flatten();
        let metadata = metadata.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect();
        Decision::Allowed { headers: saw.headers, metadata: Metadata::Flat(metadata) }
    } else {
        let body = String::from_utf8_lossy(&response.body).into_owned();
        match log["details"].as_str().unwrap_or_default() {
            "sidegate_served" => Decision::Served { status: response.status, headers: response.headers, body },
            details if details.starts_with("sidegate_") => Decision::Denied {
                status: response.status,
                headers: response.headers.into_iter().filter(|(name, _)| !is_envoys(request, name)).collect(),
                body,
                // The gRPC name of what the access log calls by a plainer one.
                kind: match log["decision"].as_str().unwrap_or_default() {
                    "too_large" => "RESOURCE_EXHAUSTED".to_owned(),
                    decision => decision.to_ascii_uppercase(),
                },
                rule: text(&log["rule"]),
            },
            _ => return Err(format!("Envoy answered {}, not Sidegate: {log}", response.status)),
        }
    };
    Ok(Outcome {
        decision,
        auth_config: text(&log["auth_config"]),
        trace: None,
        trace_is_whole: false,
        steps: Vec::new(),
    })
}

/// Headers that Envoy adds to every local reply; a `content-type` only where the policy sets none.
fn is_envoys(request: &Request, name: &str) -> bool {
    let mut expected = request.expect.deny.iter().flat_map(|deny| deny.headers.iter().flatten());
    ["content-length", "date", "server", "connection"].contains(&name)
        || name == "content-type" && !expected.any(|(header, _)| header.eq_ignore_ascii_case(name))
}
