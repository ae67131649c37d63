//! Faults that only a real Envoy has: certificates that are not right, circuit breakers, clusters that are empty, and a thousand
//! requests that nobody answers.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::case::{Service, ServiceReply};
use sidegate_tests::client::{self, Request, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{Cluster, Listener};
use sidegate_tests::fixtures;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::{self, World, reason, saw};

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] = &[
    ("servers whose certificates are not right get nothing, and rules decide as without an answer", certificates),
    ("an open circuit breaker is no reason to do without metadata, and a cluster without endpoints neither", breakers),
    ("a thousand requests that a dead server does not answer leave nothing behind", thousands),
];

/// What is wrong with a server's certificate, and which of the fixtures that is; first the one that is right.
const CERTIFICATES: [(&str, &str); 4] = [
    ("right", "localhost"),
    ("expired", "localhost-expired"),
    ("unknown", "localhost-mallory"),
    ("elsewhere", "elsewhere"),
];

/// Hosts of AuthConfigs, each with the stage and the rule that asks the server, and what a request without an answer gets.
const RULES: [(&str, &str, &str, u16); 5] = [
    ("introspection", "authentication", "IDENTITY_OAUTH2", 503),
    ("token-review", "authentication", "IDENTITY_KUBERNETES", 503),
    ("metadata", "metadata", "METADATA_GENERIC_HTTP", 200),
    ("access-review", "authorization", "AUTHORIZATION_KUBERNETES", 503),
    ("callback", "callback", "CALLBACK_HTTP", 200),
];

/// A server that speaks TLS with a certificate of the fixtures, and answers everything with the same JSON.
async fn serve(certificate: &str) -> SocketAddr {
    let file = |end: &str| fixtures::path(&format!("certs/{certificate}.{end}"));
    let chain = vec![CertificateDer::from_pem_file(file("pem")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(file("key")).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; 16 << 10];
                if stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                    let body = r#"{"active":true,"status":{"authenticated":true,"allowed":true,"user":{"username":"jane"},"audiences":["token-review.test"]}}"#;
                    let head =
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
                    drop(stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await);
                    drop(stream.shutdown().await);
                }
            });
        }
    });
    address
}

/// AuthConfigs that each ask the server of one certificate.
fn asking(name: &str) -> String {
    let url = format!("https://{name}.test");
    let anybody = json!({ "anybody": { "anonymous": {} } });
    let http = json!({ "http": { "url": format!("{url}/") }, "metrics": true });
    let parts = RULES.map(|(host, ..)| match host {
        "introspection" => json!({ "authentication": { "it": { "metrics": true, "oauth2Introspection": {
            "endpoint": format!("{url}/introspect"), "credentialsRef": { "name": "client" },
        } } } }),
        "token-review" => json!({ "authentication": { "it": { "metrics": true, "kubernetesTokenReview": {} } } }),
        "metadata" => json!({
            "authentication": anybody,
            "metadata": { "it": http },
            "response": { "success": { "headers": { "x-it": { "plain": { "selector": "auth.metadata.it.active" } } } } },
        }),
        "access-review" => json!({ "authentication": anybody, "authorization": { "it": {
            "metrics": true, "kubernetesSubjectAccessReview": { "user": { "value": "jane" } },
        } } }),
        _ => json!({ "authentication": anybody, "callbacks": { "it": http } }),
    });
    let mut resources: Vec<Value> = RULES
        .iter()
        .zip(parts)
        .map(|((host, ..), mut spec)| {
            spec["hosts"] = json!([format!("{host}.test")]);
            json!({
                "apiVersion": "authorino.kuadrant.io/v1beta3",
                "kind": "AuthConfig",
                "metadata": { "name": host },
                "spec": spec,
            })
        })
        .collect();
    for (name, entries) in
        [("client", json!({ "clientID": "us", "clientSecret": "s3cret" })), ("proxy", json!({ "token": "s3cret" }))]
    {
        let metadata = json!({ "name": name });
        resources.push(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries }));
    }
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": resources,
        "upstreams": [{ "url": url, "cluster": name }],
        "options": { "kubernetes": { "url": url, "tokenRef": { "name": "proxy" } } },
    })
    .to_string()
}

