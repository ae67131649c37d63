//! One Envoy with a listener for each kind of policy and setting, and the servers around it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_tests::case::{Service, ServiceReply, Token};
use sidegate_tests::client::{self, Request, Response};
use sidegate_tests::envoy::admin::ListenerState;
use sidegate_tests::envoy::config::{self, Cluster, Listener};
use sidegate_tests::envoy::{Envoy, Paths};
use sidegate_tests::servers::services::Services;
use sidegate_tests::servers::upstream::{Saw, Upstream};
use sidegate_tests::{prepare, token};
use tokio::runtime::Runtime;

/// The key that [`api_key`] knows.
pub const KEY: &str = "APIKEY secret-of-john";

/// Everything.
pub struct World {
    pub envoy: Envoy,
    pub upstream: Upstream,
    pub services: Services,
    runtime: Runtime,
    /// What became of each listener.
    pub states: BTreeMap<String, ListenerState>,
}

impl World {
    pub fn start(paths: &Paths) -> Result<Self, String> {
        let mut listeners = crate::traps::listeners(paths);
        listeners.extend(crate::keys::listeners(paths));
        listeners.extend(crate::bodies::listeners(paths));
        listeners.extend(crate::operations::listeners(paths));
        listeners.extend(crate::protocols::listeners(paths));
        listeners.extend(crate::sequences::listeners(paths));
        listeners.push(Listener::new("key", &paths.wasm, &api_key()));
        let mut services = crate::keys::services();
        services.extend(crate::sequences::services());
        Self::with(paths, &listeners, &services)
    }

    pub fn with(paths: &Paths, listeners: &[Listener], services: &BTreeMap<String, Service>) -> Result<Self, String> {
        Self::with_clusters(paths, listeners, services, &[])
    }

    pub fn with_clusters(
        paths: &Paths,
        listeners: &[Listener],
        services: &BTreeMap<String, Service>,
        more: &[Cluster],
    ) -> Result<Self, String> {
        let world = Self::with_refusals(paths, listeners, services, more)?;
        for (name, state) in &world.states {
            if let ListenerState::Refused(why) = state {
                return Err(format!("listener {name} is refused: {why}\n{}", world.envoy.log()));
            }
        }
        Ok(world)
    }

    /// As [`World::with_clusters`], where listeners may be refused.
    pub fn with_refusals(
        paths: &Paths,
        listeners: &[Listener],
        services: &BTreeMap<String, Service>,
        more: &[Cluster],
    ) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let runtime = Runtime::new().map_err(text)?;
        let (upstream, serving) = runtime
            .block_on(async { Ok::<_, std::io::Error>((Upstream::start("upstream").await?, Services::start().await?)) })
            .map_err(text)?;
        serving.add(services);
        let usual = [
            Cluster::new("upstream", upstream.address),
            Cluster { http2: true, ..Cluster::new("upstream-h2", upstream.address) },
            Cluster::new("services", serving.address),
            Cluster::new("nobody", SocketAddr::from(([127, 0, 0, 1], 1))),
        ];
        let clusters = [&usual[..], more].concat();
        let envoy = Envoy::start(&paths.envoy, 2, |folder| {
            let mut bootstrap = config::bootstrap(folder, &clusters, listeners)?;
            bootstrap["stats_config"] = crate::operations::fragment("stats_config")["stats_config"].clone();
            Ok(bootstrap)
        })?;
        let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let states = envoy.admin.listeners(&names)?;
        Ok(Self { envoy, upstream, services: serving, runtime, states })
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        match self.states.get(listener) {
            Some(ListenerState::Active(address)) => *address,
            state => panic!("there is no listener `{listener}`: {state:?}"),
        }
    }

    /// Secrets that can be read where operators look: the log, access logs, and metrics.
    pub fn told_secrets(&self) -> Vec<String> {
        let metrics = self.envoy.admin.get("/stats").unwrap_or_else(|error| panic!("{error}"));
        let places = [
            ("log", self.envoy.log()),
            ("access log", self.envoy.access_log()),
            ("standard output", self.envoy.output()),
            ("metrics", metrics),
        ];
        let lines = places.iter().flat_map(|(place, text)| text.lines().map(move |line| (place, line)));
        // The last one is how a signed token begins.
        let secrets = ["secret-of-john", "eyJ"];
        let told = lines.filter(|(_, line)| secrets.iter().any(|secret| line.contains(secret)));
        told.map(|(place, line)| format!("{place}: {line}")).collect()
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// GET with headers.
    pub fn get(&self, listener: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::new("GET", path, "api.test");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.send(listener, &request.body(None))
    }

    pub fn send(&self, listener: &str, request: &[u8]) -> Response {
        let sent = self.block_on(client::send(self.address(listener), request));
        sent.unwrap_or_else(|error| panic!("{listener}: {error}"))
    }

    /// GET with a token.
    pub fn with_token(&self, listener: &str, path: &str, token: &str) -> Response {
        self.get(listener, path, &[("authorization", &format!("Bearer {token}"))])
    }

    /// Waits until every worker has the keys of the issuer that this listener believes, `http://LISTENER.test`.
    pub fn wait_for_keys(&self, listener: &str) {
        let waited = self.envoy.wait_for_keys(listener, &format!("http://{listener}.test"));
        waited.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Asks until the status is this one. Another worker may still say something else.
    pub fn until(&self, status: u16, ask: impl Fn() -> Response) -> Response {
        let mut last = ask();
        for _ in 0..100 {
            if last.status == status {
                return last;
            }
            std::thread::sleep(Duration::from_millis(100));
            last = ask();
        }
        panic!("the status stays {} ({:?}), though {status} should come", last.status, reason(&last));
    }
}

/// The reason that a client is told.
pub fn reason(response: &Response) -> Option<&str> {
    response.header("x-ext-auth-reason")
}

/// What the upstream saw, of a request that reached it.
pub fn saw(response: &Response) -> Saw {
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

pub fn policy(spec: Value) -> Value {
    json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3",
        "kind": "AuthConfig",
        "metadata": { "name": "subject", "namespace": "default" },
        "spec": spec,
    })
}

