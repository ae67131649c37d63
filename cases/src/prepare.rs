//! Fills in what a case leaves open: the time, tokens, URLs of services, and what its shorthands stand for.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidegate_engine::Policy;
use sidegate_engine::url::Url;

use crate::case::{Case, Expect, ExpectedCall, Request, Service, ServiceReply, Signature, Token};
use crate::{fixtures, signature, token};

/// A case that is ready to run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The case.
    pub case: Case,
    /// The plugin configuration.
    pub configuration: String,
    /// What each service answers, by its authority.
    pub services: BTreeMap<String, Service>,
    names: BTreeMap<String, String>,
}

impl Prepared {
    /// The name that the case has for a service.
    #[must_use]
    pub fn service_name(&self, authority: &str) -> Option<&str> {
        self.names.get(authority).map(String::as_str)
    }

    /// Requests that are under way together, with the index of the first.
    pub fn groups(&self) -> impl Iterator<Item = (usize, &[Request])> {
        let groups = self.case.requests.chunk_by(|_, next| next.together);
        groups.scan(0, |next, group| {
            let first = *next;
            *next += group.len();
            Some((first, group))
        })
    }
}

/// Fills in a case; `number` keeps its services apart from those of others.
///
/// # Errors
/// What is wrong with the case as it is written.
pub fn prepare(raw: &Value, number: usize) -> Result<Prepared, String> {
    prepare_at(raw, number, now())
}

/// The same at a time, in seconds since the epoch.
///
/// # Errors
/// What is wrong with the case as it is written.
pub fn prepare_at(raw: &Value, number: usize, now: i64) -> Result<Prepared, String> {
    let mut raw = raw.clone();
    spell_out(&mut raw);
    let mut values = BTreeMap::new();
    for (name, service) in raw.get("services").and_then(Value::as_object).into_iter().flatten() {
        let port = service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let place = place(name, port, service.get("url").and_then(Value::as_str), number)?;
        values.insert(format!("{name}.url"), place.url);
        values.insert(format!("{name}.host"), place.authority);
    }
    for folder in ["certs", "keys"] {
        insert_fixtures(folder, &mut values);
    }
    // Claims may speak of services, so tokens come second; everything else may speak of both.
    let mut tokens = raw.get("tokens").cloned().unwrap_or_else(|| json!({}));
    fill_in(&mut tokens, &values)?;
    let tokens: BTreeMap<String, Token> = serde_json::from_value(tokens).map_err(|error| format!("tokens: {error}"))?;
    for (name, token) in &tokens {
        let signed = token::sign(token, now).map_err(|error| format!("token `{name}`: {error}"))?;
        values.insert(format!("token.{name}"), signed);
    }
    let signatures = raw.get("signatures").cloned().unwrap_or_else(|| json!({}));
    let signatures: BTreeMap<String, Signature> =
        serde_json::from_value(signatures).map_err(|error| format!("signatures: {error}"))?;
    for (name, signature) in &signatures {
        let (input, value) = signature::sign(signature, now).map_err(|error| format!("signature `{name}`: {error}"))?;
        values.insert(format!("signature.{name}.input"), input);
        values.insert(format!("signature.{name}.value"), value);
    }
    fill_in(&mut raw, &values)?;
    let case: Case = serde_json::from_value(raw).map_err(|error| error.to_string())?;
    check(&case)?;
    let configuration = configuration(&case, number)?;
    let (mut services, mut names) = (BTreeMap::new(), BTreeMap::new());
    for (name, service) in &case.services {
        let Place { url, authority } = place_of(name, service, number)?;
        services.insert(authority.clone(), spell_out_service(service, &url)?);
        names.insert(authority, name.clone());
    }
    note_documents(&configuration, &mut services);
    Ok(Prepared { configuration, names, services, case })
}

/// Notes which paths of services are those of documents; a policy that is no policy has none.
fn note_documents(configuration: &str, services: &mut BTreeMap<String, Service>) {
    let Ok(policy) = Policy::compile(configuration.as_bytes()) else { return };
    let documents = policy.remote_documents();
    for url in documents.ids().filter_map(|id| Some(documents.status(id)?.name)) {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let Some((authority, path)) = rest.and_then(|rest| rest.split_once('/')) else { continue };
        if let Some(service) = services.get_mut(authority) {
            service.documents.insert(format!("/{path}"));
        }
    }
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
    match (service.down, service.grpc) {
        (true, _) => "nobody",
        (false, true) => "services-h2",
        (false, false) => "services",
    }
}

/// Where a service is.
struct Place {
    /// Its URL, which ends without a slash.
    url: String,
    /// The host and port of that.
    authority: String,
}

