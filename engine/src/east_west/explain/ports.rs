//! Per port: whether it is open, and who may call.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use sidegate_config::{DefaultDecision, EnforcementLevel, PolicyTier};

use super::text;
use crate::east_west::WorkloadPolicy;
use crate::east_west::object::{Effect, Object, Place, Rule, Value};

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
pub fn views(policy: &WorkloadPolicy, port: Option<u16>) -> Vec<PortView> {
    let named: BTreeSet<u16> = match port {
        Some(port) => BTreeSet::from([port]),
        None => policy.objects().flat_map(|object| &object.rules).flat_map(ports).collect(),
    };
    let other = port.is_none().then_some(None);
    named.into_iter().map(Some).chain(other).map(|port| view(policy, port)).collect()
}

fn ports(rule: &Rule) -> Vec<u16> {
    let terms = rule.groups.iter().filter(|group| text::is_port(group)).flatten().flatten();
    let values = terms.flat_map(|term| &term.values);
    values.filter_map(|value| if let Value::Port(port) = value { Some(*port) } else { None }).collect()
}

/// Whether a rule may fit at a port; none is a port that no rule names.
fn about(rule: &Rule, port: Option<u16>) -> bool {
    let fits = |group: &&crate::east_west::object::Group| {
        group.iter().any(|terms| {
            terms.iter().all(|term| {
                let has = port.is_some_and(|port| term.values.contains(&Value::Port(port)));
                has != term.negated || (term.values.contains(&Value::Invalid) && rule.effect != Effect::Allow)
            })
        })
    };
    rule.groups.iter().filter(|group| text::is_port(group)).all(|group| fits(&group))
}

fn view(policy: &WorkloadPolicy, port: Option<u16>) -> PortView {
    let mut rules = Vec::new();
    let enforced = || policy.objects().filter(|object| !object.audit);
    for object in enforced() {
        for rule in object.rules.iter().filter(|rule| about(rule, port)) {
            rules.push(line(object, rule));
        }
    }
    let (state, why) = state(policy, port);
    let port = port.map_or_else(|| "other".to_owned(), |port| port.to_string());
    PortView { port, state, why, rules }
}

fn line(object: &Object, rule: &Rule) -> String {
    let name = rule.name.as_ref().map(|name| format!("[{name}]")).unwrap_or_default();
    let invalid = if rule.invalid { " (not valid)" } else { "" };
    let effect = text::effect(rule.effect);
    format!("{effect} {}{invalid}: {}#{}{name}", text::callers(rule), object.decider(), rule.index)
}

/// What comes of a caller whom no rule mentions.
fn state(policy: &WorkloadPolicy, port: Option<u16>) -> (&'static str, String) {
    let everybody = |object: &Object, wanted: Effect| {
        let of_all = |rule: &&Rule| rule.groups.iter().all(text::is_port) && about(rule, port);
        object
            .rules
            .iter()
            .find(|rule| of_all(rule) && !rule.invalid)
            .filter(|rule| rule.effect == wanted)
            .map(|rule| rule.index)
    };
    let enforced = |wanted: &dyn Fn(Place) -> bool| -> Vec<&Object> {
        policy.objects().filter(|object| !object.audit && wanted(object.place)).collect()
    };
    let tier = |tier| enforced(&|place| matches!(place, Place::Tier(of, _) if of == tier));
    let in_tier = |objects: Vec<&Object>| {
        objects.into_iter().find_map(|object| {
            let first = [Effect::Allow, Effect::Deny, Effect::Pass]
                .into_iter()
                .filter_map(|effect| Some((everybody(object, effect)?, effect)));
            first.min().map(|(rule, effect)| (effect, format!("{}#{rule}", object.decider())))
        })
    };
    match in_tier(tier(PolicyTier::Admin)) {
        Some((Effect::Allow, by)) => return ("open", by),
        Some((Effect::Deny, by)) => return ("closed", by),
        _ => {}
    }
    for object in enforced(&|place| place == Place::Deny) {
        if let Some(rule) = everybody(object, Effect::Deny) {
            return ("closed", format!("{}#{rule}", object.decider()));
        }
    }
    let mut opened = None;
    for level in [EnforcementLevel::Network, EnforcementLevel::Application] {
        let closing = enforced(&|place| place == Place::Allow(level));
        if closing.is_empty() {
            continue;
        }
        let open = closing
            .iter()
            .find_map(|object| Some(format!("{}#{}", object.decider(), everybody(object, Effect::Allow)?)));
        let Some(by) = open else {
            let names: Vec<_> = closing.iter().map(|object| object.decider().to_string()).collect();
            return ("closed", format!("at level {level:?} by {}", names.join(", ")));
        };
        opened = Some(by);
    }
    if let Some(by) = opened {
        return ("open", by);
    }
    match in_tier(tier(PolicyTier::Baseline)) {
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
