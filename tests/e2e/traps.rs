//! The seven ways to let a request through by accident (envoy-host reference, section 0); the fourth is in `capabilities.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::client::{self, Request};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::Scenario;
use crate::frames::{self, Ending};
use crate::world::{self, KEY, World, johns_token, reason, saw};

pub const ALL: &[(&str, Scenario)] = &[
    ("trap 1: a body chunk does not release a paused request", body_chunks_while_paused),
    ("trap 1: a paused request that is allowed reaches the upstream whole", paused_and_allowed),
    ("trap 2: trailers do not release a denied request", trailers_after_a_denial),
    ("trap 2: trailers do not release a paused request", trailers_while_paused),
    ("trap 3: the upstream sees nothing of a request before the verdict", nothing_before_the_verdict),
    ("what a filter in front answers goes out as it is", answered_in_front),
    ("trap 5: no request makes a FAIL_OPEN filter open", fail_open),
    ("trap 6: headers of the policy cannot lead to a route that was not decided on", rerouting),
    ("trap 7: no example fails open", examples_fail_closed),
];

pub fn listeners(paths: &Paths) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for (mode, stop) in [("buffered", false), ("stopped", true)] {
        for purpose in ["denied", "allowed", "trailers"] {
            let name = format!("{mode}-{purpose}");
            let mut listener = Listener::new(&name, &paths.wasm, &world::jwt(&format!("http://{name}.test")));
            listener.plugin.insert("allow_on_headers_stop_iteration".to_owned(), json!(stop));
            listeners.push(listener);
        }
        let name = format!("{mode}-key");
        let mut listener = Listener::new(&name, &paths.wasm, &world::api_key());
        listener.plugin.insert("allow_on_headers_stop_iteration".to_owned(), json!(stop));
        listeners.push(listener);
    }
    let mut open = Listener::new("fail-open", &paths.wasm, &world::api_key());
    open.plugin.insert("failure_policy".to_owned(), json!("FAIL_OPEN"));
    own_vm(&mut open, paths);
    listeners.push(open);
    listeners.push(rerouted(paths));
    let mut teapot_first = Listener::new("teapot", &paths.wasm, &world::api_key());
    teapot_first.before.push(teapot());
    listeners.push(teapot_first);
    listeners
}

/// The services of the listeners that wait for keys: a new key comes with the second request.
pub fn issuers() -> impl Iterator<Item = (String, sidegate_tests::case::Service)> {
    ["denied", "allowed", "trailers"].into_iter().flat_map(|purpose| {
        ["buffered", "stopped"].into_iter().map(move |mode| {
            let then = if purpose == "denied" { "rsa-1" } else { "rsa-2" };
            world::issuer(&format!("{mode}-{purpose}.test"), "rsa-1", then, 0)
        })
    })
}

/// What happens to this VM happens to no other listener.
pub fn own_vm(listener: &mut Listener, paths: &Paths) {
    let vm = json!({
        "vm_id": listener.name,
        "runtime": "envoy.wasm.runtime.v8",
        "code": { "local": { "filename": paths.wasm } },
    });
    listener.plugin.insert("vm_config".to_owned(), vm);
}

/// Has the next request for a new key wait for its issuer, until [`World::services`] is told to go on.
pub fn hold(world: &World, listener: &str) -> usize {
    world.wait_for_keys(listener);
    let authority = format!("{listener}.test");
    world.services.request([&authority].into_iter(), 2);
    world.services.hold(&authority, true);
    world.services.asked_at_all(&authority)
}

