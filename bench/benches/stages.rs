//! What each stage of a decision costs the engine, natively: `cargo bench -p sidegate-bench`.
#![expect(missing_docs, reason = "criterion's macro makes a function without")]

use std::hint::black_box;
use std::rc::Rc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sidegate_engine::remote::Fetched;
use sidegate_engine::{Decision, Following, Headers, HttpReply, Policy, Progress, Reply, Request, Session, Timestamp};
use sidegate_tests::case::Token;
use sidegate_tests::{prepare, token};

const ISSUER: &str = "https://idp.bench";
const KEYS: [&str; 3] = ["rsa-1", "ec-256", "ed25519"];

fn documents(criterion: &mut Criterion) {
    let secrets = |count: usize| (0..count).map(secret).chain([by_api_key(0)]).collect::<Vec<_>>();
    let auth_configs = |count: usize| (0..count).map(by_api_key).chain([secret(0)]).collect::<Vec<_>>();
    for (name, resources) in [
        ("compile/1 AuthConfig", auth_configs(1)),
        ("compile/1,000 AuthConfigs", auth_configs(1000)),
        ("compile/10,000 API keys", secrets(10_000)),
    ] {
        let text = configuration(&resources, json!({}));
        criterion.bench_function(name, |bencher| bencher.iter(|| Policy::compile(black_box(text.as_bytes())).unwrap()));
    }
}

fn identity(criterion: &mut Criterion) {
    let anonymous = policy(&[auth_config(0, json!({ "hosts": ["api-0.bench"] }))], json!({}));
    decide(criterion, "authentication/anonymous", &anonymous, request("none"));
    for count in [10, 10_000] {
        let resources: Vec<Value> = (0..count).map(secret).chain([by_api_key(0)]).collect();
        let name = format!("authentication/API key, one of {count}");
        decide(criterion, &name, &policy(&resources, nothing_remembered()), request("none"));
    }
    // What reads the path, though nobody uses it, has the token remembered and not what was granted to it.
    let mut remembered = by_jwt();
    remembered["patterns"] = json!({ "path": [{ "selector": "request.path", "operator": "neq", "value": "" }] });
    for (name, spec, options) in [
        ("granted before", by_jwt(), json!({})),
        ("remembered", remembered, json!({})),
        ("verified", by_jwt(), nothing_remembered()),
    ] {
        let policy = policy(&[auth_config(0, spec)], options);
        for key in KEYS {
            decide(criterion, &format!("authentication/JWT {key}, {name}"), &policy, request(&bearer(key)));
        }
    }
}

fn rules_and_response(criterion: &mut Criterion) {
    let cases = [
        ("authorization/a selector rule", json!({ "authorization": rules(&[SELECTOR]) })),
        ("authorization/ten selector rules", json!({ "authorization": rules(&[SELECTOR; 10]) })),
        ("authorization/ten CEL rules", json!({ "authorization": rules(&[PREDICATE; 10]) })),
        ("response/a header", json!({ "response": { "success": { "headers": { "x-user": PLAIN() } } } })),
        ("response/an object in a header", json!({ "response": { "success": { "headers": { "x-user": object() } } } })),
    ];
    for (name, part) in cases {
        let mut auth_config = by_api_key(0);
        for (field, value) in part.as_object().into_iter().flatten() {
            auth_config["spec"][field] = value.clone();
        }
        decide(criterion, name, &policy(&[auth_config, secret(0)], nothing_remembered()), request("none"));
    }
    let nothing = policy(&[by_api_key(0)], json!({}));
    let session = || Session::start(Rc::clone(&nothing), request("none"), now()).1;
    assert!(matches!(session(), Progress::Done(verdict) if matches!(verdict.decision, Decision::Deny(_))));
    criterion.bench_function("response/a denial", |bencher| {
        bencher.iter_batched(
            || request("none"),
            |request| Session::start(Rc::clone(&nothing), request, now()),
            BatchSize::SmallInput,
        );
    });
}

fn selection(criterion: &mut Criterion) {
    for count in [1, 1000] {
        let resources: Vec<Value> = (0..count).map(open).collect();
        decide(criterion, &format!("selection/one of {count} hosts"), &policy(&resources, json!({})), request("none"));
    }
    let mut conditional = open(0);
    conditional["spec"]["when"] = json!([{ "selector": "request.path", "operator": "matches", "value": "^/hello" }]);
    decide(criterion, "selection/a condition", &policy(&[conditional], json!({})), request("none"));
}

/// What asks a server: all of it but the waiting.
fn asking(criterion: &mut Criterion) {
    let http = json!({ "http": { "url": format!("{ISSUER}/groups?user={{auth.identity.anonymous}}") } });
    let mut metadata = open(0);
    metadata["spec"]["metadata"] = json!({ "groups": http.clone() });
    let metadata = policy(&[metadata], json!({}));
    let answer =
        || Ok(Reply::Http(HttpReply { status: 200, body: b"{\"groups\":[]}".to_vec(), ..HttpReply::default() }));
    let decide = || {
        let (mut session, progress) = Session::start(Rc::clone(&metadata), request("none"), now());
        let Progress::Pending(calls) = progress else { panic!("nobody is asked: {progress:?}") };
        session.resume(calls[0].id, answer(), now())
    };
    assert!(matches!(decide(), Progress::Done(verdict) if matches!(verdict.decision, Decision::Allow(_))));
    criterion.bench_function("metadata/an answer", |bencher| bencher.iter(decide));

    let mut callback = open(0);
    callback["spec"]["callbacks"] = json!({ "audit": http });
    let callback = policy(&[callback], json!({}));
    let follow = || Session::start(Rc::clone(&callback), request("none"), now()).0.follow_up(now());
    assert!(matches!(follow(), Some((_, Following::Pending(calls))) if calls.len() == 1));
    criterion.bench_function("callbacks/a call", |bencher| bencher.iter(follow));
}