fn certificates(paths: &Paths) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let clusters = CERTIFICATES.map(|(name, certificate)| {
        let address = runtime.block_on(serve(certificate));
        Cluster { tls: true, ..Cluster::new(name, address) }
    });
    let listeners = CERTIFICATES.map(|(name, _)| Listener::new(name, &paths.wasm, &asking(name)));
    let world =
        World::with_clusters(paths, &listeners, &[].into(), &clusters).unwrap_or_else(|error| panic!("{error}"));
    let ask = |listener: &str, host: &str| {
        let path = format!("/{listener}/{host}");
        let request = Request::new("GET", &path, &format!("{host}.test")).header("authorization", "Bearer token");
        world.send(listener, &request.body(None))
    };
    for (host, _, _, _) in RULES {
        let response = ask("right", host);
        let seen = saw(&response);
        assert_eq!(
            seen.headers.iter().any(|(name, value)| name == "x-it" && value == "true"),
            host == "metadata",
            "{seen:?}"
        );
    }
    for (listener, _) in CERTIFICATES.iter().skip(1) {
        for (host, stage, _, status) in RULES {
            let begun = Instant::now();
            let response = ask(listener, host);
            assert!(begun.elapsed() < Duration::from_secs(5), "{listener}, {host}: it took {:?}", begun.elapsed());
            assert_eq!(response.status, status, "{listener}, {host}: {response:?}");
            match status {
                200 => assert!(saw(&response).headers.iter().all(|(name, _)| name != "x-it"), "{response:?}"),
                _ => assert!(!world.upstream.saw(&format!("/{listener}/{host}"))),
            }
            let level = if stage == "callback" { "warning" } else { "debug" };
            let (config, step) = (format!("default/{host}: "), format!("{stage} it: failed ("));
            logged(&world, listener, level, &[&config, &step, "remote connection failure"]);
        }
    }
    counted(&world);
    // Envoy tells nobody who calls what was wrong; its metrics do.
    for (listener, what) in [("expired", "error"), ("unknown", "error"), ("elsewhere", "san")] {
        let name = format!("cluster.{listener}.ssl.fail_verify_{what}");
        let failed = world.envoy.admin.stat(&name).unwrap_or_else(|error| panic!("{error}"));
        assert!(failed >= u64::try_from(RULES.len()).expect("a few"), "{name}: {failed}");
    }
}

