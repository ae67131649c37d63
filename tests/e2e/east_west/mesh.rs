//! The sidecar of a server, with a listener for each kind of policy and setting; that of its clients; the servers behind them.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::client::{self, Request, Response, http2};
use sidegate_tests::envoy::admin::ListenerState;
use sidegate_tests::envoy::config::{self, Cluster, Listener};
use sidegate_tests::envoy::{Envoy, Paths};
use sidegate_tests::mtls::{self, Authority, Clients, Dial, Pair};
use sidegate_tests::servers::talker::Talker;
use sidegate_tests::servers::upstream::Upstream;
use tokio::runtime::Runtime;

/// What a server says that speaks first.
pub const BANNER: &[u8] = b"220 secrets of this server\r\n";

/// SPIFFE ID of the server.
pub const API: &str = "spiffe://cluster.local/ns/prod/sa/api";
/// SPIFFE ID of who may call it.
pub const SLEEP: &str = "spiffe://cluster.local/ns/foo/sa/sleep";
/// SPIFFE ID of who may not.
pub const EVIL: &str = "spiffe://cluster.local/ns/evil/sa/sleep";
/// SPIFFE ID of a proxy that others may be behind.
pub const GATEWAY: &str = "spiffe://cluster.local/ns/edge/sa/gateway";

/// Everything.
pub struct Mesh {
    pub server: Envoy,
    pub client: Envoy,
    pub upstream: Upstream,
    /// Lets others speak first.
    pub quiet: Talker,
    /// Speaks first.
    pub loud: Talker,
    /// Of one listener alone.
    pub late: Talker,
    pub authority: Authority,
    pairs: BTreeMap<&'static str, Pair>,
    addresses: BTreeMap<String, SocketAddr>,
    refused: BTreeMap<String, String>,
    runtime: Runtime,
}

/// A request over a connection.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The listener.
    pub listener: &'a str,
    /// Whose certificate is shown.
    pub who: Option<&'a str>,
    pub method: &'a str,
    pub path: &'a str,
    pub host: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    /// Address of the client; none: any.
    pub from: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// GET by somebody.
    pub fn new(listener: &'a str, who: &'a str, path: &'a str) -> Self {
        Self { listener, who: Some(who), method: "GET", path, host: "api.prod", headers: &[], from: None }
    }
}

