//! The effective policy: the steps of an AuthConfig in their order, in words.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::{Value, json};
use sidegate_config::{
    Action, AuthConfigSpec, AuthenticationSpec, AuthenticationStrategy, AuthorizationSpec, CallbackSpec, MetadataSpec,
    Operator, PatternExpressionOrRef, SuccessItemSpec,
};

use super::Subject;
use crate::args::ExplainFormat;
use crate::effective::Effective;
use crate::report::printable;

/// A rule in words.
struct Step {
    stage: &'static str,
    name: String,
    priority: i64,
    method: String,
    when: Vec<String>,
    /// What it demands, or denies, if that can be said in words.
    demands: Vec<String>,
    /// It denies what meets the demands.
    denies: bool,
    path: String,
    /// All of it, to be compared.
    whole: String,
}

/// Prints the policies of a host, or all; false if the host has none.
pub fn explain(subject: &Subject, host: Option<&str>, documents: Vec<Effective<'_>>, output: ExplainFormat) -> bool {
    match output {
        ExplainFormat::Text => text(subject, host, &documents),
        ExplainFormat::Json => {
            let policies: Vec<Value> = documents.iter().map(|document| to_json(subject, document)).collect();
            line!("{:#}", json!({ "host": host, "policies": policies }));
        }
    }
    !documents.is_empty()
}

