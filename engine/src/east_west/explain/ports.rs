//! Per port: whether it is open, and who may call.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use sidegate_config::{DefaultDecision, EnforcementLevel, PolicyTier};

use super::text;
use crate::east_west::list::Fit;
use crate::east_west::object::{Alternative, Dimension, Effect, Group, Object, Place, Rule, Term, Value};
use crate::east_west::{Chain, WorkloadPolicy};

/// What holds for a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortView {
    /// The port, or `other`.
    port: String,
    /// `open`: whom no rule keeps out is let in; `closed`: whom no rule lets in is kept out.
    state: &'static str,
    /// Why.
    why: String,
    /// What the rules say that are about this port, in the order in which they decide.
    rules: Vec<String>,
}

/// One port, or all that rules name and the others together.
pub fn views(policy: &WorkloadPolicy, port: Option<u16>, chain: Chain) -> Vec<PortView> {
    let named: BTreeSet<u16> = match port {
        Some(port) => BTreeSet::from([port]),
        None => policy.objects().flat_map(|object| &object.rules).flat_map(ports).collect(),
    };
    let other = port.is_none().then_some(None);
    named.into_iter().map(Some).chain(other).map(|port| view(policy, port, chain)).collect()
}

fn ports(rule: &Rule) -> Vec<u16> {
    let terms = rule.groups.iter().filter(|group| text::is_port(group)).flatten().flatten();
    let values = terms.flat_map(|term| &term.values);
    values.filter_map(|value| if let Value::Port(port) = value { Some(*port) } else { None }).collect()
}

/// Whether a rule may fit at a port; none is a port that no rule names.
fn about(rule: &Rule, port: Option<u16>) -> bool {
    let fits = |group: &&Group| {
        group.iter().any(|terms| {
            terms.iter().all(|term| {
                let has = port.is_some_and(|port| term.values.contains(&Value::Port(port)));
                has != term.negated || (term.values.contains(&Value::Invalid) && rule.effect != Effect::Allow)
            })
        })
    };
    rule.groups.iter().filter(|group| text::is_port(group)).all(|group| fits(&group))
}

fn view(policy: &WorkloadPolicy, port: Option<u16>, chain: Chain) -> PortView {
    let mut rules = Vec::new();
    let enforced = || policy.objects().filter(|object| !object.audit);
    for object in enforced() {
        for rule in object.rules.iter().filter(|rule| about(rule, port)) {
            rules.push(line(object, rule));
        }
    }
    let (state, why) = state(policy, port, chain);
    let port = port.map_or_else(|| "other".to_owned(), |port| port.to_string());
    PortView { port, state, why, rules }
}

fn line(object: &Object, rule: &Rule) -> String {
    let name = rule.name.as_ref().map(|name| format!("[{name}]")).unwrap_or_default();
    let invalid = if rule.invalid { " (not valid)" } else { "" };
    let effect = text::effect(rule.effect);
    format!("{effect} {}{invalid}: {}#{}{name}", text::callers(rule), object.decider(), rule.index)
}

/// What a rule says of a caller whom no rule mentions, by the same order in which it is evaluated; none: nothing.
fn says(rule: &Rule, port: Option<u16>, chain: Chain) -> Option<Effect> {
    let alternative = |terms: &Alternative| terms.iter().map(|term| fit(term, port, chain)).min().unwrap_or(Fit::Yes);
    let group = |group: &Group| group.iter().map(alternative).max().unwrap_or(Fit::No);
    let mut fit = rule.groups.iter().map(group).min().unwrap_or(Fit::Yes);
    if rule.invalid {
        fit = fit.min(Fit::Unreadable);
    }
    rule.effect.of(fit)
}

/// How far a term fits who, and a call that, no rule mentions.
fn fit(Term { dimension, values, negated }: &Term, port: Option<u16>, chain: Chain) -> Fit {
    let of_requests = dimension.is_http() || *dimension == Dimension::Metadata;
    let fit = match chain {
        _ if values.is_empty() => Fit::No,
        // It depends on what a connection does not have.
        Chain::Tcp if of_requests => return Fit::Unreadable,
        // It depends on the request, which is not mentioned, but not on who calls.
        Chain::Http if of_requests && !values.contains(&Value::Invalid) => return Fit::No,
        _ if port.is_some_and(|port| values.contains(&Value::Port(port))) => Fit::Yes,
        _ if values.contains(&Value::Invalid) => Fit::Unreadable,
        _ => Fit::No,
    };
    if *negated { fit.negated() } else { fit }
}

/// What comes of a caller whom no rule mentions.
fn state(policy: &WorkloadPolicy, port: Option<u16>, chain: Chain) -> (&'static str, String) {
    let enforced = |wanted: &dyn Fn(Place) -> bool| -> Vec<&Object> {
        policy.objects().filter(|object| !object.audit && wanted(object.place)).collect()
    };
    let first = |objects: &[&Object]| {
        objects.iter().find_map(|object| {
            let taken = object.rules.iter().find_map(|rule| Some((says(rule, port, chain)?, rule.index)));
            taken.map(|(effect, rule)| (effect, format!("{}#{rule}", object.decider())))
        })
    };
    let tier = |tier| enforced(&|place| matches!(place, Place::Tier(of, _) if of == tier));
    match first(&tier(PolicyTier::Admin)) {
        Some((Effect::Allow, by)) => return ("open", by),
        Some((Effect::Deny, by)) => return ("closed", by),
        _ => {}
    }
    if let Some((_, by)) = first(&enforced(&|place| place == Place::Deny)) {
        return ("closed", by);
    }
    let mut opened = None;
    for level in [EnforcementLevel::Network, EnforcementLevel::Application] {
        let closing = enforced(&|place| place == Place::Allow(level));
        if closing.is_empty() {
            continue;
        }
        let Some((_, by)) = first(&closing) else {
            let names: Vec<_> = closing.iter().map(|object| object.decider().to_string()).collect();
            return ("closed", format!("at level {level:?} by {}", names.join(", ")));
        };
        opened = Some(by);
    }
    if let Some(by) = opened {
        return ("open", by);
    }
    match first(&tier(PolicyTier::Baseline)) {
        Some((Effect::Allow, by)) => ("open", by),
        Some((Effect::Deny, by)) => ("closed", by),
        _ if policy.options().default == DefaultDecision::Allow => ("open", "the default".to_owned()),
        _ => ("closed", "the default".to_owned()),
    }
}

impl fmt::Display for PortView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, state, why, rules } = self;
        writeln!(f, "port {port}: {state} ({why})")?;
        rules.iter().try_for_each(|rule| writeln!(f, "port {port}: {rule}"))
    }
}
