use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_config::Upstream;
use sidegate_engine::crypto::Algorithm;
use sidegate_engine::remote::{
    Adopted, DocumentId, Fetch, Fetched, Location, RemoteDocuments, RemoteDocumentsBuilder, Source, Wanted,
};
use sidegate_engine::{Headers, HttpReply, Timestamp};

use sidegate_engine::url::Upstreams;

use crate::signing::{Seed, jwk, set, with};

const ISSUER: &str = "https://idp.example.com/realms/a";
const START: u64 = 1_000_000;
const FIRST: DocumentId = DocumentId(0);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds)
}

fn millis(millis: u64) -> Timestamp {
    at(0).after(Duration::from_millis(millis))
}

fn source(location: Location) -> Source {
    Source { location, ttl: None, timeout: Duration::from_secs(5) }
}

fn build(sources: &[Source]) -> RemoteDocuments {
    let mut problems = Vec::new();
    let upstreams = [Upstream { url: "https://keys.example.com".to_owned(), cluster: "keys".to_owned() }];
    let mut builder = RemoteDocumentsBuilder::new(Rc::new(Upstreams::compile(&upstreams, &mut problems)));
    for source in sources {
        builder.add(source.clone()).unwrap();
    }
    assert_eq!(problems, []);
    let sets = builder.build();
    sets.bind(b"a configuration");
    sets
}

fn by_url() -> RemoteDocuments {
    build(&[source(Location::Jwks("https://keys.example.com/jwks?v=1".to_owned()))])
}

fn by_issuer() -> RemoteDocuments {
    build(&[source(Location::Issuer(ISSUER.to_owned()))])
}

fn answer(body: Vec<u8>) -> Result<HttpReply, String> {
    Ok(HttpReply { status: 200, body, ..HttpReply::default() })
}

fn cached(body: Vec<u8>, cache_control: &str) -> Result<HttpReply, String> {
    Ok(HttpReply {
        status: 200,
        headers: Headers::from_pairs([("cache-control", cache_control)]),
        body,
        ..HttpReply::default()
    })
}

fn keys(seeds: &[u8]) -> Vec<u8> {
    let key = |seed: &u8| with(jwk(Algorithm::Es256, Seed(*seed)), "kid", format!("k{seed}"));
    set(&seeds.iter().map(key).collect::<Vec<_>>())
}

fn discovery() -> Vec<u8> {
    json!({"issuer": ISSUER, "jwks_uri": "https://keys.example.com/a", "id_token_signing_alg_values_supported": ["ES256"]})
        .to_string()
        .into_bytes()
}

fn begin(sets: &RemoteDocuments, now: Timestamp) -> Fetch {
    assert_eq!(sets.due(now), [FIRST]);
    sets.begin(FIRST, now).unwrap()
}

fn load(sets: &RemoteDocuments, body: Vec<u8>, now: Timestamp) {
    let mut fetch = begin(sets, now);
    if fetch.request.path.ends_with("/openid-configuration") {
        let Fetched::Next(next) = sets.fetched(fetch.id, answer(discovery()), now) else { panic!() };
        fetch = next;
    }
    assert_eq!(sets.fetched(fetch.id, answer(body), now), Fetched::Done);
}

fn knows(sets: &RemoteDocuments, kid: &str) -> bool {
    sets.key_set(FIRST).unwrap().knows(kid)
}

fn failure(sets: &RemoteDocuments) -> Option<String> {
    sets.status(FIRST).unwrap().failure
}

/// Seconds until the set is due again.
fn wait(sets: &RemoteDocuments, now: Timestamp) -> f64 {
    sets.next_due().unwrap().since(now).as_secs_f64()
}

