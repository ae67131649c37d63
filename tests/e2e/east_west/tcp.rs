//! Connections that are no HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate_tests::client::Stream;
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use sidegate_tests::mtls::{Clients, Dial};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Scenario;
use super::mesh::{BANNER, Mesh, Tls, allow, allow_sleep, config, policy};

pub const ALL: &[(&str, Scenario)] = &[
    ("mesh: connections of clients that speak first", client_first),
    ("mesh: who is kept out does not even have the server dialled", never_dialled),
    ("mesh: not a byte of a server that speaks first reaches who is kept out", server_first),
    ("mesh: with tcp_proxy as it is by default a server that speaks first is closed", server_first_by_default),
    ("mesh: a connection without TLS is nobody's", plain),
    ("mesh: connections have addresses of peers, and nothing of HTTP", attributes),
    ("mesh: a filter for connections in a chain for requests lets nothing pass, nor the other way round", mixed_up),
    ("mesh: connections from sidecar to sidecar", sidecars),
];

pub fn listeners(paths: &Paths, tls: Tls<'_>) -> Vec<Listener> {
    let listener = |name: &str, cluster: &str, clients: Option<Clients>, policies: &[Value], proxy: Value| {
        let mut listener = Listener::tcp(name, &paths.wasm, &config(policies, json!({})), cluster);
        listener.transport_socket = clients.map(tls);
        listener.manager = serde_json::from_value(proxy).unwrap_or_default();
        listener
    };
    let after_handshake = || crate::operations::page_fragment("east-west-envoy.md", "ON_DOWNSTREAM_TLS_HANDSHAKE");
    let near = json!([{ "sources": [{ "type": "CIDR", "cidr": { "address": "Peer", "blocks": ["127.0.0.2"] } }] }]);
    let only_post = json!([{ "applicationAttributes": { "methods": ["POST"] } }]);
    let one = [allow_sleep()];
    let mut http = Listener::tcp("for-requests", &paths.wasm, &config(&one, json!({})), "quiet");
    http.plugin.insert("root_id".to_owned(), json!("sidegate"));
    let mut tcp = super::mesh::listener("for-connections", paths, &config(&one, json!({})), tls(Clients::Required));
    tcp.plugin.insert("root_id".to_owned(), json!("sidegate_tcp"));
    http.transport_socket = Some(tls(Clients::Required));
    vec![
        listener("quiet", "quiet", Some(Clients::Required), &one, json!({})),
        listener("quiet-any", "quiet", Some(Clients::Any), &one, json!({})),
        listener(
            "late",
            "late",
            Some(Clients::Required),
            &one,
            json!({ "upstream_connect_mode": "ON_DOWNSTREAM_DATA", "max_early_data_bytes": 1024 }),
        ),
        listener("loud", "loud", Some(Clients::Any), &one, after_handshake()),
        listener("loud-default", "loud", Some(Clients::Required), &one, json!({})),
        listener("plain-quiet", "quiet", None, &one, json!({})),
        listener("plain-loud", "loud", None, &one, json!({})),
        listener("near", "quiet", Some(Clients::Required), &[allow("near", near)], json!({})),
        listener(
            "post",
            "quiet",
            Some(Clients::Required),
            &[policy("post", "ALLOW/Application", only_post.clone())],
            json!({}),
        ),
        listener(
            "no-post",
            "quiet",
            Some(Clients::Required),
            &[policy("post", "DENY/Application", only_post)],
            json!({}),
        ),
        http,
        tcp,
    ]
}

/// Says something, and hears what comes until the connection ends or nothing more comes.
async fn talk(mut stream: impl Stream, words: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    // A server may have closed already.
    drop(stream.write_all(words).await);
    while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(700), stream.read_buf(&mut heard)).await {}
    heard
}

fn tls(mesh: &Mesh, listener: &str, dial: Dial<'_>, words: &[u8]) -> Vec<u8> {
    mesh.block_on(async {
        let stream = dial.tls(mesh.address(listener), &mesh.authority).await.unwrap_or_else(|error| panic!("{error}"));
        talk(stream, words).await
    })
}

fn say(mesh: &Mesh, listener: &str, who: &str, words: &[u8]) -> Vec<u8> {
    tls(mesh, listener, mesh.dial(Some(who)), words)
}