/// Waits until the issuer was asked again: from then on the request that made it so is paused.
pub async fn paused(world: &World, listener: &str, asked_before: usize) {
    let end = Instant::now() + Duration::from_secs(5);
    while world.services.asked_at_all(&format!("{listener}.test")) == asked_before {
        assert!(Instant::now() < end, "{listener}: the request was not paused, so this shows nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A request whose token names a key that is being fetched, while its body comes bit by bit.
async fn paused_upload(world: &World, listener: &str, path: &str) -> client::Response {
    let asked = hold(world, listener);
    let mut stream = TcpStream::connect(world.address(listener)).await.expect("Envoy listens");
    let token = johns_token("rsa-2");
    let head = Request::new("POST", path, "api.test")
        .header("authorization", format!("Bearer {token}"))
        .header("transfer-encoding", "chunked")
        .header("connection", "close");
    stream.write_all(&head.open()).await.expect("the head is sent");
    paused(world, listener, asked).await;
    for chunk in ["5\r\nhello\r\n", "5\r\nworld\r\n", "0\r\n\r\n"] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.write_all(chunk.as_bytes()).await.expect("a chunk is sent");
        assert!(!world.upstream.saw(path), "{listener}: the upstream sees a request that is not decided");
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!world.upstream.saw(path), "{listener}: the upstream sees a request that is not decided");
    world.services.hold(&format!("{listener}.test"), false);
    client::exchange(&mut stream, b"").await.expect("there is a response")
}

fn body_chunks_while_paused(world: &World) {
    for listener in ["buffered-denied", "stopped-denied"] {
        let path = format!("/trap1/{listener}");
        let response = world.block_on(paused_upload(world, listener, &path));
        assert_eq!(response.status, 401, "{response:?}");
        assert!(!world.upstream.saw(&path));
    }
}

fn paused_and_allowed(world: &World) {
    for listener in ["buffered-allowed", "stopped-allowed"] {
        let path = format!("/trap1/{listener}");
        let response = world.block_on(paused_upload(world, listener, &path));
        let saw = saw(&response);
        assert_eq!(saw.body_bytes, 10);
        assert!(saw.headers.contains(&("x-user".to_owned(), "john".to_owned())), "{saw:?}");
    }
}

fn trailers_after_a_denial(world: &World) {
    for listener in ["buffered-key", "stopped-key"] {
        for (index, ending) in [Ending::Trailers, Ending::BodyAndTrailers].into_iter().enumerate() {
            let path = format!("/trap2/{listener}/{index}");
            let denied = world.block_on(frames::post(
                world.address(listener),
                &path,
                &[("authorization", "APIKEY bad")],
                ending,
            ));
            assert_eq!(denied.0, 401);
            assert!(!world.upstream.saw(&path));
            let path = format!("{path}/good");
            let allowed =
                world.block_on(frames::post(world.address(listener), &path, &[("authorization", KEY)], ending));
            assert_eq!(allowed.0, 200);
            assert!(world.upstream.saw(&path));
        }
    }
}

fn trailers_while_paused(world: &World) {
    for listener in ["buffered-trailers", "stopped-trailers"] {
        let asked = hold(world, listener);
        let path = format!("/trap2/{listener}");
        // Signed with a key that no set will ever have, under the name of the one that is to come.
        let forged =
            johns_token("rsa-2").rsplit_once('.').map(|(signed, _)| format!("{signed}.AAAA")).unwrap_or_default();
        let bearer = format!("Bearer {forged}");
        let headers = [("authorization", bearer.as_str())];
        let release = async {
            paused(world, listener, asked).await;
            // Time for the trailers, which come after the headers.
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(!world.upstream.saw(&path), "{listener}: the upstream sees a request that is not decided");
            world.services.hold(&format!("{listener}.test"), false);
        };
        let post = frames::post(world.address(listener), &path, &headers, Ending::Trailers);
        let (answer, ()) = world.block_on(async { tokio::join!(post, release) });
        assert_eq!(answer.0, 401, "{answer:?}");
        assert!(!world.upstream.saw(&path));
    }
}

fn nothing_before_the_verdict(world: &World) {
    for listener in ["buffered-key", "stopped-key"] {
        let path = format!("/trap3/{listener}");
        let request =
            Request::new("POST", &path, "api.test").header("authorization", "APIKEY bad").body(Some("some body"));
        assert_eq!(world.send(listener, &request).status, 401);
        assert!(!world.upstream.saw(&path));
    }
}

fn fail_open(world: &World) {
    for request in crate::odd_requests::hostile() {
        drop(world.block_on(client::send(world.address("fail-open"), &request)));
    }
    for _ in 0..20 {
        assert_eq!(world.get("fail-open", "/trap5", &[]).status, 401);
    }
    assert!(!world.upstream.saw("/trap5"));
}

/// Two routes with an AuthConfig of their own each: anybody may use the one for requests with `x-tier`, a header that
/// the policy takes out.
fn rerouted(paths: &Paths) -> Listener {
    let public = world::policy(json!({
        "hosts": ["public.test"],
        "authentication": { "everyone": { "anonymous": {} } },
        "response": { "success": { "headers": {
            "x-tier": { "plain": { "value": "gold" }, "when": [{ "selector": "auth.identity.sub", "operator": "eq", "value": "john" }] },
        } } },
    }));
    let mut private = world::policy(json!({
        "hosts": ["private.test"],
        "authentication": { "friends": { "apiKey": { "selector": {} } } },
    }));
    private["metadata"]["name"] = json!("private");
    let options = json!({ "hostOverride": { "routeMetadata": {} } });
    let configuration = world::plugin(&[public, private, world::key("john", "secret-of-john")], options);
    let route = |matching: Value, host: &str| {
        json!({
            "match": matching,
            "route": { "cluster": "upstream" },
            "metadata": { "filter_metadata": { "sidegate": { "host": host } } },
            "request_headers_to_add": [{ "header": { "key": "x-route", "value": host } }],
        })
    };
    let mut listener = Listener::new("rerouted", &paths.wasm, &configuration);
    listener.routes = vec![
        route(json!({ "prefix": "/", "headers": [{ "name": "x-tier", "present_match": true }] }), "public.test"),
        route(json!({ "prefix": "/" }), "private.test"),
    ];
    listener
}

fn rerouting(world: &World) {
    assert_eq!(world.get("rerouted", "/trap6/plain", &[]).status, 401);
    let response = world.get("rerouted", "/trap6/forged", &[("x-tier", "forged")]);
    assert_eq!(response.status, 403, "{response:?}");
    assert!(!world.upstream.saw("/trap6"));
}

/// A filter in front that answers every request itself.
fn teapot() -> Value {
    json!({ "name": "teapot", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "abort": { "http_status": 418, "percentage": { "numerator": 100 } },
    } })
}

fn answered_in_front(world: &World) {
    let response = world.get("teapot", "/teapot", &[]);
    assert_eq!((response.status, reason(&response)), (418, None), "{response:?}");
}

fn examples_fail_closed(_: &World) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy-examples");
    let (mut seen, mut plugins) = (0, 0);
    for file in files(&root) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        for trap in ["FAIL_OPEN", "fail_open", "capability_restriction_config", "FAIL_CLOSED"] {
            assert!(!text.contains(trap), "{}: {trap}", file.display());
        }
        if text.contains("envoy.wasm.runtime.v8") {
            seen += 1;
            assert!(text.contains("FAIL_RELOAD"), "{}: no FAIL_RELOAD", file.display());
            // Connections that are no HTTP have no such limit.
            let is_http = text.contains("filters.http.wasm");
            assert!(!is_http || text.contains("stream_idle_timeout"), "{}: no stream_idle_timeout", file.display());
        }
        if text.contains("kind: WasmPlugin") {
            plugins += 1;
            assert!(text.contains("failStrategy: FAIL_RELOAD"), "{}: no FAIL_RELOAD", file.display());
        }
    }
    assert!(seen > 0 && plugins > 0, "no example was looked at");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
