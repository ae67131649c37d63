//! What came of a request, and whether it is what was expected.

use std::collections::BTreeMap;

use serde_json::Value;
use sidegate_engine::StepRecord;

use crate::case::{Allow, Deny, Expect, Seen, Serve};

/// What came of a request.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was done.
    pub decision: Decision,
    /// The AuthConfig that decided.
    pub auth_config: Option<String>,
    /// The step trace, where the runner can see it.
    pub trace: Option<Vec<String>>,
    /// Whether the trace has each step by itself, so that it can be looked at.
    pub trace_is_whole: bool,
    /// The same, not as text; natively only.
    pub steps: Vec<StepRecord>,
}

/// What was done with a request.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It reached the upstream.
    Allowed {
        /// Headers that the upstream saw, in order; lower-case names.
        headers: Vec<(String, String)>,
        /// Dynamic metadata.
        metadata: Metadata,
    },
    /// It was answered.
    Denied {
        /// HTTP status.
        status: u16,
        /// Headers in order, names lower-case; Envoy's own left out.
        headers: Vec<(String, String)>,
        /// Body.
        body: String,
        /// The kind of denial, by its gRPC name.
        kind: String,
        /// The rule that decided.
        rule: Option<String>,
    },
    /// A document of Sidegate's own was asked for.
    Served {
        /// HTTP status.
        status: u16,
        /// Headers in order, names lower-case; Envoy's own left out.
        headers: Vec<(String, String)>,
        /// Body.
        body: String,
    },
}

impl Default for Decision {
    fn default() -> Self {
        Self::Allowed { headers: Vec::new(), metadata: Metadata::default() }
    }
}

/// Dynamic metadata, as far as the runner can see it.
#[derive(Debug, Clone)]
pub enum Metadata {
    /// With its types.
    Typed(BTreeMap<String, Value>),
    /// As filter state shows it: text by `key`, or by `key.member` of objects.
    Flat(BTreeMap<String, String>),
}

impl Default for Metadata {
    fn default() -> Self {
        Self::Flat(BTreeMap::new())
    }
}

/// Metadata as filter state shows it.
#[must_use]
pub fn flat(metadata: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let mut all = BTreeMap::new();
    for (key, value) in metadata {
        match value {
            Value::Object(members) => {
                all.extend(members.iter().map(|(name, value)| (format!("{key}.{name}"), text(value))));
            }
            value => drop(all.insert(key.clone(), text(value))),
        }
    }
    all
}

