//! An example of each document.

use serde_json::{Value, json};

/// The example of a kind of document.
pub fn of(api_version: &str, kind: &str) -> Option<Value> {
    let mut example = match kind {
        "AuthConfig" => auth_config(),
        "PluginConfig" => json!({
            "resources": [with_name(auth_config(), "authorino.kuadrant.io/v1beta3", "AuthConfig")],
            "upstreams": [{ "url": "https://keycloak.example.com", "cluster": "keycloak" }],
        }),
        "Secret" => json!({
            "metadata": { "name": "alice", "labels": { "group": "friends" } },
            "stringData": { "api_key": "not-a-key-to-keep" },
        }),
        "ReferenceGrant" => json!({
            "metadata": { "name": "for-the-shop", "namespace": "keys" },
            "spec": {
                "from": [{ "group": "authorino.kuadrant.io", "kind": "AuthConfig", "namespace": "shop" }],
                "to": [{ "group": "", "kind": "Secret" }],
            },
        }),
        "AuthorizationPolicy" if api_version.starts_with("security.istio.io/") => json!({
            "metadata": { "name": "cart", "namespace": "shop" },
            "spec": {
                "selector": { "matchLabels": { "app": "cart" } },
                "action": "ALLOW",
                "rules": [{ "from": [{ "source": { "principals": ["cluster.local/ns/shop/sa/web"] } }] }],
            },
        }),
        "AuthorizationPolicy" | "XAuthorizationPolicy" => json!({
            "metadata": { "name": "cart", "namespace": "shop" },
            "spec": {
                "targetRefs": [{ "kind": "Pod", "selector": { "matchLabels": { "app": "cart" } } }],
                "action": "ALLOW",
                "enforcementLevel": "Network",
                "rules": [{ "sources": [{ "type": "ServiceAccount", "serviceAccount": { "name": "web" } }] }],
            },
        }),
        "ClusterAuthorizationPolicy" => json!({
            "metadata": { "name": "no-strangers" },
            "spec": {
                "tier": "Admin",
                "priority": 100,
                "rules": [{ "name": "no identity", "action": "Deny", "sources": [{ "type": "Unauthenticated" }] }],
            },
        }),
        "Namespace" => json!({ "metadata": { "name": "shop", "labels": { "team": "shop" } } }),
        _ => return None,
    };
    example = with_name(example, api_version, kind);
    Some(example)
}

fn auth_config() -> Value {
    json!({
        "metadata": { "name": "talker-api", "namespace": "shop" },
        "spec": {
            "hosts": ["talker-api.example.com"],
            "authentication": { "staff": { "jwt": { "issuerUrl": "https://keycloak.example.com/realms/shop" } } },
            "authorization": {
                "admins": {
                    "patternMatching": {
                        "patterns": [{ "selector": "auth.identity.roles", "operator": "incl", "value": "admin" }],
                    },
                },
            },
        },
    })
}

fn with_name(mut document: Value, api_version: &str, kind: &str) -> Value {
    if let Some(members) = document.as_object_mut() {
        members.insert("apiVersion".to_owned(), api_version.into());
        members.insert("kind".to_owned(), kind.into());
    }
    document
}
