//! Selectors, templates, patterns and CEL: compiled from arbitrary text, then evaluated on a request.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sidegate_engine::{Decision, Headers, Policy, Progress, Request, Session, Timestamp};

const OPERATORS: [&str; 11] = ["eq", "neq", "incl", "excl", "matches", "in", "notIn", "gt", "ge", "lt", "le"];

fuzz_target!(|input: (u8, u8, &str, &str)| {
    let (kind, operator, expression, value) = input;
    let operator = OPERATORS[usize::from(operator) % OPERATORS.len()];
    // What is JSON is compared by its type.
    let typed = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    let pattern = json!({ "selector": expression, "operator": operator, "value": typed });
    let mut spec = json!({
        "hosts": ["*"],
        "authentication": { "rule": { "anonymous": {} } },
        "response": { "success": { "headers": { "x-identity": { "plain": { "selector": "auth.identity" } } } } },
    });
    let rule = &mut spec["authentication"]["rule"];
    match kind % 7 {
        0 => *rule = json!({ "plain": { "selector": expression } }),
        1 => *rule = json!({ "plain": { "expression": expression } }),
        2 => rule["when"] = json!([{ "predicate": expression }]),
        3 => rule["when"] = json!([pattern]),
        4 => rule["overrides"] = json!({ "a": { "template": expression }, "b": { "template": value } }),
        5 => {
            let when = json!([pattern]);
            let denials = json!([{ "when": when, "body": { "template": expression } }, { "message": { "template": value } }]);
            spec["authorization"] = json!({ "never": { "opa": { "rego": "allow = false" }, "denyWith": denials } });
        }
        _ => {
            let patterns = json!({ "patterns": [pattern] });
            spec["authorization"] = json!({
                "holds": { "patternMatching": patterns },
                "holds-not": { "patternMatching": patterns, "action": "deny" },
            });
        }
    }
    let never = spec.get("authorization").is_some();
    let document = json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": { "name": "fuzz" }, "spec": spec,
    });
    let Ok(policy) = Policy::compile(document.to_string().as_bytes()) else { return };
    let headers = [(":method", "GET"), (":path", "/a/b?c=d"), (":authority", "x"), ("x-value", value)];
    let request = Request { headers: Headers::from_pairs(headers), ..Request::default() };
    let (_, progress) = Session::start(Rc::new(policy), request, Timestamp::from_secs(1_800_000_000));
    let Progress::Done(verdict) = progress else { panic!("no expression asks anybody") };
    // A pattern that holds and does not hold, or a rule that never grants.
    assert!(!never || matches!(verdict.decision, Decision::Deny(_)), "let through: {document}");
});