/// Expected and got, line by line.
#[derive(Debug, Default)]
pub(crate) struct Comparison(Vec<(&'static str, String, String, bool)>);

impl Comparison {
    pub(crate) fn line(&mut self, what: &'static str, expected: impl Into<String>, got: impl Into<String>, fits: bool) {
        self.0.push((what, expected.into(), got.into(), fits));
    }

    fn equal(&mut self, what: &'static str, expected: impl Into<String>, got: impl Into<String>) {
        let (expected, got) = (expected.into(), got.into());
        let fits = expected == got;
        self.line(what, expected, got, fits);
    }

    fn fits(&self) -> bool {
        self.0.iter().all(|(.., fits)| *fits)
    }

    /// Nothing if all is as expected.
    pub(crate) fn report<'a>(&self, trace: impl Iterator<Item = &'a String>) -> Result<(), String> {
        if self.fits() {
            return Ok(());
        }
        let mut report = String::new();
        self.print(&mut report);
        trace.for_each(|line| report += &format!("  step         {line}\n"));
        Err(report)
    }

    /// Two columns; what differs is marked.
    fn print(&self, out: &mut String) {
        let width = self.0.iter().map(|(_, expected, ..)| expected.chars().count()).max().unwrap_or(0).clamp(8, 70);
        *out += &format!("  {:<12} {:<width$}   got\n", "", "expected");
        for (what, expected, got, fits) in &self.0 {
            let mark = if *fits { ' ' } else { '≠' };
            *out += &format!("  {what:<12} {expected:<width$} {mark} {got}\n");
        }
    }
}

/// Whether an outcome is as expected.
///
/// # Errors
/// Expected and got side by side, and the step trace.
pub fn judge(expect: &Expect, outcome: &Outcome) -> Result<(), String> {
    let mut comparison = Comparison::default();
    match (&expect.allow, &expect.deny, &outcome.decision) {
        (None, None, Decision::Served { status, headers, body }) if let Some(serve) = &expect.serve => {
            served(serve, *status, headers, body, &mut comparison);
        }
        (.., Decision::Served { status, .. }) => {
            comparison.line("decision", "not served", format!("served {status}"), false)
        }
        (Some(allow), _, Decision::Allowed { headers, metadata }) => {
            comparison.equal("decision", "allow", "allow");
            allowed(allow, headers, metadata, &mut comparison);
        }
        (_, Some(deny), decision @ Decision::Denied { .. }) => denied(deny, decision, &mut comparison),
        (Some(_), _, Decision::Denied { status, headers, body, kind, rule }) => {
            let rule = rule.as_deref().unwrap_or("no rule");
            comparison.line("decision", "allow", format!("deny {status} {kind} by {rule}: {headers:?} {body}"), false);
        }
        (_, deny, Decision::Allowed { .. }) => {
            let status = deny.as_ref().map_or(0, |deny| deny.status);
            comparison.line("decision", format!("deny {status}"), "allow", false);
        }
        (None, None, Decision::Denied { .. }) => comparison.line("decision", "nothing", "deny", false),
    }
    if let Some(auth_config) = &expect.auth_config {
        let text = |name: &Option<String>| name.as_deref().unwrap_or("none").to_owned();
        comparison.equal("authConfig", text(auth_config), text(&outcome.auth_config));
    }
    if let (Some(trace), true) = (&outcome.trace, outcome.trace_is_whole) {
        trace_has(&expect.trace, trace, &mut comparison);
    }
    comparison.report(outcome.trace.iter().flatten())
}

fn allowed(allow: &Allow, headers: &[(String, String)], metadata: &Metadata, comparison: &mut Comparison) {
    for (name, seen) in &allow.upstream {
        let got: Vec<&String> = headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect();
        let expected = match seen {
            Seen::Absent(()) => Vec::new(),
            Seen::Once(value) => vec![value],
            Seen::All(values) => values.iter().collect(),
        };
        comparison.equal("upstream", format!("{name}: {expected:?}"), format!("{name}: {got:?}"));
    }
    let Some(expected) = &allow.metadata else { return };
    match metadata {
        Metadata::Typed(got) => {
            let text = |all: &BTreeMap<String, Value>| Value::from_iter(all.clone()).to_string();
            comparison.equal("metadata", text(expected), text(got));
        }
        Metadata::Flat(got) => comparison.equal("metadata", format!("{:?}", flat(expected)), format!("{got:?}")),
    }
}

fn served(serve: &Serve, status: u16, headers: &[(String, String)], body: &str, comparison: &mut Comparison) {
    comparison.equal("status", serve.status.to_string(), status.to_string());
    for (name, expected) in &serve.headers {
        let got = headers.iter().find(|(key, _)| key == name).map_or("none", |(_, value)| value);
        comparison.equal("header", format!("{name}: {expected}"), format!("{name}: {got}"));
    }
    if let Some(expected) = &serve.body {
        comparison.equal("body", expected, body);
    }
    if let Some(expected) = &serve.json {
        let got: Value = serde_json::from_str(body).unwrap_or_default();
        comparison.equal("json", expected.to_string(), got.to_string());
    }
}

fn denied(deny: &Deny, decision: &Decision, comparison: &mut Comparison) {
    let Decision::Denied { status, headers, body, kind, rule } = decision else { return };
    comparison.equal("status", deny.status.to_string(), status.to_string());
    if let Some(expected) = &deny.reason {
        let reasons = headers.iter().filter(|(name, _)| name == "x-ext-auth-reason").map(|(_, value)| value.as_str());
        let got = reasons.collect::<Vec<_>>().join(" | ");
        comparison.line("reason", format!("{expected:?}"), &got, expected.fits(&got));
    }
    if let Some(expected) = &deny.headers {
        for index in 0..expected.len().max(headers.len()) {
            let fits = match (expected.get(index), headers.get(index)) {
                (Some((name, value)), Some((key, got))) => name.eq_ignore_ascii_case(key) && value.fits(got),
                _ => false,
            };
            let text = |header: Option<String>| header.unwrap_or_else(|| "none".to_owned());
            comparison.line(
                "header",
                text(expected.get(index).map(|(name, value)| format!("{}: {value:?}", name.to_ascii_lowercase()))),
                text(headers.get(index).map(|(name, value)| format!("{name}: {value:?}"))),
                fits,
            );
        }
    }
    for (what, expected, got) in
        [("body", &deny.body, Some(body)), ("kind", &deny.kind, Some(kind)), ("rule", &deny.rule, rule.as_ref())]
    {
        if let Some(expected) = expected {
            comparison.equal(what, expected, got.map_or("none", String::as_str));
        }
    }
}

fn trace_has(expected: &[String], trace: &[String], comparison: &mut Comparison) {
    let mut rest = trace.iter();
    for part in expected {
        let found = rest.by_ref().find(|line| line.contains(part.as_str()));
        comparison.line(
            "trace",
            part,
            found.map_or("not there, or not in this order", String::as_str),
            found.is_some(),
        );
    }
}
