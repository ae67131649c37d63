//! `metadata.uma`.

use serde_json::{Value, json};
use sidegate_engine::{CallError, HttpRequest};

use crate::world::{Answer, World, header, json_reply, problems, reply, with_metadata};

const ISSUER: &str = "http://uma.test/realm";

fn spec() -> Value {
    with_metadata(&json!({"uma": {"endpoint": ISSUER, "credentialsRef": {"name": "client"}}}))
}

fn world() -> World {
    World::new(spec(), &json!({"client": {"clientID": "us", "clientSecret": "s3cret"}}))
}

fn server(request: &HttpRequest) -> Answer {
    let authorized = header(request, "authorization") == ["Bearer pat"];
    match request.path.as_str() {
        "/realm/.well-known/uma2-configuration" => json_reply(&json!({"issuer": ISSUER,
            "token_endpoint": "http://uma.test/token", "resource_registration_endpoint": "http://uma.test/resources"})),
        "/token" if header(request, "authorization") == ["Basic dXM6czNjcmV0"] => {
            json_reply(&json!({"access_token": "pat", "expires_in": 300}))
        }
        "/resources?uri=%2Fa%3Fb%3D%26c" if authorized => json_reply(&json!(["r1", "gone", "..", "r/2"])),
        "/resources/r1" if authorized => json_reply(&json!({"_id": "r1"})),
        "/resources/r%2F2" if authorized => json_reply(&json!({"_id": "r/2"})),
        _ => reply(404, "application/json", "{}"),
    }
}

#[test]
fn the_resources_of_the_path_come_in_the_order_of_their_ids() {
    let mut world = world();
    world.fetch(server);
    let outcome = world.get("/a?b=&c", server);
    assert_eq!(outcome.result(), Some(r#"[{"_id":"r1"},{"_id":"r/2"}]"#));
    assert_eq!(outcome.line("metadata it"), "metadata it: ok");
    assert!(outcome.kinds.contains(&"METADATA_UMA"));
    let before = world.sent.len();
    world.get("/a?b=&c", server);
    assert!(world.sent[before..].iter().all(|request| request.path != "/token"), "the token is kept");
}

#[test]
fn a_server_that_is_down_at_first_is_asked_again() {
    let mut world = world();
    world.fetch(|_| Err(CallError::Failed("connection refused".to_owned())));
    let outcome = world.get("/a?b=&c", server);
    assert_eq!(outcome.result(), None, "nobody is denied for it");
    let line = outcome.line("metadata it");
    assert!(line.contains("the UMA configuration of `http://uma.test/realm` is not available yet"), "{line}");
    assert!(line.contains("connection refused"), "{line}");
    world.pass(2);
    world.fetch(server);
    assert!(world.get("/a?b=&c", server).result().is_some());
    world.pass(400);
    world.fetch(|_| reply(500, "text/plain", ""));
    assert!(world.get("/a?b=&c", server).result().is_some(), "what was good is kept");
}

#[test]
fn what_goes_wrong_is_dropped_and_said_without_secrets() {
    let cases: [(&str, Answer, &str); 6] = [
        (
            "/token",
            reply(401, "application/json", r#"{"error": "invalid_client"}"#),
            "token endpoint does not answer as it should",
        ),
        ("/token", Err(CallError::Timeout), "UMA token endpoint does not answer: it took too long"),
        ("/resources", reply(500, "application/json", "[]"), "status 500"),
        ("/resources", reply(302, "text/html", ""), "status 302"),
        ("/resources", json_reply(&json!({"a": 1})), "no list"),
        ("/resources", json_reply(&json!(vec!["x"; 33])), "more than 32 resources"),
    ];
    for (path, answer, part) in cases {
        let mut world = world();
        world.fetch(server);
        let outcome = world
            .get("/a?b=&c", |request| if request.path.starts_with(path) { answer.clone() } else { server(request) });
        assert_eq!(outcome.result(), None);
        let line = outcome.line("metadata it");
        assert!(line.starts_with("metadata it: failed (") && line.contains(part), "{line}");
        assert!(!format!("{outcome:?} {:?}", world.policy).contains("s3cret"));
    }
}

#[test]
fn a_token_that_is_not_taken_any_more_is_renewed() {
    let mut world = world();
    world.fetch(server);
    let _ = world.get("/a?b=&c", server);
    let _ = world.get("/a?b=&c", |_| reply(401, "application/json", "{}"));
    let before = world.sent.len();
    assert!(world.get("/a?b=&c", server).result().is_some());
    assert_eq!(world.sent[before].path, "/token");
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let found = problems(spec(), &json!({"client": {"clientID": "us"}}));
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .starts_with("spec.metadata.it.uma.credentialsRef: Secret `default/client` has no entry `clientSecret`")
    );
    let url = with_metadata(&json!({"uma": {"endpoint": "uma.test", "credentialsRef": {"name": "client"}}}));
    let found = problems(url, &json!({"client": {"clientID": "us", "clientSecret": "s"}}));
    assert!(found[0].starts_with("spec.metadata.it.uma.endpoint: `uma.test` "), "{found:?}");
}