impl Mesh {
    pub fn start(paths: &Paths) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(text)?;
        let upstream = runtime.block_on(Upstream::start("upstream")).map_err(text)?;
        let talker = |banner| runtime.block_on(Talker::start(banner)).map_err(text);
        let (quiet, loud, late) = (talker(b"")?, talker(BANNER)?, talker(b"")?);
        let authority = Authority::new("mesh")?;
        let pairs = pairs(&authority)?;
        let listeners: Vec<Listener> = [super::http::listeners, super::forwarded::listeners, super::tcp::listeners]
            .into_iter()
            .flat_map(|listeners| listeners(paths, &|clients| mtls::server(&pairs["api"], &authority, clients)))
            .collect();
        let clusters = [
            Cluster::new("upstream", upstream.address),
            Cluster { http2: true, ..Cluster::new("upstream-h2", upstream.address) },
            Cluster::new("quiet", quiet.address),
            Cluster::new("loud", loud.address),
            Cluster::new("late", late.address),
        ];
        let server = envoy(paths, &clusters, &listeners, json!({ "NAMESPACE": "prod", "LABELS": { "app": "api" } }))?;
        let (mut addresses, mut refused) = states(&server, &listeners)?;
        let (clusters, listeners) = sidecar(paths, &addresses, &pairs, &authority, upstream.address)?;
        let client = envoy(paths, &clusters, &listeners, json!({}))?;
        let (more, more_refused) = states(&client, &listeners)?;
        addresses.extend(more);
        refused.extend(more_refused);
        Ok(Self { server, client, upstream, quiet, loud, late, authority, pairs, addresses, refused, runtime })
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        let refused = self.refused.get(listener).map_or("there is no such listener", String::as_str);
        *self.addresses.get(listener).unwrap_or_else(|| panic!("{listener}: {refused}\n{}", self.server.log()))
    }

    /// Why a listener was refused.
    pub fn refusal(&self, listener: &str) -> &str {
        self.refused.get(listener).unwrap_or_else(|| panic!("{listener} is not refused"))
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let patient = async { tokio::time::timeout(Duration::from_secs(30), future).await.expect("it ends") };
        self.runtime.block_on(patient)
    }

    /// Who is to be shown to a server.
    pub fn dial(&self, who: Option<&str>) -> Dial<'_> {
        let pair = |who| self.pairs.get(who).unwrap_or_else(|| panic!("nobody is `{who}`"));
        Dial { pair: who.map(pair), ..Dial::default() }
    }

    /// Sends a request over TLS; an error if there is no response, as when the handshake fails.
    pub fn try_ask(&self, ask: &Ask<'_>) -> Result<Response, String> {
        let address = self.address(ask.listener);
        let from = ask.from.map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0));
        self.block_on(async {
            let mut stream = Dial { from, ..self.dial(ask.who) }.tls(address, &self.authority).await?;
            client::exchange(&mut stream, &request(ask)).await
        })
    }

    /// Sends a request over TLS.
    pub fn ask(&self, ask: &Ask<'_>) -> Response {
        self.try_ask(ask).unwrap_or_else(|error| panic!("{ask:?}: {error}"))
    }

    /// Sends a request without TLS.
    pub fn ask_plainly(&self, ask: &Ask<'_>) -> Response {
        let sent = self.block_on(client::send(self.address(ask.listener), &request(ask)));
        sent.unwrap_or_else(|error| panic!("{ask:?}: {error}"))
    }

    /// Sends a call in gRPC without TLS, as an application does to its sidecar; gives back HTTP's status and gRPC's.
    pub fn call(&self, listener: &str, path: &str) -> (u16, Option<String>) {
        let request = http2::Request::new("POST", path, "api.prod").header("content-type", b"application/grpc");
        let request = request.header("te", b"trailers").body(Some(&[0; 5])).expect("the request is well-formed");
        let responses = self.block_on(http2::send(self.address(listener), vec![request]));
        let response = responses.unwrap_or_else(|error| panic!("{listener}: {error}")).remove(0);
        let all = response.trailers.iter().chain(&response.headers);
        let status = all.clone().find(|(name, _)| name == "grpc-status").map(|(_, value)| value.clone());
        (response.status, status)
    }

    /// The line that the access log of the server's sidecar has for a path.
    pub fn logged(&self, path: &str) -> Value {
        let wanted = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["path"] == path).then_some(line)
        };
        eventually(&format!("the access log has a line for {path}"), || {
            self.server.access_log().lines().rev().find_map(wanted)
        })
    }

    /// Waits for a line of the log of a plugin that has this text.
    pub fn logs(&self, plugin: &str, level: &str, text: &str) {
        eventually(&format!("{plugin} says {text}"), || {
            self.server.plugin_log(plugin, level).iter().any(|line| line.contains(text)).then_some(())
        });
    }

    /// The line of its log of connections for a listener that has this number, from 1.
    pub fn logged_connection(&self, listener: &str, count: usize) -> String {
        let start = format!("{listener} ");
        eventually(&format!("the log has {count} connections of {listener}"), || {
            let log = fs::read_to_string(self.server.folder().join("connections.log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().filter(|line| line.starts_with(&start)).collect();
            lines.get(count.checked_sub(1)?).map(|line| line.strip_prefix(&start).unwrap_or(line).to_owned())
        })
    }
}

/// Waits for something.
pub fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < end, "this does not come: {what}"),
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn request(ask: &Ask<'_>) -> Vec<u8> {
    let request = Request::new(ask.method, ask.path, ask.host);
    ask.headers.iter().fold(request, |request, (name, value)| request.header(name, value)).body(None)
}

