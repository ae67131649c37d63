//! Whatever comes in whatever order: nothing passes without an identity and every authorization.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use sidegate_engine::remote::Fetched;
use sidegate_engine::{
    Body, CallError, CallId, Decision, Headers, HttpReply, Policy, Progress, Question, Reply, Request, Session,
    Timestamp, Verdict,
};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A token that is well-formed and in time, with a key id that no key set has, so that its rule asks and waits.
const TOKEN_OF_UNKNOWN_KEY: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6Im5vYm9keSJ9.eyJleHAiOjQ4MDAwMDAwMDB9.AAAA";

/// A key set whose only key is the P-256 key of RFC 7517 appendix A.1.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","use":"sig",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

/// One rule of authentication and whether it proves an identity for the request at hand.
#[derive(Debug, Clone)]
enum Way {
    /// Waits for keys, in vain.
    Token,
    GoodKey,
    BadKey,
    /// Everyone, if its condition holds.
    Anonymous {
        applies: bool,
    },
    /// Whom a server knows; it says so, or not, in a reply.
    Introspected,
}

/// One rule of authorization.
#[derive(Debug, Clone)]
enum Grant {
    Yes,
    No,
    /// As a server says in a reply.
    Reviewed,
    /// `action: deny` of what is not so.
    NotDenied,
    /// `action: deny` of what is so.
    Denied,
    /// `action: deny` of what a server says in a reply.
    ReviewedNot,
}

#[derive(Debug, Clone)]
struct Scene {
    ways: Vec<(i8, Way)>,
    /// Whether all ways that apply must prove an identity.
    all: bool,
    grants: Vec<(i8, Grant)>,
    /// Whether rules word their denials, so that the one that counts is the first by name.
    worded: bool,
    /// Metadata that is asked for, and callbacks that are awaited, with an access token: they decide nothing.
    sources: Vec<(i8, bool)>,
    events: Vec<Event>,
}

/// What may happen while a session waits.
#[derive(Debug, Clone)]
enum Event {
    Reply(Result<Reply, CallError>),
    ReplyTwice,
    ReplyToNobody(u32),
    TimePasses(u64),
}

fn scenes() -> impl Strategy<Value = Scene> {
    let way = prop_oneof![
        3 => Just(Way::Token),
        1 => Just(Way::GoodKey),
        2 => Just(Way::BadKey),
        1 => any::<bool>().prop_map(|applies| Way::Anonymous { applies }),
        3 => Just(Way::Introspected),
    ];
    let grant = prop_oneof![
        4 => Just(Grant::Yes),
        1 => Just(Grant::No),
        3 => Just(Grant::Reviewed),
        2 => Just(Grant::NotDenied),
        1 => Just(Grant::Denied),
        2 => Just(Grant::ReviewedNot),
    ];
    let event = prop_oneof![
        2 => Just(Event::Reply(Ok(Reply::DocumentRefreshed))),
        6 => answers().prop_map(|answer| Event::Reply(Ok(Reply::Http(answer)))),
        1 => Just(Event::Reply(Ok(Reply::Body(Body::default())))),
        1 => Just(Event::Reply(Err(CallError::TooLong))),
        1 => Just(Event::Reply(Err(CallError::Timeout))),
        1 => Just(Event::Reply(Err(CallError::Failed("gone".to_owned())))),
        1 => Just(Event::ReplyTwice),
        1 => any::<u32>().prop_map(Event::ReplyToNobody),
        1 => (0..20_u64).prop_map(Event::TimePasses),
    ];
    let ways = proptest::collection::vec((-2..2_i8, way), 0..5);
    let grants = proptest::collection::vec((-2..2_i8, grant), 0..5);
    let sources = proptest::collection::vec((-2..2_i8, any::<bool>()), 0..3);
    let events = proptest::collection::vec(event, 0..40);
    (ways, any::<bool>(), grants, any::<bool>(), sources, events)
        .prop_map(|(ways, all, grants, worded, sources, events)| Scene { ways, all, grants, worded, sources, events })
}

