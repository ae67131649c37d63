//! The exported callbacks, driven as Envoy drives them.

use serde_json::{Value, json};

use self::envoy::{CONTINUE, PAUSE, Vm, host, metric, stream};
use self::memory::allocated;

mod calls;
mod east_west;
pub(crate) mod envoy;
mod memory;

const KEY: (&str, &str) = ("authorization", "Bearer the-key-of-alice");

/// API keys of two groups, one of them admitted.
fn keys() -> String {
    let response = json!({"success": {
        "headers": {"x-user": {"plain": {"selector": "auth.identity.metadata.name"}}},
        "dynamicMetadata": {"who": {"json": {"properties": {
            "name": {"selector": "auth.identity.metadata.name"}, "size": {"value": 3}}}}},
    }});
    let rules = json!({"no-bob": {"metrics": true, "patternMatching": {"patterns": [
        {"selector": "auth.identity.metadata.name", "operator": "neq", "value": "bob"}]}}});
    let spec = json!({
        "hosts": ["api.example.com"],
        "authentication": {"friends": {"metrics": true, "apiKey": {"selector": {"matchLabels": {"group": "friends"}}}}},
        "authorization": rules,
        "response": response,
    });
    let secret = |name, key| {
        json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"api_key": key},
        "metadata": {"name": name, "labels": {"group": "friends"}}})
    };
    let secrets = [secret("alice", "the-key-of-alice"), secret("bob", "the-key-of-bob")];
    config(&spec, &secrets, &json!({"dynamicMetadataHeader": "x-metadata"}))
}

/// Tokens of one issuer.
fn tokens() -> String {
    let spec = json!({
        "hosts": ["*"],
        "authentication": {"idp": {"jwt": {"jwksUrl": "https://idp.example.com/keys"}}},
        "response": {"success": {"headers": {"x-user": {"plain": {"selector": "auth.identity.sub"}}}}},
    });
    config(&spec, &[], &json!({}))
}

fn config(spec: &Value, secrets: &[Value], options: &Value) -> String {
    let auth_config = json!({"apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig",
        "metadata": {"name": "api.v1"}, "spec": spec});
    let resources: Vec<_> = std::iter::once(&auth_config).chain(secrets).collect();
    json!({"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": resources, "options": options,
        "upstreams": [{"url": "https://idp.example.com", "cluster": "idp"}]})
    .to_string()
}