fn pairs(authority: &Authority) -> Result<BTreeMap<&'static str, Pair>, String> {
    let [spelled, spelled_gateway] =
        [API, GATEWAY].map(|by| format!("spiffe://cluster.local/ns/evil/sa/x,By={by};URI={SLEEP}"));
    let mut pairs = BTreeMap::new();
    for (name, uris) in [
        ("api", &[API][..]),
        ("sleep", &[SLEEP]),
        ("evil", &[EVIL]),
        ("gateway", &[GATEWAY]),
        ("nobody", &[]),
        ("two", &[SLEEP, EVIL]),
        ("two-reversed", &[EVIL, SLEEP]),
        ("web", &["https://cluster.local/ns/foo/sa/sleep"]),
        ("spelled", &[spelled.as_str()]),
        ("spelled-gateway", &[spelled_gateway.as_str()]),
    ] {
        pairs.insert(name, authority.issue(uris)?);
    }
    pairs.insert("rogue", Authority::new("rogue")?.issue(&[SLEEP])?);
    Ok(pairs)
}

/// The sidecar of the clients: an application speaks to it without TLS, and it shows a certificate.
fn sidecar(
    paths: &Paths,
    servers: &BTreeMap<String, SocketAddr>,
    pairs: &BTreeMap<&'static str, Pair>,
    authority: &Authority,
    upstream: SocketAddr,
) -> Result<(Vec<Cluster>, Vec<Listener>), String> {
    let address = |name: &str| servers.get(name).copied().ok_or(format!("there is no listener {name}"));
    let mut clusters =
        vec![Cluster::new("upstream", upstream), Cluster { http2: true, ..Cluster::new("upstream-h2", upstream) }];
    let mut listeners = Vec::new();
    for who in ["sleep", "evil"] {
        let members = BTreeMap::from([("transport_socket".to_owned(), mtls::client(&pairs[who], authority, API))]);
        let cluster = |name: String, server: &str, http2| {
            let members = members.clone();
            Ok::<_, String>(Cluster { members, http2, ..Cluster::new(&name, address(server)?) })
        };
        clusters.push(cluster(format!("{who}-h1"), "calls", false)?);
        clusters.push(cluster(format!("{who}-h2"), "calls", true)?);
        clusters.push(cluster(format!("{who}-quiet"), "quiet", false)?);
        clusters.push(cluster(format!("{who}-loud"), "loud", false)?);
        let route = |matching: Value, cluster: String| json!({ "match": matching, "route": { "cluster": cluster } });
        let mut listener = Listener::new(&format!("as-{who}"), &paths.wasm, "");
        listener.decider = Some(nothing());
        listener.routes = vec![
            route(json!({ "prefix": "/h2" }), format!("{who}-h2")),
            route(json!({ "prefix": "/", "grpc": {} }), format!("{who}-h2")),
            route(json!({ "prefix": "/" }), format!("{who}-h1")),
        ];
        listeners.push(listener);
        for server in ["quiet", "loud"] {
            let mut listener =
                Listener::tcp(&format!("as-{who}-{server}"), &paths.wasm, "", &format!("{who}-{server}"));
            listener.decider = Some(json!({ "name": "nothing", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
                "stat_prefix": "nothing", "max_connections": 1000,
            } }));
            listeners.push(listener);
        }
    }
    let (edge_clusters, edge) = edge(paths, &address, pairs, authority)?;
    clusters.extend(edge_clusters);
    listeners.push(edge);
    // This Envoy has a node without metadata, so it is not known which workload it is.
    listeners.push(Listener::new("whose", &paths.wasm, &config(&[allow("a", json!([{}]))], json!({}))));
    Ok((clusters, listeners))
}

