//! Runs cases through one real Envoy: a listener for each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sidegate_engine::Policy;
use tokio::runtime::Runtime;

use crate::case::{Case, Request};
use crate::client::{self, Response};
use crate::corpus::Entry;
use crate::envoy::admin::ListenerState;
use crate::envoy::config::{self, Cluster, Listener};
use crate::envoy::{Envoy, Paths};
use crate::native::bytes;
use crate::outcome::{self, Decision, Metadata, Outcome};
use crate::prepare::Prepared;
use crate::problems;
use crate::servers::services::Services;
use crate::servers::upstream::{Saw, Upstream};

/// Envoy with a listener for each case, and the servers around it.
pub struct Rig {
    envoy: Envoy,
    runtime: Runtime,
    services: Services,
    listeners: BTreeMap<String, ListenerState>,
    /// How many connections there were from one address to another.
    connections: Mutex<BTreeMap<(String, String), usize>>,
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
            Cluster::new("nobody", nobody),
        ];
        let envoy = Envoy::start(&paths.envoy, 2, |folder| config::bootstrap(folder, &clusters, &listeners))?;
        let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let states = envoy.admin.listeners(&names)?;
        Ok(Self { envoy, runtime, services, listeners: states, connections: Mutex::default() })
    }

    /// Waits until every worker has the keys that the policy wants.
    fn wait_for_keys(&self, name: &str, prepared: &Prepared) -> Result<(), String> {
        let policy = Policy::compile(prepared.configuration.as_bytes())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let key_sets = policy.remote_documents();
        let mut issuers = key_sets.ids().filter_map(|id| Some(key_sets.status(id)?.name));
        issuers.try_for_each(|issuer| self.envoy.wait_for_keys(name, &issuer))
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
        self.wait_for_keys(&name, &prepared)?;
        for (index, request) in case.requests.iter().enumerate() {
            self.services.request(prepared.services.keys(), index + 1);
            for _ in 0..request.times {
                std::thread::sleep(Duration::from_secs(request.after));
                let outcome = self.send(address, case, request)?;
                outcome::judge(&request.expect, &outcome)
                    .map_err(|report| format!("request {} {} {}\n{report}", index + 1, request.method, request.path))?;
            }
        }
        Ok(())
    }

    fn send(&self, address: SocketAddr, case: &Case, request: &Request) -> Result<Outcome, String> {
        let mut wire = client::Request::new(&request.method, &request.path, &request.authority);
        for (name, value) in &request.headers {
            wire = wire.header(name, bytes(value)?);
        }
        let wire = wire.body(request.body.as_deref());
        let response = self.runtime.block_on(async {
            match case.envoy.tls {
                Some(_) => client::send_tls(address, request.certificate.as_deref(), &wire).await,
                None => client::send(address, &wire).await,
            }
        })?;
        let log = self.logged(address, &response)?;
        outcome(request, response, &log)
    }

    /// The line that the access log has for the connection of this response.
    fn logged(&self, address: SocketAddr, response: &Response) -> Result<Value, String> {
        let connection = (response.peer.map(|peer| peer.to_string()).unwrap_or_default(), address.to_string());
        // The system gives ports again, so of several connections with these addresses the latest is ours.
        let number = {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            let number = connections.entry(connection.clone()).or_default();
            *number += 1;
            *number
        };
        let (peer, local) = (connection.0.as_str(), connection.1.as_str());
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            let log = self.envoy.access_log();
            // Nearly all lines are those of others, so they are not parsed.
            let candidates = log.lines().filter(|line| line.contains(peer));
            let lines = candidates.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut ours = lines.filter(|line| line["peer"] == peer && line["local"] == local);
            if let Some(line) = ours.nth(number - 1) {
                return Ok(line);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!(
            "the access log has no line for {peer}; the response was {} {:?}",
            response.status, response.headers
        ))
    }
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
        let details = log["details"].as_str().unwrap_or_default();
        if !details.starts_with("sidegate_") {
            return Err(format!("Envoy answered {}, not Sidegate: {log}", response.status));
        }
        Decision::Denied {
            status: response.status,
            headers: response.headers.into_iter().filter(|(name, _)| !is_envoys(request, name)).collect(),
            body: String::from_utf8_lossy(&response.body).into_owned(),
            kind: text(&log["decision"]).unwrap_or_default().to_ascii_uppercase(),
            rule: text(&log["rule"]),
        }
    };
    Ok(Outcome { decision, auth_config: text(&log["auth_config"]), trace: None })
}

/// Headers that Envoy adds to every local reply; a `content-type` only where the policy sets none.
fn is_envoys(request: &Request, name: &str) -> bool {
    let mut expected = request.expect.deny.iter().flat_map(|deny| deny.headers.iter().flatten());
    ["content-length", "date", "server", "connection"].contains(&name)
        || name == "content-type" && !expected.any(|(header, _)| header.eq_ignore_ascii_case(name))
}