/// What a server may say: yes to a token, yes to an access, and everything near that.
fn answers() -> impl Strategy<Value = HttpReply> {
    let body = prop_oneof![
        3 => Just(ACTIVE),
        3 => Just(ALLOWED),
        1 => Just(r#"{"access_token":"t","expires_in":60}"#),
        1 => Just(r#"{"active":false}"#),
        2 => Just(REFUSED),
        1 => Just(r#"{"status":{"allowed":false,"evaluationError":"x"}}"#),
        1 => Just(r#"{"active":"true","status":{"allowed":"true"}}"#),
        1 => Just("active"),
        1 => Just(""),
    ];
    (prop_oneof![6 => Just(200_u16), 1 => Just(201), 1 => any::<u16>()], body).prop_map(|(status, body)| HttpReply {
        status,
        body: body.into(),
        ..HttpReply::default()
    })
}

const ACTIVE: &str = r#"{"active":true}"#;
const ALLOWED: &str = r#"{"status":{"allowed":true}}"#;
const REFUSED: &str = r#"{"status":{"allowed":false}}"#;

/// What servers have said yes to, and what clearly no.
#[derive(Debug, Default)]
struct Said {
    active: usize,
    allowed: usize,
    refused: usize,
}

impl Said {
    fn hear(&mut self, question: Option<&Question>, reply: &Result<Reply, CallError>) {
        let (Some(Question::Http(request)), Ok(Reply::Http(answer))) = (question, reply) else { return };
        match (request.path.as_str(), answer.status, answer.body.as_slice()) {
            ("/introspect", 200, body) if body == ACTIVE.as_bytes() => self.active += 1,
            (path, 200 | 201, body) if path.ends_with("reviews") && body == ALLOWED.as_bytes() => self.allowed += 1,
            (path, 200 | 201, body) if path.ends_with("reviews") && body == REFUSED.as_bytes() => self.refused += 1,
            _ => {}
        }
    }
}

impl Scene {
    /// Whether the request may pass by what the documents and the servers say, computed in the most obvious way.
    fn permits(&self, said: &Said) -> bool {
        let reviewed = self.grants.iter().filter(|(_, grant)| matches!(grant, Grant::Reviewed)).count();
        let reviewed_not = self.grants.iter().filter(|(_, grant)| matches!(grant, Grant::ReviewedNot)).count();
        self.identifies(said)
            && self.grants.iter().all(|(_, grant)| !matches!(grant, Grant::No | Grant::Denied))
            && said.allowed >= reviewed
            && said.refused >= reviewed_not
    }

    fn identifies(&self, said: &Said) -> bool {
        let proves = |way: &Way| matches!(way, Way::GoodKey | Way::Anonymous { applies: true });
        let introspected = self.ways.iter().filter(|(_, way)| matches!(way, Way::Introspected)).count();
        let mut applying =
            self.ways.iter().map(|(_, way)| way).filter(|way| !matches!(way, Way::Anonymous { applies: false }));
        if self.ways.is_empty() {
            true
        } else if self.all {
            applying.clone().next().is_some()
                && applying.all(|way| proves(way) || matches!(way, Way::Introspected))
                && said.active >= introspected
        } else {
            said.active > 0 || applying.any(proves)
        }
    }

    /// Whether no server is asked, so that replies decide nothing.
    fn asks_nobody(&self) -> bool {
        self.sources.is_empty()
            && self.ways.iter().all(|(_, way)| !matches!(way, Way::Introspected))
            && self.grants.iter().all(|(_, grant)| !matches!(grant, Grant::Reviewed | Grant::ReviewedNot))
    }

    /// Whether nothing hostile happens, so that what is permitted must pass.
    fn is_quiet(&self) -> bool {
        let harmless = |event: &Event| {
            matches!(event, Event::Reply(Ok(Reply::DocumentRefreshed)) | Event::ReplyToNobody(_) | Event::ReplyTwice)
        };
        self.asks_nobody() && self.events.iter().all(harmless)
    }

    fn policy(&self) -> Rc<Policy> {
        let rule = |way: &Way| match way {
            Way::Token => json!({ "jwt": { "jwksUrl": "http://idp.test/keys" } }),
            Way::GoodKey => api_key("x-good"),
            Way::BadKey => api_key("x-bad"),
            Way::Anonymous { applies } => {
                let value = if *applies { "yes" } else { "no" };
                json!({ "anonymous": {}, "when": [{ "selector": "request.headers.x-yes", "operator": "eq", "value": value }] })
            }
            Way::Introspected => json!({
                "oauth2Introspection": { "endpoint": "http://idp.test/introspect", "credentialsRef": { "name": "client" } },
            }),
        };
        let authentication = named(self.ways.iter().map(|(priority, way)| (*priority, rule(way))));
        let authorization = named(self.grants.iter().map(|(priority, grant)| {
            let matching = |value: &str| {
                let pattern = json!({ "selector": "request.headers.x-yes", "operator": "eq", "value": value });
                json!({ "patternMatching": { "patterns": [pattern] } })
            };
            let reviewed = || json!({ "kubernetesSubjectAccessReview": { "user": { "value": "john" } } });
            let (mut rule, action) = match grant {
                Grant::Yes => (matching("yes"), "allow"),
                Grant::No => (matching("no"), "allow"),
                Grant::Reviewed => (reviewed(), "allow"),
                Grant::NotDenied => (matching("no"), "deny"),
                Grant::Denied => (matching("yes"), "deny"),
                Grant::ReviewedNot => (reviewed(), "deny"),
            };
            rule["action"] = action.into();
            if self.worded {
                rule["denyWith"] = json!({ "code": 418 });
            }
            (*priority, rule)
        }));
        let sources = named(self.sources.iter().map(|(priority, cached)| {
            let oauth2 = json!({ "tokenUrl": "http://idp.test/token", "clientId": "sidegate",
                "clientSecretRef": { "name": "client", "key": "clientSecret" } });
            let mut rule = json!({ "http": { "url": "http://data.test/{request.path}", "oauth2": oauth2 } });
            if *cached {
                rule["cache"] = json!({ "key": { "value": "all" } });
            }
            (*priority, rule)
        }));
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "key" }, "stringData": { "api_key": "good" } });
        let client = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "client" },
            "stringData": { "clientID": "sidegate", "clientSecret": "secret" } });
        let auth_config = json!({
            "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": { "name": "scene" },
            "spec": { "hosts": ["*"], "authentication": authentication, "authorization": authorization,
                "authenticationStrategy": if self.all { "all" } else { "any" }, "metadata": sources, "callbacks": sources },
        });
        let configuration = json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [auth_config, secret, client],
            "options": { "callbacks": "Blocking" },
            "upstreams": [{ "url": "http://idp.test", "cluster": "idp" }],
        });
        let policy = Policy::compile(configuration.to_string().as_bytes()).unwrap();
        for id in policy.remote_documents().due(NOW) {
            let fetch = policy.remote_documents().begin(id, NOW).unwrap();
            let keys = HttpReply { status: 200, body: KEYS.as_bytes().to_vec(), ..HttpReply::default() };
            assert_eq!(policy.remote_documents().fetched(fetch.id, Ok(keys), NOW), Fetched::Done);
        }
        Rc::new(policy)
    }
}

