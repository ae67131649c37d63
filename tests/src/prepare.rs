//! Fills in what a case leaves open: the time, tokens, URLs of services, and what its shorthands stand for.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::case::{Case, Service, ServiceReply, Token};
use crate::corpus;
use crate::{fixtures, token};

/// A case that is ready to run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The case.
    pub case: Case,
    /// The plugin configuration.
    pub configuration: String,
    /// What each service answers, by its authority.
    pub services: BTreeMap<String, Service>,
}

/// Fills in a case; `number` keeps its services apart from those of others.
///
/// # Errors
/// What is wrong with the case as it is written.
pub fn prepare(raw: &Value, number: usize) -> Result<Prepared, String> {
    let mut raw = raw.clone();
    spell_out(&mut raw);
    let mut values = BTreeMap::new();
    for name in keys(&raw, "services") {
        values.insert(format!("{name}.host"), authority(&name, number));
        values.insert(format!("{name}.url"), format!("http://{}", authority(&name, number)));
    }
    for folder in ["certs", "keys"] {
        insert_fixtures(folder, &mut values)?;
    }
    // Claims may speak of services, so tokens come second; everything else may speak of both.
    let mut tokens = raw.get("tokens").cloned().unwrap_or_else(|| json!({}));
    fill_in(&mut tokens, &values)?;
    let tokens: BTreeMap<String, Token> = serde_json::from_value(tokens).map_err(|error| format!("tokens: {error}"))?;
    for (name, token) in &tokens {
        let signed = token::sign(token, now()).map_err(|error| format!("token `{name}`: {error}"))?;
        values.insert(format!("token.{name}"), signed);
    }
    fill_in(&mut raw, &values)?;
    let case = corpus::shape(raw)?;
    check(&case)?;
    let services = case.services.iter().map(|(name, service)| {
        let authority = authority(name, number);
        Ok((authority.clone(), spell_out_service(service, &authority)?))
    });
    Ok(Prepared {
        configuration: configuration(&case, number)?,
        services: services.collect::<Result<_, String>>()?,
        case,
    })
}

/// Seconds since the epoch.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The name of the Envoy cluster for a service.
#[must_use]
pub fn cluster(service: &Service) -> &'static str {
    if service.down { "nobody" } else { "services" }
}

fn authority(service: &str, number: usize) -> String {
    format!("{service}-{number}.test")
}

/// `expect: allow` and `deny: 401` are short for objects.
fn spell_out(raw: &mut Value) {
    for request in raw.get_mut("requests").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(expect) = request.get_mut("expect") else { continue };
        if expect == "allow" {
            *expect = json!({ "allow": {} });
        }
        if let Some(deny) = expect.get_mut("deny").filter(|deny| deny.is_number()) {
            *deny = json!({ "status": deny });
        }
    }
}

fn keys(raw: &Value, field: &str) -> Vec<String> {
    raw.get(field).and_then(Value::as_object).map(|members| members.keys().cloned().collect()).unwrap_or_default()
}

/// `${certs.ca}` is a PEM, `${certs.ca.der}` base64 of the DER.
fn insert_fixtures(folder: &str, values: &mut BTreeMap<String, String>) -> Result<(), String> {
    let entries = std::fs::read_dir(fixtures::path(folder)).map_err(|error| error.to_string())?;
    for file in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let Some(name) = file.strip_suffix(".pem") else { continue };
        let text = fixtures::text(&format!("{folder}/{file}"))?;
        let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        values.insert(format!("{folder}.{name}.der"), base64);
        let escaped = text.replace('+', "%2B").replace('\n', "%0A").replace(' ', "%20");
        values.insert(format!("{folder}.{name}.escaped"), escaped);
        values.insert(format!("{folder}.{name}"), text);
    }
    Ok(())
}

fn fill_in(value: &mut Value, values: &BTreeMap<String, String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = fill_in_text(text, values)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill_in(item, values))?,
        Value::Object(members) => members.values_mut().try_for_each(|member| fill_in(member, values))?,
        _ => {}
    }
    Ok(())
}

fn fill_in_text(text: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').ok_or_else(|| format!("`{text}`: a `${{` is not closed"))?;
        let repeated = name.rsplit_once('*').and_then(|(part, count)| Some(part.repeat(count.parse().ok()?)));
        match (values.get(name), repeated) {
            (Some(value), _) => filled.push_str(value),
            (None, Some(repeated)) => filled.push_str(&repeated),
            (None, None) => return Err(format!("`${{{name}}}` is not known here")),
        }
        filled.push_str(rest);
    }
    Ok(filled)
}

