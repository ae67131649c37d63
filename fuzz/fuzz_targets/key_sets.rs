//! What an identity provider, or another plugin by way of shared data, may send.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use sidegate_engine::remote::{Adopted, Fetched};
use sidegate_engine::{Headers, HttpReply, Policy, Timestamp};

const POLICY: &str = r#"{"apiVersion":"authorino.kuadrant.io/v1beta3","kind":"AuthConfig","metadata":{"name":"fuzz"},
    "spec":{"hosts":["*"],"authentication":{"jwt":{"jwt":{"issuerUrl":"http://idp.test"}}}}}"#;

fuzz_target!(|replies: Vec<(u16, Option<String>, Vec<u8>)>| {
    let now = Timestamp::from_secs(1_800_000_000);
    let policy = Rc::new(Policy::compile(POLICY.as_bytes()).expect("the policy is well-formed"));
    let keys = policy.remote_documents();
    let mut replies = replies.into_iter();
    for id in keys.due(now) {
        let mut next = keys.begin(id, now);
        while let (Some(fetch), Some((status, cache_control, body))) = (next.take(), replies.next()) {
            let adopted = keys.adopt(id, &body, now);
            assert!(!matches!(adopted, Adopted::Newer), "nobody but a worker of ours can publish keys");
            let headers = Headers::from_pairs(cache_control.map(|value| ("cache-control", value)));
            let response = HttpReply { status, headers, body, ..HttpReply::default() };
            if let Fetched::Next(fetch) = keys.fetched(fetch.id, Ok(response), now) {
                next = Some(fetch);
            }
        }
    }
});
