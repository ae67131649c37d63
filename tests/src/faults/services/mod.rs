//! The services, and the rules that ask them.

mod authentication;
mod authorization;
mod callback;
mod metadata;

use serde_json::{Value, json};

use super::{Answers, Asked, Replies, TIMEOUT};
use crate::case::{Raw, ServiceReply};
use crate::token;

const API_SERVER: &str = "Kubernetes API server";
const NO_JSON: &str = "the answer is no JSON";
const NO_OBJECT: &str = "the answer is no JSON object";
const STATUS_500: &str = "it answers with status 500";
const STATUS_302: &str = "it answers with status 302";
const HAS_STATUS_500: &str = "the answer has status 500";
const HAS_STATUS_302: &str = "the answer has status 302";
const REDIRECTS: &str = "it redirects with status 302, which is not followed";

/// All of them, in the order of the pipeline.
pub const ALL: [Asked; 16] = [
    authentication::DISCOVERY,
    authentication::KEY_SET,
    authentication::INTROSPECTION,
    authentication::TOKEN_REVIEW,
    metadata::HTTP,
    metadata::TOKEN,
    metadata::USER_INFO,
    metadata::UMA_CONFIGURATION,
    metadata::UMA_TOKEN,
    metadata::UMA_RESOURCES,
    metadata::UMA_RESOURCE,
    authorization::OPA,
    authorization::ACCESS_REVIEW,
    authorization::SPICEDB,
    callback::CALLBACK,
    callback::TOKEN,
];

fn anybody() -> Value {
    json!({ "authentication": { "anybody": { "anonymous": {} } } })
}

fn measured(rule: &Value) -> Value {
    let mut rule = rule.clone();
    rule["metrics"] = true.into();
    rule
}

fn authentication(name: &str, rule: &Value) -> Value {
    json!({ "authentication": { name: measured(rule) } })
}

fn authorization(name: &str, rule: &Value) -> Value {
    let mut spec = anybody();
    spec["authorization"] = json!({ name: measured(rule) });
    spec
}

/// Client credentials of a server's token endpoint.
fn oauth2(url: &str) -> Value {
    json!({
        "tokenUrl": format!("{url}/token"),
        "clientId": "us",
        "clientSecretRef": { "name": "client", "key": "clientSecret" },
        "timeout": TIMEOUT,
    })
}

fn http(url: &str) -> Value {
    json!({ "url": url, "timeout": TIMEOUT, "sharedSecretRef": { "name": "client", "key": "clientSecret" } })
}

fn access_token() -> ServiceReply {
    json_reply(&json!({ "access_token": format!("{}-of-the-token-endpoint", super::SECRET), "expires_in": 300 }))
}

fn keys() -> Value {
    token::key_set(&["rsa-1".to_owned()]).unwrap_or_default()
}

fn json_reply(body: &Value) -> ServiceReply {
    reply("application/json", &body.to_string())
}

fn reply(content_type: &str, body: &str) -> ServiceReply {
    ServiceReply {
        content_type: Some(content_type.to_owned()),
        body: Some(Raw::Text(body.to_owned())),
        ..ServiceReply::default()
    }
}

fn answers<const N: usize>(answers: [(&str, ServiceReply); N]) -> Answers {
    answers.into_iter().map(|(path, reply)| (path.to_owned(), reply)).collect()
}

fn faulty<const N: usize>(replies: [(&str, ServiceReply); N]) -> Replies {
    Replies { faulty: answers(replies), sound: Answers::new() }
}