fn api_key(header: &str) -> Value {
    json!({ "apiKey": { "selector": {} }, "credentials": { "customHeader": { "name": header } } })
}

fn named(rules: impl Iterator<Item = (i8, Value)>) -> Value {
    let rules = rules.enumerate().map(|(index, (priority, mut rule))| {
        rule["priority"] = priority.into();
        (format!("rule-{index}"), rule)
    });
    Value::Object(rules.collect())
}

fn request() -> Request {
    let token = format!("Bearer {TOKEN_OF_UNKNOWN_KEY}");
    let headers = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "any.test"),
        ("authorization", token.as_str()),
        ("x-good", "good"),
        ("x-bad", "bad"),
        ("x-yes", "yes"),
    ];
    Request { headers: Headers::from_pairs(headers), ..Request::default() }
}

/// Plays the events; without a verdict if the session still waits at the end.
fn play(scene: &Scene) -> (Option<Verdict>, Said) {
    let mut now = NOW.after(Duration::from_secs(60));
    let (mut session, mut progress) = Session::start(scene.policy(), request(), now);
    let mut waiting = Vec::new();
    let mut questions = HashMap::new();
    let mut said = Said::default();
    let mut last = CallId(0);
    for event in &scene.events {
        match progress {
            Progress::Done(verdict) => return (Some(verdict), said),
            Progress::Pending(calls) => {
                waiting.extend(calls.iter().map(|call| call.id));
                questions.extend(calls.into_iter().map(|call| (call.id, call.question)));
            }
        }
        let (id, reply) = match event {
            Event::Reply(reply) => {
                last = if waiting.is_empty() { last } else { waiting.remove(0) };
                (last, reply.clone())
            }
            Event::ReplyTwice => (last, Ok(Reply::DocumentRefreshed)),
            Event::ReplyToNobody(id) => (CallId(id.saturating_add(1_000)), Ok(Reply::DocumentRefreshed)),
            Event::TimePasses(seconds) => {
                now = now.after(Duration::from_secs(*seconds));
                (CallId(999), Err(CallError::Timeout))
            }
        };
        // Taken out: what is said a second time was heard already.
        said.hear(questions.remove(&id).as_ref(), &reply);
        progress = session.resume(id, reply, now);
    }
    match progress {
        Progress::Done(verdict) => (Some(verdict), said),
        Progress::Pending(_) => (None, said),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_passes_without_an_identity_and_every_authorization(scene in scenes()) {
        let (verdict, said) = play(&scene);
        match verdict.as_ref().map(|verdict| &verdict.decision) {
            Some(Decision::Allow(_)) => prop_assert!(scene.permits(&said), "{verdict:?} {said:?}"),
            Some(Decision::Deny(_)) => prop_assert!(!scene.permits(&said) || !scene.is_quiet(), "{verdict:?} {said:?}"),
            Some(Decision::Serve(served)) => prop_assert!(false, "{served:?}"),
            None => {}
        }
    }
}

#[test]
fn metadata_that_is_missing_for_want_of_room_denies() {
    let sources =
        (0..65).map(|index| (format!("source-{index}"), json!({ "http": { "url": "http://idp.test/more" } })));
    let blocked = json!({ "selector": "auth.metadata.source-64.state", "operator": "neq", "value": "blocked" });
    let auth_config = json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": { "name": "scene" },
        "spec": {
            "hosts": ["*"],
            "metadata": sources.collect::<serde_json::Map<_, _>>(),
            "authorization": { "not-blocked": { "patternMatching": { "patterns": [blocked] } } },
        },
    });
    let policy = Rc::new(Policy::compile(auth_config.to_string().as_bytes()).unwrap());
    let (mut session, mut progress) = Session::start(policy, request(), NOW);
    let Progress::Pending(calls) = &progress else { panic!("{progress:?}") };
    let asked: Vec<_> = calls.iter().map(|call| call.id).collect();
    assert_eq!(asked.len(), 64);
    for id in asked {
        let answer = HttpReply { status: 200, body: b"{}".to_vec(), ..HttpReply::default() };
        progress = session.resume(id, Ok(Reply::Http(answer)), NOW);
    }
    let Progress::Done(verdict) = progress else { panic!("{progress:?}") };
    assert!(matches!(verdict.decision, Decision::Deny(reply) if reply.code == 503));
}