#[test]
fn a_key_set_is_fetched_at_once() {
    let sets = by_url();
    assert!(sets.key_set(FIRST).is_none());
    let fetch = begin(&sets, at(0));
    assert_eq!(
        (fetch.request.scheme, fetch.request.authority.as_str(), fetch.request.path.as_str()),
        ("https", "keys.example.com", "/jwks?v=1")
    );
    assert_eq!((fetch.request.clusters, fetch.timeout), (vec!["keys".to_owned()], Duration::from_secs(5)));
    assert_eq!(sets.due(at(0)), []);
    assert_eq!(sets.begin(FIRST, at(0)), None, "one at a time");
    assert_eq!(sets.fetched(fetch.id, answer(keys(&[1])), at(1)), Fetched::Done);
    let set = sets.key_set(FIRST).unwrap();
    assert!(set.knows("k1") && !set.knows("k2"));
    assert_eq!(set.algorithms(), Algorithm::ALL);
    assert_eq!(sets.due(at(1)), []);
    let status = sets.status(FIRST).unwrap();
    assert_eq!((status.keys, status.fetched_at, status.failure), (Some(1), Some(at(1)), None));
}

#[test]
fn discovery_leads_to_the_key_set() {
    let sets = by_issuer();
    let first = begin(&sets, at(0));
    assert_eq!(first.request.path, "/realms/a/.well-known/openid-configuration");
    assert_eq!(first.request.clusters, ["outbound|443||idp.example.com", "idp.example.com:443", "idp.example.com"]);
    let Fetched::Next(second) = sets.fetched(first.id, answer(discovery()), at(1)) else { panic!() };
    assert_eq!((second.request.authority.as_str(), second.request.path.as_str()), ("keys.example.com", "/a"));
    assert_eq!(second.request.clusters, ["keys"]);
    assert_eq!(sets.due(at(1)), [], "the second is under way");
    assert_eq!(sets.fetched(first.id, answer(discovery()), at(1)), Fetched::Stale);
    assert_eq!(sets.fetched(second.id, answer(keys(&[1])), at(2)), Fetched::Done);
    assert_eq!(sets.key_set(FIRST).unwrap().algorithms(), [Algorithm::Es256]);
}

#[test]
fn a_refresh_of_an_issuer_begins_with_discovery_and_an_unknown_key_with_the_keys() {
    let sets = by_issuer();
    load(&sets, keys(&[1]), at(0));
    assert_eq!(sets.want(FIRST, at(20)), Wanted::Wait);
    let wanted = begin(&sets, at(20));
    assert_eq!(wanted.request.path, "/a");
    assert_eq!(sets.fetched(wanted.id, answer(keys(&[1])), at(20)), Fetched::Done);
    assert!(begin(&sets, at(1000)).request.path.ends_with("/openid-configuration"));
}

