//! Policies that read the body of a request, which Envoy then keeps until the verdict.

use std::time::{Duration, Instant};

use serde_json::json;
use sidegate_tests::client::{self, Request};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::Scenario;
use crate::frames::{self, Ending};
use crate::protocols;
use crate::world::{self, World, saw};

pub const ALL: &[(&str, Scenario)] = &[
    ("a body in pieces decides when it is whole, and arrives whole", pieces),
    ("a body that ends with trailers decides as well", trailers),
    ("a body that is too long is refused before its end", too_long),
    ("of a tunnel no body is waited for", tunnels),
    ("where Envoy holds bodies back, waiting for one ends with the policy's timeout", held_back),
];

/// The body that is let in by HTTP/1.1, and the one that is by HTTP/2.
const PATTERN: &str = "^(hello world|some body)$";
const TIMEOUT: u64 = 2000;

pub fn listeners(paths: &Paths) -> Vec<Listener> {
    let spec = json!({
        "hosts": ["*"],
        "authorization": { "words": { "patternMatching": { "patterns": [
            { "selector": "request.body", "operator": "matches", "value": PATTERN },
        ] } } },
    });
    let options = json!({ "allowOnHeadersStopIteration": true, "maxRequestBytes": 100, "timeout": TIMEOUT });
    let configuration = world::plugin(&[world::policy(spec)], options);
    [("body", true), ("body-held-back", false)]
        .map(|(name, stop)| {
            let mut listener = Listener::new(name, &paths.wasm, &configuration);
            listener.plugin.insert("allow_on_headers_stop_iteration".to_owned(), json!(stop));
            listener
        })
        .into()
}

/// Sends chunks with time between them, and looks that the upstream sees nothing before the last one.
async fn upload(world: &World, path: &str, chunks: &[&str]) -> client::Response {
    let mut stream = TcpStream::connect(world.address("body")).await.expect("Envoy listens");
    let head =
        Request::new("POST", path, "api.test").header("transfer-encoding", "chunked").header("connection", "close");
    stream.write_all(&head.open()).await.expect("the head is sent");
    for chunk in chunks {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!world.upstream.saw(path), "the upstream sees a request that is not decided");
        let chunk = format!("{:x}\r\n{chunk}\r\n", chunk.len());
        stream.write_all(chunk.as_bytes()).await.expect("a chunk is sent");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    client::exchange(&mut stream, b"").await.expect("there is a response")
}

fn pieces(world: &World) {
    let response = world.block_on(upload(world, "/body/good", &["hello", " ", "world", ""]));
    assert_eq!(saw(&response).body_bytes, 11);
    for (path, chunks) in
        [("/body/other", &["hello", " ", "world", "!", ""][..]), ("/body/empty", &[""]), ("/body/part", &["hello", ""])]
    {
        assert_eq!(world.block_on(upload(world, path, chunks)).status, 403, "{path}");
        assert!(!world.upstream.saw(path), "{path}");
    }
    assert_eq!(world.get("body", "/body/none", &[]).status, 403);
}

fn trailers(world: &World) {
    for (path, ending, status) in [
        ("/body/h2", Ending::BodyAndTrailers, 200),
        ("/body/h2/trailers", Ending::Trailers, 403),
        ("/body/h2/headers", Ending::Headers, 403),
    ] {
        assert_eq!(world.block_on(frames::post(world.address("body"), path, &[], ending)).0, status, "{path}");
        assert_eq!(world.upstream.saw(path), status == 200, "{path}");
    }
}

fn too_long(world: &World) {
    let long = "x".repeat(60);
    let begun = Instant::now();
    let response = world.block_on(upload(world, "/body/long", &[&long, &long]));
    assert_eq!(response.status, 413);
    assert!(begun.elapsed() < Duration::from_millis(TIMEOUT), "it waited for the end");
    assert!(!world.upstream.saw("/body/long"));
}

fn tunnels(world: &World) {
    let upgrade = Request::new("GET", "/body/upgrade", "api.test")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let connect = Request::new("CONNECT", "api.test:443", "api.test:443");
    for request in [upgrade, connect] {
        let (answer, _) = world.block_on(protocols::tunnel(world, "body", request.open(), "HTTP/1.1 200"));
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("becomes a tunnel"), "{answer}");
    }
    assert!(!world.upstream.saw("/body/upgrade"));
}

fn held_back(world: &World) {
    let begun = Instant::now();
    let request = Request::new("POST", "/body/held-back", "api.test").body(Some("hello world"));
    assert_eq!(world.send("body-held-back", &request).status, 503);
    assert!((TIMEOUT..2 * TIMEOUT).contains(&u64::try_from(begun.elapsed().as_millis()).expect("not that long")));
    assert!(!world.upstream.saw("/body/held-back"));
}
