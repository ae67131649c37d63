use std::rc::Rc;

use serde_json::{Value, json};
use sidegate_engine::crypto::{Algorithm, PublicKey, RustCrypto, Verifier};
use sidegate_engine::remote::{Adopted, DocumentId, Fetched};
use sidegate_engine::{
    Call, CallError, Decision, DenialStatus, Headers, HttpReply, Policy, Progress, Question, Reply, Request, Session,
    Timestamp,
};

use crate::signing::{Seed, encode, jwk, set, token, with};

pub const NOW: u64 = 1_700_000_000;
const JWKS_URL: &str = "https://idp.example.com/jwks";
const ISSUER: &str = "https://idp.example.com";
const FIRST: DocumentId = DocumentId(0);
const BAD_SIGNATURE: &str = "failed to verify signature: failed to verify id token signature";

/// A policy whose tokens are of one issuer, and the time.
pub struct World {
    pub policy: Rc<Policy>,
    pub now: u64,
}

/// What became of a request: the subject of who came in, or kind and reason of the refusal.
type Outcome = Result<String, (DenialStatus, String)>;

impl World {
    fn new(jwt: &Value) -> Self {
        Self::with_options(jwt, &json!({}))
    }

    fn with_options(jwt: &Value, options: &Value) -> Self {
        Self { policy: Rc::new(Policy::compile(&configuration(jwt, options)).unwrap()), now: NOW }
    }

    /// Of some resources, with the key that [`signed`] signs with as number 1.
    pub fn of(resources: &[Value], options: &Value) -> Self {
        let policy = Policy::compile(&document(resources, options)).unwrap();
        let world = Self { policy: Rc::new(policy), now: NOW };
        if !world.policy.remote_documents().due(world.at()).is_empty() {
            world.load(&[es256(1)]);
        }
        world
    }

    fn with_keys(jwt: &Value, keys: &[Value]) -> Self {
        let world = Self::new(jwt);
        world.load(keys);
        world
    }

    pub fn at(&self) -> Timestamp {
        Timestamp::from_secs(self.now)
    }

    /// Lets the fetch that is due find these keys.
    fn load(&self, keys: &[Value]) {
        let sets = self.policy.remote_documents();
        assert_eq!(sets.due(self.at()), [FIRST]);
        let mut fetch = sets.begin(FIRST, self.at()).unwrap();
        if fetch.request.path.ends_with("/openid-configuration") {
            let discovery = json!({"issuer": ISSUER, "jwks_uri": JWKS_URL,
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256"]});
            let fetched = sets.fetched(fetch.id, ok(discovery.to_string().into_bytes()), self.at());
            let Fetched::Next(next) = fetched else { panic!("{fetched:?}") };
            fetch = next;
        }
        assert_eq!(sets.fetched(fetch.id, ok(set(keys)), self.at()), Fetched::Done);
    }

    fn start(&self, credential: &str) -> (Session, Progress) {
        let authorization = format!("Bearer {credential}");
        let pairs = [(":authority", "api"), (":path", "/"), (":method", "GET"), ("authorization", &authorization)];
        let request = Request { headers: Headers::from_pairs(pairs), ..Request::default() };
        Session::start(Rc::clone(&self.policy), request, self.at())
    }

    /// Decides a request that needs no fetch.
    fn decide(&self, credential: &str) -> Outcome {
        outcome(self.start(credential).1)
    }

    fn reason(&self, credential: &str) -> String {
        let (status, reason) = self.decide(credential).unwrap_err();
        assert_eq!(status, DenialStatus::Unauthenticated);
        reason
    }
}

fn configuration(jwt: &Value, options: &Value) -> Vec<u8> {
    let subject = json!({"plain": {"selector": "auth.identity.sub"}});
    let auth_config = json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": {"name": "api"},
        "spec": {"hosts": ["api"], "authentication": {"token": {"jwt": jwt}},
            "response": {"success": {"headers": {"x-sub": subject}}}}
    });
    document(&[auth_config], options)
}

fn document(resources: &[Value], options: &Value) -> Vec<u8> {
    let document = json!({"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig",
        "resources": resources, "options": options});
    document.to_string().into_bytes()
}

