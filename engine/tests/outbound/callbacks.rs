//! `callbacks`.

use serde_json::{Value, json};
use sidegate_engine::{CallError, HttpRequest};

use crate::world::{Answer, World, body, json_reply};

fn spec() -> Value {
    json!({
        "when": [{"predicate": "request.path != '/skip'"}],
        "authentication": {"john": {"apiKey": {"selector": {"matchLabels": {"app": "john"}}}}},
        "authorization": {"no": {"patternMatching": {"patterns": [{"predicate": "request.path != '/no'"}]}}},
        "callbacks": {
            "tell": {"http": {"url": "http://log.test/tell", "method": "POST", "contentType": "application/json",
                "bodyParameters": {"who": {"selector": "auth.identity.metadata.name"},
                                   "granted": {"selector": "auth.authorization.no"}}}},
            "after": {"priority": 1, "http": {"url": "http://log.test/after?id={auth.callbacks.tell.id}"}},
            "rarely": {"when": [{"predicate": "request.path == '/rare'"}], "http": {"url": "http://log.test/rare"}},
        },
    })
}

fn world(options: Value) -> World {
    World::with_options(spec(), &json!({"john": {"api_key": "k3y"}}), &options)
}

fn server(_: &HttpRequest) -> Answer {
    json_reply(&json!({"id": "a&b"}))
}

#[test]
fn everybody_is_told_of_allow_and_deny_in_either_order() {
    for options in [json!({}), json!({"callbacks": "Blocking"})] {
        for (path, key, allowed, told) in [
            ("/", "Bearer k3y", true, r#"{"granted":true,"who":"john"}"#),
            ("/no", "Bearer k3y", false, r#"{"granted":null,"who":"john"}"#),
            ("/", "Bearer other", false, r#"{"granted":null,"who":null}"#),
        ] {
            let mut world = world(options.clone());
            let outcome = world.send(&[(":path", path), ("authorization", key)], server);
            assert_eq!(outcome.headers.is_some(), allowed, "{path} {key}");
            let paths: Vec<&str> = world.sent.iter().map(|request| request.path.as_str()).collect();
            assert_eq!(paths, ["/tell", "/after?id=a%26b"]);
            assert_eq!(body(&world.sent[0]), told);
            assert_eq!(outcome.line("callback tell"), "callback tell: ok");
            assert!(outcome.line("callback rarely").contains("skipped"));
            assert!(outcome.kinds.contains(&"CALLBACK_HTTP"));
        }
    }
}

#[test]
fn nobody_is_told_of_what_the_auth_config_has_no_say_in() {
    let mut world = world(json!({}));
    assert!(world.get("/skip", |_| panic!("it is sent")).headers.is_some());
}

#[test]
fn a_callback_changes_nothing() {
    for options in [json!({}), json!({"callbacks": "Blocking"})] {
        let mut world = world(options);
        let outcome = world.send(&[("authorization", "Bearer k3y")], |_| Err(CallError::Timeout));
        assert!(outcome.headers.is_some());
        assert_eq!(
            outcome.line("callback tell"),
            "callback tell: failed (the callback server does not answer: it took too long)"
        );
        assert_eq!(world.sent[1].path, "/after?id=", "the next group goes on without");
    }
}
