//! Wristbands as others see them: tokens verified by a library that did not sign them, with the keys that are published.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Value, json};
use sidegate_engine::{Decision, Headers, Policy, Progress, Request, Session, Timestamp};
use sidegate_tests::fixtures;

/// Forms of keys, what they sign with, and who else can verify that; ring does not know P-521.
const KEYS: [(&str, &str); 11] = [
    ("ec-256", "ES256"),
    ("ec-256-sec1", "ES256"),
    ("ec-256-parameters", "ES256"),
    ("ec-384", "ES384"),
    ("ec-384-sec1", "ES384"),
    ("rsa-1", "RS256"),
    ("rsa-1-pkcs1", "RS384"),
    ("rsa-4096", "RS512"),
    ("rsa-4096", "RS256"),
    ("ec-521", "ES512"),
    ("ec-521-sec1", "ES512"),
];

fn pem(name: &str) -> String {
    fixtures::text(&format!("keys/{name}.pem")).expect("a fixture")
}

/// A policy that issues wristbands with these keys, named by their place.
fn policy(keys: &[(&str, &str)]) -> Rc<Policy> {
    let name = |index: usize| format!("key-{index}");
    let refs =
        keys.iter().enumerate().map(|(index, (_, algorithm))| json!({"name": name(index), "algorithm": algorithm}));
    let secrets = keys.iter().enumerate().map(|(index, (key, _))| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name(index)}, "stringData": {"key.pem": pem(key)}})
    });
    let auth_config = json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": {"name": "api"},
        "spec": {
            "hosts": ["api.test"],
            "response": {"success": {"headers": {"token": {"wristband": {
                "issuer": "https://issuer.test/w/default/api/token", "signingKeyRefs": refs.collect::<Vec<_>>(),
            }}}}},
        },
    });
    let resources: Vec<Value> = std::iter::once(auth_config).chain(secrets).collect();
    let configuration = json!({
        "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": resources,
        "options": {"wristbandDiscovery": {"pathPrefix": "/w"}},
    });
    Rc::new(Policy::compile(configuration.to_string().as_bytes()).expect("a good configuration"))
}

fn decide(policy: &Rc<Policy>, path: &str) -> Decision {
    let headers = Headers::from_pairs([(":method", "GET"), (":authority", "api.test"), (":path", path)]);
    let request = Request { headers, ..Request::default() };
    match Session::start(Rc::clone(policy), request, Timestamp::from_secs(1_700_000_000)).1 {
        Progress::Done(verdict) => verdict.decision,
        Progress::Pending(calls) => panic!("{calls:?}"),
    }
}

fn token(policy: &Rc<Policy>) -> String {
    let Decision::Allow(allowed) = decide(policy, "/") else { panic!("denied") };
    allowed.set_headers.into_iter().find(|(name, _)| name == "token").expect("a token").1
}

