//! What is measured: filters, and the requests that they see.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sidegate_tests::case::Token;
use sidegate_tests::token;

use crate::envoy::UPSTREAM;

/// One filter chain under load.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Short name, for the command line and the reports.
    pub name: &'static str,
    /// What the reader is told.
    pub title: &'static str,
    /// Filters before the router.
    pub filters: Vec<Value>,
    /// Hosts and API keys of the requests, one after another.
    pub requests: Vec<(String, String)>,
}

/// The modules.
#[derive(Debug, Clone)]
pub struct Modules {
    /// Lets everything pass.
    pub empty: String,
    /// Without what needs big libraries.
    pub core: String,
    /// Everything.
    pub full: String,
}

const HOST: &str = "api.bench";
const ISSUER: &str = "https://idp.bench";

/// All scenarios, those side by side whose ratios are aimed at: the machine is the same for neighbours more than for others.
///
/// # Errors
/// The fixture key cannot be read.
pub fn all(modules: &Modules) -> Result<Vec<Scenario>, String> {
    let scenario = |name, title, filters| Scenario { name, title, filters, requests: vec![(HOST.into(), key(0))] };
    let sidegate = |documents: Vec<Value>| vec![wasm(&modules.full, &plugin_config(documents, &json!({})))];
    let looked_up =
        |keys: usize| vec![wasm(&modules.full, &plugin_config(api_keys(keys), &json!({ "tokenCacheSize": 0 })))];
    Ok(vec![
        scenario("lua", "Envoy's Lua, an API key", vec![lua()]),
        scenario("none", "no filter", vec![]),
        scenario("api-key", "Sidegate (a): an API key", sidegate(api_keys(1))),
        scenario("empty", "empty Wasm filter", vec![wasm(&modules.empty, "")]),
        scenario(
            "jwt",
            "Sidegate (b): JWT RS256, a role rule, a header",
            sidegate(vec![jwt(&json!({ "admins": role() }))]),
        ),
        scenario("native", "native `jwt_authn` + `rbac`", native(false)?),
        scenario("native-cache", "native `jwt_authn` + `rbac`, `jwt_cache_config`", native(true)?),
        scenario(
            "jwt-path",
            "Sidegate (b), and a rule over the path",
            sidegate(vec![jwt(&json!({ "admins": role(), "paths": path() }))]),
        ),
        scenario("rules", "Sidegate (c): ten CEL and selector rules", sidegate(rules())),
        Scenario {
            requests: hosts_and_keys(1, 10),
            ..scenario("keys-10", "10 API keys, none remembered", looked_up(10))
        },
        Scenario {
            requests: hosts_and_keys(1, 10_000),
            ..scenario("keys-10000", "10,000 API keys, none remembered", looked_up(10_000))
        },
        Scenario {
            requests: hosts_and_keys(10, 1),
            ..scenario("hosts-10", "10 AuthConfigs", sidegate(auth_configs(10)))
        },
        Scenario {
            requests: hosts_and_keys(1000, 1),
            ..scenario("hosts-1000", "1,000 AuthConfigs", sidegate(auth_configs(1000)))
        },
    ])
}

/// A Wasm filter.
#[must_use]
pub fn wasm(module: &str, configuration: &str) -> Value {
    json!({ "name": "wasm", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "bench",
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": "bench",
                "runtime": "envoy.wasm.runtime.v8",
                "code": { "local": { "filename": module } },
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": configuration,
            },
        },
    } })
}

/// A plugin configuration with some AuthConfigs.
#[must_use]
pub fn many(auth_configs: usize) -> String {
    plugin_config(self::auth_configs(auth_configs), &json!({}))
}

/// A token as all requests carry it.
///
/// # Errors
/// The fixture key cannot be read.
pub fn bearer() -> Result<String, String> {
    let claims = json!({
        "iss": ISSUER, "aud": ["bench"], "sub": "9f1c4c0e-3a5b-4f0e-9a55-4f6f4f0c7a11", "exp": "+86400",
        "preferred_username": "john", "email": "john@idp.bench", "email_verified": true, "scope": "openid profile email",
        "realm_access": { "roles": ["admin", "offline_access", "uma_authorization"] },
    });
    let claims: BTreeMap<String, Value> = claims.as_object().into_iter().flatten().map(owned).collect();
    token::sign(&Token { key: Some("rsa-1".to_owned()), claims, ..Token::default() }, sidegate_tests::prepare::now())
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// The key set that tokens are verified by.
///
/// # Errors
/// The fixture key cannot be read.
pub fn key_set() -> Result<String, String> {
    token::key_set(&["rsa-1".to_owned()]).map(|keys| keys.to_string())
}

fn key(number: usize) -> String {
    format!("{number:08}-quiet-otter-7f3a91c0d24e")
}

fn host(number: usize) -> String {
    if number == 0 { HOST.to_owned() } else { format!("api-{number}.bench") }
}

/// Steps through hosts and keys so that neighbours are far apart.
#[must_use]
pub fn hosts_and_keys(hosts: usize, keys: usize) -> Vec<(String, String)> {
    let far = |index: usize, count: usize| index * 7919 % count;
    (0..hosts.max(keys)).map(|index| (host(far(index, hosts)), key(far(index, keys)))).collect()
}

fn plugin_config(resources: Vec<Value>, options: &Value) -> String {
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": resources,
        "options": options,
        "upstreams": [{ "url": ISSUER, "cluster": UPSTREAM }],
    })
    .to_string()
}

