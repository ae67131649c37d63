//! What was granted to a credential is remembered where it depends on nothing else, and nowhere else.

use std::rc::Rc;

use serde_json::{Value, json};
use sidegate_engine::{Decision, Headers, Progress, Request, Session, Verdict};

use crate::rules::{NOW, World, by_url, signed};
use crate::signing::with;

/// An AuthConfig for each host.
fn world(specs: &[(&str, Value)], options: &Value) -> World {
    let auth_configs = specs.iter().map(|(host, spec)| {
        json!({"apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": {"name": host},
            "spec": with(spec.clone(), "hosts", json!([host]))})
    });
    World::of(&auth_configs.collect::<Vec<_>>(), options)
}

/// A verdict that needs nobody.
fn decide(world: &World, host: &str, token: &str, more: &[(&str, &str)]) -> Verdict {
    let bearer = format!("Bearer {token}");
    let pairs = [(":authority", host), (":path", "/"), (":method", "GET"), ("authorization", &bearer)];
    let headers = Headers::from_pairs(pairs.iter().chain(more).copied());
    let request = Request { headers, ..Request::default() };
    match Session::start(Rc::clone(&world.policy), request, world.at()).1 {
        Progress::Done(verdict) => verdict,
        Progress::Pending(calls) => panic!("unexpected calls: {calls:?}"),
    }
}

fn jwt() -> Value {
    json!({"token": {"jwt": by_url()}})
}

fn subject() -> Value {
    json!({"success": {"headers": {"x-sub": {"plain": {"selector": "auth.identity.sub"}}}}})
}

fn role(pattern: &Value) -> Value {
    json!({"role": {"patternMatching": {"patterns": [pattern]}}})
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 60, "roles": ["admin"]})
}

fn admin() -> Value {
    json!({"selector": "auth.identity.roles", "operator": "incl", "value": "admin"})
}

