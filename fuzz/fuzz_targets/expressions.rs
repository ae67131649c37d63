//! Selectors, templates, patterns and CEL: compiled from arbitrary text, then evaluated on a request.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use sidegate_engine::{Headers, Policy, Progress, Request, Session, Timestamp};

fuzz_target!(|input: (u8, &str, &str)| {
    let (kind, expression, value) = input;
    let rule = match kind % 4 {
        0 => json!({ "plain": { "selector": expression } }),
        1 => json!({ "plain": { "expression": expression } }),
        2 => json!({ "anonymous": {}, "when": [{ "predicate": expression }] }),
        _ => json!({ "anonymous": {}, "when": [{ "selector": expression, "operator": "matches", "value": value }] }),
    };
    let document = json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": { "name": "fuzz" },
        "spec": {
            "hosts": ["*"],
            "authentication": { "rule": rule },
            "response": { "success": { "headers": { "x-identity": { "plain": { "selector": "auth.identity" } } } } },
        },
    });
    let Ok(policy) = Policy::compile(document.to_string().as_bytes()) else { return };
    let headers = [(":method", "GET"), (":path", "/a/b?c=d"), (":authority", "x"), ("x-value", value)];
    let request = Request { headers: Headers::from_pairs(headers), ..Request::default() };
    let (_, progress) = Session::start(Rc::new(policy), request, Timestamp::from_secs(1_800_000_000));
    assert!(matches!(progress, Progress::Done(_)), "no expression asks anybody");
});
