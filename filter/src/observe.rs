//! What operators see of a decision: metrics, facts for access logs, response code details, the debug log.
//!
//! Names of metrics come from the configuration alone, so that no client can make new ones.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use serde_json::Value;
use sidegate_engine::trace::{Outcome, Stage};
use sidegate_engine::{
    Decision, DenialStatus, Headers, LocalReply, Published, Served, StepRecord, Timestamp, Verdict, WellKnownDocument,
};

use crate::host::{self, HostError, Level, Metric, MetricKind};

/// What stays as it is within a label; a dot would start the next one.
const LABEL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Counters and gauges, made known to Envoy when they are first needed.
#[derive(Debug, Default)]
pub struct Metrics {
    single: RefCell<BTreeMap<&'static str, Option<Metric>>>,
    auth_configs: RefCell<HashMap<Rc<str>, AuthConfigMetrics>>,
    served: RefCell<HashMap<Rc<Published>, Option<Metric>>>,
}

/// Counters of one AuthConfig.
#[derive(Debug, Default)]
struct AuthConfigMetrics {
    total: Option<Option<Metric>>,
    duration: Option<Option<Metric>>,
    statuses: BTreeMap<&'static str, Option<Metric>>,
    evaluators: HashMap<(&'static str, Rc<str>, &'static str), Option<Metric>>,
}

/// What could not be done, as the label of `sidegate_failed_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A step of the pipeline could not decide.
    Step(Stage),
    /// Envoy did not do what was asked, or asked in vain.
    Host,
}

impl Metrics {
    /// A configuration has come into force.
    pub fn configured(&self) {
        let gauge = host::define_metric(MetricKind::Gauge, "sidegate_config_loaded_timestamp_seconds");
        if let (Ok(gauge), Ok(now)) = (gauge, host::now()) {
            ignore(host::record_metric(gauge, now.secs()));
        }
    }

    /// A key set was fetched, or not.
    pub fn keys_fetched(&self, ok: bool) {
        self.count(if ok { "sidegate_keys_fetch_total.result.ok" } else { "sidegate_keys_fetch_total.result.failed" });
    }

    fn failed(&self, failure: Failure) {
        self.count(match failure {
            Failure::Step(Stage::Selection) => "sidegate_failed_total.class.selection",
            Failure::Step(Stage::Authentication) => "sidegate_failed_total.class.authentication",
            Failure::Step(Stage::Metadata) => "sidegate_failed_total.class.metadata",
            Failure::Step(Stage::Callback) => "sidegate_failed_total.class.callback",
            Failure::Step(Stage::Authorization) => "sidegate_failed_total.class.authorization",
            Failure::Step(Stage::Response) => "sidegate_failed_total.class.response",
            Failure::Host => "sidegate_failed_total.class.host",
        });
    }

    fn count(&self, name: &'static str) {
        increment(*self.single.borrow_mut().entry(name).or_insert_with(|| counter(name)));
    }

    fn followed_up(&self, id: &Rc<str>, steps: &[StepRecord]) {
        let mut auth_configs = self.auth_configs.borrow_mut();
        auth_configs.entry(Rc::clone(id)).or_default().ran(id, steps);
    }

    /// One of our own documents was asked for.
    fn served(&self, served: &Served) {
        self.count(match served.code {
            200 => "oidc_server_response_status.status.200",
            405 => "oidc_server_response_status.status.405",
            _ => "oidc_server_response_status.status.404",
        });
        let Some(published) = &served.published else { return };
        increment(*self.served.borrow_mut().entry(Rc::clone(published)).or_insert_with(|| {
            let Published { auth_config, wristband, document } = &**published;
            let wristband = utf8_percent_encode(wristband, LABEL);
            let path = match document {
                WellKnownDocument::Discovery => "openid-configuration",
                WellKnownDocument::KeySet => "certs",
            };
            counter(&format!("oidc_server_requests_total{}.wristband.{wristband}.path.{path}", labels(auth_config)))
        }));
    }

    fn decided(&self, verdict: &Verdict, began: Timestamp) {
        if let Decision::Serve(served) = &verdict.decision {
            return self.served(served);
        }
        let status = status(&verdict.decision);
        self.count(match status {
            "OK" => "auth_server_response_status.status.OK",
            "NOT_FOUND" => "auth_server_response_status.status.NOT_FOUND",
            "UNAUTHENTICATED" => "auth_server_response_status.status.UNAUTHENTICATED",
            "PERMISSION_DENIED" => "auth_server_response_status.status.PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED" => "auth_server_response_status.status.RESOURCE_EXHAUSTED",
            _ => "auth_server_response_status.status.UNAVAILABLE",
        });
        let skipped = |step: &StepRecord| step.stage == Stage::Selection && step.outcome == Outcome::Skipped;
        let Some(id) = verdict.auth_config.as_ref().filter(|_| !verdict.steps.iter().any(skipped)) else { return };
        let mut auth_configs = self.auth_configs.borrow_mut();
        auth_configs.entry(Rc::clone(id)).or_default().decided(id, status, &verdict.steps, began);
    }
}