#[test]
fn what_is_no_key_set_fails_with_a_reason() {
    let weak = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
    let many = vec![jwk(Algorithm::EdDsa, Seed(1)); 257];
    for (body, part) in [
        (Vec::new(), "no JSON Web Key Set"),
        (b"<html>".to_vec(), "no JSON Web Key Set"),
        (b"\xff\xfe".to_vec(), "no JSON Web Key Set"),
        (b"{}".to_vec(), "no JSON Web Key Set"),
        (br#"{"keys": {}}"#.to_vec(), "no JSON Web Key Set"),
        (br#"{"keys": []}"#.to_vec(), "no usable key"),
        (br#"{"keys": [1, null, "x", {}]}"#.to_vec(), "no usable key"),
        (set(&[weak]), "2048"),
        (set(&many), "256"),
        (vec![b' '; (1 << 20) + 1], "1 MiB"),
    ] {
        let sets = by_url();
        let fetch = begin(&sets, at(0));
        let Fetched::Failed(reason) = sets.fetched(fetch.id, answer(body), at(0)) else { panic!("{part}") };
        assert!(reason.contains(part), "{reason}");
        assert_eq!(failure(&sets), Some(reason));
        assert!(sets.key_set(FIRST).is_none());
    }
}

#[test]
fn only_200_is_an_answer() {
    for status in [0, 201, 204, 301, 302, 304, 401, 404, 500, 503, 504] {
        let sets = by_url();
        let fetch = begin(&sets, at(0));
        let response = HttpReply { status, body: keys(&[1]), ..HttpReply::default() };
        let outcome = sets.fetched(fetch.id, Ok(response), at(0));
        assert_eq!(outcome, Fetched::Failed(format!("the answer has status {status}")));
    }
}

#[test]
fn keys_that_are_not_for_us_are_passed_over() {
    let key = |name: &str, value: Value| with(jwk(Algorithm::Es256, Seed(1)), name, value);
    let rsa = |value: &str| with(jwk(Algorithm::Rs256, Seed(1)), "alg", value);
    let unusable = [
        key("use", json!("enc")),
        key("use", json!(1)),
        key("key_ops", json!(["sign"])),
        key("key_ops", json!([])),
        key("alg", json!("ES384")),
        key("alg", json!("none")),
        key("alg", json!("ECDH-ES")),
        key("crv", json!("secp256k1")),
        key("kty", json!("oct")),
        key("x", json!("!")),
        key("y", json!(null)),
        key("kid", json!(7)),
        rsa("RSA-OAEP"),
        rsa("HS256"),
        json!({"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}),
    ];
    for bad in &unusable {
        let sets = by_url();
        load(&sets, set(&[bad.clone(), with(jwk(Algorithm::EdDsa, Seed(2)), "kid", "good")]), at(0));
        let status = sets.status(FIRST).unwrap();
        assert_eq!(status.keys, Some(1), "{bad}");
        assert_eq!(status.notes.len(), 1, "{bad}");
    }
    let usable = [key("use", json!("sig")), key("key_ops", json!(["sign", "verify"])), key("alg", json!("ES256"))];
    for good in &usable {
        let sets = by_url();
        load(&sets, set(&[good.clone(), good.clone()]), at(0));
        assert_eq!(sets.status(FIRST).unwrap().keys, Some(1), "{good}, once");
    }
}

#[test]
fn alg_pins_what_a_key_is_for() {
    let sets = by_url();
    let pinned = with(with(jwk(Algorithm::Rs256, Seed(1)), "kid", "a"), "alg", "PS384");
    load(&sets, set(&[pinned]), at(0));
    let set = sets.key_set(FIRST).unwrap();
    assert_eq!(set.candidates(Algorithm::Ps384, Some("a")).count(), 1);
    assert_eq!(set.candidates(Algorithm::Ps384, None).count(), 1);
    assert_eq!(set.candidates(Algorithm::Rs256, Some("a")).count(), 0);
    assert_eq!(set.candidates(Algorithm::Ps384, Some("b")).count(), 0);
}

#[test]
fn the_interval_is_the_rules_or_the_servers_within_bounds() {
    let by_server = |cache_control: &str| {
        let sets = by_url();
        let fetch = begin(&sets, at(0));
        assert_eq!(sets.fetched(fetch.id, cached(keys(&[1]), cache_control), at(0)), Fetched::Done);
        wait(&sets, at(0))
    };
    let about = |seconds: f64, waited: f64| {
        assert!((seconds * 0.75..seconds * 0.85).contains(&waited), "{waited} is not 80 % of {seconds}");
    };
    about(300.0, by_server(""));
    about(300.0, by_server("public"));
    about(300.0, by_server("max-age=x"));
    about(600.0, by_server("public, Max-Age=600"));
    about(600.0, by_server("max-age=\"600\""));
    about(60.0, by_server("max-age=1"));
    about(60.0, by_server("no-store, max-age=900"));
    about(3600.0, by_server("max-age=99999999999"));
    for ttl in [1, 7200] {
        let ttl_set = Source { ttl: Some(Duration::from_secs(ttl)), ..source(Location::Jwks("https://a".to_owned())) };
        let sets = build(&[ttl_set]);
        let fetch = begin(&sets, at(0));
        assert_eq!(sets.fetched(fetch.id, cached(keys(&[1]), "max-age=900"), at(0)), Fetched::Done);
        about(f64::from(u32::try_from(ttl).unwrap()), wait(&sets, at(0)));
    }
}

#[test]
fn failures_back_off_and_keep_the_last_good_keys() {
    let sets = by_url();
    load(&sets, keys(&[1]), at(0));
    let mut now = at(3600);
    for pause in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] {
        let fetch = begin(&sets, now);
        assert_eq!(sets.fetched(fetch.id, Err("refused".to_owned()), now), Fetched::Failed("refused".to_owned()));
        let waited = wait(&sets, now);
        assert!((pause * 0.5..=pause).contains(&waited), "{waited} for {pause}");
        assert_eq!(sets.due(now), []);
        assert!(knows(&sets, "k1"));
        now = sets.next_due().unwrap();
    }
    load(&sets, keys(&[2]), now);
    assert_eq!(failure(&sets), None);
    assert!(wait(&sets, now) > 200.0);
}

#[test]
fn the_seed_spreads_the_retries_of_many_proxies() {
    let waits = [1, 2, 3].map(|seed| {
        let sets = by_url();
        sets.seed(seed);
        let fetch = begin(&sets, at(0));
        assert!(matches!(sets.fetched(fetch.id, Err(String::new()), at(0)), Fetched::Failed(_)));
        wait(&sets, at(0))
    });
    assert!(waits[0] != waits[1] && waits[1] != waits[2], "{waits:?}");
}

#[test]
fn a_fetch_without_outcome_is_given_up() {
    let sets = by_url();
    let fetch = begin(&sets, at(0));
    assert_eq!(sets.next_due(), Some(at(7)), "its timeout and a little more");
    assert_eq!(sets.due(at(6)), []);
    assert_eq!(sets.due(at(7)), [], "the pause after a failure");
    assert_eq!(failure(&sets), Some("there was no answer".to_owned()));
    assert_eq!(sets.due(at(9)), [FIRST]);
    assert_eq!(sets.fetched(fetch.id, answer(keys(&[1])), at(9)), Fetched::Stale);
    assert!(sets.key_set(FIRST).is_none());
    load(&sets, keys(&[1]), at(9));
}

#[test]
fn discovery_of_another_issuer_fails() {
    let sets = by_issuer();
    let fetch = begin(&sets, at(0));
    let other = String::from_utf8(discovery()).unwrap().replace("realms/a", "realms/a/").into_bytes();
    let Fetched::Failed(reason) = sets.fetched(fetch.id, answer(other), at(0)) else { panic!() };
    assert!(reason.contains("`https://idp.example.com/realms/a/`"), "{reason}");
}

#[test]
fn an_unknown_key_asks_once_in_ten_seconds() {
    let sets = by_url();
    load(&sets, keys(&[1]), at(0));
    assert_eq!(sets.due(at(1)), []);
    assert_eq!(sets.want(FIRST, at(1)), Wanted::Wait);
    assert_eq!(sets.want(FIRST, at(1)), Wanted::Wait, "many wait for one fetch");
    let fetch = begin(&sets, at(1));
    assert_eq!(sets.want(FIRST, at(2)), Wanted::Wait, "also while it is under way");
    assert_eq!(sets.fetched(fetch.id, answer(keys(&[1])), at(2)), Fetched::Done);
    assert_eq!(sets.want(FIRST, at(2)), Wanted::TooSoon);
    assert_eq!(sets.want(FIRST, millis(10_999)), Wanted::TooSoon);
    assert_eq!(sets.due(millis(10_999)), []);
    assert_eq!(sets.want(FIRST, at(11)), Wanted::Wait);
    assert_eq!(sets.due(at(11)), [FIRST]);
}

#[test]
fn a_failed_fetch_for_an_unknown_key_counts_too() {
    let sets = by_url();
    load(&sets, keys(&[1]), at(0));
    assert_eq!(sets.want(FIRST, at(20)), Wanted::Wait);
    let fetch = begin(&sets, at(20));
    assert_eq!(sets.fetched(fetch.id, Err("refused".to_owned()), at(20)), Fetched::Failed("refused".to_owned()));
    assert_eq!(sets.want(FIRST, at(21)), Wanted::TooSoon);
    assert!(knows(&sets, "k1"));
}

#[test]
fn who_leaves_a_fetch_to_another_worker_looks_again_soon() {
    let sets = by_url();
    sets.leave(FIRST, at(0));
    assert_eq!(sets.due(at(0)), []);
    assert_eq!(sets.begin(FIRST, at(0)), None);
    assert_eq!(sets.due(millis(500)), [FIRST]);
    load(&sets, keys(&[1]), millis(500));
    assert_eq!(sets.want(FIRST, at(60)), Wanted::Wait);
    sets.leave(FIRST, at(60));
    assert_eq!(sets.want(FIRST, at(60)), Wanted::Wait, "the other worker is at it");
}

#[test]
fn the_same_keys_are_the_same_set() {
    let sets = by_url();
    load(&sets, keys(&[1, 2]), at(0));
    let first = sets.key_set(FIRST).unwrap();
    load(&sets, keys(&[1, 2]), at(1000));
    assert!(std::rc::Rc::ptr_eq(&first, &sets.key_set(FIRST).unwrap()));
    load(&sets, keys(&[2]), at(2000));
    let second = sets.key_set(FIRST).unwrap();
    assert!(!std::rc::Rc::ptr_eq(&first, &second));
    let gone = first.candidates(Algorithm::Es256, Some("k1")).next().unwrap();
    let kept = first.candidates(Algorithm::Es256, Some("k2")).next().unwrap();
    assert!(!second.has(Algorithm::Es256, gone) && second.has(Algorithm::Es256, kept));
}

#[test]
fn workers_share_what_they_fetched() {
    for sets in [by_url as fn() -> RemoteDocuments, by_issuer] {
        let (mine, yours) = (sets(), sets());
        assert_eq!(mine.share_key(FIRST), yours.share_key(FIRST));
        assert_eq!(mine.publication(FIRST), None);
        load(&mine, keys(&[1]), at(5));
        let publication = mine.publication(FIRST).unwrap();
        assert_eq!(yours.adopt(FIRST, &publication, at(6)), Adopted::Newer);
        assert_eq!(yours.key_set(FIRST).as_deref(), mine.key_set(FIRST).as_deref());
        assert_eq!(yours.due(at(6)), []);
        assert_eq!(yours.adopt(FIRST, &publication, at(6)), Adopted::Known);
        assert_eq!(mine.adopt(FIRST, &publication, at(6)), Adopted::Known);
        assert_eq!(yours.publication(FIRST), Some(publication), "and can be handed on");
    }
}

#[test]
fn an_older_publication_does_not_bring_keys_back() {
    let (mine, yours) = (by_url(), by_url());
    load(&mine, keys(&[1]), at(0));
    let old = mine.publication(FIRST).unwrap();
    load(&yours, keys(&[2]), at(1));
    assert_eq!(yours.adopt(FIRST, &old, at(2)), Adopted::Known);
    assert!(knows(&yours, "k2") && !knows(&yours, "k1"));
}

#[test]
fn what_another_worker_asked_for_counts() {
    let (mine, yours) = (by_url(), by_url());
    load(&mine, keys(&[1]), at(0));
    load(&yours, keys(&[1]), at(0));
    assert_eq!(mine.want(FIRST, at(20)), Wanted::Wait);
    assert_eq!(yours.want(FIRST, at(20)), Wanted::Wait);
    load(&mine, keys(&[2]), at(20));
    assert_eq!(yours.due(at(21)), [FIRST]);
    assert_eq!(yours.adopt(FIRST, &mine.publication(FIRST).unwrap(), at(21)), Adopted::Newer);
    assert_eq!(yours.due(at(21)), [], "the wish is fulfilled");
    assert_eq!(yours.want(FIRST, at(22)), Wanted::TooSoon);
    let third = by_url();
    assert_eq!(third.adopt(FIRST, &mine.publication(FIRST).unwrap(), at(22)), Adopted::Newer);
    assert_eq!(third.want(FIRST, at(22)), Wanted::TooSoon, "this worker never asked itself");
}

#[test]
fn what_was_fetched_before_a_key_was_wanted_does_not_do() {
    let (mine, yours) = (by_url(), by_url());
    load(&yours, keys(&[1]), at(0));
    load(&mine, keys(&[1, 2]), at(10));
    assert_eq!(yours.want(FIRST, at(20)), Wanted::Wait);
    assert_eq!(yours.adopt(FIRST, &mine.publication(FIRST).unwrap(), at(20)), Adopted::Newer);
    assert!(knows(&yours, "k2"));
    assert_eq!(yours.want(FIRST, at(20)), Wanted::Wait, "it may have been another key");
    load(&yours, keys(&[1, 2, 3]), at(20));
    assert_eq!(yours.want(FIRST, at(20)), Wanted::TooSoon);
}

#[test]
fn a_publication_of_others_is_refused() {
    let sets = by_url();
    load(&sets, keys(&[1]), at(0));
    let publication = sets.publication(FIRST).unwrap();
    let refused = |bytes: &[u8], why: &str| {
        let fresh = by_url();
        assert!(matches!(fresh.adopt(FIRST, bytes, at(1)), Adopted::Refused(_)), "{why}");
        assert!(fresh.key_set(FIRST).is_none());
    };
    for end in [0, 1, 31, 32, 35, 36, 40, publication.len() - 1] {
        refused(&publication[..end], "cut off");
    }
    for index in 0..publication.len() {
        let mut changed = publication.clone();
        changed[index] ^= 1;
        refused(&changed, "changed");
    }
    refused(&keys(&[1]), "no proof at all");
    let strange = by_url();
    strange.bind(b"another configuration");
    assert_ne!(strange.share_key(FIRST), sets.share_key(FIRST));
    assert!(matches!(strange.adopt(FIRST, &publication, at(1)), Adopted::Refused(_)));
}

#[test]
fn a_publication_is_of_one_set_alone() {
    let other = source(Location::Jwks("https://keys.example.com/other".to_owned()));
    let sets = build(&[source(Location::Jwks("https://keys.example.com/jwks?v=1".to_owned())), other]);
    let fetch = sets.begin(FIRST, at(0)).unwrap();
    assert_eq!(sets.fetched(fetch.id, answer(keys(&[1])), at(0)), Fetched::Done);
    let publication = sets.publication(FIRST).unwrap();
    assert!(matches!(sets.adopt(DocumentId(1), &publication, at(1)), Adopted::Refused(_)));
    assert_ne!(sets.share_key(FIRST), sets.share_key(DocumentId(1)));
}

#[test]
fn a_publication_from_the_future_is_refused() {
    let sets = by_url();
    load(&sets, keys(&[1]), at(1000));
    let publication = sets.publication(FIRST).unwrap();
    assert!(matches!(by_url().adopt(FIRST, &publication, at(0)), Adopted::Refused(_)));
    assert_eq!(by_url().adopt(FIRST, &publication, at(999)), Adopted::Newer, "a little skew is no harm");
}

#[test]
fn rules_that_say_the_same_share_a_set() {
    let mut builder = RemoteDocumentsBuilder::default();
    let ids: Vec<_> = (0..1000).map(|_| builder.add(source(Location::Issuer(ISSUER.to_owned()))).unwrap()).collect();
    assert!(ids.iter().all(|id| *id == FIRST));
    let other = Source { ttl: Some(Duration::from_secs(60)), ..source(Location::Issuer(ISSUER.to_owned())) };
    assert_eq!(builder.add(other), Ok(DocumentId(1)));
    assert_eq!(builder.add(source(Location::Jwks(ISSUER.to_owned()))), Ok(DocumentId(2)));
    assert!(builder.add(source(Location::Issuer("idp".to_owned()))).is_err());
    assert_eq!(builder.build().ids().collect::<Vec<_>>(), [DocumentId(0), DocumentId(1), DocumentId(2)]);
}

#[test]
fn a_set_that_is_not_there_does_nothing() {
    let sets = build(&[]);
    assert_eq!((sets.due(at(0)), sets.next_due()), (vec![], None));
    assert_eq!(sets.begin(FIRST, at(0)), None);
    assert_eq!(sets.want(FIRST, at(0)), Wanted::TooSoon);
    assert!(sets.key_set(FIRST).is_none() && sets.status(FIRST).is_none() && sets.publication(FIRST).is_none());
}