/// What comes of a request whose metadata ends so many milliseconds after it began, without an answer; both have a time.
fn after_metadata_that_is_late(timeout: u64, ended: u64) -> Progress {
    let source = json!({ "http": { "url": "http://idp.test/more", "timeout": timeout } });
    let auth_config = json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": { "name": "scene" },
        "spec": { "hosts": ["*"], "metadata": { "it": source } },
    });
    let configuration = json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [auth_config], "options": { "timeout": 400 },
    });
    let policy = Rc::new(Policy::compile(configuration.to_string().as_bytes()).unwrap());
    let (mut session, progress) = Session::start(policy, request(), NOW);
    assert!(matches!(progress, Progress::Pending(calls) if calls.len() == 1));
    session.resume(CallId(0), Err(CallError::Timeout), NOW.after(Duration::from_millis(ended)))
}

#[test]
fn a_request_whose_time_is_over_does_not_go_on_without_its_metadata() {
    for (timeout, ended, denied) in [
        (5_000, 401, true),
        (5_000, 400, true),
        // Envoy's clock is behind ours.
        (5_000, 395, true),
        (400, 395, true),
        // It is shared with another request, which asked for it earlier.
        (5_000, 200, false),
        (390, 390, false),
        (100, 100, false),
    ] {
        let Progress::Done(verdict) = after_metadata_that_is_late(timeout, ended) else { panic!("{timeout} {ended}") };
        match verdict.decision {
            Decision::Deny(reply) => assert!(denied && reply.code == 503, "{timeout} {ended}: {reply:?}"),
            decision => assert!(!denied, "{timeout} {ended}: {decision:?}"),
        }
    }
}

