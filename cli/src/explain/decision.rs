//! One decision: its steps in order, and the first criterion that failed.

use serde_json::{Value, json};
use sidegate_cases::case::Received;
use sidegate_cases::native;
use sidegate_cases::outcome::{Decision, Outcome as Came};
use sidegate_cases::prepare;
use sidegate_engine::Timestamp;
use sidegate_engine::trace::{Outcome, Stage, StepRecord};

use super::script::Script;
use super::{Subject, headers, seconds};
use crate::args::{Explain, ExplainFormat};
use crate::effective::{self, Effective};
use crate::report::printable;
use crate::test::{decision, literal};

/// What came of the request, and what servers were asked.
struct Decided {
    came: Came,
    calls: Vec<(String, Received)>,
}

/// Prints how a request is decided; false if it is denied.
pub fn explain(subject: &Subject, host: &str, arguments: &Explain) -> crate::Outcome {
    let now = seconds(arguments.now.as_deref())?;
    let decided = decide(subject, host, now, arguments)?;
    match arguments.output {
        ExplainFormat::Text => text(subject, host, arguments, &decided),
        ExplainFormat::Json => line!("{:#}", to_json(subject, &decided)),
    }
    Ok(!matches!(decided.came.decision, Decision::Denied { .. }))
}

/// What comes of the request.
pub fn decided(subject: &Subject, host: &str, arguments: &Explain) -> Result<Came, String> {
    decide(subject, host, seconds(arguments.now.as_deref())?, arguments).map(|Decided { came, .. }| came)
}

fn decide(subject: &Subject, host: &str, now: i64, arguments: &Explain) -> Result<Decided, String> {
    let Script { services, tokens } = Script::read(subject, arguments.jwks.as_deref(), arguments.replies.as_deref())?;
    let case = json!({
        "title": "a request",
        "config": literal(subject.configuration.root.to_value()),
        "services": services,
        "tokens": tokens,
        "requests": [request(host, arguments)?],
    });
    let prepared = prepare::prepare_at(&case, 0, now)?;
    let mut decided = None;
    let judged = native::watch(&prepared, Timestamp::from_secs(now.unsigned_abs()), &mut |seen| {
        let later = seen.calls.later.iter().flatten();
        let calls = seen.calls.before.iter().chain(later).map(|call| (call.service.clone(), call.request.clone()));
        decided = seen.outcomes.first().map(|came| Decided { came: came.clone(), calls: calls.collect() });
    });
    // What the case expects is of no interest, only what came.
    decided.ok_or_else(|| judged.err().unwrap_or_default())
}

fn request(host: &str, arguments: &Explain) -> Result<Value, String> {
    let Explain { method, path, body, attributes, .. } = arguments;
    let attribute = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.into())),
        None => Err("an attribute is written as `name=value`".to_owned()),
    };
    let attributes = attributes.iter().map(attribute).collect::<Result<serde_json::Map<_, _>, _>>()?;
    let mut request = json!({
        "authority": host,
        "method": method.as_deref().unwrap_or("GET"),
        "path": path.as_deref().unwrap_or("/"),
        "headers": headers(arguments)?,
        "attributes": attributes,
        "expect": "allow",
    });
    if let Some(body) = body {
        request["body"] = body.as_str().into();
    }
    Ok(request)
}

fn text(subject: &Subject, host: &str, arguments: &Explain, Decided { came, calls }: &Decided) {
    let method = arguments.method.as_deref().unwrap_or("GET");
    let path = without_query(arguments.path.as_deref().unwrap_or("/"));
    line!("{}: {}", printable(&format!("{method} {host}{path}")), printable(&decision(came)));
    let effective = effective_of(subject, came);
    if let Some(effective) = &effective {
        line!("AuthConfig {} ({})", printable(&effective.id()), subject.place(effective, ""));
    }
    for (index, step) in came.steps.iter().enumerate() {
        let place = effective
            .as_ref()
            .map(|effective| place(subject, effective, step))
            .map(|place| format!(" ({place})"))
            .unwrap_or_default();
        line!("  {}. {}{place}", index + 1, printable(&step.to_string()));
    }
    for (service, Received { method, path, .. }) in calls {
        line!("asked {}", printable(&format!("{service}: {method} {}", without_query(path))));
    }
    if let Some(step) = first_failed(came) {
        let detail = step.detail.as_deref().unwrap_or("no reason given");
        line!("first that failed: {} {}: {}", step.stage, printable(&step.name), printable(detail));
    }
    match &came.decision {
        Decision::Allowed { headers, .. } => {
            let set: Vec<&str> = headers_set(subject, came, headers);
            if !set.is_empty() {
                line!("set for the upstream: {}", set.join(", "));
            }
        }
        Decision::Denied { headers, .. } | Decision::Served { headers, .. } => {
            headers.iter().for_each(|(name, value)| line!("answered {name}: {}", printable(value)));
        }
    }
}

