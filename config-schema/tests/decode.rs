//! Whole configurations: what is accepted, and what exactly is said of what is not.

use serde_json::{Value, json};
use sidegate_config::{Document, Documents, HostPort, decode};

fn accepted(configuration: &Value) -> Documents {
    decode(configuration.to_string().as_bytes()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[track_caller]
fn refused(configuration: &Value, problems: &[&str]) {
    refused_text(configuration.to_string().as_bytes(), problems);
}

#[track_caller]
fn refused_text(configuration: &[u8], problems: &[&str]) {
    let got = decode(configuration).expect_err("must be refused");
    assert_eq!(got.iter().map(ToString::to_string).collect::<Vec<_>>(), problems);
}

fn auth_config(spec: Value) -> Value {
    json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3",
        "kind": "AuthConfig",
        "metadata": {"name": "talker-api"},
        "spec": spec,
    })
}

#[test]
fn an_auth_config_as_kubectl_prints_it() {
    let mut document = auth_config(json!({"hosts": ["a.example.com"], "authentication": {"all": {"anonymous": {}}}}));
    document["metadata"] = json!({
        "name": "talker-api", "namespace": "demo", "generation": 3, "resourceVersion": "17", "creationTimestamp": null,
        "managedFields": [{"manager": "kubectl"}], "labels": {"a": "b"},
    });
    document["status"] = json!({"conditions": [{"type": "Ready"}]});
    let documents = accepted(&document);
    let [Document::AuthConfig(found)] = &documents.resources[..] else { panic!("{documents:?}") };
    assert_eq!((found.metadata.namespace.as_str(), found.metadata.name.as_str()), ("demo", "talker-api"));
    assert_eq!(found.metadata.labels["a"], "b");
    assert_eq!(found.spec.hosts, ["a.example.com"]);
    assert!(found.spec.authentication["all"].anonymous.is_some());
}

#[test]
fn a_slip_is_named_with_what_was_meant() {
    refused(
        &auth_config(json!({"hosts": ["a"], "authentication": {"jwt": {"jwt": {"issuerURL": "https://i"}}}})),
        &["AuthConfig default/talker-api: spec.authentication.jwt.jwt.issuerURL: unknown field `issuerURL`; did you \
           mean `issuerUrl`?"],
    );
    refused_text(
        b" \n",
        &["configuration: it is empty: give one AuthConfig, a Kubernetes `List`, or a `PluginConfig` of \
           `sidegate.dev/v1alpha1`, as JSON"],
    );
    let _ = HostPort::ExactFirst;
}
