//! Wristbands on their way: issued by one Sidegate, verified by another one, which finds the keys where they are published.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sidegate_tests::client::Request;
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{self, Cluster, Listener};
use sidegate_tests::fixtures;

use crate::operations::until;
use crate::world::{self, World, saw};

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] = &[
    (
        "a wristband of one Sidegate is an identity to another, by the documents that the first serves",
        issued_and_verified,
    ),
    ("wristbands of RSA, which Envoy signs, are good", rsa),
    ("Envoy's own jwt_authn filter takes wristbands by the keys that are served, and no others", another_verifier),
];

const ISSUER: &str = "http://wristbands.test/default/subject/x-token";

/// Issues wristbands, and serves their documents on a host of their own.
fn issuing(algorithm: &str, key: &str) -> String {
    let spec = json!({
        "hosts": ["*"],
        "authentication": { "who": { "plain": { "selector": "request.headers.x-who" } } },
        "response": { "success": { "headers": { "x-token": { "wristband": {
            "issuer": ISSUER,
            "signingKeyRefs": [{ "name": "signing", "algorithm": algorithm }, { "name": "former", "algorithm": "ES384" }],
            "customClaims": { "name": { "selector": "auth.identity" } },
        } } } } },
    });
    let secret = |name: &str, key: &str| -> Value {
        let pem = fixtures::text(&format!("keys/{key}.pem")).expect("a fixture");
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { "key.pem": pem } })
    };
    let resources = [world::policy(spec), secret("signing", key), secret("former", "ec-384-sec1")];
    world::plugin(&resources, json!({ "wristbandDiscovery": { "host": "wristbands.test" } }))
}

/// Lets in who has a wristband.
fn verifying() -> String {
    let spec = json!({
        "hosts": ["*"],
        "authentication": { "token": { "jwt": { "issuerUrl": ISSUER, "issuer": ISSUER } } },
        "response": { "success": { "headers": { "x-user": { "plain": { "selector": "auth.identity.name" } } } } },
    });
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": [world::policy(spec)],
        "upstreams": [{ "url": "http://wristbands.test", "cluster": "wristbands" }],
    })
    .to_string()
}

fn world(paths: &Paths, algorithm: &str, key: &str) -> World {
    let port = config::free_port().expect("there are ports");
    let issuing = Listener { port, ..Listener::new("issuing", &paths.wasm, &issuing(algorithm, key)) };
    let verifying = Listener::new("verifying", &paths.wasm, &verifying());
    let clusters = [Cluster::new("wristbands", SocketAddr::from(([127, 0, 0, 1], port)))];
    let listeners = [issuing, verifying, with_jwt_authn(paths)];
    World::with_clusters(paths, &listeners, &[].into(), &clusters).unwrap_or_else(|error| panic!("{error}"))
}

/// Lets in who has a wristband, in Envoy's own words.
fn with_jwt_authn(paths: &Paths) -> Listener {
    let filter = json!({ "name": "jwt_authn", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": { "wristbands": {
            "issuer": ISSUER,
            "forward_payload_header": "x-payload",
            "remote_jwks": {
                "http_uri": {
                    "uri": format!("{ISSUER}/.well-known/openid-connect/certs"),
                    "cluster": "wristbands",
                    "timeout": "5s",
                },
                "cache_duration": "300s",
            },
        } },
        "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "wristbands" } }],
    } });
    Listener { decider: Some(filter), ..Listener::new("jwt-authn", &paths.wasm, "") }
}

fn issued(world: &World) -> String {
    let seen = saw(&world.get("issuing", "/", &[("x-who", "john"), ("x-token", "forged")]));
    let mut tokens = seen.headers.into_iter().filter(|(name, _)| name == "x-token");
    let (_, token) = tokens.next().expect("a token");
    assert_eq!(tokens.next(), None, "what the client sent is gone");
    token
}