fn ok(body: Vec<u8>) -> Result<HttpReply, String> {
    Ok(HttpReply { status: 200, body, ..HttpReply::default() })
}

fn outcome(progress: Progress) -> Outcome {
    match progress {
        Progress::Done(verdict) => match verdict.decision {
            Decision::Allow(allowed) => Ok(allowed.set_headers.into_iter().map(|(_, value)| value).collect()),
            Decision::Deny(reply) => Err((reply.status, reply.reason)),
            Decision::Serve(served) => panic!("{served:?}"),
        },
        Progress::Pending(calls) => panic!("unexpected calls: {calls:?}"),
    }
}

pub fn by_url() -> Value {
    json!({ "jwksUrl": JWKS_URL })
}

fn key(algorithm: Algorithm, seed: u8) -> Value {
    with(jwk(algorithm, Seed(seed)), "kid", format!("k{seed}"))
}

fn es256(seed: u8) -> Value {
    key(Algorithm::Es256, seed)
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

/// A token by an ES256 key that names its key.
pub fn signed(claims: &Value, seed: u8) -> String {
    token(&json!({"alg": "ES256", "kid": format!("k{seed}")}), claims, Algorithm::Es256, Seed(seed))
}

#[test]
fn every_algorithm_lets_in() {
    for algorithm in Algorithm::ALL {
        let world = World::with_keys(&by_url(), &[key(algorithm, 1)]);
        let header = json!({"alg": algorithm.name(), "kid": "k1", "typ": "JWT"});
        let good = token(&header, &claims(), algorithm, Seed(1));
        assert_eq!(world.decide(&good), Ok("alice".to_owned()), "{algorithm:?}");
        let (message, _) = good.rsplit_once('.').unwrap();
        assert_eq!(world.reason(&format!("{message}.AAAA")), BAD_SIGNATURE, "{algorithm:?}");
        assert_eq!(world.reason(&format!("{message}.")), BAD_SIGNATURE, "{algorithm:?}");
    }
}

#[test]
fn a_token_is_not_believed_by_its_alg() {
    let world = World::with_keys(&by_url(), &[key(Algorithm::Rs256, 1), es256(2)]);
    let unsigned = |alg: &str| {
        let header = json!({"alg": alg, "kid": "k1"});
        format!("{}.{}.", encode(header.to_string()), encode(claims().to_string()))
    };
    for alg in ["none", "NONE", "HS256", "HS512", "", "RS257"] {
        let reason = world.reason(&unsigned(alg));
        assert!(reason.starts_with("oidc: id token signed with unsupported algorithm"), "{alg}: {reason}");
        assert!(reason.ends_with(&format!("got {alg:?}")), "{reason}");
    }
    // Signed by the right key, but not as the header says; or with another kind of key than the one that it names.
    for (alg, kid, algorithm) in [
        ("PS256", "k1", Algorithm::Rs256),
        ("RS512", "k1", Algorithm::Rs256),
        ("RS256", "k2", Algorithm::Rs256),
        ("ES256", "k1", Algorithm::Es256),
        ("EdDSA", "k2", Algorithm::Es256),
    ] {
        let token = token(&json!({"alg": alg, "kid": kid}), &claims(), algorithm, Seed(2));
        assert_eq!(world.reason(&token), BAD_SIGNATURE, "{alg} {kid}");
    }
}

#[test]
fn an_issuer_says_which_algorithms_count() {
    let world = World::with_keys(&json!({"issuerUrl": ISSUER}), &[es256(1), key(Algorithm::Es384, 2)]);
    assert_eq!(world.decide(&signed(&claims(), 1)), Ok("alice".to_owned()));
    let es384 = token(&json!({"alg": "ES384", "kid": "k2"}), &claims(), Algorithm::Es384, Seed(2));
    let expected = r#"oidc: id token signed with unsupported algorithm, expected ["RS256", "ES256"] got "ES384""#;
    assert_eq!(world.reason(&es384), expected);
}

#[test]
fn what_was_changed_is_refused() {
    let world = World::with_keys(&by_url(), &[es256(1)]);
    let good = signed(&claims(), 1);
    let parts: Vec<_> = good.split('.').collect();
    let other = encode(json!({"sub": "mallory", "exp": NOW + 60}).to_string());
    let header = encode(json!({"alg": "ES256", "kid": "k1", "x": 1}).to_string());
    assert_eq!(world.reason(&[parts[0], &other, parts[2]].join(".")), BAD_SIGNATURE);
    assert_eq!(world.reason(&[&header, parts[1], parts[2]].join(".")), BAD_SIGNATURE);
    assert_eq!(world.decide(&good), Ok("alice".to_owned()));
}

#[test]
fn what_is_no_token_is_refused() {
    let world = World::with_keys(&by_url(), &[es256(1)]);
    let part = |text: &str| encode(text);
    let header = part(r#"{"alg":"ES256","kid":"k1"}"#);
    let payload = encode(claims().to_string());
    for (credential, reason) in [
        (String::new(), "oidc: malformed jwt: oidc: malformed jwt, expected 3 parts got 1"),
        ("a.b".to_owned(), "oidc: malformed jwt: oidc: malformed jwt, expected 3 parts got 2"),
        ("a.b.c.d.e".to_owned(), "oidc: malformed jwt: oidc: malformed jwt, expected 3 parts got 5"),
        ("..".to_owned(), "oidc: failed to unmarshal claims: no JSON object"),
        (format!("{header}.!.AA"), "oidc: malformed jwt: oidc: malformed jwt payload: illegal base64 data"),
        (format!("{header}.{payload}=.AA"), "oidc: malformed jwt: oidc: malformed jwt payload: illegal base64 data"),
        (format!(" {header}.{payload}.AA"), "oidc: malformed jwt: illegal base64 data in the header"),
        (format!("{header}.{payload}.A!"), "oidc: malformed jwt: illegal base64 data in the signature"),
        (format!("{header}.{}.AA", part("[]")), "oidc: failed to unmarshal claims: no JSON object"),
        (format!("{header}.{}.AA", part("{} {}")), "oidc: failed to unmarshal claims: no JSON object"),
        (format!("{header}.{}.AA", part(&"[".repeat(5000))), "oidc: failed to unmarshal claims: no JSON object"),
        (format!("{header}.{}.AA", part("{\"a\":").repeat(1000)), "oidc: failed to unmarshal claims: no JSON object"),
        (format!("{}.{payload}.AA", part("{}")), "oidc: malformed jwt: the header is no JSON object with `alg`"),
        (
            format!("{}.{payload}.AA", part(r#"{"alg":1}"#)),
            "oidc: malformed jwt: the header is no JSON object with `alg`",
        ),
        (
            format!("{}.{payload}.AA", part(r#"{"alg":"none","alg":"ES256"}"#)),
            "oidc: malformed jwt: the header is no JSON object with `alg`",
        ),
        (
            format!("{}.{payload}.AA", part(r#"{"alg":"ES256","crit":["exp"],"exp":1}"#)),
            "oidc: malformed jwt: unsupported `crit` header",
        ),
        (
            format!("{}.{payload}.AA", part(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#)),
            "oidc: malformed jwt: unsupported `crit` header",
        ),
        ("a".repeat(16385), "oidc: malformed jwt: oidc: malformed jwt, longer than 16384 bytes"),
    ] {
        assert_eq!(world.reason(&credential), reason, "{credential:.100}");
    }
}

#[test]
fn claims_have_their_types() {
    let world = World::with_keys(&by_url(), &[es256(1)]);
    for (name, value) in
        [("exp", json!("1")), ("nbf", json!([])), ("iat", json!({})), ("aud", json!(1)), ("aud", json!(["a", 1]))]
    {
        let reason = world.reason(&signed(&with(claims(), name, value), 1));
        assert!(reason.starts_with("oidc: failed to unmarshal claims"), "{name}: {reason}");
    }
    let distributed = with(claims(), "_claim_names", json!({"groups": "src1"}));
    assert_eq!(world.reason(&signed(&distributed, 1)), "oidc: source does not exist");
    let sourced = with(distributed, "_claim_sources", json!({"src1": {}}));
    assert!(world.decide(&signed(&sourced, 1)).is_ok());
}

#[test]
fn times_come_before_the_signature() {
    let world = World::with_keys(&by_url(), &[es256(1)]);
    let expired = "oidc: token is expired (Token Expiry: 2023-11-14 22:13:19 +0000 UTC)";
    // Signed by a key that is not in the set: not even a fetch is asked for.
    assert_eq!(world.reason(&signed(&json!({"exp": NOW - 1}), 9)), expired);
    let early = world.reason(&signed(&json!({"exp": NOW + 1000, "nbf": NOW + 301}), 9));
    assert!(early.contains("before the nbf (not before) time: 2023-11-14 22:18:21 +0000 UTC"), "{early}");
    assert!(world.reason(&signed(&json!({"sub": "alice"}), 1)).contains("0001-01-01 00:00:00 +0000 UTC"));
}

#[test]
fn the_issuer_must_be_the_one_asked_for() {
    let jwt = json!({"jwksUrl": JWKS_URL, "issuer": "https://a"});
    let world = World::with_keys(&jwt, &[es256(1)]);
    let issued_by = |issuer: Value| signed(&with(claims(), "iss", issuer), 1);
    assert_eq!(world.decide(&issued_by(json!("https://a"))), Ok("alice".to_owned()));
    let reason = r#"oidc: id token issued by a different provider, expected "https://a" got "https://a/""#;
    assert_eq!(world.reason(&issued_by(json!("https://a/"))), reason);
    for issuer in [json!(null), json!(1), json!(["https://a"]), json!("")] {
        assert!(world.reason(&issued_by(issuer)).starts_with("oidc: id token issued by a different provider"));
    }
    assert!(world.decide(&signed(&claims(), 1)).is_err(), "none at all");
    let anybody = World::with_keys(&by_url(), &[es256(1)]);
    assert!(anybody.decide(&issued_by(json!("https://b"))).is_ok(), "who does not ask takes all");
}

#[test]
fn one_audience_of_several_is_enough() {
    let world = World::with_keys(&json!({"jwksUrl": JWKS_URL, "audiences": ["a", "b"]}), &[es256(1)]);
    let meant_for = |audience: Value| world.decide(&signed(&with(claims(), "aud", audience), 1));
    for audience in [json!("a"), json!("b"), json!(["x", "b"])] {
        assert!(meant_for(audience.clone()).is_ok(), "{audience}");
    }
    for audience in [json!("c"), json!(["c", "d"]), json!([]), json!(null), json!("A"), json!("a b"), json!("")] {
        let (_, reason) = meant_for(audience.clone()).unwrap_err();
        assert!(reason.starts_with(r#"oidc: expected audience ["a", "b"] got "#), "{audience}: {reason}");
    }
    let (_, reason) = meant_for(json!(["x".repeat(5000)])).unwrap_err();
    assert!(reason.len() < 300, "a token cannot make the answer long");
}

#[test]
fn kid_chooses_the_key() {
    let world = World::with_keys(&by_url(), &[es256(1), es256(2), with(jwk(Algorithm::Es256, Seed(3)), "use", "sig")]);
    let named = |kid: &str, seed| token(&json!({"alg": "ES256", "kid": kid}), &claims(), Algorithm::Es256, Seed(seed));
    let unnamed = |seed| token(&json!({"alg": "ES256"}), &claims(), Algorithm::Es256, Seed(seed));
    assert!(world.decide(&named("k1", 1)).is_ok());
    assert!(world.decide(&named("k2", 2)).is_ok());
    assert_eq!(world.reason(&named("k1", 2)), BAD_SIGNATURE, "and nobody is asked for other keys");
    for seed in 1..=3 {
        assert!(world.decide(&unnamed(seed)).is_ok(), "without a kid every key may be it");
    }
    assert!(matches!(world.start(&named("k3", 3)).1, Progress::Pending(_)), "a key without kid has no token with one");
}

#[test]
fn a_token_without_kid_tries_few_keys() {
    let keys: Vec<_> = (1..=20).map(|seed| jwk(Algorithm::Es256, Seed(seed))).collect();
    let world = World::with_keys(&by_url(), &keys);
    let unnamed = |seed| token(&json!({"alg": "ES256"}), &claims(), Algorithm::Es256, Seed(seed));
    assert!(world.decide(&unnamed(8)).is_ok());
    assert!(matches!(world.start(&unnamed(9)).1, Progress::Pending(_)));
}

#[test]
fn without_keys_nobody_can_tell() {
    for (jwt, name) in [(by_url(), JWKS_URL), (json!({"issuerUrl": ISSUER}), ISSUER)] {
        let world = World::new(&jwt);
        let unavailable = (DenialStatus::Unavailable, format!("the keys of issuer `{name}` are not available yet"));
        assert_eq!(world.decide(&signed(&claims(), 1)), Err(unavailable));
        assert_eq!(world.decide("x").unwrap_err().0, DenialStatus::Unauthenticated, "but this is no token anyway");
    }
}

fn asked(progress: Progress) -> Call {
    let Progress::Pending(mut calls) = progress else { panic!("{progress:?}") };
    assert_eq!(calls.len(), 1);
    let call = calls.remove(0);
    assert_eq!(call.question, Question::RefreshDocument(FIRST));
    call
}

#[test]
fn a_new_key_is_fetched_when_a_token_names_it() {
    let mut world = World::with_keys(&by_url(), &[es256(1)]);
    world.now += 30;
    let (mut session, progress) = world.start(&signed(&claims(), 2));
    let call = asked(progress);
    let (mut second, progress) = world.start(&signed(&claims(), 2));
    let other = asked(progress);
    world.load(&[es256(2)]);
    assert_eq!(outcome(session.resume(call.id, Ok(Reply::DocumentRefreshed), world.at())), Ok("alice".to_owned()));
    assert_eq!(outcome(second.resume(other.id, Ok(Reply::DocumentRefreshed), world.at())), Ok("alice".to_owned()));
    assert_eq!(world.reason(&signed(&claims(), 1)), BAD_SIGNATURE, "the old key is gone, and it is too soon to ask");
}

#[test]
fn a_key_that_is_nowhere_is_refused_once_asked_for() {
    let mut world = World::with_keys(&by_url(), &[es256(1)]);
    world.now += 30;
    let (mut session, progress) = world.start(&signed(&claims(), 2));
    let call = asked(progress);
    world.load(&[es256(1)]);
    let refused = outcome(session.resume(call.id, Ok(Reply::DocumentRefreshed), world.at()));
    assert_eq!(refused, Err((DenialStatus::Unauthenticated, BAD_SIGNATURE.to_owned())));
    assert_eq!(world.reason(&signed(&claims(), 3)), BAD_SIGNATURE, "without another fetch");
    world.now += 10;
    asked(world.start(&signed(&claims(), 3)).1);
}

#[test]
fn a_key_that_another_worker_did_not_see_either_is_fetched() {
    let mut world = World::with_keys(&by_url(), &[es256(1)]);
    world.now += 10;
    let other = World { policy: World::new(&by_url()).policy, now: world.now };
    other.load(&[es256(1), es256(2)]);
    world.now += 10;
    let (mut session, progress) = world.start(&signed(&claims(), 3));
    let sets = world.policy.remote_documents();
    let adopted = sets.adopt(FIRST, &other.policy.remote_documents().publication(FIRST).unwrap(), world.at());
    assert_eq!(adopted, Adopted::Newer);
    let again = asked(session.resume(asked(progress).id, Ok(Reply::DocumentRefreshed), world.at()));
    world.load(&[es256(1), es256(2), es256(3)]);
    assert_eq!(outcome(session.resume(again.id, Ok(Reply::DocumentRefreshed), world.at())), Ok("alice".to_owned()));
}

#[test]
fn an_issuer_that_is_down_keeps_its_known_keys() {
    let mut world = World::with_keys(&by_url(), &[es256(1)]);
    for error in [CallError::Timeout, CallError::Failed("the answer has status 500".to_owned())] {
        world.now += 20;
        let (mut session, progress) = world.start(&signed(&claims(), 2));
        let call = asked(progress);
        let fetch = world.policy.remote_documents().begin(FIRST, world.at()).unwrap();
        let failed = world.policy.remote_documents().fetched(fetch.id, Err("down".to_owned()), world.at());
        assert_eq!(failed, Fetched::Failed("down".to_owned()));
        let (status, reason) = outcome(session.resume(call.id, Err(error), world.at())).unwrap_err();
        assert_eq!(status, DenialStatus::Unauthenticated);
        assert_eq!(reason, "failed to verify signature: fetching keys oidc: get keys failed");
        assert_eq!(world.decide(&signed(&claims(), 1)), Ok("alice".to_owned()));
    }
}

/// Counts what it checks.
#[derive(Debug)]
struct Counting(Rc<std::cell::Cell<usize>>);

impl Verifier for Counting {
    fn verify(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        self.0.set(self.0.get() + 1);
        RustCrypto.verify(algorithm, key, message, signature)
    }

    fn checks(&self, algorithm: Algorithm) -> bool {
        RustCrypto.checks(algorithm)
    }
}

/// Checks nothing of the first curve that this build may leave to the host.
#[derive(Debug)]
struct WithoutEs384;

impl Verifier for WithoutEs384 {
    fn verify(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        self.checks(algorithm) && RustCrypto.verify(algorithm, key, message, signature)
    }

    fn checks(&self, algorithm: Algorithm) -> bool {
        algorithm != Algorithm::Es384
    }
}

#[test]
fn what_nobody_can_check_is_kept_out_with_a_reason_of_its_own() {
    let policy = Policy::compile(&configuration(&by_url(), &json!({}))).unwrap();
    let world = World { policy: Rc::new(policy.with_verifier(Box::new(WithoutEs384))), now: NOW };
    world.load(&[es256(1), key(Algorithm::Es384, 2)]);
    let unchecked = (DenialStatus::Unavailable, "signatures of ES384 cannot be checked here".to_owned());
    let by =
        |seed: u8| token(&json!({"alg": "ES384", "kid": format!("k{seed}")}), &claims(), Algorithm::Es384, Seed(seed));
    let unnamed = token(&json!({"alg": "ES384"}), &claims(), Algorithm::Es384, Seed(2));
    for token in [&by(2), &by(2), &unnamed] {
        assert_eq!(world.decide(token), Err(unchecked.clone()));
    }
    assert_eq!(world.policy.tokens().len(), 0);
    // What no key of the issuer is for is a bad token, wherever it is looked at.
    assert_eq!(world.decide(&by(1)), Err((DenialStatus::Unauthenticated, BAD_SIGNATURE.to_owned())));
    assert_eq!(world.decide(&signed(&claims(), 1)), Ok("alice".to_owned()));
}

fn counting(jwt: &Value, options: &Value) -> (World, Rc<std::cell::Cell<usize>>) {
    let count = Rc::default();
    let policy = Policy::compile(&configuration(jwt, options)).unwrap();
    let world = World { policy: Rc::new(policy.with_verifier(Box::new(Counting(Rc::clone(&count))))), now: NOW };
    world.load(&[es256(1)]);
    (world, count)
}

#[test]
fn a_good_token_is_checked_once() {
    let (mut world, count) = counting(&by_url(), &json!({}));
    let token = signed(&claims(), 1);
    for _ in 0..3 {
        assert_eq!(world.decide(&token), Ok("alice".to_owned()));
    }
    assert_eq!(count.get(), 1);
    assert_eq!(world.policy.tokens().len(), 1);
    world.now = NOW + 60;
    assert!(world.reason(&token).starts_with("oidc: token is expired"));
    assert!(world.policy.tokens().is_empty());
}

#[test]
fn only_good_tokens_are_remembered() {
    let (world, count) = counting(&json!({"jwksUrl": JWKS_URL, "issuer": "a", "audiences": ["b"]}), &json!({}));
    let half = with(claims(), "iss", "a");
    for bad in [claims(), half.clone(), with(half.clone(), "aud", "c")] {
        for _ in 0..2 {
            assert!(world.decide(&signed(&bad, 1)).is_err());
        }
    }
    let good = signed(&with(half, "aud", "b"), 1);
    let mut forged = good.clone();
    let place = forged.len() - 10..forged.len() - 9;
    forged.replace_range(place.clone(), if &forged[place] == "A" { "B" } else { "A" });
    assert_eq!(world.reason(&forged), BAD_SIGNATURE);
    assert!(world.policy.tokens().is_empty());
    assert_eq!(count.get(), 7);
    assert!(world.decide(&good).is_ok());
    assert_eq!(world.reason(&forged), BAD_SIGNATURE);
}

#[test]
fn a_key_that_is_withdrawn_takes_its_tokens_with_it() {
    let (mut world, count) = counting(&by_url(), &json!({}));
    let token = signed(&claims(), 1);
    assert!(world.decide(&token).is_ok());
    world.now += 30;
    asked(world.start(&signed(&claims(), 2)).1);
    world.load(&[es256(1), es256(2)]);
    assert!(world.decide(&token).is_ok());
    assert_eq!(count.get(), 1, "the key is still there");
    world.now += 10;
    asked(world.start(&signed(&claims(), 3)).1);
    world.load(&[es256(2)]);
    assert_eq!(world.reason(&token), BAD_SIGNATURE);
    assert!(world.policy.tokens().is_empty());
}

#[test]
fn the_memory_is_bounded() {
    let (world, count) = counting(&by_url(), &json!({"tokenCacheSize": 2}));
    let tokens: Vec<_> = (0..3).map(|number| signed(&with(claims(), "n", number), 1)).collect();
    for token in [&tokens[0], &tokens[1], &tokens[0], &tokens[2], &tokens[0]] {
        assert!(world.decide(token).is_ok());
    }
    assert_eq!((world.policy.tokens().len(), count.get()), (2, 3));
    assert!(world.decide(&tokens[1]).is_ok());
    assert_eq!(count.get(), 4, "the one not used for longest was forgotten");
    let long = signed(&with(claims(), "long", "x".repeat(4000)), 1);
    assert!(world.decide(&long).is_ok());
    assert!(world.policy.tokens().is_empty(), "a token longer than all that may be kept is not kept");

    let (world, count) = counting(&by_url(), &json!({"tokenCacheSize": 0}));
    for _ in 0..2 {
        assert!(world.decide(&tokens[0]).is_ok());
    }
    assert_eq!(count.get(), 2);
}

#[test]
fn bad_rules_are_named() {
    for (jwt, path) in [
        (json!({}), "spec.authentication.token.jwt"),
        (json!({"issuerUrl": ISSUER, "jwksUrl": JWKS_URL}), "spec.authentication.token.jwt"),
        (json!({"issuerUrl": ""}), "spec.authentication.token.jwt.issuerUrl"),
        (json!({"issuerUrl": "idp.example.com"}), "spec.authentication.token.jwt.issuerUrl"),
        (json!({"issuerUrl": "https://a?b"}), "spec.authentication.token.jwt.issuerUrl"),
        (json!({"jwksUrl": "ftp://a/jwks"}), "spec.authentication.token.jwt.jwksUrl"),
        (json!({"jwksUrl": JWKS_URL, "timeout": -1}), "spec.authentication.token.jwt.timeout"),
        (json!({"jwksUrl": JWKS_URL, "issuer": ""}), "spec.authentication.token.jwt.issuer"),
        (json!({"jwksUrl": JWKS_URL, "audiences": ["a", ""]}), "spec.authentication.token.jwt.audiences"),
    ] {
        let problems = Policy::compile(&configuration(&jwt, &json!({}))).unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, [path], "{jwt}");
    }
    for jwt in [json!({"jwksUrl": JWKS_URL, "timeout": 0, "ttl": -1}), json!({"issuerUrl": "http://a:8080/x/"})] {
        assert!(Policy::compile(&configuration(&jwt, &json!({}))).is_ok(), "{jwt}");
    }
}