/// A gateway that replaces what clients send of `X-Forwarded-Client-Cert`.
fn edge(
    paths: &Paths,
    address: &dyn Fn(&str) -> Result<SocketAddr, String>,
    pairs: &BTreeMap<&'static str, Pair>,
    authority: &Authority,
) -> Result<(Vec<Cluster>, Listener), String> {
    let mut listener = listener("edge", paths, "", mtls::server(&pairs["gateway"], authority, Clients::Required));
    listener.decider = Some(nothing());
    listener.surroundings.forward_client_cert = Some("SANITIZE_SET".to_owned());
    let mut clusters = Vec::new();
    for server in ["forwarded", "sanitized"] {
        let members =
            BTreeMap::from([("transport_socket".to_owned(), mtls::client(&pairs["gateway"], authority, API))]);
        let name = format!("edge-{server}");
        clusters.push(Cluster { members, ..Cluster::new(&name, address(server)?) });
        let prefix = format!("/edge/{server}");
        listener.routes.push(json!({ "match": { "prefix": prefix }, "route": { "cluster": name } }));
    }
    Ok((clusters, listener))
}

/// A filter that does nothing.
fn nothing() -> Value {
    json!({ "name": "nothing", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
    } })
}

fn envoy(paths: &Paths, clusters: &[Cluster], listeners: &[Listener], metadata: Value) -> Result<Envoy, String> {
    Envoy::start(&paths.envoy, 2, |folder| {
        let mut bootstrap = config::bootstrap(folder, clusters, listeners)?;
        bootstrap["node"]["metadata"] = metadata;
        bootstrap["stats_config"] = crate::operations::fragment("stats_config")["stats_config"].clone();
        Ok(bootstrap)
    })
}

type States = (BTreeMap<String, SocketAddr>, BTreeMap<String, String>);

fn states(envoy: &Envoy, listeners: &[Listener]) -> Result<States, String> {
    let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
    let mut states = States::default();
    for (name, state) in envoy.admin.listeners(&names)? {
        match state {
            ListenerState::Active(address) => drop(states.0.insert(name, address)),
            ListenerState::Refused(why) => drop(states.1.insert(name, why)),
        }
    }
    Ok(states)
}

/// A configuration for a whole mesh: each proxy selects what is about it.
pub fn config(policies: &[Value], east_west: Value) -> String {
    json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig",
        "resources": policies, "options": { "eastWest": east_west },
    })
    .to_string()
}

/// A policy for everything with the label `app: api` in namespace `prod`; `action` may have the level after a slash.
pub fn policy(name: &str, action: &str, rules: Value) -> Value {
    let (action, level) = action.split_once('/').unwrap_or((action, "Network"));
    json!({
        "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
        "metadata": { "name": name, "namespace": "prod" },
        "spec": {
            "targetRefs": [{ "kind": "Pod", "selector": { "matchLabels": { "app": "api" } } }],
            "action": action, "enforcementLevel": level, "rules": rules,
        },
    })
}

/// A policy that lets in.
pub fn allow(name: &str, rules: Value) -> Value {
    policy(name, "ALLOW", rules)
}

/// The policy that lets in ServiceAccount `sleep` of namespace `foo`.
pub fn allow_sleep() -> Value {
    allow("sleep", json!([{ "sources": [sleep()] }]))
}

/// ServiceAccount `sleep` of namespace `foo`.
pub fn sleep() -> Value {
    json!({ "type": "ServiceAccount", "serviceAccount": { "namespace": "foo", "name": "sleep" } })
}

/// A listener with TLS of its own.
pub fn listener(name: &str, paths: &Paths, configuration: &str, tls: Value) -> Listener {
    Listener { transport_socket: Some(tls), ..Listener::new(name, &paths.wasm, configuration) }
}

/// TLS of the server, by what it wants of clients.
pub type Tls<'a> = &'a dyn Fn(Clients) -> Value;

fn text(error: impl ToString) -> String {
    error.to_string()
}
