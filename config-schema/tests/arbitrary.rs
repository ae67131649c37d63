//! Whatever the configuration is, the decoder says something of it, and nothing of a Secret's data.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidegate_config::{Broken, decode};

/// Words that lead deep into the documents.
const WORDS: [&str; 48] = [
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "data",
    "stringData",
    "items",
    "resources",
    "upstreams",
    "options",
    "workload",
    "hosts",
    "patterns",
    "when",
    "authentication",
    "authorization",
    "response",
    "success",
    "headers",
    "key",
    "jwt",
    "issuerUrl",
    "apiKey",
    "selector",
    "matchLabels",
    "matchExpressions",
    "operator",
    "value",
    "credentials",
    "cookie",
    "all",
    "any",
    "predicate",
    "patternMatching",
    "json",
    "properties",
    "AuthConfig",
    "Secret",
    "List",
    "PluginConfig",
    "v1",
    "authorino.kuadrant.io/v1beta3",
    "authorino.kuadrant.io/v1beta2",
    "sidegate.dev/v1alpha1",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => any::<String>()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::vec((word(), inner), 0..6).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

fn check(bytes: &[u8]) {
    if let Err(Broken { problems, .. }) = decode(bytes) {
        assert!(!problems.is_empty(), "refused without a word");
        assert!(problems.iter().all(|problem| !problem.message.is_empty() && !problem.document.is_empty()));
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_json(value in value()) {
        check(value.to_string().as_bytes());
    }

    #[test]
    fn any_spec(kind in prop::sample::select(&["v1beta2", "v1beta3"][..]), metadata in value(), spec in value()) {
        let api_version = format!("authorino.kuadrant.io/{kind}");
        let document = json!({"apiVersion": api_version, "kind": "AuthConfig", "metadata": metadata, "spec": spec});
        check(document.to_string().as_bytes());
    }

    #[test]
    fn any_plugin_config(resources in value(), upstreams in value(), workload in value(), options in value()) {
        let document = json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig",
            "resources": resources, "upstreams": upstreams, "workload": workload, "options": options,
        });
        check(document.to_string().as_bytes());
    }

    #[test]
    fn cut_anywhere(value in value(), at in any::<prop::sample::Index>()) {
        let text = value.to_string();
        check(&text.as_bytes()[..at.index(text.len())]);
    }

    #[test]
    fn no_problem_tells_a_secret(field in "data|stringData|type|immutable|metadata|other", shape in 0..5, more in value()) {
        let secret = json!("MARKER");
        let value = match shape {
            0 => secret,
            1 => json!([secret]),
            2 => json!({"api_key": secret}),
            3 => json!({"api_key": [secret, more]}),
            _ => json!({"api_key": {"value": secret, "more": more}}),
        };
        let auth_config = json!({
            "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": {"name": "a"},
            "spec": {"hosts": ["a"]},
        });
        let mut document = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        document[&field] = value;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [auth_config, document]});
        let told = match decode(list.to_string().as_bytes()) {
            Ok(documents) => format!("{documents:?}"),
            Err(problems) => format!("{problems:?}"),
        };
        prop_assert!(!told.contains("MARKER"), "{}", told);
    }
}
