//! Whatever comes in whatever order: nothing passes without an identity and every authorization.

use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use sidegate_engine::keys::Fetched;
use sidegate_engine::{
    CallError, CallId, Decision, Headers, HttpReply, Policy, Progress, Reply, Request, Session, Timestamp, Verdict,
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
}

#[derive(Debug, Clone)]
struct Scene {
    ways: Vec<(i8, Way)>,
    grants: Vec<(i8, bool)>,
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
    ];
    let event = prop_oneof![
        4 => Just(Event::Reply(Ok(Reply::KeysRefreshed))),
        1 => Just(Event::Reply(Err(CallError::Timeout))),
        1 => Just(Event::Reply(Err(CallError::Failed("gone".to_owned())))),
        1 => Just(Event::ReplyTwice),
        1 => any::<u32>().prop_map(Event::ReplyToNobody),
        1 => (0..20_u64).prop_map(Event::TimePasses),
    ];
    let ways = proptest::collection::vec((-2..2_i8, way), 0..5);
    let grants = proptest::collection::vec((-2..2_i8, prop_oneof![4 => Just(true), 1 => Just(false)]), 0..5);
    let events = proptest::collection::vec(event, 0..40);
    (ways, grants, events).prop_map(|(ways, grants, events)| Scene { ways, grants, events })
}

impl Scene {
    /// What the documents say, computed in the most obvious way.
    fn permits(&self) -> bool {
        let identified = self.ways.is_empty()
            || self.ways.iter().any(|(_, way)| matches!(way, Way::GoodKey | Way::Anonymous { applies: true }));
        identified && self.grants.iter().all(|(_, grants)| *grants)
    }

    /// Whether nothing hostile happens, so that what is permitted must pass.
    fn is_quiet(&self) -> bool {
        self.events
            .iter()
            .all(|event| matches!(event, Event::Reply(Ok(_)) | Event::ReplyToNobody(_) | Event::ReplyTwice))
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
        };
        let authentication = named(self.ways.iter().map(|(priority, way)| (*priority, rule(way))));
        let authorization = named(self.grants.iter().map(|(priority, grants)| {
            let value = if *grants { "yes" } else { "no" };
            let pattern = json!({ "selector": "request.headers.x-yes", "operator": "eq", "value": value });
            (*priority, json!({ "patternMatching": { "patterns": [pattern] } }))
        }));
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "key" }, "stringData": { "api_key": "good" } });
        let auth_config = json!({
            "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": { "name": "scene" },
            "spec": { "hosts": ["*"], "authentication": authentication, "authorization": authorization },
        });
        let configuration = json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [auth_config, secret],
            "upstreams": [{ "url": "http://idp.test", "cluster": "idp" }],
        });
        let policy = Policy::compile(configuration.to_string().as_bytes()).unwrap();
        for id in policy.key_sets().due(NOW) {
            let fetch = policy.key_sets().begin(id, NOW).unwrap();
            let keys = HttpReply { status: 200, body: KEYS.as_bytes().to_vec(), ..HttpReply::default() };
            assert_eq!(policy.key_sets().fetched(fetch.id, Ok(keys), NOW), Fetched::Done);
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

/// Plays the events; `None` if the session still waits at the end.
fn play(scene: &Scene) -> Option<Verdict> {
    let mut now = NOW.after(Duration::from_secs(60));
    let (mut session, mut progress) = Session::start(scene.policy(), request(), now);
    let mut waiting = Vec::new();
    let mut last = CallId(0);
    for event in &scene.events {
        match progress {
            Progress::Done(verdict) => return Some(verdict),
            Progress::Pending(calls) => waiting.extend(calls.into_iter().map(|call| call.id)),
        }
        let (id, reply) = match event {
            Event::Reply(reply) => {
                last = if waiting.is_empty() { last } else { waiting.remove(0) };
                (last, reply.clone())
            }
            Event::ReplyTwice => (last, Ok(Reply::KeysRefreshed)),
            Event::ReplyToNobody(id) => (CallId(id.saturating_add(1_000)), Ok(Reply::KeysRefreshed)),
            Event::TimePasses(seconds) => {
                now = now.after(Duration::from_secs(*seconds));
                (CallId(999), Err(CallError::Timeout))
            }
        };
        progress = session.resume(id, reply, now);
    }
    match progress {
        Progress::Done(verdict) => Some(verdict),
        Progress::Pending(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_passes_without_an_identity_and_every_authorization(scene in scenes()) {
        let verdict = play(&scene);
        match verdict.as_ref().map(|verdict| &verdict.decision) {
            Some(Decision::Allow(_)) => prop_assert!(scene.permits(), "{verdict:?}"),
            Some(Decision::Deny(_)) => prop_assert!(!scene.permits() || !scene.is_quiet(), "{verdict:?}"),
            None => {}
        }
    }
}

#[test]
fn the_scenes_are_of_all_kinds() {
    let token = Scene { ways: vec![(0, Way::Token)], grants: Vec::new(), events: Vec::new() };
    assert!(play(&token).is_none(), "a token of an unknown key makes its rule wait");
    // Twice: the first answer may be keys that were fetched before the token asked.
    let reply = vec![Event::Reply(Ok(Reply::KeysRefreshed)); 3];
    let denied = play(&Scene { events: reply.clone(), ..token.clone() }).unwrap();
    assert!(matches!(denied.decision, Decision::Deny(reply) if reply.code == 401));
    let ways = vec![(-1, Way::Token), (0, Way::GoodKey)];
    let allowed = play(&Scene { ways: ways.clone(), events: reply.clone(), ..token.clone() }).unwrap();
    assert!(matches!(allowed.decision, Decision::Allow(_)));
    let late = vec![Event::TimePasses(30)];
    let late = play(&Scene { ways, events: late, ..token }).unwrap();
    assert!(matches!(late.decision, Decision::Deny(reply) if reply.code == 503));
}