fn check(case: &Case) -> Result<(), String> {
    let configurations = [case.config.is_some(), case.config_text.is_some(), case.auth_config.is_some()];
    if configurations.into_iter().filter(|given| *given).count() != 1 {
        return Err("exactly one of `config`, `configText` and `authConfig` is needed".to_owned());
    }
    if case.auth_config.is_none() && (case.options.is_some() || !case.resources.is_empty()) {
        return Err("`options` and `resources` go with `authConfig`; put them into `config`".to_owned());
    }
    if case.requests.is_empty() == case.config_errors.is_empty() {
        return Err("a case has either `requests` or `configErrors`".to_owned());
    }
    match case.requests.iter().position(|request| request.expect.allow.is_some() == request.expect.deny.is_some()) {
        Some(index) => Err(format!("request {}: exactly one of `allow` and `deny` is expected", index + 1)),
        None => Ok(()),
    }
}

fn configuration(case: &Case, number: usize) -> Result<String, String> {
    if let Some(text) = &case.config_text {
        return Ok(text.clone());
    }
    let upstreams = case.services.iter().map(
        |(name, service)| json!({ "url": format!("http://{}", authority(name, number)), "cluster": cluster(service) }),
    );
    let mut config = match (&case.config, &case.auth_config) {
        (Some(config), _) => config.clone(),
        (None, Some(spec)) => {
            let secrets = case.resources.iter().map(secret);
            let resources: Value = std::iter::once(auth_config(spec)).chain(secrets).collect();
            json!({ "resources": resources, "options": case.options.clone().unwrap_or_else(|| json!({})) })
        }
        (None, None) => return Err("there is no configuration".to_owned()),
    };
    if let Some(members) = config.as_object_mut().filter(|members| !members.contains_key("kind")) {
        members.insert("apiVersion".to_owned(), "sidegate.dev/v1alpha1".into());
        members.insert("kind".to_owned(), "PluginConfig".into());
        members.entry("upstreams").or_insert_with(|| upstreams.collect());
    }
    Ok(config.to_string())
}

fn auth_config(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(members) = spec.as_object_mut() {
        members.entry("hosts").or_insert_with(|| json!(["*"]));
    }
    json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3",
        "kind": "AuthConfig",
        "metadata": { "name": "subject", "namespace": "default" },
        "spec": spec,
    })
}

fn secret(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(members) = document.as_object_mut().filter(|members| !members.contains_key("kind")) {
        members.insert("apiVersion".to_owned(), "v1".into());
        members.insert("kind".to_owned(), "Secret".into());
    }
    document
}

/// The replies of a service with those that `issuer` and `jwks` stand for.
fn spell_out_service(service: &Service, authority: &str) -> Result<Service, String> {
    let mut replies = BTreeMap::new();
    if let Some(keys) = &service.issuer {
        let url = format!("http://{authority}");
        let discovery = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks"),
            "id_token_signing_alg_values_supported":
                ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
        });
        let reply = |json| vec![ServiceReply { json: Some(json), ..ServiceReply::default() }];
        replies.insert("/.well-known/openid-configuration".to_owned(), reply(discovery));
        replies.insert("/jwks".to_owned(), reply(token::key_set(keys)?));
    }
    for (path, scripted) in &service.replies {
        let spelled = scripted.iter().map(|reply| {
            let keys = reply.jwks.as_deref().map(token::key_set).transpose()?;
            Ok(ServiceReply { json: keys.or_else(|| reply.json.clone()), ..reply.clone() })
        });
        replies.insert(path.clone(), spelled.collect::<Result<_, String>>()?);
    }
    Ok(Service { replies, ..service.clone() })
}

impl Service {
    /// The reply that counts for a path when the `request`-th request of the case is under way; none is 404.
    #[must_use]
    pub fn reply(&self, path: &str, request: usize) -> Option<&ServiceReply> {
        let path = path.split('?').next().unwrap_or_default();
        self.replies.get(path)?.iter().rfind(|reply| reply.from <= request)
    }
}

impl ServiceReply {
    /// Status, headers and body as they go over the wire.
    #[must_use]
    pub fn wire(&self) -> (u16, Vec<(String, String)>, String) {
        let mut headers = self.headers.clone();
        let body = match (&self.json, &self.body) {
            (Some(json), _) => {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
                json.to_string()
            }
            (None, body) => body.clone().unwrap_or_default(),
        };
        (self.status.unwrap_or(200), headers, body)
    }
}