fn auth_config(number: usize, spec: Value) -> Value {
    json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3",
        "kind": "AuthConfig",
        "metadata": { "name": format!("bench-{number}") },
        "spec": spec,
    })
}

fn secret(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": format!("key-{number}"), "labels": { "group": "friends" } },
        "stringData": { "api_key": key(number) },
    })
}

fn by_api_key(number: usize) -> Value {
    auth_config(
        number,
        json!({
            "hosts": [host(number)],
            "authentication": { "friends": {
                "apiKey": { "selector": { "matchLabels": { "group": "friends" } } },
                "credentials": { "customHeader": { "name": "x-api-key" } },
            } },
        }),
    )
}

fn api_keys(count: usize) -> Vec<Value> {
    (0..count).map(secret).chain([by_api_key(0)]).collect()
}

fn auth_configs(count: usize) -> Vec<Value> {
    (0..count).map(by_api_key).chain([secret(0)]).collect()
}

fn by_jwt() -> Value {
    json!({ "idp": { "jwt": { "jwksUrl": format!("{ISSUER}/jwks"), "issuer": ISSUER, "audiences": ["bench"] } } })
}

fn jwt(authorization: &Value) -> Value {
    auth_config(
        0,
        json!({
            "hosts": [HOST],
            "authentication": by_jwt(),
            "authorization": authorization,
            "response": { "success": { "headers": {
                "x-user": { "plain": { "selector": "auth.identity.preferred_username" } },
            } } },
        }),
    )
}

fn role() -> Value {
    let pattern = json!({ "selector": "auth.identity.realm_access.roles", "operator": "incl", "value": "admin" });
    json!({ "patternMatching": { "patterns": [pattern] } })
}

/// Of what is granted under it nothing is remembered but the token.
fn path() -> Value {
    let pattern = json!({ "selector": "request.path", "operator": "matches", "value": "^/[a-z/]*$" });
    json!({ "patternMatching": { "patterns": [pattern] } })
}

fn rules() -> Vec<Value> {
    let predicates = [
        "request.method == 'GET'",
        "request.path.startsWith('/')",
        "'x-api-key' in request.headers",
        "auth.identity.metadata.labels.group == 'friends'",
        "auth.identity.metadata.name.startsWith('key-') && request.host.endsWith('.bench')",
    ];
    let selectors = [
        ("request.method", "neq", "DELETE"),
        ("request.path", "matches", "^/[a-z/]*$"),
        ("request.headers.user-agent", "matches", "^bench/"),
        ("auth.identity.metadata.labels.group", "eq", "friends"),
        ("auth.identity.metadata.namespace", "eq", "default"),
    ];
    let predicates = predicates.map(|predicate| json!({ "predicate": predicate }));
    let selectors = selectors
        .map(|(selector, operator, value)| json!({ "selector": selector, "operator": operator, "value": value }));
    let rules = predicates.into_iter().chain(selectors).enumerate();
    let rules: BTreeMap<String, Value> = rules
        .map(|(index, pattern)| (format!("rule-{index}"), json!({ "patternMatching": { "patterns": [pattern] } })))
        .collect();
    let mut auth_config = by_api_key(0);
    auth_config["spec"]["authorization"] = json!(rules);
    vec![auth_config, secret(0)]
}

/// The same demands as of [`jwt`], met by Envoy's own filters.
fn native(cache: bool) -> Result<Vec<Value>, String> {
    let mut provider = json!({
        "issuer": ISSUER,
        "audiences": ["bench"],
        "local_jwks": { "inline_string": key_set()? },
        "payload_in_metadata": "payload",
        "claim_to_headers": [{ "header_name": "x-user", "claim_name": "preferred_username" }],
        "forward": true,
    });
    if cache {
        provider["jwt_cache_config"] = json!({ "jwt_cache_size": 1000 });
    }
    let role = json!({ "metadata": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{ "key": "payload" }, { "key": "realm_access" }, { "key": "roles" }],
        "value": { "list_match": { "one_of": { "string_match": { "exact": "admin" } } } },
    } });
    Ok(vec![
        json!({ "name": "envoy.filters.http.jwt_authn", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "idp": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "idp" } }],
        } }),
        json!({ "name": "envoy.filters.http.rbac", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": "ALLOW", "policies": { "admins": {
                "permissions": [{ "any": true }],
                "principals": [role],
            } } },
        } }),
    ])
}

fn lua() -> Value {
    let code = format!(
        r#"local keys = {{ ["{}"] = "john" }}
function envoy_on_request(handle)
  local name = keys[handle:headers():get("x-api-key")]
  if name == nil then
    handle:respond({{ [":status"] = "401" }}, "")
  end
end"#,
        key(0)
    );
    json!({ "name": "envoy.filters.http.lua", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": { "inline_string": code },
    } })
}
