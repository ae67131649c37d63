//! Faults: servers in all troubles, circuit breakers, clusters that are empty, and thousands of requests that nobody answers.

pub mod later;
pub mod table;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use sidegate_tests::case::{Service, ServiceReply};
use sidegate_tests::client::{self, Request, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{Cluster, Listener};
use sidegate_tests::faults::{self, Trouble};

use crate::world::{self, World, reason, saw};

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] = &[
    ("an open circuit breaker is no reason to do without metadata, and a cluster without endpoints neither", breakers),
    ("a thousand requests for each service that is dead leave nothing behind", thousands),
];

/// Waits until a line of the log has all of these; of a rule its name.
fn logged(world: &World, listener: &str, level: &str, parts: &[&str]) {
    let end = Instant::now() + Duration::from_secs(10);
    let is_it = |line: &String| parts.iter().all(|part| line.contains(part));
    while !world.envoy.plugin_log(listener, level).iter().any(is_it) {
        assert!(Instant::now() < end, "{listener}: the log does not say {parts:?}: {}", world.envoy.log());
        std::thread::sleep(Duration::from_millis(50));
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
    const ROUND: usize = 200;
    let (world, _servers) = table::world(paths, &[Trouble::Refused]).unwrap_or_else(|error| panic!("{error}"));
    let address = world.address(Trouble::Refused.name());
    let round = || {
        world.block_on(async {
            for asked in &faults::ALL {
                // Each with a header that would be missed if it stayed.
                let request = table::request(asked, Trouble::Refused).header("x-long", "x".repeat(8_000)).body(None);
                let status = asked.status(&asked.end(Trouble::Refused));
                for _ in 0..ROUND / 20 {
                    let asking: Vec<_> = (0..20)
                        .map(|_| {
                            let request = request.clone();
                            tokio::spawn(async move { client::send(address, &request).await })
                        })
                        .collect();
                    for asked in asking {
                        let response = asked.await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
                        assert_eq!(response.status, status, "{response:?}");
                    }
                }
            }
        });
    };
    let stat = |name: &str| world.envoy.admin.stat(name).unwrap_or_else(|error| panic!("{error}"));
    let quiet = || {
        let end = Instant::now() + Duration::from_secs(10);
        while [
            "cluster.refused.upstream_rq_active",
            "cluster.refused.upstream_rq_pending_active",
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
    println!("{before} KiB after 400 requests for each service, {after} KiB after 1,000");
    // If the requests stayed it would be 72 MB, or 5 MB for one of the services; 1,024 KiB is less than 120 bytes of each request.
    assert!(after < before + 1_024, "{before} KiB became {after} KiB");
}

/// KiB that Envoy has in memory.
fn resident(world: &World) -> u64 {
    let process = fs::read_to_string(world.envoy.folder().join("pid")).expect("a process");
    let status = fs::read_to_string(format!("/proc/{}/status", process.trim())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}
