//! Calls that are under way together, that nobody waits for any more, or that nobody ever waited for. Servers hold their answers
//! until what is to come before them has come, so no clock decides.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::case::{Service, ServiceReply, When};
use sidegate_tests::client::{self, Request, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::Scenario;
use crate::world::{World, reason, saw};

pub const ALL: &[(&str, Scenario)] = &[
    ("callbacks are sent, and the reply does not wait for their answers", detached),
    ("callbacks are waited for if the options say so", blocking),
    ("calls of one group are under way together: identities, metadata, authorization", together),
    ("answers that are too long together deny, which is counted", bounded),
    ("a callback that fails for each request is told once in a while, and counted each time", unheard),
];

/// A scenario with an Envoy of its own, in which nothing else is under way.
type Alone = fn(&Paths);

pub const OWN: &[(&str, Alone)] = &[
    ("a client that leaves while metadata is fetched leaves nothing behind", gone),
    ("a denial does not wait for a sibling that is asked, and nobody takes its answer", cancelled),
];

/// How long may pass until something is there.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn listeners(paths: &Paths) -> Vec<Listener> {
    let listener = |name: &str, configuration: &str| Listener::new(name, &paths.wasm, configuration);
    vec![
        listener("detached", &told("detached", "http://detached.test", json!({}))),
        listener("blocking", &told("blocking", "http://blocking.test", json!({ "callbacks": "Blocking" }))),
        listener("together", &of_three_each()),
        listener("bounded", &two_sources()),
        listener("unheard", &told("unheard", "http://down.test", json!({}))),
    ]
}

pub fn services() -> BTreeMap<String, Service> {
    let found = || reply(json!({ "n": 1 }));
    BTreeMap::from([
        service("detached.test", [("/", vec![found()])]),
        service("blocking.test", [("/", vec![found()])]),
        service(
            "idp.together.test",
            [(
                "/introspect",
                vec![reply(json!({ "active": false })), asked_with("rule", "c", reply(json!({ "active": true })))],
            )],
        ),
        service("data.together.test", [("/", vec![found()])]),
        service("kube.together.test", [(REVIEWS, vec![reviewed(true)])]),
        service("kube.cancelled.test", [(REVIEWS, vec![reviewed(true), refused()])]),
        service("data.bounded.test", [("/", vec![ServiceReply { big: Some(80), ..ServiceReply::default() }])]),
        service("data.gone.test", [("/", vec![found()])]),
    ])
}

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Milliseconds: longer than a client waits.
const LONG: u64 = 60_000;

fn service<const N: usize>(authority: &str, replies: [(&str, Vec<ServiceReply>); N]) -> (String, Service) {
    let replies = replies.into_iter().map(|(path, replies)| (path.to_owned(), replies)).collect();
    (authority.to_owned(), Service { replies, ..Service::default() })
}

fn reply(json: Value) -> ServiceReply {
    ServiceReply { json: Some(json), ..ServiceReply::default() }
}

fn asked_with(name: &str, value: &str, reply: ServiceReply) -> ServiceReply {
    let when: When = serde_json::from_value(json!({ "query": { name: value } })).expect("a condition");
    ServiceReply { when: Some(when), ..reply }
}

fn reviewed(allowed: bool) -> ServiceReply {
    reply(json!({ "status": { "allowed": allowed, "reason": "nobody" } }))
}

fn refused() -> ServiceReply {
    ServiceReply { when: Some(review_of("nobody")), ..reviewed(false) }
}

fn review_of(user: &str) -> When {
    serde_json::from_value(json!({ "json": { "spec": { "user": user } } })).expect("a condition")
}

/// A configuration whose servers are behind the cluster of the world's services.
fn configuration(name: &str, mut spec: Value, urls: &[&str], mut options: Value) -> String {
    spec["hosts"] = json!(["*"]);
    let auth_config = json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3",
        "kind": "AuthConfig",
        "metadata": { "name": name },
        "spec": spec,
    });
    let client = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "client" },
        "stringData": { "clientID": "us", "clientSecret": "secret-of-john" },
    });
    if let Some(kube) = urls.iter().find(|url| url.contains("kube.")) {
        options["kubernetes"] = json!({ "url": kube });
    }
    let upstream = |url: &&str| {
        let cluster = if url.contains("down.test") { "nobody" } else { "services" };
        json!({ "url": url, "cluster": cluster })
    };
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": [auth_config, client],
        "upstreams": urls.iter().map(upstream).collect::<Vec<_>>(),
        "options": options,
    })
    .to_string()
}

/// A server is told of all requests; those for `/no…` are denied.
fn told(name: &str, url: &str, options: Value) -> String {
    let passes = json!([{ "selector": "request.path", "operator": "matches", "value": "^/[^n]" }]);
    let spec = json!({
        "authentication": { "anybody": { "anonymous": {} } },
        "authorization": { "no": { "patternMatching": { "patterns": passes } } },
        "callbacks": { "tell": { "metrics": true, "http": { "url": format!("{url}/") } } },
    });
    configuration(name, spec, &[url], options)
}