impl AuthConfigMetrics {
    fn decided(&mut self, id: &str, status: &'static str, steps: &[StepRecord], began: Timestamp) {
        let duration = || {
            let name = format!("auth_server_authconfig_duration_microseconds{}", labels(id));
            host::define_metric(MetricKind::Histogram, &name).ok()
        };
        if let (Some(duration), Ok(now)) = (*self.duration.get_or_insert_with(duration), host::now()) {
            let micros = u64::try_from(now.since(began).as_micros()).unwrap_or(u64::MAX);
            ignore(host::record_metric(duration, micros));
        }
        let total = || counter(&format!("auth_server_authconfig_total{}", labels(id)));
        increment(*self.total.get_or_insert_with(total));
        increment(*self.statuses.entry(status).or_insert_with(|| {
            counter(&format!("auth_server_authconfig_response_status{}.status.{status}", labels(id)))
        }));
        self.ran(id, steps);
    }

    fn ran(&mut self, id: &str, steps: &[StepRecord]) {
        for step in steps.iter().filter(|step| step.metrics) {
            self.evaluated("total", id, step);
            match step.outcome {
                Outcome::Ok => {}
                Outcome::Skipped => self.evaluated("ignored", id, step),
                Outcome::Cancelled => self.evaluated("cancelled", id, step),
                Outcome::Denied | Outcome::Failed => self.evaluated("denied", id, step),
            }
        }
    }

    fn evaluated(&mut self, what: &'static str, id: &str, step: &StepRecord) {
        let StepRecord { kind, name, .. } = step;
        increment(*self.evaluators.entry((what, Rc::clone(name), kind)).or_insert_with(|| {
            let name = utf8_percent_encode(name, LABEL);
            counter(&format!("auth_server_evaluator_{what}{}.evaluator_type.{kind}.evaluator_name.{name}", labels(id)))
        }));
    }
}

fn labels(id: &str) -> String {
    let (namespace, name) = id.split_once('/').unwrap_or(("", id));
    let [namespace, name] = [namespace, name].map(|part| utf8_percent_encode(part, LABEL));
    format!(".namespace.{namespace}.authconfig.{name}")
}

fn counter(name: &str) -> Option<Metric> {
    host::define_metric(MetricKind::Counter, name).ok()
}

fn increment(metric: Option<Metric>) {
    if let Some(metric) = metric {
        ignore(host::increment_metric(metric, 1));
    }
}

/// What is only to be looked at must not change what happens to a request.
const fn ignore(_: Result<(), HostError>) {}

/// A verdict that has been carried out, or is about to be.
pub fn verdict(metrics: &Metrics, headers: &Headers, verdict: &Verdict, began: Timestamp) {
    metrics.decided(verdict, began);
    for step in verdict.steps.iter().filter(|step| step.outcome == Outcome::Failed) {
        metrics.failed(Failure::Step(step.stage));
    }
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
pub fn follow_up(metrics: &Metrics, auth_config: &Rc<str>, steps: &[StepRecord]) {
    metrics.followed_up(auth_config, steps);
    for step in steps {
        let failed = matches!(step.outcome, Outcome::Denied | Outcome::Failed);
        if failed {
            metrics.failed(Failure::Step(step.stage));
        }
        let level = if failed { Level::Warn } else { Level::Debug };
        if host::logs(level) {
            host::log(level, &printable(&format!("after a request: {auth_config}: {step}")));
        }
    }
}

/// A request that is denied since something of ours or of Envoy's did not work.
pub fn failure(metrics: &Metrics, reply: &LocalReply) {
    metrics.failed(Failure::Host);
    metrics.count("auth_server_response_status.status.UNAVAILABLE");
    denial(reply);
    host::log(Level::Warn, &format!("a request is denied: {}", printable(&reply.reason)));
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

const fn status(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow(_) => "OK",
        Decision::Deny(reply) => reply.status.name(),
        Decision::Serve(_) => "SERVED",
    }
}

/// What `%RESPONSE_CODE_DETAILS%` shows: `sidegate_permission_denied{default/api/admins-only}`.
#[must_use]
pub fn details(auth_config: Option<&str>, reply: &LocalReply) -> String {
    let mut details = format!("sidegate_{}", decision(reply.status));
    if let Some(auth_config) = auth_config {
        details.push('{');
        details.push_str(auth_config);
        if let Some(rule) = &reply.rule {
            details.push('/');
            details.push_str(rule);
        }
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
    for step in &verdict.steps {
        add(format_args!("; {step}"));
    }
    printable(&line)
}

/// One line of it, whatever a client wrote in there.
fn printable(text: &str) -> String {
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
    let members = items.iter().map(|(key, value)| (key.clone(), to_proto(value))).collect();
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
            fields: members.iter().map(|(name, value)| (name.clone(), to_proto(value))).collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}