#[test]
fn what_depends_on_the_credential_alone_is_remembered_and_nothing_else() {
    let plain = json!({"authentication": jwt(), "authorization": role(&admin()), "response": subject()});
    let with_rule = |pattern: Value| with(plain.clone(), "authorization", role(&pattern));
    let with_header =
        |value: Value| with(plain.clone(), "response", json!({"success": {"headers": {"x-sub": {"plain": value}}}}));
    let with_token = |field: &str, value: Value| {
        with(plain.clone(), "authentication", json!({"token": with(jwt()["token"].clone(), field, value)}))
    };
    for (spec, is_remembered) in [
        (plain.clone(), true),
        (json!({"authentication": jwt()}), true),
        (with_rule(json!({"predicate": "'admin' in auth.identity.roles"})), true),
        (with_header(json!({"template": "{{ auth.identity.sub }}"})), true),
        (with_header(json!({"value": "always"})), true),
        (with_token("overrides", json!({"team": {"value": "a"}})), true),
        (json!({"authentication": jwt(), "authenticationStrategy": "all"}), true),
        // What is read of the request.
        (with_rule(json!({"selector": "request.method", "operator": "eq", "value": "GET"})), false),
        (with_rule(json!({"predicate": "request.path == '/'"})), false),
        (with_rule(json!({"predicate": "auth.identity.exp > request.time.seconds"})), false),
        (with_rule(json!({"selector": "context.request.http.host", "operator": "neq", "value": "x"})), false),
        (with_rule(json!({"any": [admin(), {"selector": "@this", "operator": "neq", "value": ""}]})), false),
        (with_header(json!({"selector": "request.headers.x-sub"})), false),
        (with_header(json!({"template": "{{ auth.identity.sub }} {{ request.id }}"})), false),
        (with_header(json!({"expression": "request.host"})), false),
        (with_token("overrides", json!({"path": {"selector": "request.path"}})), false),
        (with_token("when", json!([{"predicate": "request.method == 'GET'"}])), false),
        (with(plain.clone(), "when", json!([{"selector": "request.path", "operator": "neq", "value": "/x"}])), false),
        // Who else is asked, or could be.
        (with(plain.clone(), "authentication", with(jwt(), "other", json!({"anonymous": {}, "priority": 1}))), false),
        // What is not worth it.
        (
            with(
                plain.clone(),
                "response",
                json!({"success": {"dynamicMetadata": {"sub": {"plain": {"selector": "auth.identity.sub"}}}}}),
            ),
            false,
        ),
    ] {
        let world = world(&[("api", spec.clone())], &json!({}));
        let token = signed(&claims(), 1);
        let verdicts: Vec<_> = (0..3).map(|_| format!("{:?}", decide(&world, "api", &token, &[]))).collect();
        assert!(verdicts[0].starts_with("Verdict { decision: Allow"), "{spec}: {}", verdicts[0]);
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{verdicts:#?}");
        assert_eq!(world.policy.tokens().grants(), usize::from(is_remembered), "{spec}");
    }
}

#[test]
fn where_somebody_may_be_asked_or_told_nothing_is_remembered() {
    let plain = json!({"authentication": jwt(), "response": subject()});
    let url = "https://other.example.com";
    let review = json!({"user": {"value": "a"}, "resourceAttributes": {"verb": {"value": "get"}}});
    let check = json!({"endpoint": "spicedb.example.com:50051", "insecure": true, "permission": {"value": "read"},
        "resource": {"kind": {"value": "a"}, "name": {"value": "b"}}, "subject": {"kind": {"value": "u"}, "name": {"value": "c"}}});
    for (field, value) in [
        ("metadata", json!({"more": {"http": {"url": url}}})),
        ("callbacks", json!({"told": {"http": {"url": url}}})),
        ("authorization", json!({"asked": {"kubernetesSubjectAccessReview": review}})),
        ("authorization", json!({"asked": {"spicedb": check}})),
        ("authorization", json!({"asked": {"opa": {"rego": "allow = true"}}})),
        ("response", json!({"success": {"dynamicMetadata": {"sub": {"plain": {"value": "a"}}}}})),
    ] {
        for (spec, is_by_credential_alone) in
            [(plain.clone(), true), (with(plain.clone(), field, value.clone()), false)]
        {
            let world = world(&[("api", spec)], &json!({}));
            let request = Request { headers: Headers::from_pairs([(":authority", "api")]), ..Request::default() };
            let policy = world.policy.auth_config_for(&request).unwrap();
            assert_eq!(policy.is_by_credential_alone, is_by_credential_alone, "{field}: {value}");
        }
    }
}

#[test]
fn a_denial_is_not_remembered() {
    let world = world(&[("api", json!({"authentication": jwt(), "authorization": role(&admin())}))], &json!({}));
    let token = signed(&with(claims(), "roles", json!(["guest"])), 1);
    for _ in 0..2 {
        let Decision::Deny(reply) = decide(&world, "api", &token, &[]).decision else { panic!() };
        assert_eq!((reply.code, reply.rule.as_deref()), (403, Some("role")));
        assert_eq!((world.policy.tokens().len(), world.policy.tokens().grants()), (1, 0));
    }
}

#[test]
fn each_auth_config_grants_by_itself_though_all_check_the_same() {
    let guest = with(admin(), "value", "guest");
    let specs = [
        ("a", json!({"authentication": jwt(), "authorization": role(&admin()), "response": subject()})),
        ("b", json!({"authentication": jwt(), "authorization": role(&admin())})),
        ("c", json!({"authentication": jwt(), "authorization": role(&guest)})),
    ];
    let world = world(&specs, &json!({}));
    let token = signed(&claims(), 1);
    for _ in 0..2 {
        let Decision::Allow(a) = decide(&world, "a", &token, &[]).decision else { panic!() };
        assert_eq!(a.set_headers, [("x-sub".to_owned(), "alice".to_owned())]);
        let b = decide(&world, "b", &token, &[]);
        assert_eq!(b.auth_config.as_deref(), Some("default/b"));
        let Decision::Allow(b) = b.decision else { panic!() };
        assert!(b.set_headers.is_empty());
        let Decision::Deny(c) = decide(&world, "c", &token, &[]).decision else { panic!() };
        assert_eq!(c.code, 403);
        assert_eq!(world.policy.tokens().grants(), 1);
    }
}

#[test]
fn what_the_client_sends_of_our_headers_is_taken_out_each_time() {
    let world = world(&[("api", json!({"authentication": jwt(), "response": subject()}))], &json!({}));
    let token = signed(&claims(), 1);
    for (sent, removed) in
        [(&[("x-sub", "me")] as &[_], &["x-sub"] as &[&str]), (&[], &[]), (&[("x_sub", "me")], &["x_sub"])]
    {
        let Decision::Allow(allowed) = decide(&world, "api", &token, sent).decision else { panic!() };
        assert_eq!(allowed.remove_headers, removed);
        assert_eq!(world.policy.tokens().grants(), 1);
    }
}

#[test]
fn what_is_granted_to_an_api_key_is_remembered_for_its_auth_config() {
    let secret = |name: &str, key: &str, group: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {"group": group}},
            "stringData": {"api_key": key}})
    };
    let auth_config = |host: &str, group: &str, header: &str| {
        json!({"apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": {"name": host},
            "spec": {"hosts": [host],
                "authentication": {"keys": {"apiKey": {"selector": {"matchLabels": {"group": group}}}}},
                "response": {"success": {"headers": {"x-name": {"plain": {"selector": header}}}}}}})
    };
    let name = "auth.identity.metadata.name";
    let resources = [
        secret("john", "key-of-john", "friends"),
        secret("jane", "key-of-jane", "friends"),
        secret("bob", "key-of-bob", "others"),
        auth_config("friends", "friends", name),
        auth_config("again", "friends", name),
        auth_config("others", "others", name),
        auth_config("paths", "friends", "request.path"),
    ];
    let world = World::of(&resources, &json!({}));
    for _ in 0..2 {
        for (host, key, expected) in [
            ("friends", "key-of-john", Some("john")),
            ("friends", "key-of-jane", Some("jane")),
            ("friends", "key-of-bob", None),
            ("again", "key-of-john", Some("john")),
            ("others", "key-of-john", None),
            ("others", "key-of-bob", Some("bob")),
            ("paths", "key-of-john", Some("/")),
            ("friends", "key-of-", None),
        ] {
            let named = match decide(&world, host, key, &[]).decision {
                Decision::Allow(allowed) => Some(allowed.set_headers[0].1.clone()),
                _ => None,
            };
            assert_eq!(named.as_deref(), expected, "{key} at {host}");
        }
    }
    assert_eq!((world.policy.tokens().len(), world.policy.tokens().grants()), (4, 4));
}