fn of_three_each() -> String {
    let three = |rule: &dyn Fn(&str) -> Value| -> Value {
        Value::Object(["a", "b", "c"].into_iter().map(|name| (name.to_owned(), rule(name))).collect())
    };
    let spec = json!({
        "authentication": three(&|name| json!({ "oauth2Introspection": {
            "endpoint": format!("http://idp.together.test/introspect?rule={name}"), "credentialsRef": { "name": "client" },
        } })),
        "metadata": three(&|name| json!({ "http": { "url": format!("http://data.together.test/?source={name}") } })),
        "authorization": three(&|name| json!({ "kubernetesSubjectAccessReview": { "user": { "value": name } } })),
    });
    let urls = ["http://idp.together.test", "http://data.together.test", "http://kube.together.test"];
    configuration("together", spec, &urls, json!({}))
}

fn two_reviews() -> String {
    let review = |user: &str| {
        let asked = json!({ "user": { "value": user }, "timeout": LONG });
        json!({ "metrics": true, "kubernetesSubjectAccessReview": asked })
    };
    let spec = json!({
        "authentication": { "anybody": { "anonymous": {} } },
        "authorization": { "a-slow": review("john"), "b-no": review("nobody") },
    });
    configuration("cancelled", spec, &["http://kube.cancelled.test"], json!({ "timeout": LONG }))
}

fn two_sources() -> String {
    let source = |priority: u8| json!({ "priority": priority, "http": { "url": "http://data.bounded.test/" } });
    let spec = json!({
        "authentication": { "anybody": { "anonymous": {} } },
        "metadata": { "one": source(0), "two": source(1) },
    });
    configuration("bounded", spec, &["http://data.bounded.test"], json!({ "maxResponseBytes": 100 }))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it does not come to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn calls(world: &World, authority: &str) -> usize {
    world.services.asked_at_all(authority)
}

fn sending(world: &World, listener: &str, path: &str) -> tokio::task::JoinHandle<Result<Response, String>> {
    let address = world.address(listener);
    let request = Request::new("GET", path, "api.test").header("authorization", "Bearer t").body(None);
    tokio::spawn(async move { client::send(address, &request).await })
}

fn detached(world: &World) {
    world.services.hold("detached.test", true);
    for (index, (path, status)) in [("/detached", 200), ("/no-detached", 403)].into_iter().enumerate() {
        assert_eq!(world.get("detached", path, &[]).status, status, "whoever is told does not answer");
        world.block_on(until("whoever is told is told", || calls(world, "detached.test") == index + 1));
    }
    let ok =
        || world.envoy.plugin_log("detached", "debug").iter().filter(|line| line.contains("callback tell: ok")).count();
    assert_eq!(ok(), 0, "nobody has answered yet");
    world.services.hold("detached.test", false);
    world.block_on(until("the answers are taken", || ok() == 2));
}

fn blocking(world: &World) {
    for (index, (path, status)) in [("/blocking", 200), ("/no-blocking", 403)].into_iter().enumerate() {
        world.services.hold("blocking.test", true);
        world.block_on(async {
            let asked = sending(world, "blocking", path);
            until("whoever is told is told", || calls(world, "blocking.test") == index + 1).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!asked.is_finished() && !world.upstream.saw(path), "{path}: the answer was not waited for");
            world.services.hold("blocking.test", false);
            let response = asked.await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(response.status, status, "{response:?}");
        });
    }
}

fn together(world: &World) {
    let stages = ["idp.together.test", "data.together.test", "kube.together.test"];
    stages.iter().for_each(|authority| world.services.hold(authority, true));
    world.block_on(async {
        let asked = sending(world, "together", "/together");
        for (index, authority) in stages.into_iter().enumerate() {
            // None of the three is answered before all of them are there.
            until("three are asked", || calls(world, authority) == 3).await;
            let later = stages.iter().skip(index + 1).map(|later| calls(world, later)).sum::<usize>();
            assert_eq!(later, 0, "the next stage does not wait for {authority}");
            world.services.hold(authority, false);
        }
        let response = asked.await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(response.status, 200, "{response:?}");
    });
    assert_eq!(stages.map(|authority| calls(world, authority)), [3; 3], "nobody is asked twice");
}