fn client_first(mesh: &Mesh) {
    assert_eq!(say(mesh, "quiet", "sleep", b"hello"), b"hello");
    let logged = mesh.logged_connection("quiet", 1);
    assert!(logged.starts_with("ok prod/sleep#0 spiffe://cluster.local/ns/foo/sa/sleep - 5 5 "), "{logged}");
    for (listener, who, decider) in [
        ("quiet", "evil", "implicit(Network)"),
        ("quiet", "two", "identity-invalid"),
        ("quiet", "nobody", "implicit(Network)"),
        ("quiet-any", "rogue", "identity-invalid"),
    ] {
        assert_eq!(say(mesh, listener, who, b"attack"), b"", "{who}");
        mesh.logs(listener, "debug", &format!("by {decider}"));
    }
    assert_eq!(tls(mesh, "quiet-any", mesh.dial(None), b"attack"), b"", "without a certificate");
    let logged = mesh.logged_connection("quiet", 2);
    assert!(
        logged.starts_with("permission_denied implicit(Network) spiffe://cluster.local/ns/evil/sa/sleep - 0 "),
        "{logged}"
    );
    assert!(mesh.quiet.heard(b"hello") && !mesh.quiet.heard(b"attack"));
}

fn never_dialled(mesh: &Mesh) {
    assert_eq!(say(mesh, "late", "evil", b"attack"), b"");
    mesh.logged_connection("late", 1);
    assert_eq!(mesh.late.connections(), 0);
    assert_eq!(say(mesh, "late", "sleep", b"hello"), b"hello");
    assert_eq!(mesh.late.connections(), 1);
}

fn server_first(mesh: &Mesh) {
    // Who says nothing, and who does.
    for words in [&b""[..], b"attack"] {
        for who in ["evil", "two", "rogue", "nobody"] {
            assert_eq!(say(mesh, "loud", who, words), b"", "{who}");
        }
        assert_eq!(tls(mesh, "loud", mesh.dial(None), words), b"", "without a certificate");
    }
    assert_eq!(say(mesh, "loud", "sleep", b""), BANNER);
    assert_eq!(say(mesh, "loud", "sleep", b"hello"), [BANNER, b"hello"].concat());
    assert!(!mesh.loud.heard(b"attack"));
}

/// Whether the handshake is over when the banner comes is a race.
fn server_first_by_default(mesh: &Mesh) {
    let dial = mesh.dial(Some("evil"));
    for _ in 0..20 {
        let heard = mesh.block_on(async {
            match dial.tls(mesh.address("loud-default"), &mesh.authority).await {
                Ok(stream) => talk(stream, b"attack").await,
                Err(_) => Vec::new(),
            }
        });
        assert_eq!(heard, b"");
    }
    mesh.logs("loud-default", "warning", "upstream_connect_mode");
    assert!(!mesh.loud.heard(b"attack"));
}

fn plain(mesh: &Mesh) {
    for listener in ["plain-quiet", "plain-loud"] {
        for words in [&b""[..], b"attack"] {
            let heard = mesh.block_on(async {
                let stream =
                    Dial::default().plain(mesh.address(listener)).await.unwrap_or_else(|error| panic!("{error}"));
                talk(stream, words).await
            });
            assert_eq!(heard, b"", "{listener}");
        }
    }
    assert!(!mesh.quiet.heard(b"attack") && !mesh.loud.heard(b"attack"));
}

fn attributes(mesh: &Mesh) {
    let from = |last: u8| Dial { from: Some(([127, 0, 0, last], 0).into()), ..mesh.dial(Some("evil")) };
    assert_eq!(tls(mesh, "near", from(2), b"hello"), b"hello");
    assert_eq!(tls(mesh, "near", from(1), b"attack"), b"");
    assert_eq!(say(mesh, "post", "sleep", b"attack"), b"", "a method that nobody knows allows nothing");
    assert_eq!(say(mesh, "no-post", "sleep", b"attack"), b"", "and denies");
}

fn mixed_up(mesh: &Mesh) {
    assert_eq!(say(mesh, "for-requests", "sleep", b"attack"), b"");
    mesh.logs("for-requests", "warning", "`sidegate_tcp`");
    assert!(!mesh.quiet.heard(b"attack"));
    let answer =
        say(mesh, "for-connections", "sleep", b"GET /mixed HTTP/1.1\r\nhost: api.prod\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&answer));
    assert!(!mesh.upstream.saw("/mixed"));
}

fn sidecars(mesh: &Mesh) {
    let through = |listener: &str, words: &[u8]| {
        mesh.block_on(async {
            let stream = Dial::default().plain(mesh.address(listener)).await.unwrap_or_else(|error| panic!("{error}"));
            talk(stream, words).await
        })
    };
    assert_eq!(through("as-sleep-quiet", b"hello"), b"hello");
    assert_eq!(through("as-evil-quiet", b"attack"), b"");
    assert_eq!(through("as-sleep-loud", b""), BANNER);
    assert_eq!(through("as-evil-loud", b""), b"");
}