/// Lets everybody in.
fn open(number: usize) -> Value {
    auth_config(number, json!({ "hosts": [format!("api-{number}.bench")] }))
}

const SELECTOR: (&str, &str) = ("selector", "auth.identity.metadata.labels.group");
const PREDICATE: (&str, &str) = ("predicate", "auth.identity.metadata.labels.group == 'friends'");
const PLAIN: fn() -> Value = || json!({ "plain": { "selector": "auth.identity.metadata.name" } });

fn object() -> Value {
    json!({ "json": { "properties": {
        "name": { "selector": "auth.identity.metadata.name" },
        "group": { "selector": "auth.identity.metadata.labels.group" },
        "source": { "value": "sidegate" },
    } } })
}

fn rules(patterns: &[(&str, &str)]) -> Value {
    let rule = |(index, (kind, text)): (usize, &(&str, &str))| {
        let pattern = match *kind {
            "predicate" => json!({ "predicate": text }),
            _ => json!({ "selector": text, "operator": "eq", "value": "friends" }),
        };
        (format!("rule-{index}"), json!({ "patternMatching": { "patterns": [pattern] } }))
    };
    Value::Object(patterns.iter().enumerate().map(rule).collect())
}

fn nothing_remembered() -> Value {
    json!({ "tokenCacheSize": 0 })
}

/// One whole decision, which must be to allow.
fn decide(criterion: &mut Criterion, name: &str, policy: &Rc<Policy>, request: Request) {
    let start = |request: Request| Session::start(Rc::clone(policy), request, now()).1;
    match start(request.clone()) {
        Progress::Done(verdict) if matches!(verdict.decision, Decision::Allow(_)) => {}
        other => panic!("{name}: {other:?}"),
    }
    criterion.bench_function(name, |bencher| {
        bencher.iter_batched(|| request.clone(), |request| start(black_box(request)), BatchSize::SmallInput);
    });
}

fn policy(resources: &[Value], options: Value) -> Rc<Policy> {
    let text = configuration(resources, options);
    let policy = Policy::compile(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let keys = policy.remote_documents();
    let body = token::key_set(&KEYS.map(ToOwned::to_owned)).unwrap().to_string().into_bytes();
    for id in keys.due(now()) {
        let fetch = keys.begin(id, now()).unwrap();
        let response = HttpReply { status: 200, body: body.clone(), ..HttpReply::default() };
        assert!(!matches!(keys.fetched(fetch.id, Ok(response), now()), Fetched::Next(_)));
    }
    Rc::new(policy)
}

fn configuration(resources: &[Value], options: Value) -> String {
    json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": resources, "options": options,
        "upstreams": [{ "url": ISSUER, "cluster": "idp" }],
    })
    .to_string()
}

fn auth_config(number: usize, spec: Value) -> Value {
    json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig",
        "metadata": { "name": format!("bench-{number}") }, "spec": spec,
    })
}

fn by_api_key(number: usize) -> Value {
    auth_config(
        number,
        json!({
            "hosts": [format!("api-{number}.bench")],
            "authentication": { "friends": {
                "apiKey": { "selector": { "matchLabels": { "group": "friends" } } },
                "credentials": { "customHeader": { "name": "x-api-key" } },
            } },
        }),
    )
}

fn by_jwt() -> Value {
    json!({
        "hosts": ["api-0.bench"],
        "authentication": { "idp": { "jwt": { "jwksUrl": format!("{ISSUER}/jwks"), "issuer": ISSUER } } },
    })
}

fn secret(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": format!("key-{number}"), "labels": { "group": "friends" } },
        "stringData": { "api_key": key(number) },
    })
}

fn key(number: usize) -> String {
    format!("{number:08}-quiet-otter-7f3a91c0d24e")
}

fn bearer(key: &str) -> String {
    let claims = json!({ "iss": ISSUER, "sub": "john", "scope": "openid profile", "roles": ["admin", "staff"] });
    let claims = claims.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
    token::sign(&Token { key: Some(key.to_owned()), claims, ..Token::default() }, prepare::now()).unwrap()
}

fn request(bearer: &str) -> Request {
    let headers = [
        (":authority", "api-0.bench".to_owned()),
        (":path", "/hello".to_owned()),
        (":method", "GET".to_owned()),
        (":scheme", "https".to_owned()),
        ("user-agent", "bench/1.0".to_owned()),
        ("accept", "application/json".to_owned()),
        ("x-api-key", key(0)),
        ("authorization", format!("Bearer {bearer}")),
    ];
    Request { headers: Headers::from_pairs(headers), ..Request::default() }
}

fn now() -> Timestamp {
    Timestamp::from_secs(u64::try_from(prepare::now()).unwrap())
}

criterion_group!(stages, documents, selection, identity, rules_and_response, asking);
criterion_main!(stages);