/// Nobody can take back a call that Envoy has made for a filter, so the server is heard to its end.
fn cancelled(paths: &Paths) {
    const SERVER: &str = "kube.cancelled.test";
    let listener = Listener::new("cancelled", &paths.wasm, &two_reviews());
    let world = World::with(paths, &[listener], &services()).unwrap_or_else(|error| panic!("{error}"));
    let stat = |name: &str| world.envoy.admin.stat(name).unwrap_or(0);
    world.services.hold(SERVER, true);
    let response = world.block_on(async {
        let asked = sending(&world, "cancelled", "/cancelled");
        until("both are asked", || calls(&world, SERVER) == 2).await;
        world.services.hold_those(SERVER, Some(review_of("john")));
        asked.await.expect("no panic").unwrap_or_else(|error| panic!("{error}"))
    });
    assert_eq!((response.status, reason(&response)), (403, Some("not authorized: nobody")));
    assert_eq!(stat("cluster.services.upstream_rq_active"), 1, "the other is still under way");
    let counted = |what: &str, rule: &str| {
        stat(&format!(
            "wasmcustom.auth_server_evaluator_{what}.namespace.default.authconfig.cancelled\
             .evaluator_type.AUTHORIZATION_KUBERNETES.evaluator_name.{rule}"
        ))
    };
    let all_is_counted = || counted("denied", "b-no") == 1 && counted("cancelled", "a-slow") == 1;
    world.block_on(until("both are counted", all_is_counted));
    // The late answer says that all is well; the request stays denied, and so does the next.
    world.services.hold(SERVER, false);
    world.block_on(until("it is answered", || stat("cluster.services.upstream_rq_200") == 2));
    assert_eq!(world.get("cancelled", "/cancelled/again", &[]).status, 403);
    assert!(!world.upstream.saw("/cancelled"));
    assert_eq!(counted("denied", "a-slow"), 0);
}

fn bounded(world: &World) {
    let response = world.get("bounded", "/bounded", &[]);
    assert_eq!((response.status, reason(&response)), (503, Some("the answers of servers are too long together")));
    assert!(!world.upstream.saw("/bounded"));
    let counted = || world.envoy.admin.stat("wasmcustom.sidegate_failed_total.class.answers").unwrap_or(0);
    world.block_on(until("it is counted", || counted() == 1));
}

fn unheard(world: &World) {
    const TIMES: u64 = 40;
    let begun = Instant::now();
    for _ in 0..TIMES {
        assert_eq!(world.get("unheard", "/unheard", &[]).status, 200);
    }
    let name = "wasmcustom.auth_server_evaluator_denied.namespace.default.authconfig.unheard\
                .evaluator_type.CALLBACK_HTTP.evaluator_name.tell";
    world.block_on(until("each is counted", || world.envoy.admin.stat(name).unwrap_or(0) == TIMES));
    let start = "after a request: default/unheard: callback tell: failed (the callback server does not answer: ";
    let lines = |level| world.envoy.plugin_log("unheard", level).iter().filter(|line| line.starts_with(start)).count();
    let (warned, left_out) = (lines("warning"), lines("debug"));
    // Each of the two workers may say so once in ten seconds.
    let turns = usize::try_from(begun.elapsed().as_secs() / 10).expect("the test ends") + 1;
    assert!((1..=2 * turns).contains(&warned), "{warned} warnings by two workers in {turns} times ten seconds");
    assert_eq!(
        warned + left_out,
        usize::try_from(TIMES).expect("a few"),
        "whoever reads the debug log is told of each"
    );
}

fn gone(paths: &Paths) {
    const CLIENTS: usize = 10;
    let spec = json!({
        "authentication": { "anybody": { "anonymous": {} } },
        "metadata": { "it": { "http": { "url": "http://data.gone.test/" } } },
        "response": { "success": { "headers": { "x-it": { "plain": { "selector": "auth.metadata.it.n" } } } } },
    });
    let listener =
        Listener::new("gone", &paths.wasm, &configuration("gone", spec, &["http://data.gone.test"], json!({})));
    let world = World::with(paths, &[listener], &services()).unwrap_or_else(|error| panic!("{error}"));
    let stat = |name: &str| world.envoy.admin.stat(name).unwrap_or_else(|error| panic!("{error}"));
    world.services.hold("data.gone.test", true);
    world.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = TcpStream::connect(world.address("gone")).await.expect("Envoy listens");
            let request = Request::new("GET", "/gone", "api.test").open();
            stream.write_all(&request).await.expect("the request is sent");
            streams.push(stream);
        }
        until("each has its metadata asked for", || calls(&world, "data.gone.test") == CLIENTS).await;
        drop(streams);
        until("Envoy knows that they left", || stat("http.ingress.downstream_rq_active") == 0).await;
        world.services.hold("data.gone.test", false);
        until("no call is under way", || stat("cluster.services.upstream_rq_active") == 0).await;
    });
    let it = saw(&world.get("gone", "/after", &[])).headers.into_iter().find(|(name, _)| name == "x-it");
    assert_eq!(it, Some(("x-it".to_owned(), "1".to_owned())));
    assert!(!world.upstream.saw("/gone"), "a request went on without its client");
    assert!(world.told_secrets().is_empty());
}
