//! Protocols over and beside plain HTTP/1.1.

use std::time::Duration;

use serde_json::json;
use sidegate_tests::client::{self, Request};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Scenario;
use crate::frames::{self, Ending};
use crate::world::{self, KEY, World, johns_token, saw};

pub const ALL: &[(&str, Scenario)] = &[
    ("HTTP/2 with trailers is decided, and the trailers arrive", trailers),
    ("a websocket opens for those who may", websocket),
    ("a CONNECT tunnel opens for those who may", connect),
    ("gRPC clients get the gRPC status of each denial", grpc),
    ("Expect: 100-continue ends in the verdict", expect_continue),
];

/// Knows one host, and who may do what there.
pub fn listeners(paths: &Paths) -> Vec<Listener> {
    let spec = json!({
        "hosts": ["api.test"],
        "authentication": { "friends": {
            "apiKey": { "selector": { "matchLabels": { "group": "friends" } } },
            "credentials": { "authorizationHeader": { "prefix": "APIKEY" } },
        } },
        "authorization": { "talk": { "patternMatching": { "patterns": [
            { "selector": "request.path", "operator": "eq", "value": "/talker.Talker/Say" },
        ] } } },
    });
    let mut elsewhere = spec.clone();
    elsewhere["hosts"] = json!(["elsewhere.test"]);
    let talker = |spec| world::plugin(&[world::policy(spec), world::key("john", "secret-of-john")], json!({}));
    vec![
        Listener::new("grpc", &paths.wasm, &talker(spec)),
        Listener::new("grpc-elsewhere", &paths.wasm, &talker(elsewhere)),
    ]
}

fn trailers(world: &World) {
    let post = |key, path| {
        world.block_on(frames::post(world.address("key"), path, &[("authorization", key)], Ending::BodyAndTrailers)).0
    };
    assert_eq!(post(KEY, "/trailers/good"), 200);
    assert_eq!(post("APIKEY bad", "/trailers/bad"), 401);
    assert!(world.upstream.saw("/trailers/good") && !world.upstream.saw("/trailers/bad"));
}

/// Sends a head, and what follows if the head is answered by this status; gives back the head of the answer and the echo.
pub async fn tunnel(world: &World, listener: &str, head: Vec<u8>, opens: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(world.address(listener)).await.expect("Envoy listens");
    stream.write_all(&head).await.expect("the head is sent");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let byte = tokio::time::timeout(Duration::from_secs(10), stream.read_u8()).await.expect("an answer comes");
        answer.push(byte.expect("it has an end"));
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let mut echo = vec![0; 4];
    if answer.starts_with(opens) {
        stream.write_all(b"ping").await.expect("the tunnel takes bytes");
        let echoed = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut echo)).await;
        echoed.expect("the echo comes").expect("it is whole");
    }
    (answer, echo)
}

fn websocket(world: &World) {
    let head = |key: &str| {
        Request::new("GET", "/websocket", "api.test")
            .header("authorization", key)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .open()
    };
    let (answer, echo) = world.block_on(tunnel(world, "key", head(KEY), "HTTP/1.1 101"));
    assert_eq!(echo, b"ping", "{answer}");
    let (answer, _) = world.block_on(tunnel(world, "key", head("APIKEY bad"), "HTTP/1.1 101"));
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(world.upstream.seen("/websocket"), 1);
}

fn connect(world: &World) {
    let head = |key: &str| Request::new("CONNECT", "db.test:5432", "db.test:5432").header("authorization", key).open();
    let (answer, echo) = world.block_on(tunnel(world, "key", head(KEY), "HTTP/1.1 200"));
    assert_eq!(echo, b"ping", "{answer}");
    let (answer, _) = world.block_on(tunnel(world, "key", head("APIKEY bad"), "HTTP/1.1 200"));
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(world.upstream.seen("db.test:5432"), 1);
}

fn grpc(world: &World) {
    let call = |listener, key, method: &str| {
        let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", key)];
        let path = format!("/talker.Talker/{method}");
        world.block_on(frames::post(world.address(listener), &path, &headers, Ending::Headers))
    };
    let status = |headers: &http::HeaderMap| {
        headers.get("grpc-status").and_then(|code| code.to_str().ok().map(ToOwned::to_owned))
    };
    let (http, headers, trailers) = call("grpc", KEY, "Say");
    assert_eq!((http, status(&headers).or(status(&trailers)).as_deref()), (200, Some("0")));
    let token = format!("Bearer {}", johns_token("rsa-1"));
    for (listener, key, method, code, name) in [
        ("grpc", "APIKEY bad", "Say", "16", "UNAUTHENTICATED"),
        ("grpc", KEY, "Shout", "7", "PERMISSION_DENIED"),
        ("grpc-elsewhere", KEY, "Say", "12", "UNIMPLEMENTED, which is 404"),
        ("down", &token, "Say", "14", "UNAVAILABLE"),
    ] {
        let (http, headers, _) = call(listener, key, method);
        assert_eq!((http, status(&headers).as_deref()), (200, Some(code)), "{name}: {headers:?}");
        assert_eq!(headers.contains_key("www-authenticate"), code == "16", "{headers:?}");
    }
    assert_eq!((world.upstream.seen("/talker.Talker/Say"), world.upstream.seen("/talker.Talker/Shout")), (1, 0));
}

/// The client that asks whether it may send its body, and sends it when it is told to. Envoy tells it so before any filter is asked.
fn expect_continue(world: &World) {
    let exchange = async |key: &str, path: &str| {
        let head = Request::new("POST", path, "api.test")
            .header("authorization", key)
            .header("expect", "100-continue")
            .header("content-length", "4")
            .header("connection", "close")
            .open();
        let mut stream = TcpStream::connect(world.address("key")).await.expect("Envoy listens");
        stream.write_all(&head).await.expect("the head is sent");
        let mut interim = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut interim).await.expect("an answer comes");
        assert_eq!(String::from_utf8_lossy(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
        // Who is denied is so without a byte of the body.
        let body: &[u8] = if key == KEY { b"body" } else { b"" };
        client::exchange(&mut stream, body).await.expect("there is an answer")
    };
    let allowed = world.block_on(exchange(KEY, "/expect/good"));
    assert_eq!(saw(&allowed).body_bytes, 4);
    assert_eq!(world.block_on(exchange("APIKEY bad", "/expect/bad")).status, 401);
    assert!(!world.upstream.saw("/expect/bad"));
}
