//! Policies and terms in words.

use std::collections::BTreeMap;

use sidegate_config::{LabelOperator, LabelSelector};

use super::Selected;
use crate::east_west::object::{
    Alternative, Dimension, Effect, Form, Group, Member, Object, Place, Principal, Rule, Target, Term, Value, Who,
};

/// A policy, and why it is about the workload that it is about.
pub fn selected(object: &Object) -> Selected {
    let (tier, effect) = match object.place {
        Place::Tier(tier, priority) => (format!("{tier:?} {priority}"), "ordered rules".to_owned()),
        Place::Deny => ("Namespace".to_owned(), "DENY".to_owned()),
        Place::Allow(level) => ("Namespace".to_owned(), format!("ALLOW {level:?}")),
        Place::Audit => ("Namespace".to_owned(), "AUDIT".to_owned()),
    };
    Selected {
        tier,
        policy: object.decider().to_string(),
        effect,
        mode: if object.audit { "Audit" } else { "Enforce" },
        why: why(&object.target),
    }
}

fn why(target: &Target) -> String {
    let Target { namespace, namespaces, pods } = target;
    let mut why = match namespace {
        Some(namespace) => format!("namespace {namespace}"),
        None if *namespaces == LabelSelector::default() => "all namespaces".to_owned(),
        None => format!("namespaces with {}", selector(namespaces)),
    };
    why += &match selector(pods) {
        all if all.is_empty() => ", all pods".to_owned(),
        some => format!(", pods with {some}"),
    };
    why
}

/// A selector, in words.
pub fn selector(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let other = selector.match_expressions.iter().map(|requirement| {
        let (key, values) = (&requirement.key, requirement.values.join(", "));
        match requirement.operator {
            LabelOperator::In => format!("{key} in ({values})"),
            LabelOperator::NotIn => format!("{key} not in ({values})"),
            LabelOperator::Exists => key.clone(),
            LabelOperator::DoesNotExist => format!("no {key}"),
        }
    });
    equal.chain(other).collect::<Vec<_>>().join(", ")
}

/// What a rule does, as policies write it.
pub const fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
        Effect::Pass => "Pass",
        Effect::Audit => "Audit",
    }
}

/// What a rule fits, without its ports; `anybody` if it looks at nothing.
pub fn callers(rule: &Rule) -> String {
    let parts: Vec<_> = rule.groups.iter().filter(|group| !is_port(group)).map(group).collect();
    if parts.is_empty() { "anybody".to_owned() } else { parts.join(" and ") }
}

/// Whether a group is about ports alone.
pub fn is_port(group: &Group) -> bool {
    !group.is_empty() && group.iter().flatten().all(|term| term.dimension == Dimension::Port)
}

/// So many of what there may be thousands of are named.
const MOST: usize = 20;

/// A group, in words.
pub fn group(group: &Group) -> String {
    match group.as_slice() {
        [] => "nobody".to_owned(),
        [one] => alternative(one),
        many => named(many.iter().map(alternative)).join(" or "),
    }
}

/// The first of them, and how many more there are.
fn named(words: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = words.len().saturating_sub(MOST);
    let more = (more > 0).then(|| format!("{more} more"));
    words.take(MOST).chain(more).collect()
}

fn alternative(terms: &Alternative) -> String {
    match terms.as_slice() {
        [one] => term(one),
        many => format!("({})", many.iter().map(term).collect::<Vec<_>>().join(" and ")),
    }
}

fn term(term: &Term) -> String {
    let words = named(term.values.iter().map(|it| value(term.dimension, it)));
    let not = if term.negated { "not " } else { "" };
    match words.as_slice() {
        [] => format!("{not}nothing"),
        [one] => format!("{not}{one}"),
        many => format!("{not}one of [{}]", many.join(", ")),
    }
}

/// A value, in words.
pub fn value(dimension: Dimension, value: &Value) -> String {
    match value {
        Value::Who(Who::Exact(id)) => id.to_string(),
        Value::Who(Who::ServiceAccount(namespace, name)) => format!("{namespace}/{name}"),
        Value::Who(Who::Below(domain, path)) => format!("spiffe://{domain}{path}*"),
        Value::Who(Who::Namespace(pattern)) => format!("namespace {pattern}"),
        Value::Who(Who::TrustDomain(pattern)) => format!("trust domain {pattern}"),
        Value::Who(Who::Nobody) => "who has no identity".to_owned(),
        Value::Who(Who::Name(pattern)) => format!("principal {pattern}"),
        Value::Who(Who::AnyAccount(namespace, name)) => format!("{namespace}/{name} of any trust domain"),
        Value::Who(Who::AnyNamespace(glob)) => format!("namespace {glob} of any trust domain"),
        Value::Who(Who::LooseAccount(namespace, name)) => format!("{namespace}/{name} wherever in the ID"),
        Value::Who(Who::LooseNamespace(glob)) => format!("namespace {glob} wherever in the ID"),
        Value::Block(block) => format!("{dimension} {block}"),
        Value::Port(port) => format!("port {port}"),
        Value::Token(token) => {
            let mut text = format!("token of {}", token.issuer);
            if let Some(subject) = &token.subject {
                text += &format!(" for {subject}");
            }
            if let Some(audiences) = &token.audiences {
                text += &format!(" with aud={}", named(audiences.iter().map(ToString::to_string)).join("|"));
            }
            let claims: BTreeMap<_, _> = token.claims.iter().map(|(name, values)| (name, values)).collect();
            for (name, values) in claims {
                text += &format!(" with {name}={}", named(values.iter().map(ToString::to_string)).join("|"));
            }
            text
        }
        Value::Principal(principal) => {
            let Principal { issuer, subject } = &**principal;
            format!("token of {issuer} for {subject}")
        }
        Value::Member(member) => {
            let Member { path, form, pattern } = &**member;
            let list = if *form == Form::List { " in its list" } else { "" };
            format!("{dimension} {}={pattern}{list}", path.join("."))
        }
        Value::Text(pattern) => format!("{dimension} {pattern}"),
        Value::Authority(pattern) => format!("{dimension} {pattern} as it comes"),
        Value::Path(pattern) => format!("path {pattern}"),
        Value::Written(pattern) => format!("path {pattern}, also as it comes"),
        Value::Verbatim(pattern) => format!("path {pattern} as it comes"),
        Value::Line(name, pattern) => format!("line {name}: {pattern}"),
        Value::Header(name, Some(pattern)) => format!("header {name}: {pattern}"),
        Value::Header(name, None) => format!("header {name}"),
        Value::Invalid => format!("{dimension} that is not valid"),
    }
}
