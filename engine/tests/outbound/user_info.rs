//! `metadata.userInfo`.

use serde_json::{Value, json};
use sidegate_engine::CallError;

use crate::world::{World, header, json_reply, problems, reply, with_metadata};

fn spec(user_info: Value, credentials: Value) -> Value {
    let mut spec = with_metadata(&json!({"userInfo": user_info}));
    spec["authentication"] = json!({
        "key": {"apiKey": {"selector": {"matchLabels": {"app": "john"}}}, "credentials": credentials},
        "idp": {"priority": 1, "jwt": {"issuerUrl": "http://idp.test"}},
        "keys": {"priority": 1, "jwt": {"jwksUrl": "http://idp.test/keys"}},
        "all": {"priority": 2, "anonymous": {}, "when": [{"predicate": "request.path == '/open'"}]},
    });
    spec
}

fn world(user_info: Value, credentials: Value) -> World {
    World::new(spec(user_info, credentials), &json!({"john": {"api_key": "k3y"}}))
}

fn by_url() -> Value {
    json!({"userInfoUrl": "https://idp.test/info?a=b"})
}

#[test]
fn the_credential_of_the_request_is_shown() {
    for (credentials, headers) in [
        (json!({}), [("authorization", "Bearer k3y"), (":path", "/")]),
        (json!({"customHeader": {"name": "x-key"}}), [("x-key", "k3y"), (":path", "/")]),
        (json!({"queryString": {"name": "key"}}), [("x", ""), (":path", "/?key=k3y")]),
        (json!({"cookie": {"name": "key"}}), [("cookie", "key=k3y"), (":path", "/")]),
    ] {
        let mut world = world(by_url(), credentials);
        let outcome = world.send(&headers, |_| json_reply(&json!({"sub": "john"})));
        assert_eq!(outcome.result(), Some(r#"{"sub":"john"}"#));
        assert!(outcome.kinds.contains(&"METADATA_USERINFO"));
        let request = &world.sent[0];
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/info?a=b"));
        assert_eq!(header(request, "authorization"), ["Bearer k3y"]);
        assert!(!format!("{outcome:?}").contains("k3y"));
    }
}

#[test]
fn what_is_no_object_is_dropped() {
    for (answer, part) in [
        (reply(200, "application/jwt", "a.b.c"), "no JSON object"),
        (reply(200, "application/json", "[]"), "no JSON object"),
        (reply(200, "application/json", "{\"a\":"), "no JSON object"),
        (reply(302, "text/html", ""), "redirects"),
        (Err(CallError::TooLong), "too long"),
    ] {
        let mut world = world(by_url(), json!({}));
        let outcome = world.send(&[("authorization", "Bearer k3y")], |_| answer.clone());
        assert_eq!(outcome.result(), None);
        assert!(outcome.line("metadata it").contains(part), "{outcome:#?}");
        assert!(!format!("{outcome:?}").contains("k3y"));
    }
    // As with `http`, the status says nothing.
    let outcome = world(by_url(), json!({}))
        .send(&[("authorization", "Bearer k3y")], |_| reply(401, "application/json", r#"{"error": "invalid_token"}"#));
    assert_eq!(outcome.result(), Some(r#"{"error":"invalid_token"}"#));
}

#[test]
fn the_credential_of_another_issuer_is_never_sent() {
    let mut by_issuer = world(json!({"identitySource": "idp"}), json!({}));
    let outcome = by_issuer.send(&[("authorization", "Bearer k3y")], |_| panic!("it is sent"));
    assert_eq!(outcome.line("metadata it"), "metadata it: failed (the identity is not of issuer `http://idp.test`)");
    let mut open = world(by_url(), json!({}));
    let outcome = open.get("/open", |_| panic!("it is sent"));
    assert!(outcome.line("metadata it").contains("without a credential"), "{outcome:#?}");
}

#[test]
fn what_is_kept_of_one_is_not_shown_to_another() {
    let mut spec = spec(by_url(), json!({}));
    spec["metadata"]["it"]["cache"] = json!({"key": {"value": "everybody"}});
    spec["authentication"] =
        json!({"key": {"apiKey": {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}}});
    let mut world = World::new(spec, &json!({"john": {"api_key": "k1"}, "jane": {"api_key": "k2"}}));
    for (key, calls) in [("k1", 1), ("k2", 2), ("k1", 2)] {
        let bearer = format!("Bearer {key}");
        let outcome = world.send(&[("authorization", &bearer)], |request| {
            json_reply(&json!({"of": header(request, "authorization")[0].len(), "who": request.path, "key":
                header(request, "authorization")[0].ends_with('1')}))
        });
        assert!(outcome.result().unwrap().contains(&format!(r#""key":{}"#, key == "k1")));
        assert_eq!(world.sent.len(), calls);
    }
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let secrets = json!({});
    for (user_info, expected) in [
        (json!({}), ": exactly one of `identitySource` and `userInfoUrl` is needed"),
        (json!({"identitySource": "idp", "userInfoUrl": "http://a/"}), ": exactly one"),
        (json!({"identitySource": "none"}), ".identitySource: there is no rule `none` in `authentication`"),
        (json!({"identitySource": "keys"}), ".identitySource: `keys` is no `jwt` rule with an `issuerUrl`"),
        (json!({"identitySource": "key"}), ".identitySource: `key` is no `jwt` rule"),
        (json!({"userInfoUrl": "a"}), ".userInfoUrl: `a` "),
    ] {
        let found = problems(spec(user_info.clone(), json!({})), &secrets);
        let found = found.iter().find(|problem| problem.starts_with("spec.metadata")).unwrap();
        assert!(found.starts_with(&format!("spec.metadata.it.userInfo{expected}")), "{found}");
    }
}
