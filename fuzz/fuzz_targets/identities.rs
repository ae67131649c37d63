//! SPIFFE IDs, headers of forwarders and filter state, as bytes: what is taken for an identity is one, letter by letter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate_engine::Policy;
use sidegate_engine::east_west::{Identity, Peer, SpiffeId};

const GATEWAY: &[u8] = b"spiffe://td/ns/edge/sa/gateway";

const CONFIGURATION: &str = r#"{"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [],
    "options": {"eastWest": {"trustedForwarders": ["spiffe://td/ns/edge/sa/gateway"], "maxHops": 3,
                             "identity": {"assumeSingleUriSan": true}}}}"#;

thread_local! {
    static POLICY: Policy = Policy::compile(CONFIGURATION.as_bytes()).expect("it is fixed");
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(id) = SpiffeId::parse(&String::from_utf8_lossy(bytes)) {
        assert_eq!(id.as_str().as_bytes(), bytes);
        assert!(id.as_str().len() <= 2048 && !id.path().contains("//") && id.path().len() > 1);
    }
    POLICY.with(|policy| {
        let identities = policy.workload().expect("there are no policies").identities();
        let peer = Peer { mtls: true, validated: Some(true), ..Peer::default() };
        let (behind, _) = identities.identify(&Peer { first_uri_san: Some(GATEWAY), forwarded: Some(bytes), ..peer });
        if let Identity::Known(id) = behind {
            let named = bytes.windows(id.as_str().len()).any(|part| part == id.as_str().as_bytes());
            assert!(
                named || id.as_str().as_bytes() == GATEWAY || bytes.contains(&b'\\'),
                "{id} is nowhere in the header"
            );
        }
        let (direct, _) = identities.identify(&Peer { first_uri_san: Some(bytes), certificate: Some(bytes), ..peer });
        assert!(!matches!(direct, Identity::Absent) || bytes.is_empty());
    });
});