fn text(subject: &Subject, host: Option<&str>, documents: &[Effective<'_>]) {
    if let (Some(host), []) = (host, documents) {
        line!("no AuthConfig has the host `{}`: every request for it is denied with 404", printable(host));
    }
    for document in documents {
        let id = document.id();
        let hosts = document.document.spec.hosts.join(", ");
        line!("AuthConfig {} ({})", printable(&id), subject.place(document, ""));
        line!("  hosts: {}", printable(&hosts));
        for condition in document.spec.when.iter().map(in_words) {
            line!("  only when {}", printable(&condition));
        }
        let mut stage = "";
        for step in steps(document) {
            if step.stage != stage {
                stage = step.stage;
                line!("  {}", heading(stage, document.spec.authentication_strategy));
            }
            let place = subject.place(document, &step.path);
            let priority = if step.priority == 0 { String::new() } else { format!(", priority {}", step.priority) };
            line!("    {}: {}{priority} ({place})", printable(&step.name), printable(&step.method));
            step.when.iter().for_each(|condition| line!("      when {}", printable(condition)));
            let verb = if step.denies { "denies" } else { "demands" };
            if step.denies && step.demands.is_empty() {
                line!("      denies what it grants");
            }
            step.demands.iter().for_each(|demand| line!("      {verb} {}", printable(demand)));
        }
    }
}

/// What holds for the hosts, without places; each line stands for itself, and beside it is what it does not show.
pub fn lines(document: &Effective<'_>) -> Vec<(String, String)> {
    let hosts = document.document.spec.hosts.iter().map(|host| format!("host {host}"));
    let conditions = document.spec.when.iter().map(|condition| format!("only when {}", in_words(condition)));
    let all = document.spec.authentication_strategy == Some(AuthenticationStrategy::All);
    let strategy = all.then(|| "authentication: all must succeed".to_owned());
    let of_step = |Step { stage, name, priority, method, when, demands, denies, whole, path: _ }: Step| {
        let mut line = format!("{stage} {name}: {method}");
        if priority != 0 {
            line += &format!(", priority {priority}");
        }
        when.iter().for_each(|condition| line += &format!(", when {condition}"));
        match (denies, demands.as_slice()) {
            (true, []) => line += ", denies what it grants",
            (true, demands) => line += &format!(", denies {}", demands.join(" and ")),
            (false, []) => {}
            (false, demands) => line += &format!(", demands {}", demands.join(" and ")),
        }
        (line, whole)
    };
    let patterns = document.spec.patterns.iter();
    let patterns = patterns.map(|(name, patterns)| (format!("pattern {name}"), format!("{patterns:?}")));
    let plain = hosts.chain(conditions).chain(strategy).map(|line| (line, String::new()));
    plain.chain(patterns).chain(steps(document).into_iter().map(of_step)).collect()
}

fn heading(stage: &str, strategy: Option<AuthenticationStrategy>) -> &str {
    match stage {
        "authentication" if strategy == Some(AuthenticationStrategy::All) => {
            "authentication: all must succeed, else 401"
        }
        "authentication" => "authentication: one is enough, else 401",
        "metadata" => "metadata: what cannot be had is left out",
        "authorization" => "authorization: all must grant, else 403",
        "response" => "response: for the upstream, of a request that passes",
        _ => "callbacks: after the decision",
    }
}

fn to_json(subject: &Subject, document: &Effective<'_>) -> Value {
    let id = document.id();
    let step = |Step { stage, name, priority, method, when, demands, denies, path, whole: _ }: Step| {
        json!({
            "stage": stage, "name": name, "priority": priority, "method": method, "when": when, "demands": demands,
            "denies": denies, "place": subject.place(document, &path),
        })
    };
    json!({
        "authConfig": id,
        "place": subject.place(document, ""),
        "hosts": document.document.spec.hosts,
        "when": document.spec.when.iter().map(in_words).collect::<Vec<_>>(),
        "steps": steps(document).into_iter().map(step).collect::<Vec<_>>(),
    })
}

/// All steps, in the order in which they are taken. Another kind of document would have its own.
fn steps(Effective { spec, .. }: &Effective<'_>) -> Vec<Step> {
    let AuthConfigSpec { authentication, metadata, authorization, response, callbacks, .. } = &**spec;
    let mut all = ordered("authentication", "spec.authentication", authentication, |rule: &AuthenticationSpec| {
        (rule.priority, &rule.when, way_in(rule), Vec::new())
    });
    all.extend(ordered("metadata", "spec.metadata", metadata, |rule: &MetadataSpec| {
        let MetadataSpec { http, user_info, uma, .. } = rule;
        let url = http.as_ref().map(|http| match (&http.url, &http.url_expression) {
            (Some(url), _) => format!("http {:?} {url}", http.method).to_lowercase(),
            (None, expression) => format!("http {}", expression.as_deref().unwrap_or_default()),
        });
        let user_info = user_info.as_ref().map(|_| "userInfo".to_owned());
        let uma = uma.as_ref().map(|uma| format!("uma {}", uma.endpoint));
        (rule.priority, &rule.when, url.or(user_info).or(uma).unwrap_or_default(), Vec::new())
    }));
    all.extend(ordered("authorization", "spec.authorization", authorization, |rule: &AuthorizationSpec| {
        let (method, demands) = demands(rule);
        (rule.priority, &rule.when, method, demands)
    }));
    for step in all.iter_mut().filter(|step| step.stage == "authorization") {
        step.denies = authorization.get(&step.name).is_some_and(|rule| rule.action == Action::Deny);
    }
    let item = |rule: &SuccessItemSpec| {
        let method = [("plain", rule.plain.is_some()), ("json", rule.json.is_some()), ("wristband", true)];
        method.iter().find(|(_, given)| *given).map_or("", |(name, _)| name).to_owned()
    };
    let (headers, facts) = (&response.success.headers, &response.success.dynamic_metadata);
    all.extend(ordered("response", "spec.response.success.headers", headers, |rule| {
        (rule.priority, &rule.when, format!("header, {}", item(rule)), Vec::new())
    }));
    all.extend(ordered("response", "spec.response.success.dynamicMetadata", facts, |rule| {
        (rule.priority, &rule.when, format!("dynamic metadata, {}", item(rule)), Vec::new())
    }));
    all.extend(ordered("callbacks", "spec.callbacks", callbacks, |rule: &CallbackSpec| {
        let url = rule.http.url.as_ref().or(rule.http.url_expression.as_ref());
        (rule.priority, &rule.when, format!("http {}", url.map_or("", String::as_str)), Vec::new())
    }));
    all
}

type Told<'a> = (i64, &'a Vec<PatternExpressionOrRef>, String, Vec<String>);