fn fixture(name: &str) -> String {
    let fixture: Value = serde_json::from_str(include_str!("token.json")).unwrap();
    match &fixture[name] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A key set without the key of the token.
fn other_keys() -> String {
    fixture("jwks").replace("\"one\"", "\"two\"")
}

fn bearer(vm: &Vm) -> (u32, u32) {
    let credential = format!("Bearer {}", fixture("token"));
    vm.request(&[(":authority", "api.example.com"), ("authorization", &credential), ("x-user", "root")])
}

fn header(id: u32, name: &str) -> Vec<String> {
    let of_name = |stream: &mut envoy::Stream| {
        let values = stream.headers.iter().filter(|(other, _)| other == name);
        values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    };
    stream(id, of_name)
}

fn property(id: u32, name: &str) -> Option<String> {
    stream(id, |stream| stream.properties.get(name).map(|value| String::from_utf8_lossy(value).into_owned()))
}

/// Status and details of the one local reply.
fn reply(id: u32) -> (u32, String) {
    stream(id, |stream| match stream.replies.as_slice() {
        [reply] => (reply.code, reply.details.clone()),
        replies => panic!("{} replies", replies.len()),
    })
}

fn errors() -> Vec<String> {
    host(|host| host.logs.iter().filter(|(level, _)| *level == 4).map(|(_, message)| message.clone()).collect())
}

/// Nothing of a request passes, and nobody takes it up again.
fn assert_stopped(vm: &Vm, id: u32) {
    assert_eq!([vm.body(id, false), vm.body(id, true), vm.trailers(id)], [PAUSE; 3]);
    assert_eq!(stream(id, |stream| stream.resumed), 0);
}

#[test]
fn an_allowed_request_passes_changed_as_the_policy_says() {
    let vm = Vm::start(&keys()).unwrap();
    let (id, action) = vm.request(&[
        (":authority", "api.example.com"),
        KEY,
        ("x-user", "root"),
        ("x-user", "admin"),
        ("x-metadata", "forged"),
    ]);
    assert_eq!(action, CONTINUE);
    assert_eq!([vm.body(id, false), vm.body(id, true), vm.trailers(id)], [CONTINUE; 3]);
    assert_eq!(header(id, "x-user"), ["alice"]);
    assert_eq!(stream(id, |stream| (stream.resumed, stream.replies.len())), (0, 0));
    assert_eq!(property(id, "sidegate.auth_config").unwrap(), "default/api.v1");
    assert_eq!(property(id, "sidegate.decision").unwrap(), "ok");
    assert_eq!(property(id, "sidegate.metadata.who.name").unwrap(), "alice");
    assert_eq!(property(id, "sidegate.metadata.who.size").unwrap(), "3");
    assert_ne!(header(id, "x-metadata"), ["forged"]);
    vm.close(id);
}

#[test]
fn a_denied_request_is_answered_and_stays_where_it_is() {
    let vm = Vm::start(&keys()).unwrap();
    let (id, action) = vm.request(&[(":authority", "api.example.com"), ("authorization", "Bearer wrong")]);
    assert_eq!(action, PAUSE);
    assert_eq!(reply(id), (401, "sidegate_unauthenticated{default/api.v1}".to_owned()));
    assert_stopped(&vm, id);
    assert_eq!(vm.response(id), CONTINUE);
    assert_eq!(property(id, "sidegate.decision").unwrap(), "unauthenticated");

    let (id, _) = vm.request(&[(":authority", "api.example.com"), ("authorization", "Bearer the-key-of-bob")]);
    assert_eq!(reply(id), (403, "sidegate_permission_denied{default/api.v1/no-bob}".to_owned()));
    assert_eq!(property(id, "sidegate.rule").unwrap(), "no-bob");

    let (id, _) = vm.request(&[(":authority", "elsewhere.example.com"), KEY]);
    assert_eq!(reply(id), (404, "sidegate_not_found".to_owned()));
}

#[test]
fn body_and_trailers_that_come_before_the_headers_wait() {
    let vm = Vm::start(&keys()).unwrap();
    let id = vm.open(&[(":authority", "api.example.com"), KEY]);
    assert_stopped(&vm, id);
    assert_eq!(vm.headers(id), CONTINUE);
    assert_eq!([vm.body(id, true), vm.trailers(id)], [CONTINUE; 2]);
}

#[test]
fn the_response_to_a_request_that_was_not_shown_is_withheld() {
    let vm = Vm::start(&keys()).unwrap();
    let id = vm.open(&[(":authority", "api.example.com"), KEY]);
    vm.response(id);
    assert_eq!(reply(id), (503, "sidegate_unavailable{host}".to_owned()));
}

#[test]
fn what_belongs_to_nobody_is_denied() {
    let vm = Vm::start(&keys()).unwrap();
    for nobody in [Vm::unknown(), Vm::unconfigured()] {
        nobody.tick(1);
        nobody.answer(7, Some(200), "");
        let (id, action) = nobody.request(&[(":authority", "api.example.com"), KEY]);
        assert_eq!((action, reply(id)), (PAUSE, (503, "sidegate_unavailable{host}".to_owned())));
        assert_stopped(&vm, id);
        assert_eq!(vm.response(id), CONTINUE, "our own answer");
        vm.close(id);
    }
    assert!(!Vm::unknown().configure(&keys()));
    vm.answer(7, Some(200), "");

    // As when a capability restriction leaves out the callback that tells whose a request is.
    let id = vm.open_silently(&[(":authority", "api.example.com"), KEY]);
    assert_stopped(&vm, id);
    assert_eq!((vm.headers(id), reply(id).0), (PAUSE, 503));
    vm.close(id);
    let id = vm.open_silently(&[]);
    vm.response(id);
    assert_eq!(reply(id).0, 503);
    vm.close(id);
    vm.close(id);
}

#[test]
fn plugins_of_one_vm_do_not_know_each_other() {
    let first = Vm::start(&keys()).unwrap();
    let second = Vm::start(&keys().replace("the-key-of-alice", "another-key-of-alice")).unwrap();
    let with_key = [(":authority", "api.example.com"), KEY];
    assert_eq!(first.request(&with_key).1, CONTINUE);
    assert_eq!(second.request(&with_key).1, PAUSE);
}

#[test]
fn an_older_generation_ends_when_its_requests_have() {
    let older = Vm::start(&tokens()).unwrap();
    older.tick(2);
    older.answer(0, Some(200), &other_keys());
    host(|host| host.now += 60_000_000_000);
    let (id, action) = bearer(&older);
    assert_eq!(action, PAUSE);
    let newer = Vm::start(&keys()).unwrap();
    older.tick(2);
    older.answer(1, Some(200), &fixture("jwks"));
    assert_eq!(stream(id, |stream| (stream.resumed, stream.replies.len())), (1, 0));
    older.close(id);
    older.end();
    older.tick(1);
    assert_eq!(bearer(&older).1, PAUSE, "a plugin that is gone lets nothing pass");
    assert_eq!(newer.request(&[(":authority", "api.example.com"), KEY]).1, CONTINUE);
}

#[test]
fn bytes_that_are_no_text_and_no_headers_do_no_harm() {
    let vm = Vm::start(&keys()).unwrap();
    let id = vm.open(&[(":authority", "api.example.com"), KEY]);
    stream(id, |stream| stream.headers.push(("x-latin".to_owned(), b"caf\xe9\xff".to_vec())));
    assert_eq!(vm.headers(id), CONTINUE);
    for wire in [vec![], vec![1], vec![0xff; 64], [3u32.to_le_bytes().as_slice(), &[0xff; 24]].concat()] {
        let id = vm.open(&[]);
        stream(id, |stream| stream.wire = Some(wire));
        assert_eq!(vm.headers(id), PAUSE);
        assert_eq!(reply(id), (503, "sidegate_unavailable{host}".to_owned()));
        assert_stopped(&vm, id);
    }
    vm.tick(1000);
    assert_eq!(metric("sidegate_failed_total.class.host"), 4);
}

#[test]
fn a_verdict_that_cannot_be_carried_out_whole_denies() {
    for function in ["headers", "time", "remove", "replace", "set_property"] {
        let vm = Vm::start(&keys()).unwrap();
        host(|host| host.refuse.insert(function, 10));
        let (id, action) = vm.request(&[(":authority", "api.example.com"), KEY, ("x-user", "root")]);
        assert_eq!(action, PAUSE, "{function}");
        assert_eq!(reply(id).0, 503, "{function}");
        assert_stopped(&vm, id);
        host(|host| host.refuse.clear());
        vm.close(id);
    }
}

#[test]
fn a_denial_that_cannot_be_told_ends_the_request() {
    let vm = Vm::start(&keys()).unwrap();
    host(|host| host.refuse.insert("reply", 10));
    let (id, action) = vm.request(&[(":authority", "api.example.com")]);
    assert_eq!(action, PAUSE);
    assert!(stream(id, |stream| stream.reset));
    assert_stopped(&vm, id);
}

#[test]
fn a_bad_configuration_is_refused_and_the_one_in_force_stays() {
    for bad in ["", "{}", "null", "[]", "not json", "{\"kind\": \"AuthConfig\"}"] {
        assert!(Vm::start(bad).is_none(), "{bad}");
        assert!(!errors().is_empty(), "{bad}");
        host(|host| *host = envoy::Host::default());
    }
    let vm = Vm::start(&keys()).unwrap();
    let bad = keys().replace("\"hosts\":[\"api.example.com\"]", "\"hosts\":[],\"typo\":1");
    assert!(!vm.configure(&bad));
    assert!(errors().iter().any(|error| error.contains("AuthConfig default/api.v1") && error.contains("typo")));
    assert_eq!(vm.request(&[(":authority", "api.example.com"), KEY]).1, CONTINUE);
    host(|host| host.refuse.insert("buffer", 10));
    assert!(!vm.configure(&keys()));
}

#[test]
fn metrics_have_names_from_the_configuration_alone() {
    let vm = Vm::start(&keys()).unwrap();
    vm.request(&[(":authority", "api.example.com"), KEY]);
    vm.request(&[(":authority", "api.example.com"), KEY]);
    vm.request(&[(":authority", "api.example.com")]);
    vm.request(&[(":authority", "made-up-by-a-client")]);
    assert!(
        host(|host| !host.metrics.contains_key("auth_server_response_status.status.OK")),
        "a request pays for no telling"
    );
    assert_eq!(host(|host| host.tick), 1000);
    vm.tick(1000);
    assert_eq!(host(|host| host.tick), 0, "there is nothing more to tell");
    let labels = ".namespace.default.authconfig.api%2Ev1";
    assert_eq!(metric("auth_server_response_status.status.OK"), 2);
    assert_eq!(metric("auth_server_response_status.status.NOT_FOUND"), 1);
    assert_eq!(metric(&format!("auth_server_authconfig_total{labels}")), 3);
    let duration = format!("auth_server_authconfig_duration_microseconds{labels}");
    assert!(host(|host| !host.metrics.contains_key(&duration)), "nobody waited");
    assert_eq!(metric(&format!("auth_server_authconfig_response_status{labels}.status.UNAUTHENTICATED")), 1);
    let rule = format!("{labels}.evaluator_type.IDENTITY_APIKEY.evaluator_name.friends");
    assert_eq!(metric(&format!("auth_server_evaluator_total{rule}")), 3);
    assert_eq!(metric(&format!("auth_server_evaluator_denied{rule}")), 1);
    assert!(host(|host| host.metrics.keys().all(|name| !name.contains("made"))));
    vm.request(&[(":authority", "api.example.com"), KEY]);
    vm.end();
    assert_eq!(metric("auth_server_response_status.status.OK"), 3, "what is over has been told");
}

#[test]
fn the_debug_log_tells_the_steps_and_no_secret() {
    let vm = Vm::start(&keys()).unwrap();
    host(|host| host.debug = true);
    vm.tick(1000);
    vm.request(&[(":authority", "api.example.com"), KEY, ("x-request-id", "id-1\n[error] forged")]);
    vm.request(&[(":authority", "api.example.com"), ("authorization", "Bearer wrong-key"), (":path", "/?key=s3cret")]);
    let logs = host(|host| host.logs.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>());
    assert!(logs[0].starts_with("request id-1 [error] forged to api.example.com: default/api.v1: OK"), "{logs:?}");
    assert!(logs[0].contains("authentication friends: ok"), "{logs:?}");
    for secret in ["the-key-of-alice", "wrong-key", "s3cret", "\n"] {
        assert!(logs.iter().all(|line| !line.contains(secret)), "{logs:?}");
    }
}

#[test]
fn a_request_waits_for_keys_and_passes_when_they_come() {
    let vm = Vm::start(&tokens()).unwrap();
    assert!(host(|host| host.calls.is_empty()), "a trial VM must not fetch");
    assert_ne!(host(|host| host.tick), 0);
    vm.tick(2);
    assert_eq!(host(|host| host.calls.len()), 1);
    vm.answer(0, Some(200), &other_keys());
    host(|host| host.now += 60_000_000_000);

    let (id, action) = bearer(&vm);
    assert_eq!(action, PAUSE);
    assert_stopped(&vm, id);
    assert!(host(|host| host.tick) < 10, "somebody waits");
    vm.tick(2);
    assert_eq!(host(|host| host.calls.len()), 2);
    vm.answer(1, Some(200), &fixture("jwks"));
    let duration = "auth_server_authconfig_duration_microseconds.namespace.default.authconfig.api%2Ev1";
    assert_eq!(metric(duration), 2000, "the tick came after 2 ms");
    assert_eq!(stream(id, |stream| (stream.resumed, stream.replies.len())), (1, 0));
    assert_eq!(header(id, "x-user"), ["alice"]);
    assert_eq!([vm.body(id, false), vm.trailers(id)], [CONTINUE; 2]);
    vm.tick(1000);
    assert!(host(|host| host.tick) > 1000, "nobody waits, and all is told");
}

#[test]
fn a_request_that_waits_in_vain_is_denied() {
    let vm = Vm::start(&tokens()).unwrap();
    let (early, action) = bearer(&vm);
    assert_eq!((action, reply(early).0), (PAUSE, 503), "before the first fetch");
    vm.tick(2);
    vm.answer(0, Some(200), &other_keys());
    host(|host| host.now += 60_000_000_000);
    let (id, action) = bearer(&vm);
    assert_eq!((action, stream(id, |stream| stream.replies.len())), (PAUSE, 0));
    vm.tick(2);
    vm.tick(60_000);
    assert_eq!(reply(id).0, 503);
    vm.answer(1, Some(200), &fixture("jwks"));
    assert_eq!(reply(id).0, 503);
    assert_stopped(&vm, id);
}

#[test]
fn failed_fetches_deny_and_say_why() {
    for (status, body) in [(None, ""), (Some(503), "down"), (Some(200), "garbage"), (Some(200), "")] {
        let vm = Vm::start(&tokens()).unwrap();
        vm.tick(2);
        vm.answer(0, status, body);
        assert_eq!(errors().len(), 1, "{status:?}");
        assert!(errors()[0].contains("https://idp.example.com/keys"), "{:?}", errors());
        vm.tick(1000);
        assert_eq!(metric("sidegate_document_fetch_total.document.keys.result.failed"), 1);
        let (id, action) = bearer(&vm);
        assert_eq!(action, PAUSE);
        assert_eq!(reply(id).0, 503);
        host(|host| *host = envoy::Host::default());
    }
}

#[test]
fn an_unknown_cluster_is_named() {
    let vm = Vm::start(&tokens().replace("\"cluster\":\"idp\"", "\"cluster\":\"typo\"")).unwrap();
    vm.tick(2);
    assert!(errors()[0].contains("`typo`"), "{:?}", errors());
    host(|host| host.refuse.insert("call", 10));
    vm.tick(600_000);
    assert!(errors()[1].contains("takes no call"), "{:?}", errors());
}

#[test]
fn a_client_that_left_is_passed_over() {
    let vm = Vm::start(&tokens()).unwrap();
    vm.tick(2);
    vm.answer(0, Some(200), &other_keys());
    host(|host| host.now += 60_000_000_000);
    let streams: Vec<_> = std::iter::repeat_with(|| bearer(&vm).0).take(3).collect();
    vm.close(streams[0]);
    // Envoy knows no more of the second, and did not say so.
    host(|host| host.streams.remove(&streams[1]));
    vm.tick(2);
    vm.answer(1, Some(200), &fixture("jwks"));
    assert_eq!(stream(streams[2], |stream| (stream.resumed, stream.replies.len())), (1, 0));
    assert_eq!(header(streams[2], "x-user"), ["alice"]);
}

#[test]
fn one_worker_fetches_and_the_others_adopt() {
    let first = Vm::start(&tokens()).unwrap();
    first.tick(2);
    let (shared, now) = host(|host| (host.shared.clone(), host.now));
    let other = std::thread::spawn(move || {
        host(|host| (host.shared, host.now) = (shared, now));
        let second = Vm::start(&tokens()).unwrap();
        second.tick(2);
        assert_eq!(host(|host| host.calls.len()), 0, "the first has the lease");
        (second.root, bearer(&second).0)
    });
    other.join().unwrap();
    first.answer(0, Some(200), &fixture("jwks"));
    let (id, action) = bearer(&first);
    assert_eq!((action, header(id, "x-user")), (CONTINUE, vec!["alice".to_owned()]));

    let (shared, now) = host(|host| (host.shared.clone(), host.now));
    let third = std::thread::spawn(move || {
        host(|host| (host.shared, host.now) = (shared, now));
        let third = Vm::start(&tokens()).unwrap();
        let (id, action) = bearer(&third);
        assert_eq!((action, header(id, "x-user")), (CONTINUE, vec!["alice".to_owned()]));
        assert_eq!(host(|host| host.calls.len()), 0);
    });
    third.join().unwrap();
}

#[test]
fn the_lease_of_a_worker_that_died_runs_out() {
    let dead = Vm::start(&tokens()).unwrap();
    dead.tick(2);
    let (shared, now) = host(|host| (host.shared.clone(), host.now));
    let heir = std::thread::spawn(move || {
        host(|host| (host.shared, host.now) = (shared, now));
        let heir = Vm::start(&tokens()).unwrap();
        heir.tick(1000);
        assert_eq!(host(|host| host.calls.len()), 0);
        heir.tick(30_000);
        assert_eq!(host(|host| host.calls.len()), 1);
    });
    heir.join().unwrap();
}

#[test]
fn a_host_that_checks_signatures_wrong_is_not_asked() {
    for answer in [None, Some(true), Some(false)] {
        host(|host| host.verify = answer);
        let vm = Vm::start(&tokens()).unwrap();
        vm.tick(2);
        vm.answer(0, Some(200), &fixture("jwks"));
        assert_eq!(bearer(&vm).1, CONTINUE, "{answer:?}");
        let forged = format!("Bearer {}A", fixture("token").trim_end_matches('Q'));
        let (id, action) = vm.request(&[(":authority", "api.example.com"), ("authorization", &forged)]);
        assert_eq!((action, reply(id).0), (PAUSE, 401), "{answer:?}");
        host(|host| *host = envoy::Host::default());
    }
}