fn issued_and_verified(paths: &Paths) {
    let world = world(paths, "ES256", "ec-256-sec1");
    world.envoy.wait_for_keys("verifying", ISSUER).unwrap_or_else(|error| panic!("{error}"));
    let token = issued(&world);
    let seen = saw(&world.with_token("verifying", "/verified", &token));
    assert!(seen.headers.contains(&("x-user".to_owned(), "john".to_owned())), "{seen:?}");
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let mirrored: String = signature.chars().rev().collect();
    for bad in [format!("{signed}.{mirrored}"), format!("{signed}."), signed.to_owned()] {
        assert_eq!(world.with_token("verifying", "/forged", &bad).status, 401);
    }
    assert!(!world.upstream.saw("/forged"));
    served(&world);
}

/// Anybody gets the documents, and nothing of that reaches the upstream.
fn served(world: &World) {
    let path = "/default/subject/x-token/.well-known/openid-configuration";
    let ask =
        |method: &str, path: &str| world.send("issuing", &Request::new(method, path, "wristbands.test").body(None));
    let got = ask("GET", path);
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/json")));
    assert_eq!(got.header("cache-control"), Some("public, max-age=300"));
    let head = ask("HEAD", path);
    assert_eq!((head.status, head.body.as_slice()), (200, &b""[..]));
    assert_eq!(head.header("content-length"), Some(got.body.len().to_string().as_str()));
    assert_eq!(ask("DELETE", path).status, 405);
    assert_eq!(ask("GET", "/default/subject/x-token/.well-known/none").status, 404);
    assert!(!world.upstream.saw(path));
    let count = |stats: &BTreeMap<String, u64>, part: &str| {
        stats.iter().filter(|(name, _)| name.ends_with(part)).map(|(_, count)| count).sum::<u64>()
    };
    // Each worker tells what it counted within a second.
    let stats = until(|| {
        let stats = world.envoy.admin.stats("oidc_server").unwrap_or_else(|error| panic!("{error}"));
        let all = [("200", 4), ("404", 1), ("405", 1)];
        let told = |(status, least)| count(&stats, &format!("oidc_server_response_status.status.{status}")) >= least;
        all.into_iter().all(told).then_some(stats)
    });
    let count = |part: &str| count(&stats, part);
    let item = "oidc_server_requests_total.namespace.default.authconfig.subject.wristband.x-token.path";
    // One of the worker that fetched, and those from here.
    assert!(count(&format!("{item}.openid-configuration")) >= 4, "{stats:?}");
    assert!(count(&format!("{item}.certs")) >= 1, "{stats:?}");
    assert_eq!(count("oidc_server_response_status.status.404"), 1, "{stats:?}");
    assert_eq!(count("oidc_server_response_status.status.405"), 1, "{stats:?}");
}

fn rsa(paths: &Paths) {
    let world = world(paths, "RS256", "rsa-1-pkcs1");
    world.envoy.wait_for_keys("verifying", ISSUER).unwrap_or_else(|error| panic!("{error}"));
    let seen = saw(&world.with_token("verifying", "/verified", &issued(&world)));
    assert!(seen.headers.contains(&("x-user".to_owned(), "john".to_owned())), "{seen:?}");
}

fn another_verifier(paths: &Paths) {
    for (algorithm, key) in [("ES256", "ec-256-sec1"), ("RS384", "rsa-2")] {
        let world = world(paths, algorithm, key);
        let token = issued(&world);
        let seen = saw(&world.with_token("jwt-authn", "/verified", &token));
        let payload = seen.headers.iter().find(|(name, _)| name == "x-payload").map(|(_, value)| value.as_str());
        assert_eq!(payload, token.split('.').nth(1), "{algorithm}");
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let mirrored: String = signature.chars().rev().collect();
        for bad in [format!("{signed}.{mirrored}"), signed.to_owned(), world::johns_token("ec-256-2")] {
            assert_eq!(world.with_token("jwt-authn", "/forged", &bad).status, 401, "{algorithm}");
        }
        assert!(!world.upstream.saw("/forged"), "{algorithm}");
    }
}