fn place_of(name: &str, service: &Service, number: usize) -> Result<Place, String> {
    place(name, service.port, service.url.as_deref(), number)
}

/// Where the case says, or where no other case has one of this name.
fn place(name: &str, port: Option<u16>, url: Option<&str>, number: usize) -> Result<Place, String> {
    match url {
        Some(url) => {
            let authority =
                Url::parse(url).map_err(|reason| format!("service `{name}`: `{url}` {reason}"))?.authority();
            Ok(Place { url: url.trim_end_matches('/').to_owned(), authority })
        }
        None => {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let authority = format!("{name}-{number}.test{port}");
            Ok(Place { url: format!("http://{authority}"), authority })
        }
    }
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

/// `${certs.ca}` is a PEM, `${certs.ca.der}` base64 of the DER.
fn insert_fixtures(folder: &str, values: &mut BTreeMap<String, String>) {
    for (name, text) in fixtures::in_folder(folder) {
        let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        values.insert(format!("{folder}.{name}.der"), base64);
        let escaped = text.replace('+', "%2B").replace('\n', "%0A").replace(' ', "%20");
        values.insert(format!("{folder}.{name}.escaped"), escaped);
        values.insert(format!("{folder}.{name}"), text.to_owned());
    }
}

/// Bytes of a text that is repeated.
const MAX_REPEATED: usize = 16 << 20;

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
        let repeated = name.rsplit_once('*').and_then(|(part, count)| Some((part, count.parse::<usize>().ok()?)));
        let repeated = match repeated {
            Some((part, count)) if part.len().saturating_mul(count) > MAX_REPEATED => {
                return Err(format!("`${{{name}}}` is longer than {} MiB", MAX_REPEATED >> 20));
            }
            repeated => repeated.map(|(part, count)| part.repeat(count)),
        };
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
        return Err("exactly one of `config`, `configText` and `authConfig` is needed, or none and documents by `sidegate test -f`".to_owned());
    }
    if case.auth_config.is_none() && (case.options.is_some() || !case.resources.is_empty()) {
        return Err("`options` and `resources` go with `authConfig`; put them into `config`".to_owned());
    }
    if case.requests.is_empty() == case.config_errors.is_empty() {
        return Err("a case has either `requests` or `configErrors`".to_owned());
    }
    for (index, request) in case.requests.iter().enumerate() {
        check_request(case, index, request).map_err(|error| format!("request {}: {error}", index + 1))?;
    }
    Ok(())
}

fn check_request(case: &Case, index: usize, request: &Request) -> Result<(), String> {
    let Expect { allow, deny, serve, calls, later, .. } = &request.expect;
    if [allow.is_some(), deny.is_some(), serve.is_some()].into_iter().filter(|given| *given).count() != 1 {
        return Err("exactly one of `allow`, `deny` and `serve` is expected".to_owned());
    }
    if later.is_some() && calls.is_none() {
        return Err("`later` goes with `calls`; `calls: []` says that there are none before".to_owned());
    }
    let unknown = |call: &&ExpectedCall| !case.services.contains_key(&call.service);
    if let Some(call) = calls.iter().chain(later).flatten().find(unknown) {
        return Err(format!("there is no service `{}`", call.service));
    }
    if request.together && (index == 0 || request.times != 1 || request.after != 0 || case.envoy.tls.is_some()) {
        return Err("`together` needs a request before, and goes with neither `times`, `after` nor TLS".to_owned());
    }
    Ok(())
}

fn configuration(case: &Case, number: usize) -> Result<String, String> {
    if let Some(text) = &case.config_text {
        return Ok(text.clone());
    }
    let upstreams = case
        .services
        .iter()
        .map(|(name, service)| Ok(json!({ "url": place_of(name, service, number)?.url, "cluster": cluster(service) })));
    let upstreams = upstreams.collect::<Result<Value, String>>()?;
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
        members.entry("upstreams").or_insert(upstreams);
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
fn spell_out_service(service: &Service, url: &str) -> Result<Service, String> {
    let mut replies = BTreeMap::new();
    if let Some(keys) = &service.issuer {
        let below = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let discovery = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks"),
            "id_token_signing_alg_values_supported":
                ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
        });
        let reply = |json| vec![ServiceReply { json: Some(json), ..ServiceReply::default() }];
        replies.insert(format!("{below}/.well-known/openid-configuration"), reply(discovery));
        let keys =
            ServiceReply { jwks: Some(keys.clone()), json: Some(token::key_set(keys)?), ..ServiceReply::default() };
        replies.insert(format!("{below}/jwks"), vec![keys]);
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