/// Names of the headers that the policy sets; their values may be secrets.
fn headers_set<'a>(subject: &Subject, came: &Came, headers: &'a [(String, String)]) -> Vec<&'a str> {
    let effective = effective_of(subject, came);
    let items = effective.iter().flat_map(|effective| &effective.spec.response.success.headers);
    let names: Vec<String> = items.map(|(name, item)| item.key.as_ref().unwrap_or(name).to_ascii_lowercase()).collect();
    headers.iter().map(|(name, _)| name.as_str()).filter(|name| names.iter().any(|known| known == name)).collect()
}

fn to_json(subject: &Subject, Decided { came, calls }: &Decided) -> Value {
    let effective = effective_of(subject, came);
    let step = |step: &StepRecord| {
        let StepRecord { stage, name, kind, metrics: _, outcome, detail } = step;
        json!({
            "stage": stage.to_string(), "name": &**name, "kind": kind, "outcome": outcome.to_string(), "detail": detail,
            "place": effective.as_ref().map(|effective| place(subject, effective, step)),
        })
    };
    let calls: Vec<Value> = (calls.iter())
        .map(|(service, call)| json!({ "service": service, "method": call.method, "path": without_query(&call.path) }))
        .collect();
    let mut json = json!({
        "authConfig": came.auth_config,
        "steps": came.steps.iter().map(step).collect::<Vec<_>>(),
        "calls": calls,
        "firstFailed": first_failed(came).map(step),
    });
    match &came.decision {
        Decision::Allowed { headers, .. } => {
            json["decision"] = "allow".into();
            json["setHeaders"] = headers_set(subject, came, headers).into();
        }
        Decision::Denied { status, kind, rule, headers, .. } => {
            json["decision"] = "deny".into();
            json["status"] = (*status).into();
            json["kind"] = kind.as_str().into();
            json["rule"] = json!(rule);
            json["headers"] = json!(headers);
        }
        Decision::Served { status, .. } => {
            json["decision"] = "serve".into();
            json["status"] = (*status).into();
        }
    }
    json
}

/// The AuthConfig that decided.
fn effective_of<'a>(subject: &'a Subject, came: &Came) -> Option<Effective<'a>> {
    let id = came.auth_config.as_ref()?;
    effective::all(&subject.documents).into_iter().find(|effective| effective.id() == *id)
}

/// Where a rule stands.
fn place(subject: &Subject, effective: &Effective<'_>, StepRecord { stage, name, .. }: &StepRecord) -> String {
    let path = match stage {
        Stage::EastWest => return String::new(),
        Stage::Selection => "spec.when".to_owned(),
        Stage::Authentication => format!("spec.authentication.{name}"),
        Stage::Metadata => format!("spec.metadata.{name}"),
        Stage::Authorization => format!("spec.authorization.{name}"),
        Stage::Response => {
            let success = &effective.spec.response.success;
            let of = if success.headers.contains_key(&**name) { "headers" } else { "dynamicMetadata" };
            format!("spec.response.success.{of}.{name}")
        }
        Stage::Callback => format!("spec.callbacks.{name}"),
    };
    subject.place(effective, &path)
}

/// Of a denial, the step that led to it: the rule that said no, or the first way in that was tried.
pub fn first_failed(came: &Came) -> Option<&StepRecord> {
    let Decision::Denied { rule, .. } = &came.decision else { return None };
    let stage = if rule.is_some() { Stage::Authorization } else { Stage::Authentication };
    let failed = |step: &&StepRecord| matches!(step.outcome, Outcome::Denied | Outcome::Failed);
    let named = |step: &&StepRecord| rule.as_ref().is_none_or(|rule| **rule == *step.name);
    // A way in that nobody tried is of less interest than one that was closed.
    let tried = |step: &&StepRecord| step.detail.as_deref() != Some("credential not found");
    let all = || came.steps.iter().filter(failed).filter(|step| step.stage == stage && named(step));
    all().find(tried).or_else(|| all().next())
}

/// A query may have a credential in it.
fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}
