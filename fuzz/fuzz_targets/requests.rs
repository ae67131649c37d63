//! Requests from anybody: no bytes of a client may pass for a credential that was never given out.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use sidegate_engine::HttpReply;
use sidegate_engine::{Attribute, Decision, Headers, Policy, Progress, Request, Session, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// One rule for each method and each placement of a credential.
const POLICY: &str = r#"{"apiVersion":"sidegate.dev/v1alpha1","kind":"PluginConfig",
    "resources":[
        {"apiVersion":"v1","kind":"Secret","metadata":{"name":"key"},
            "stringData":{"api_key_sha256":"0000000000000000000000000000000000000000000000000000000000000000"}},
        {"apiVersion":"v1","kind":"Secret","metadata":{"name":"ca","labels":{"ca":"yes"}},"stringData":{"tls.crt":"CA"}},
        {"apiVersion":"authorino.kuadrant.io/v1beta3","kind":"AuthConfig","metadata":{"name":"fuzz"},
            "spec":{"hosts":["*"],"authentication":{
                "token":{"jwt":{"jwksUrl":"http://idp.test/keys"}},
                "certificate":{"x509":{"selector":{"matchLabels":{"ca":"yes"}}}},
                "forwarded":{"x509":{"selector":{"matchLabels":{"ca":"yes"}},"source":{"xfccHeader":"x-forwarded-client-cert"}}},
                "header":{"x509":{"selector":{"matchLabels":{"ca":"yes"}},"source":{"clientCertHeader":"client-cert"}}},
                "query":{"apiKey":{"selector":{}},"credentials":{"queryString":{"name":"key"}}},
                "cookie":{"apiKey":{"selector":{}},"credentials":{"cookie":{"name":"key"}}},
                "custom":{"apiKey":{"selector":{}},"credentials":{"customHeader":{"name":"x-key"}}}}}}],
    "options":{"trustedForwarders":["*"]}}"#;

const CA: &str = include_str!("../../tests/fixtures/certs/ca.pem");

/// The P-256 key of RFC 7517 appendix A.1.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","use":"sig",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

thread_local! {
    static COMPILED: Rc<Policy> = {
        let ca = serde_json::Value::from(CA).to_string();
        let policy = Policy::compile(POLICY.replace("\"CA\"", &ca).as_bytes()).expect("the policy is well-formed");
        for id in policy.remote_documents().due(NOW) {
            let fetch = policy.remote_documents().begin(id, NOW).expect("the fetch is due");
            let keys = HttpReply { status: 200, body: KEYS.as_bytes().to_vec(), ..HttpReply::default() };
            let _ = policy.remote_documents().fetched(fetch.id, Ok(keys), NOW);
        }
        Rc::new(policy)
    };
}

fuzz_target!(|input: (Vec<(u8, Vec<u8>)>, Vec<u8>)| {
    let (values, certificate) = input;
    let names =
        [":path", ":authority", "authorization", "cookie", "x-key", "x-forwarded-client-cert", "client-cert", "other"];
    let pairs = values.iter().filter_map(|(name, value)| Some((names.get(usize::from(*name) % names.len())?, value)));
    let mut request = Request { headers: Headers::from_pairs(pairs), ..Request::default() };
    for attribute in [Attribute::Mtls, Attribute::PeerCertificateValid] {
        request.attributes.insert(attribute, b"true".to_vec());
    }
    request.attributes.insert(Attribute::PeerCertificate, certificate);
    let (_, progress) = Session::start(COMPILED.with(Rc::clone), request, NOW);
    if let Progress::Done(verdict) = progress {
        assert!(matches!(verdict.decision, Decision::Deny(_)), "{verdict:?}");
    }
});
