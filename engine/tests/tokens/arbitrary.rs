//! Whatever servers and clients send: no panic, and no way in.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use sidegate_engine::crypto::{Algorithm, Curve, PublicKey, RustCrypto, Verifier as _, ecdsa_from_der, ecdsa_to_der};
use sidegate_engine::remote::{DocumentId, Fetched, Location, RemoteDocuments, RemoteDocumentsBuilder, Source};
use sidegate_engine::token::Token;
use sidegate_engine::url::Url;
use sidegate_engine::{Headers, HttpReply, Timestamp};

use crate::signing::{Seed, encode, jwk, set, sign, with};

const FIRST: DocumentId = DocumentId(0);

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// An object with members of these names, of any type, and sometimes of the right one.
fn object(names: &'static [&'static str], words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let word = proptest::sample::select(words).prop_map(Value::from);
    let member = (proptest::sample::select(names), prop_oneof![3 => word, 1 => json_value()]);
    proptest::collection::vec(member, 0..names.len())
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn key() -> impl Strategy<Value = Value> {
    object(
        &["kty", "crv", "alg", "use", "key_ops", "kid", "n", "e", "x", "y", "d", "k"],
        &["RSA", "EC", "OKP", "oct", "P-256", "P-521", "Ed25519", "sig", "ES256", "AQAB", "AAAA", "a"],
    )
}

fn sets(location: Location) -> RemoteDocuments {
    let mut builder = RemoteDocumentsBuilder::default();
    builder.add(Source { location, ttl: None, timeout: Duration::from_secs(5) }).unwrap();
    builder.build()
}

fn answer(sets: &RemoteDocuments, status: u16, cache_control: Option<String>, body: Vec<u8>) -> Fetched {
    let now = Timestamp::from_secs(1);
    let fetch = sets.begin(FIRST, now).unwrap();
    let headers = Headers::from_pairs(cache_control.map(|value| ("cache-control", value)));
    sets.fetched(fetch.id, Ok(HttpReply { status, headers, body, ..HttpReply::default() }), now)
}

proptest! {
    #[test]
    fn bytes_are_no_token(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Token::parse(&bytes).is_err());
    }

    #[test]
    fn tokens_of_any_json_are_read_or_refused(
        header in object(&["alg", "kid", "crit", "typ"], &["ES256", "RS256", "none", "k1"]),
        claims in object(&["exp", "nbf", "iat", "aud", "iss", "_claim_names", "_claim_sources"], &["a", "1"]),
        signature in proptest::collection::vec(any::<u8>(), 0..150),
    ) {
        let text = format!("{}.{}.{}", encode(header.to_string()), encode(claims.to_string()), encode(signature));
        let sets = sets(Location::Jwks("https://a".to_owned()));
        let keys = set(&[with(jwk(Algorithm::Es256, Seed(1)), "kid", "k1"), jwk(Algorithm::Rs256, Seed(1))]);
        prop_assert_eq!(answer(&sets, 200, None, keys), Fetched::Done);
        if let Ok(token) = Token::parse(text.as_bytes()) {
            let _ = token.times.check(Timestamp::from_secs(1_700_000_000));
            let _ = (token.check_issuer("a"), token.check_audience(&["a".to_owned()]));
            let keys = sets.key_set(FIRST).unwrap();
            let signer = token.signed().and_then(|signed| {
                signed.signer(&keys, &RustCrypto).map(|signer| format!("{signer:?}"))
            });
            prop_assert!(!signer.is_ok_and(|signer| signer.starts_with("Key")));
        }
    }

    #[test]
    fn key_sets_of_any_json_are_read_or_refused(
        keys in proptest::collection::vec(key(), 0..5),
        status in prop_oneof![9 => Just(200_u16), 1 => any::<u16>()],
        cache_control in proptest::option::of("(max-age=)?[0-9a-z,= \"-]{0,30}"),
    ) {
        let sets = sets(Location::Jwks("https://a".to_owned()));
        let outcome = answer(&sets, status, cache_control, set(&keys));
        prop_assert_eq!(outcome == Fetched::Done, sets.key_set(FIRST).is_some());
    }

    #[test]
    fn answers_of_any_bytes_are_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        for location in [Location::Jwks("https://a".to_owned()), Location::Issuer("https://a".to_owned())] {
            prop_assert!(matches!(answer(&sets(location), 200, None, body.clone()), Fetched::Failed(_)));
        }
    }

    #[test]
    fn discovery_of_any_json_is_read_or_refused(
        document in object(&["issuer", "jwks_uri", "id_token_signing_alg_values_supported"], &["https://a", "http://a"]),
    ) {
        let outcome = answer(&sets(Location::Issuer("https://a".to_owned())), 200, None, document.to_string().into_bytes());
        let fits = document["issuer"] == "https://a" && document["jwks_uri"] == "https://a";
        prop_assert!(fits || matches!(outcome, Fetched::Failed(_)), "{}", document);
    }

    #[test]
    fn urls_of_any_text_are_read_or_refused(text in prop_oneof![any::<String>(), "https?://[a-z0-9.:@\\[\\]/?#%-]{0,40}"]) {
        if let Ok(url) = Url::parse(&text) {
            prop_assert_eq!(Url::parse(&url.to_string()), Ok(url));
        }
    }

    #[test]
    fn keys_of_any_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        index in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        prop_assert!(PublicKey::from_spki(&bytes).is_err());
        let mut near = public(Algorithm::Es256).spki().to_vec();
        let index = index.index(near.len());
        near[index] = byte;
        if let Ok(key) = PublicKey::from_spki(&near) {
            prop_assert_eq!(key.algorithms(), [Algorithm::Es256]);
        }
    }

    #[test]
    fn publications_of_any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let sets = sets(Location::Jwks("https://a".to_owned()));
        let adopted = sets.adopt(FIRST, &bytes, Timestamp::from_secs(1));
        prop_assert!(matches!(adopted, sidegate_engine::remote::Adopted::Refused(_)));
    }
}

proptest! {
    // Elliptic curves are slow in a debug build.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn signatures_of_any_bytes_are_refused(
        message in proptest::collection::vec(any::<u8>(), 0..50),
        signature in proptest::collection::vec(any::<u8>(), 0..150),
    ) {
        for (algorithm, size) in [(Algorithm::Es256, 64), (Algorithm::Es384, 96), (Algorithm::Es512, 132), (Algorithm::EdDsa, 64)] {
            let mut fitting = signature.clone();
            fitting.resize(size, 1);
            let spki = public(algorithm);
            prop_assert!(!RustCrypto.verify(algorithm, &spki, &message, &fitting));
            prop_assert!(!RustCrypto.verify(algorithm, &spki, &message, &signature));
        }
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let _ = ecdsa_to_der(curve, &signature);
        }
        let _ = ecdsa_from_der(Curve::P256, &signature);
    }
}

fn public(algorithm: Algorithm) -> PublicKey {
    let sets = sets(Location::Jwks("https://a".to_owned()));
    assert_eq!(answer(&sets, 200, None, set(&[jwk(algorithm, Seed(1))])), Fetched::Done);
    let keys = sets.key_set(FIRST).unwrap();
    let key = keys.candidates(algorithm, None).next().unwrap().public.clone();
    assert!(RustCrypto.verify(algorithm, &key, b"", &sign(algorithm, Seed(1), b"")));
    key
}
