//! An Envoy with a listener for each policy, an upstream behind it, and each peer as a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_tests::case::{Surroundings, Tls};
use sidegate_tests::client::{self, Request, Response};
use sidegate_tests::envoy::admin::ListenerState;
use sidegate_tests::envoy::config::{self, Cluster, Listener};
use sidegate_tests::envoy::{Envoy, Paths};
use sidegate_tests::servers::upstream::{Saw, Upstream};
use tokio::runtime::Runtime;

/// Envoy and the upstream.
#[derive(Debug)]
pub struct Stage {
    pub envoy: Envoy,
    runtime: Runtime,
    addresses: BTreeMap<String, SocketAddr>,
    /// Listeners that speak TLS.
    tls: BTreeSet<&'static str>,
}

/// A policy: the name of its listener, the `spec` of its AuthConfig, documents and options beside it.
pub struct Policy {
    pub name: &'static str,
    pub spec: Value,
    pub resources: Vec<Value>,
    pub options: Value,
    /// Port of its listener; 0: any.
    pub port: u16,
    /// Whether that speaks TLS, as `localhost`, with a certificate of the fixtures' authority.
    pub tls: bool,
}

impl Stage {
    /// Starts Envoy; peers are named by policies as the URLs say.
    pub fn start(paths: &Paths, peers: &[(&str, Cluster)], policies: &[Policy]) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let upstream = runtime.block_on(Upstream::start("upstream")).map_err(|error| error.to_string())?;
        let upstreams: Vec<Value> =
            peers.iter().map(|(url, peer)| json!({ "url": url, "cluster": peer.name })).collect();
        let listeners: Vec<Listener> = policies.iter().map(|policy| policy.listener(paths, &upstreams)).collect();
        let usual = Cluster::new("upstream", upstream.address);
        let mut clusters = vec![Cluster { name: "upstream-h2".to_owned(), http2: true, ..usual.clone() }, usual];
        clusters.extend(peers.iter().map(|(_, peer)| peer.clone()));
        let envoy = Envoy::start(&paths.envoy, 1, |folder| config::bootstrap(folder, &clusters, &listeners))?;
        let names: Vec<&str> = policies.iter().map(|policy| policy.name).collect();
        let mut addresses = BTreeMap::new();
        for (name, state) in envoy.admin.listeners(&names)? {
            match state {
                ListenerState::Active(address) => drop(addresses.insert(name, address)),
                ListenerState::Refused(why) => {
                    return Err(format!("listener {name} is refused: {why}\n{}", envoy.log()));
                }
            }
        }
        let tls = policies.iter().filter(|policy| policy.tls).map(|policy| policy.name).collect();
        Ok(Self { envoy, runtime, addresses, tls })
    }

    /// GET, as the holder of a token.
    pub fn get(&self, listener: &str, token: &str) -> Response {
        self.send(
            listener,
            Request::new("GET", "/hello", "api.test").header("authorization", format!("Bearer {token}")),
        )
    }

    /// Sends a request without a body.
    pub fn send(&self, listener: &str, request: Request) -> Response {
        let address = self.addresses.get(listener).unwrap_or_else(|| panic!("there is no listener `{listener}`"));
        let request = request.body(None);
        let sent = match self.tls.contains(listener) {
            true => self.runtime.block_on(client::send_tls(*address, None, &request)),
            false => self.runtime.block_on(client::send(*address, &request)),
        };
        sent.unwrap_or_else(|error| panic!("{listener}: {error}"))
    }

    /// Asks until the status is this one, for half a minute.
    pub fn until(&self, status: u16, ask: impl Fn() -> Response) -> Response {
        let mut last = ask();
        for _ in 0..150 {
            if last.status == status {
                return last;
            }
            std::thread::sleep(Duration::from_millis(200));
            last = ask();
        }
        panic!("the status stays {} ({:?}), though {status} should come", last.status, reason(&last));
    }
}

impl Policy {
    pub fn new(name: &'static str, spec: Value) -> Self {
        Self { name, spec, resources: Vec::new(), options: json!({}), port: 0, tls: false }
    }

    fn listener(&self, paths: &Paths, upstreams: &[Value]) -> Listener {
        let tls = self.tls.then_some(Tls::AcceptUntrusted);
        let surroundings = Surroundings { tls, ..Surroundings::default() };
        let configuration = self.configuration(upstreams);
        Listener { port: self.port, surroundings, ..Listener::new(self.name, &paths.wasm, &configuration) }
    }

    fn configuration(&self, upstreams: &[Value]) -> String {
        let auth_config = json!({
            "apiVersion": "authorino.kuadrant.io/v1beta3",
            "kind": "AuthConfig",
            "metadata": { "name": self.name },
            "spec": self.spec,
        });
        let resources: Vec<&Value> = std::iter::once(&auth_config).chain(&self.resources).collect();
        json!({
            "apiVersion": "sidegate.dev/v1alpha1",
            "kind": "PluginConfig",
            "resources": resources,
            "upstreams": upstreams,
            "options": self.options,
        })
        .to_string()
    }
}

/// A Secret.
pub fn secret(name: &str, entries: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": entries })
}

/// A request is denied so, and the client is told why in these words or more.
pub fn denied(response: &Response, status: u16, why: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(reason(response).is_some_and(|reason| reason.contains(why)), "{why}: {response:?}");
}

/// The reason that a client is told.
pub fn reason(response: &Response) -> Option<&str> {
    response.header("x-ext-auth-reason")
}

/// A header as the upstream saw it, of a request that reached it.
pub fn upstream_header(response: &Response, name: &str) -> Option<String> {
    assert_eq!(response.status, 200, "{response:?}");
    let saw: Saw = serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"));
    saw.headers.into_iter().find(|(header, _)| header == name).map(|(_, value)| value)
}