#[test]
fn the_scenes_are_of_all_kinds() {
    let token = Scene {
        ways: vec![(0, Way::Token)],
        all: false,
        grants: Vec::new(),
        worded: false,
        sources: Vec::new(),
        events: Vec::new(),
    };
    assert!(play(&token).0.is_none(), "a token of an unknown key makes its rule wait");
    // Twice: the first answer may be keys that were fetched before the token asked.
    let reply = vec![Event::Reply(Ok(Reply::DocumentRefreshed)); 3];
    let denied = play(&Scene { events: reply.clone(), ..token.clone() }).0.unwrap();
    assert!(matches!(denied.decision, Decision::Deny(reply) if reply.code == 401));
    let ways = vec![(-1, Way::Token), (0, Way::GoodKey)];
    let allowed = play(&Scene { ways: ways.clone(), events: reply.clone(), ..token.clone() }).0.unwrap();
    assert!(matches!(allowed.decision, Decision::Allow(_)));
    let late = vec![Event::TimePasses(30)];
    let late = play(&Scene { ways, events: late, ..token.clone() }).0.unwrap();
    assert!(matches!(late.decision, Decision::Deny(reply) if reply.code == 503));
    let answer = |body: &str| {
        Event::Reply(Ok(Reply::Http(HttpReply { status: 200, body: body.into(), ..HttpReply::default() })))
    };
    let asked = Scene { ways: vec![(0, Way::Introspected)], grants: vec![(0, Grant::Reviewed)], ..token.clone() };
    let (verdict, said) = play(&Scene { events: vec![answer(ACTIVE), answer(ALLOWED)], ..asked.clone() });
    assert!(matches!(verdict.unwrap().decision, Decision::Allow(_)), "{said:?}");
    let banned = Scene { grants: vec![(0, Grant::ReviewedNot)], worded: true, ..asked.clone() };
    for (answered, passes) in [(REFUSED, true), (ALLOWED, false), ("", false), (r#"{"status":{}}"#, false)] {
        let (verdict, said) = play(&Scene { events: vec![answer(ACTIVE), answer(answered)], ..banned.clone() });
        assert_eq!(matches!(verdict.unwrap().decision, Decision::Allow(_)), passes, "{answered} {said:?}");
    }
    let both = Scene { ways: vec![(0, Way::GoodKey), (0, Way::Introspected)], all: true, ..token.clone() };
    for (answered, passes) in [(ACTIVE, true), (r#"{"active":false}"#, false)] {
        let (verdict, said) = play(&Scene { events: vec![answer(answered)], ..both.clone() });
        assert_eq!(matches!(verdict.unwrap().decision, Decision::Allow(_)), passes, "{answered} {said:?}");
    }
    let gone = vec![Event::Reply(Err(CallError::Timeout)); 2];
    let ways = vec![(0, Way::GoodKey)];
    let sourced = Scene { ways, sources: vec![(0, false)], ..token };
    assert!(play(&sourced).0.is_none(), "it waits for an access token");
    let allowed = play(&Scene { events: gone, ..sourced }).0.unwrap();
    assert!(matches!(allowed.decision, Decision::Allow(_)), "neither metadata nor callback decides");
    let (verdict, said) = play(&Scene { events: vec![answer(ACTIVE), answer(ACTIVE)], ..asked });
    assert!(matches!(verdict.unwrap().decision, Decision::Deny(reply) if reply.code == 503), "{said:?}");
}