#[test]
fn what_was_granted_ends_with_the_token() {
    let mut world = world(&[("api", json!({"authentication": jwt(), "authorization": role(&admin())}))], &json!({}));
    let token = signed(&claims(), 1);
    for (after, code) in [(0, None), (59, None), (60, Some(401)), (61, Some(401))] {
        world.now = NOW + after;
        let code_now = match decide(&world, "api", &token, &[]).decision {
            Decision::Deny(reply) => Some(reply.code),
            _ => None,
        };
        assert_eq!(code_now, code, "after {after} s");
    }
    assert!(world.policy.tokens().is_empty());
}

#[test]
fn what_is_granted_counts_for_the_bound() {
    let long = json!({"success": {"headers": {"x-long": {"plain": {"value": "x".repeat(4096)}}}}});
    let spec = json!({"authentication": jwt(), "response": long});
    for (size, tokens, grants) in [(1, 1, 0), (6, 2, 2)] {
        let world = world(&[("api", spec.clone())], &json!({"tokenCacheSize": size}));
        for number in 0..4 {
            let token = signed(&with(claims(), "number", number), 1);
            assert!(matches!(decide(&world, "api", &token, &[]).decision, Decision::Allow(_)));
        }
        let memory = world.policy.tokens();
        assert_eq!((memory.len(), memory.grants()), (tokens, grants), "room for {size}");
    }
}