pub fn plugin(resources: &[Value], options: Value) -> String {
    let upstreams = json!([{ "url": "http://down.test", "cluster": "nobody" }]);
    let upstreams: Vec<Value> = upstreams
        .as_array()
        .cloned()
        .into_iter()
        .flatten()
        .chain(resources.iter().filter_map(|resource| {
            let issuer = resource["spec"]["authentication"]["token"]["jwt"]["issuerUrl"].as_str()?;
            (issuer != "http://down.test").then(|| json!({ "url": issuer, "cluster": "services" }))
        }))
        .collect();
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": resources,
        "upstreams": upstreams,
        "options": options,
    })
    .to_string()
}

/// Lets John in by his key, and tells the upstream his name.
pub fn api_key() -> String {
    let spec = json!({
        "hosts": ["*"],
        "authentication": { "friends": {
            "apiKey": { "selector": { "matchLabels": { "group": "friends" } } },
            "credentials": { "authorizationHeader": { "prefix": "APIKEY" } },
        } },
        "response": { "success": { "headers": {
            "x-user": { "plain": { "selector": "auth.identity.metadata.name" } },
        } } },
    });
    plugin(&[policy(spec), key("john", "secret-of-john")], json!({}))
}

pub fn key(name: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "labels": { "group": "friends" } },
        "stringData": { "api_key": key },
    })
}

/// Lets in who has a token of this issuer.
pub fn jwt(issuer: &str) -> String {
    jwt_within(issuer, 8_000)
}

/// The same; its keys may take so many milliseconds.
pub fn jwt_within(issuer: &str, timeout: u64) -> String {
    let spec = json!({
        "hosts": ["*"],
        "authentication": { "token": { "jwt": { "issuerUrl": issuer, "timeout": timeout } } },
        "response": { "success": { "headers": { "x-user": { "plain": { "selector": "auth.identity.sub" } } } } },
    });
    plugin(&[policy(spec)], json!({}))
}

/// John's token, signed with a fixture key.
pub fn johns_token(key: &str) -> String {
    let claims = BTreeMap::from([("sub".to_owned(), json!("john"))]);
    let token = Token { key: Some(key.to_owned()), claims, ..Token::default() };
    token::sign(&token, prepare::now()).unwrap_or_else(|error| panic!("{error}"))
}

/// An issuer with one key, which changes to another one in its own time when its second request begins.
pub fn issuer(authority: &str, first: &str, then: &str, delay: u64) -> (String, Service) {
    let url = format!("http://{authority}");
    let discovery = json!({
        "issuer": url,
        "jwks_uri": format!("{url}/jwks"),
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "ES384", "ES512"],
    });
    let keys = |name: &str| token::key_set(&[name.to_owned()]).unwrap_or_else(|error| panic!("{error}"));
    let reply = |json| ServiceReply { json: Some(json), ..ServiceReply::default() };
    let jwks = vec![reply(keys(first)), ServiceReply { from: 2, delay, ..reply(keys(then)) }];
    let replies = BTreeMap::from([
        ("/.well-known/openid-configuration".to_owned(), vec![reply(discovery)]),
        ("/jwks".to_owned(), jwks),
    ]);
    (authority.to_owned(), Service { replies, ..Service::default() })
}