/// Waits until a line of the log has all of these; of a rule its name.
fn logged(world: &World, listener: &str, level: &str, parts: &[&str]) {
    let end = Instant::now() + Duration::from_secs(10);
    let is_it = |line: &String| parts.iter().all(|part| line.contains(part));
    while !world.envoy.plugin_log(listener, level).iter().any(is_it) {
        assert!(Instant::now() < end, "{listener}: the log does not say {parts:?}: {}", world.envoy.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Each rule was denied, or could not decide, once for each certificate that is not right.
fn counted(world: &World) {
    let bad = u64::try_from(CERTIFICATES.len() - 1).expect("a few");
    for (host, _, kind, _) in RULES {
        let name = format!(
            "auth_server_evaluator_denied.namespace.default.authconfig.{host}.evaluator_type.{kind}.evaluator_name.it"
        );
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let stats =
                world.envoy.admin.stats("auth_server_evaluator_denied").unwrap_or_else(|error| panic!("{error}"));
            let count = stats.iter().find(|(key, _)| key.ends_with(&name)).map(|(_, count)| *count);
            if count == Some(bad) {
                break;
            }
            assert!(Instant::now() < end, "{name} is {count:?}: {stats:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Asks a server for metadata, which nobody demands.
fn with_metadata(cluster: &str) -> Listener {
    Listener::new(cluster, &std::path::PathBuf::new(), &{
        let spec = json!({
            "hosts": ["*"],
            "authentication": { "anybody": { "anonymous": {} } },
            "metadata": { "it": { "http": { "url": format!("http://{cluster}.test/"), "timeout": 2000 } } },
            "response": { "success": { "headers": { "x-it": { "plain": { "selector": "auth.metadata.it.n" } } } } },
        });
        json!({
            "apiVersion": "sidegate.dev/v1alpha1",
            "kind": "PluginConfig",
            "resources": [world::policy(spec)],
            "upstreams": [{ "url": format!("http://{cluster}.test"), "cluster": cluster }],
        })
        .to_string()
    })
}

fn breakers(paths: &Paths) {
    // The servers of the world are behind one port, which is known when it runs: this one passes on to them.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let services = runtime.block_on(sidegate_tests::servers::services::Services::start()).expect("servers");
    let reply = ServiceReply { json: Some(json!({ "n": 1 })), ..ServiceReply::default() };
    let service = Service { replies: BTreeMap::from([("/".to_owned(), vec![reply])]), ..Service::default() };
    services.add(&BTreeMap::from([("narrow.test".to_owned(), service)]));
    let thresholds = json!({ "thresholds": [{ "max_connections": 1, "max_pending_requests": 1 }] });
    let narrow = Cluster {
        members: BTreeMap::from([("circuit_breakers".to_owned(), thresholds)]),
        ..Cluster::new("narrow", services.address)
    };
    let nobody = json!({ "cluster_name": "empty", "endpoints": [] });
    let empty = Cluster {
        members: BTreeMap::from([("load_assignment".to_owned(), nobody)]),
        ..Cluster::new("empty", services.address)
    };
    let listeners =
        ["narrow", "empty", "nobody"].map(|name| Listener { wasm: paths.wasm.clone(), ..with_metadata(name) });
    let world =
        World::with_clusters(paths, &listeners, &[].into(), &[narrow, empty]).unwrap_or_else(|error| panic!("{error}"));
    let it = |response: &Response| {
        let headers = saw(response).headers;
        headers.into_iter().find(|(name, _)| name == "x-it").map(|(_, value)| value)
    };
    let narrow = || world.get("narrow", "/narrow", &[]);
    assert_eq!(it(&narrow()).as_deref(), Some("1"));
    services.hold("narrow.test", true);
    let responses = world.block_on(async {
        let address = world.address("narrow");
        let request = Request::new("GET", "/narrow", "api.test").body(None);
        let asking: Vec<_> = (0..6)
            .map(|_| {
                let request = request.clone();
                tokio::spawn(async move { client::send(address, &request).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        services.hold("narrow.test", false);
        let mut responses = Vec::new();
        for asked in asking {
            responses.push(asked.await.expect("no panic").unwrap_or_else(|error| panic!("{error}")));
        }
        responses
    });
    // A worker has a connection whatever the bound, so one or two were answered, and one waited; for the rest there was no room.
    let (served, denied): (Vec<_>, Vec<_>) = responses.iter().partition(|response| response.status == 200);
    assert!(served.iter().all(|response| it(response).as_deref() == Some("1")), "nobody does without: {served:?}");
    assert!(denied.iter().all(|response| reason(response) == Some("too much is waited for")), "{denied:?}");
    assert!((2..=3).contains(&served.len()), "{} were served", served.len());
    assert_eq!(it(&narrow()).as_deref(), Some("1"), "it is over");
    // Envoy says the same of a cluster that has no endpoint; a server that does not answer is another matter.
    let response = world.get("empty", "/empty", &[]);
    assert_eq!((response.status, reason(&response)), (503, Some("too much is waited for")));
    let told = "cluster `empty` takes no call: no endpoint is healthy, or a circuit breaker is open";
    logged(&world, "empty", "debug", &[told]);
    assert_eq!(it(&world.get("nobody", "/nobody", &[])), None);
}

fn thousands(paths: &Paths) {
    const ROUND: usize = 1_000;
    let listeners = ["nobody"].map(|name| Listener { wasm: paths.wasm.clone(), ..with_metadata(name) });
    let world = World::with_clusters(paths, &listeners, &[].into(), &[]).unwrap_or_else(|error| panic!("{error}"));
    let round = || {
        world.block_on(async {
            let address = world.address("nobody");
            // Ten at a time, each with a header that would be missed if it stayed.
            for _ in 0..ROUND / 10 {
                let asking: Vec<_> = (0..10)
                    .map(|_| {
                        let request = Request::new("GET", "/dead", "api.test").header("x-long", "x".repeat(8_000));
                        tokio::spawn(async move { client::send(address, &request.body(None)).await })
                    })
                    .collect();
                for asked in asking {
                    let response = asked.await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(response.status, 200, "{response:?}");
                }
            }
        });
    };
    let stat = |name: &str| world.envoy.admin.stat(name).unwrap_or_else(|error| panic!("{error}"));
    let quiet = || {
        let end = Instant::now() + Duration::from_secs(10);
        while [
            "cluster.nobody.upstream_rq_active",
            "cluster.nobody.upstream_rq_pending_active",
            "http.ingress.downstream_rq_active",
        ]
        .iter()
        .any(|name| stat(name) > 0)
        {
            assert!(Instant::now() < end, "requests are under way that nobody waits for");
            std::thread::sleep(Duration::from_millis(50));
        }
        resident(&world)
    };
    round();
    round();
    let before = quiet();
    round();
    round();
    round();
    let after = quiet();
    println!("{before} KiB after 2,000 requests, {after} KiB after 5,000");
    // If the requests stayed it would be 24 MB, and 2,048 KiB is less than 700 bytes of each.
    assert!(after < before + 2_048, "{before} KiB became {after} KiB");
}

/// KiB that Envoy has in memory.
fn resident(world: &World) -> u64 {
    let process = fs::read_to_string(world.envoy.folder().join("pid")).expect("a process");
    let status = fs::read_to_string(format!("/proc/{}/status", process.trim())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}