fn ordered<'a, T: Debug>(
    stage: &'static str,
    path: &str,
    rules: &'a BTreeMap<String, T>,
    tell: impl Fn(&'a T) -> Told<'a>,
) -> Vec<Step> {
    let mut steps: Vec<Step> = (rules.iter())
        .map(|(name, rule)| {
            let (priority, when, method, demands) = tell(rule);
            let when = when.iter().map(in_words).collect();
            Step {
                stage,
                name: name.clone(),
                priority,
                method,
                when,
                demands,
                denies: false,
                path: format!("{path}.{name}"),
                whole: format!("{rule:?}"),
            }
        })
        .collect();
    // Those of one priority are in the order of their names already.
    steps.sort_by_key(|step| step.priority);
    steps
}

fn way_in(rule: &AuthenticationSpec) -> String {
    let AuthenticationSpec { api_key, jwt, oauth2_introspection, x509, kubernetes_token_review, plain, hmac, .. } =
        rule;
    let jwt = jwt.as_ref().map(|jwt| {
        let of = jwt.issuer_url.as_deref().or(jwt.jwks_url.as_deref()).unwrap_or_default();
        let audiences = jwt.audiences.join(" or ");
        if audiences.is_empty() { format!("jwt of {of}") } else { format!("jwt of {of} for {audiences}") }
    });
    let plain = plain.as_ref().and_then(|plain| plain.selector.as_ref().or(plain.expression.as_ref()));
    jwt.or_else(|| api_key.as_ref().map(|_| "apiKey".to_owned()))
        .or_else(|| oauth2_introspection.as_ref().map(|spec| format!("oauth2Introspection by {}", spec.endpoint)))
        .or_else(|| x509.as_ref().map(|_| "x509".to_owned()))
        .or_else(|| hmac.as_ref().map(|_| "hmac".to_owned()))
        .or_else(|| kubernetes_token_review.as_ref().map(|_| "kubernetesTokenReview".to_owned()))
        .or_else(|| plain.map(|text| format!("plain, {text}")))
        .unwrap_or_else(|| "anonymous".to_owned())
}

fn demands(rule: &AuthorizationSpec) -> (String, Vec<String>) {
    let AuthorizationSpec { pattern_matching, opa, kubernetes_subject_access_review, spicedb, .. } = rule;
    if let Some(matching) = pattern_matching {
        return ("patternMatching".to_owned(), matching.patterns.iter().map(in_words).collect());
    }
    let opa = opa.as_ref().map(|opa| match &opa.external_policy {
        Some(external) => format!("opa, {}", external.url),
        None => "opa".to_owned(),
    });
    let review = kubernetes_subject_access_review.as_ref().map(|_| "kubernetesSubjectAccessReview".to_owned());
    let spicedb = spicedb.as_ref().map(|spicedb| format!("spicedb, {}", spicedb.endpoint));
    (opa.or(review).or(spicedb).unwrap_or_default(), Vec::new())
}

fn in_words(spec: &PatternExpressionOrRef) -> String {
    let PatternExpressionOrRef { selector, operator, value, pattern_ref, predicate, all, any } = spec;
    let joined = |specs: &[PatternExpressionOrRef], word: &str| {
        format!("({})", specs.iter().map(in_words).collect::<Vec<_>>().join(word))
    };
    match (selector, pattern_ref, predicate, all, any) {
        (Some(selector), ..) => {
            let operator = match operator {
                Some(Operator::Neq) => "neq",
                Some(Operator::Incl) => "incl",
                Some(Operator::Excl) => "excl",
                Some(Operator::Matches) => "matches",
                Some(Operator::In) => "in",
                Some(Operator::NotIn) => "notIn",
                Some(Operator::Gt) => "gt",
                Some(Operator::Ge) => "ge",
                Some(Operator::Lt) => "lt",
                Some(Operator::Le) => "le",
                Some(Operator::Eq) | None => "eq",
            };
            let value = match value {
                Some(Value::String(text)) if !text.is_empty() => text.clone(),
                Some(value) => value.to_string(),
                None => "\"\"".to_owned(),
            };
            format!("{selector} {operator} {value}")
        }
        (_, Some(name), ..) => format!("the pattern {name}"),
        (_, _, Some(predicate), ..) => predicate.clone(),
        (_, _, _, Some(all), _) => joined(all, " and "),
        (_, _, _, _, Some(any)) => joined(any, " or "),
        _ => String::new(),
    }
}
