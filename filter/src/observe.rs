//! What operators see of a decision: facts for access logs, response code details, the debug log; its metrics are in
//! `metrics.rs`.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use serde_json::Value;
use sidegate_engine::east_west::Ruling;
use sidegate_engine::gather::gathered;
use sidegate_engine::trace::Outcome;
use sidegate_engine::{Decision, DenialStatus, Headers, LocalReply, StepRecord, Verdict};

use crate::host::{self, HostError, Level};
use crate::metrics::status;
use crate::plugin::Plugin;
use crate::rulings;

/// What is only to be looked at must not change what happens to a request.
const fn ignore(_: Result<(), HostError>) {}

/// A verdict that has been carried out, or is about to be, after this much waiting for others.
pub fn verdict(plugin: &Plugin, headers: &Headers, verdict: &Verdict, waited: Duration) {
    plugin.metrics.decided(verdict, waited);
    if let Some(ruling) = &verdict.ruling {
        rulings::of_request(plugin, ruling);
    }
    plugin.tell_soon();
    if let Some(auth_config) = &verdict.auth_config {
        ignore(host::set_property(b"sidegate.auth_config", auth_config.as_bytes()));
    }
    match &verdict.decision {
        Decision::Allow(_) => ignore(host::set_property(b"sidegate.decision", b"ok")),
        Decision::Deny(reply) => denial(reply),
        Decision::Serve(_) => ignore(host::set_property(b"sidegate.decision", b"served")),
    }
    if host::logs(Level::Debug) {
        host::log(Level::Debug, &trace(headers, verdict));
    }
}

/// What came of that which goes on after a verdict; nobody else hears of it.
pub fn follow_up(plugin: &Plugin, auth_config: &Rc<str>, steps: &[StepRecord]) {
    plugin.metrics.followed_up(auth_config, steps);
    plugin.tell_soon();
    for step in steps {
        let line = || format!("after a request: {auth_config}: {step}");
        if matches!(step.outcome, Outcome::Denied | Outcome::Failed) {
            plugin.quiet.warn(&format!("{auth_config} {}", step.name), &line());
        } else if host::logs(Level::Debug) {
            host::log(Level::Debug, &printable(&line()));
        }
    }
}

/// A request that is denied since something of ours or of Envoy's did not work.
pub fn failure(plugin: &Plugin, reply: &LocalReply) {
    plugin.metrics.host_failed();
    plugin.tell_soon();
    denial(reply);
    plugin.quiet.warn("request", &format!("a request is denied: {}", reply.reason));
}

fn denial(reply: &LocalReply) {
    ignore(host::set_property(b"sidegate.decision", decision(reply.status).as_bytes()));
    if let Some(rule) = &reply.rule {
        ignore(host::set_property(b"sidegate.rule", rule.as_bytes()));
    }
    ignore(host::set_property(b"sidegate.reason", reply.reason.as_bytes()));
}

const fn decision(status: DenialStatus) -> &'static str {
    match status {
        DenialStatus::NotFound => "not_found",
        DenialStatus::Unauthenticated => "unauthenticated",
        DenialStatus::PermissionDenied => "permission_denied",
        DenialStatus::TooLarge => "too_large",
        DenialStatus::Unavailable => "unavailable",
    }
}

/// What `%RESPONSE_CODE_DETAILS%` shows: `sidegate_permission_denied{default/api/admins-only}`, or `…{prod/api#0}` of a policy over
/// identity.
#[must_use]
pub fn details(auth_config: Option<&str>, reply: &LocalReply) -> String {
    let mut details = format!("sidegate_{}", decision(reply.status));
    let who: Vec<&str> = auth_config.into_iter().chain(reply.rule.as_deref()).collect();
    if !who.is_empty() {
        details.push('{');
        details.push_str(&who.join("/"));
        details.push('}');
    }
    details.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

/// One line: who decided what and why, step by step. The path is left out, since it may carry a credential.
fn trace(headers: &Headers, verdict: &Verdict) -> String {
    let id = headers.text("x-request-id").unwrap_or_default();
    let host = headers.text(":authority").unwrap_or_default();
    let auth_config = verdict.auth_config.as_deref().unwrap_or("no AuthConfig");
    let mut line = format!("request {id} to {host}: {auth_config}: {}", status(&verdict.decision));
    let mut add = |text: std::fmt::Arguments<'_>| line.push_str(&text.to_string());
    if let Decision::Deny(LocalReply { rule, reason, .. }) = &verdict.decision {
        if let Some(rule) = rule {
            add(format_args!(" by {rule}"));
        }
        add(format_args!(": {reason}"));
    }
    let ruling = verdict.ruling.as_deref().map(Ruling::step);
    for step in ruling.iter().chain(&verdict.steps) {
        add(format_args!("; {step}"));
    }
    if let Some(ruling) = &verdict.ruling {
        add(format_args!("; {}", ruling.to_json()));
    }
    printable(&line)
}

/// One line of it, whatever a client wrote in there.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Hands dynamic metadata on: as filter state, and in the header that carries it to `header_to_metadata`.
///
/// # Errors
/// Envoy would not.
pub fn dynamic_metadata(items: &[(String, Value)], carrier: Option<&str>) -> Result<(), HostError> {
    for (key, value) in items {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    metadata_item(&["sidegate", "metadata", key, name].join("."), value)?;
                }
            }
            value => metadata_item(&["sidegate", "metadata", key].join("."), value)?,
        }
    }
    let Some(carrier) = carrier.filter(|_| !items.is_empty()) else { return Ok(()) };
    let members = gathered(items.iter().map(|(key, value)| (key.clone(), to_proto(value))));
    let kind = prost_types::value::Kind::StructValue(prost_types::Struct { fields: members });
    let bytes = prost_types::Value { kind: Some(kind) }.encode_to_vec();
    host::set_request_header(carrier, BASE64_STANDARD.encode(bytes).as_bytes())
}

fn metadata_item(path: &str, value: &Value) -> Result<(), HostError> {
    match value {
        Value::String(text) => host::set_property(path.as_bytes(), text.as_bytes()),
        value => host::set_property(path.as_bytes(), value.to_string().as_bytes()),
    }
}

fn to_proto(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue { values: items.iter().map(to_proto).collect() }),
        Value::Object(members) => Kind::StructValue(prost_types::Struct {
            fields: gathered(members.iter().map(|(name, value)| (name.clone(), to_proto(value)))),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}
