//! What servers would answer: a file of replies, and the keys of issuers.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use sidegate_engine::url::Url;

use super::Subject;
use crate::files;
use crate::validate::auth_configs;
use crate::yaml;

/// `services` and `tokens` of a case.
#[derive(Default)]
pub struct Script {
    pub services: Map<String, Value>,
    pub tokens: Map<String, Value>,
}

impl Script {
    /// What the files say; replies win over keys.
    pub fn read(subject: &Subject, jwks: Option<&Path>, replies: Option<&Path>) -> Result<Self, String> {
        let mut script = Self::default();
        if let Some(path) = replies {
            let mut content = document(path)?;
            let mut part = |name: &str| match content.remove(name) {
                Some(Value::Object(members)) => Ok(members),
                None => Ok(Map::new()),
                Some(_) => Err(format!("{}: `{name}` must be an object", path.display())),
            };
            script = Self { services: part("services")?, tokens: part("tokens")? };
            if let Some(name) = content.keys().next() {
                return Err(format!("{}: unknown field `{name}`; known are `services` and `tokens`", path.display()));
            }
        }
        if let Some(path) = jwks {
            let given: Vec<String> =
                script.services.values().filter_map(|service| authority(service["url"].as_str()?)).collect();
            let keys = document(path)?;
            if !keys.get("keys").is_some_and(Value::is_array) {
                return Err(format!("{}: it is no JSON Web Key Set: an object with a list `keys`", path.display()));
            }
            for (host, replies) in key_sets(subject, &Value::Object(keys)) {
                if !given.contains(&host.authority) {
                    let service = json!({ "url": host.origin, "replies": replies });
                    script.services.insert(format!("keys of {}", host.authority), service);
                }
            }
        }
        Ok(script)
    }
}

fn document(path: &Path) -> Result<Map<String, Value>, String> {
    let file = files::read_file(path)?;
    let mistake = |mistake: yaml::Mistake| format!("{}:{}: {}", file.name, mistake.mark.line, mistake.message);
    match yaml::parse(&file.name, &file.text).map_err(mistake)?.first().map(yaml::Node::to_value) {
        Some(Value::Object(members)) => Ok(members),
        _ => Err(format!("{}: it must be an object", file.name)),
    }
}

fn authority(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|url| url.authority())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Host {
    authority: String,
    origin: String,
}

/// For the host of each issuer and key set, replies by path: all have these keys.
fn key_sets(subject: &Subject, keys: &Value) -> BTreeMap<Host, Map<String, Value>> {
    let mut hosts: BTreeMap<Host, Map<String, Value>> = BTreeMap::new();
    let rules = auth_configs(&subject.documents).flat_map(|document| document.spec.authentication.values());
    for jwt in rules.filter_map(|rule| rule.jwt.as_ref()) {
        let Some((text, url)) =
            jwt.issuer_url.as_ref().or(jwt.jwks_url.as_ref()).and_then(|text| Some((text, Url::parse(text).ok()?)))
        else {
            continue;
        };
        let origin = format!("{}://{}", url.scheme, url.authority());
        let replies = hosts.entry(Host { authority: url.authority(), origin }).or_default();
        if jwt.issuer_url.is_some() {
            let base = url.path.trim_end_matches('/');
            let keys_at = format!("{}/jwks", text.trim_end_matches('/'));
            let algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
            let discovery =
                json!({ "issuer": text, "jwks_uri": keys_at, "id_token_signing_alg_values_supported": algorithms });
            replies.insert(format!("{base}/.well-known/openid-configuration"), json!([{ "json": discovery }]));
            replies.insert(format!("{base}/jwks"), json!([{ "json": keys }]));
        } else {
            replies.insert(url.path.split('?').next().unwrap_or_default().to_owned(), json!([{ "json": keys }]));
        }
    }
    hosts
}