fn document(policy: &Rc<Policy>, name: &str) -> String {
    match decide(policy, &format!("/w/default/api/token/.well-known/{name}")) {
        Decision::Serve(served) if served.code == 200 => served.body,
        other => panic!("{other:?}"),
    }
}

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// Whether the published key says that the token is good.
fn is_good(jwk: &Value, token: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (message, signature) = (message.as_bytes(), decoded(signature));
    let number = |name: &str| decoded(jwk[name].as_str().expect("a number"));
    let rsa = |parameters| {
        RsaPublicKeyComponents { n: number("n"), e: number("e") }.verify(parameters, message, &signature).is_ok()
    };
    let ec = |algorithm: &'static dyn VerificationAlgorithm| {
        let point = [&[4][..], &number("x"), &number("y")].concat();
        UnparsedPublicKey::new(algorithm, point).verify(message, &signature).is_ok()
    };
    match jwk["alg"].as_str().expect("an algorithm") {
        "RS256" => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        "ES256" => ec(&signature::ECDSA_P256_SHA256_FIXED),
        "ES384" => ec(&signature::ECDSA_P384_SHA384_FIXED),
        "ES512" => {
            use p521::ecdsa::signature::Verifier as _;
            let point = [&[4][..], &number("x"), &number("y")].concat();
            let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).expect("a point");
            p521::ecdsa::Signature::from_slice(&signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok())
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_published_key_verifies_the_token() {
    for key in KEYS {
        let policy = policy(&[key]);
        let token = token(&policy);
        let set: Value = serde_json::from_str(&document(&policy, "openid-connect/certs")).expect("JSON");
        let jwk = &set["keys"][0];
        let header: Value = serde_json::from_slice(&decoded(token.split('.').next().expect("a header"))).expect("JSON");
        assert_eq!(header, json!({"alg": key.1, "kid": "key-0", "typ": "JWT"}));
        assert_eq!(jwk["kid"], "key-0");
        assert!(is_good(jwk, &token), "{key:?}");
        let mut other = token.into_bytes();
        other[60] ^= 1;
        assert!(!is_good(jwk, &String::from_utf8(other).expect("ASCII")), "{key:?}, changed");
    }
}

#[test]
fn the_first_key_signs_and_all_are_published() {
    let policy = policy(&KEYS);
    let set: Value = serde_json::from_str(&document(&policy, "openid-connect/certs")).expect("JSON");
    let published = set["keys"].as_array().expect("keys");
    let kids: Vec<String> = (0..KEYS.len()).map(|index| format!("key-{index}")).collect();
    assert_eq!(published.iter().map(|key| key["kid"].as_str().expect("text")).collect::<Vec<_>>(), kids);
    assert!(is_good(&published[0], &token(&policy)));
}

/// Every run of 16 bytes of the private numbers, in hexadecimal, base64 and as they are.
fn traces(key: &[u8]) -> Vec<Vec<u8>> {
    let parts = key.windows(16).step_by(4);
    parts
        .flat_map(|part| {
            let hex = part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            [part.to_vec(), hex.into_bytes()]
        })
        .collect()
}

#[test]
fn nothing_of_a_private_key_is_in_what_others_see() {
    for (name, algorithm) in KEYS {
        let policy = policy(&[(name, algorithm)]);
        let key = private_numbers(name);
        let seen = [
            token(&policy),
            document(&policy, "openid-connect/certs"),
            document(&policy, "openid-configuration"),
            format!("{policy:?}"),
        ];
        let texts = seen.iter().map(String::as_bytes).map(<[u8]>::to_vec);
        // What is base64 in there, decoded at each of the four places where a group may begin.
        let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        let runs = seen.iter().flat_map(|text| text.as_bytes().split(|byte| !alphabet(byte)));
        let groups =
            runs.flat_map(|run| (0..4).filter_map(|from| run.get(from..)).map(|run| &run[..run.len() / 4 * 4]));
        let haystacks: Vec<Vec<u8>> = texts.chain(groups.filter_map(|run| URL_SAFE_NO_PAD.decode(run).ok())).collect();
        for number in &key {
            for trace in traces(number) {
                let found = haystacks.iter().any(|text| text.windows(trace.len()).any(|window| window == trace));
                assert!(!found, "{name}: a private number is there");
            }
        }
        // The same search finds what is public, so it can find something.
        let public = decoded(&public_number(&policy));
        let found =
            traces(&public).iter().any(|trace| haystacks.iter().any(|text| text.windows(16).any(|w| w == trace)));
        assert!(found, "{name}: the search finds nothing at all");
    }
}

fn public_number(policy: &Rc<Policy>) -> String {
    let set: Value = serde_json::from_str(&document(policy, "openid-connect/certs")).expect("JSON");
    let key = &set["keys"][0];
    key.get("x").or_else(|| key.get("n")).and_then(Value::as_str).expect("a number").to_owned()
}

/// The secret numbers of a key: the scalar; of RSA the exponent and the primes.
fn private_numbers(name: &str) -> Vec<Vec<u8>> {
    let whole = name.trim_end_matches("-sec1").trim_end_matches("-parameters").trim_end_matches("-pkcs1");
    let der =
        STANDARD.decode(pem(whole).lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("PEM");
    if whole.starts_with("rsa") {
        use rsa::pkcs8::DecodePrivateKey as _;
        use rsa::traits::PrivateKeyParts as _;
        let key = rsa::RsaPrivateKey::from_pkcs8_der(&der).expect("a key");
        return key.primes().iter().chain([key.d()]).map(rsa::BigUint::to_bytes_be).collect();
    }
    // In PKCS #8 of OpenSSL the scalar stands 36 to 41 bytes in, behind `04` and its length.
    let length = match whole {
        "ec-521" => 66,
        "ec-384" => 48,
        _ => 32,
    };
    let marker = [&[2, 1, 1, 4][..], &[length]].concat();
    let at = der.windows(marker.len()).position(|window| window == marker).expect("a scalar") + marker.len();
    vec![der[at..at + usize::from(length)].to_vec()]
}
