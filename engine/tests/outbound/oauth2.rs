//! Client credentials of `metadata.http.oauth2`.

use serde_json::{Value, json};
use sidegate_engine::{CallError, HttpRequest};

use crate::world::{Answer, World, body, header, json_reply, problems, reply, with_metadata};

const BASIC: &str = "Basic aSs6czNjJTJGcmV0";

fn spec(fields: Value) -> Value {
    let mut oauth2 = json!({"tokenUrl": "https://idp.test/token", "clientId": "i ",
        "clientSecretRef": {"name": "client", "key": "secret"}});
    oauth2.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    with_metadata(&json!({"http": {"url": "http://data.test/", "oauth2": oauth2,
        "sharedSecretRef": {"name": "none", "key": "none"}}}))
}

fn world(fields: Value) -> World {
    World::new(spec(fields), &json!({"client": {"secret": "s3c/ret"}}))
}

/// A server that takes the secret by HTTP Basic, and tokens that last.
fn granted(request: &HttpRequest, expires_in: Value) -> Answer {
    match request.authority.as_str() {
        "idp.test" if header(request, "authorization") == [BASIC] => {
            json_reply(&json!({"access_token": "t0ken", "token_type": "Bearer", "expires_in": expires_in}))
        }
        "data.test" if header(request, "authorization") == ["Bearer t0ken"] => json_reply(&json!({"a": 1})),
        _ => reply(401, "application/json", r#"{"error": "invalid_client"}"#),
    }
}

fn calls_to(world: &World, authority: &str) -> usize {
    world.sent.iter().filter(|request| request.authority == authority).count()
}

#[test]
fn a_token_is_got_by_the_secret_and_sent() {
    let mut world = world(json!({"scopes": ["a", "b"], "extraParams": {"audience": "x&y"}}));
    let outcome = world.get("/", |request| granted(request, json!(300)));
    assert_eq!(outcome.result(), Some(r#"{"a":1}"#));
    let asked = &world.sent[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.scheme), ("POST", "/token", "https"));
    assert_eq!(body(asked), "audience=x%26y&grant_type=client_credentials&scope=a+b");
    assert_eq!(header(asked, "content-type"), ["application/x-www-form-urlencoded"]);
}

#[test]
fn a_token_is_kept_until_shortly_before_its_end() {
    for (expires_in, good_for) in [(json!(60), 50), (json!("60"), 50), (json!(null), 290)] {
        let mut world = world(json!({}));
        for (seconds, tokens) in [(0, 1), (good_for - 1, 1), (1, 2)] {
            world.pass(seconds);
            let outcome = world.get("/", |request| granted(request, expires_in.clone()));
            assert!(outcome.result().is_some());
            assert_eq!(calls_to(&world, "idp.test"), tokens, "{expires_in} {seconds}");
        }
    }
}

#[test]
fn a_token_that_ends_at_once_or_is_not_to_be_kept_is_got_each_time() {
    for (fields, expires_in) in [
        (json!({}), json!(10)),
        (json!({}), json!(-1)),
        (json!({}), json!(1e300)),
        (json!({"cache": false}), json!(300)),
    ] {
        let mut world = world(fields);
        for tokens in [1, 2] {
            assert!(world.get("/", |request| granted(request, expires_in.clone())).result().is_some());
            assert_eq!(calls_to(&world, "idp.test"), tokens, "{expires_in}");
        }
    }
}

#[test]
fn requests_that_need_a_token_at_once_share_one() {
    let calls = world(json!({})).first_calls(2);
    assert!(calls[0].share.is_some() && calls[0].share == calls[1].share);
    let other = world(json!({"clientId": "other"})).first_calls(1);
    assert_ne!(calls[0].share, other[0].share);
    let alone = world(json!({"cache": false})).first_calls(1);
    assert_eq!(alone[0].share, None);
}

#[test]
fn a_server_may_want_the_secret_in_the_body() {
    let by_body = |request: &HttpRequest| match request.authority.as_str() {
        "idp.test" if body(request).contains("client_id=i+&client_secret=s3c%2Fret") => {
            assert!(header(request, "authorization").is_empty());
            json_reply(&json!({"access_token": "t0ken", "expires_in": 0}))
        }
        "idp.test" => reply(400, "application/json", r#"{"error": "invalid_client"}"#),
        _ => json_reply(&json!({})),
    };
    let mut world = world(json!({}));
    assert!(world.get("/", by_body).result().is_some());
    assert_eq!(calls_to(&world, "idp.test"), 2);
    assert!(world.get("/", by_body).result().is_some());
    assert_eq!(calls_to(&world, "idp.test"), 3, "the server's way is remembered");
}

#[test]
fn what_gives_no_token_gives_no_metadata_and_tells_no_secret() {
    let evil = r#"{"error": "s3c/ret and aSs6czNjJTJGcmV0"}"#;
    let refused = [
        (reply(401, "application/json", r#"{"error": "invalid_client"}"#), "status 401, `invalid_client`"),
        (reply(401, "application/json", evil), "it answers with status 401)"),
        (reply(500, "text/plain", "s3c/ret"), "it answers with status 500)"),
        (reply(302, "text/plain", ""), "it answers with status 302)"),
        (reply(200, "text/html", "<html>"), "no access token"),
        (json_reply(&json!({"access_token": ""})), "no access token"),
        (json_reply(&json!({"access_token": "a\r\nb: c"})), "cannot be sent"),
        (json_reply(&json!({"access_token": 1})), "no access token"),
        (Err(CallError::Timeout), "too long"),
        (Err(CallError::Failed("connection refused".to_owned())), "connection refused"),
    ];
    for (answer, part) in refused {
        let mut world = world(json!({}));
        let outcome = world.get("/", |_| answer.clone());
        assert_eq!(outcome.result(), None);
        let line = outcome.line("metadata it");
        assert!(line.starts_with("metadata it: failed (the token endpoint does not answer"), "{line}");
        assert!(line.contains(part), "{line}");
        for secret in ["s3c", "aSs6"] {
            assert!(!format!("{outcome:?} {:?} {:?}", world.sent, world.policy).contains(secret), "{secret}");
        }
        assert_eq!(calls_to(&world, "data.test"), 0);
        assert!(
            world.get("/", |request| granted(request, json!(300))).result().is_some(),
            "the next one has more luck"
        );
    }
}

#[test]
fn a_token_that_the_server_does_not_take_is_forgotten() {
    let mut world = world(json!({}));
    assert!(world.get("/", |request| granted(request, json!(300))).result().is_some());
    let revoked = |request: &HttpRequest| match request.authority.as_str() {
        "data.test" => reply(401, "application/json", "{}"),
        _ => granted(request, json!(300)),
    };
    assert_eq!(world.get("/", revoked).result(), Some("{}"), "whatever the status");
    assert_eq!(calls_to(&world, "idp.test"), 1);
    assert!(world.get("/", |request| granted(request, json!(300))).result().is_some());
    assert_eq!(calls_to(&world, "idp.test"), 2);
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let secrets = json!({"client": {"secret": "s3c/ret"}});
    for (fields, expected) in [
        (json!({"tokenUrl": "idp.test"}), "tokenUrl: "),
        (json!({"clientId": ""}), "clientId: must not be empty"),
        (
            json!({"clientSecretRef": {"name": "client", "key": "none"}}),
            "clientSecretRef: Secret `default/client` has no entry",
        ),
        (
            json!({"clientSecretRef": {"name": "none", "key": "none"}}),
            "clientSecretRef: there is no Secret `default/none`",
        ),
        (json!({"scopes": ["a"], "extraParams": {"scope": "b"}}), "extraParams: `scope` is given"),
    ] {
        let found = problems(spec(fields.clone()), &secrets);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("spec.metadata.it.http.oauth2.{expected}")), "{found:?}");
    }
}
