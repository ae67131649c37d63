//! Every rule that is looked at for a call, in the order in which rules decide, until one does.

use std::fmt;

use serde::Serialize;
use sidegate_config::{EnforcementLevel, PolicyTier};

use super::text;
use crate::east_west::list::{Fit, groups_fit};
use crate::east_west::object::{Effect, Object, Place, Rule};
use crate::east_west::workload::index;
use crate::east_west::{Facts, WorkloadPolicy};

/// A rule that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    tier: String,
    rule: String,
    effect: &'static str,
    /// `yes`, `no`, `partly` or `unreadable`.
    fits: &'static str,
    /// It decides, or leaves the tier.
    takes: bool,
    /// The first criterion that does not fit, if one does not.
    failing: Option<String>,
}

/// All looks for a call.
pub fn trace(policy: &WorkloadPolicy, call: &Facts<'_>) -> Vec<Look> {
    let mut looks = Vec::new();
    let rules = |wanted: &dyn Fn(Place) -> bool| -> Vec<&Object> {
        policy.objects().filter(|object| !object.audit && wanted(object.place)).collect()
    };
    let mut walk = |tier: String, objects: Vec<&Object>| -> Option<Effect> {
        for object in objects {
            for rule in &object.rules {
                let (look, taken) = look(policy, &tier, object, rule, call);
                looks.push(look);
                if taken.is_some() {
                    return taken;
                }
            }
        }
        None
    };
    let tier = |tier: PolicyTier| move |place| matches!(place, Place::Tier(of, _) if of == tier);
    let first = walk("Admin".to_owned(), rules(&tier(PolicyTier::Admin)));
    if matches!(first, Some(Effect::Allow | Effect::Deny)) {
        return looks;
    }
    if walk("Namespace DENY".to_owned(), rules(&|place| place == Place::Deny)).is_some() {
        return looks;
    }
    let mut selected = false;
    for level in [EnforcementLevel::Network, EnforcementLevel::Application] {
        let closing = rules(&|place| place == Place::Allow(level));
        if closing.is_empty() {
            continue;
        }
        selected = true;
        if walk(format!("Namespace ALLOW {level:?}"), closing).is_none() {
            return looks;
        }
    }
    if !selected {
        walk("Baseline".to_owned(), rules(&tier(PolicyTier::Baseline)));
    }
    looks
}

fn look(policy: &WorkloadPolicy, tier: &str, object: &Object, rule: &Rule, call: &Facts<'_>) -> (Look, Option<Effect>) {
    let groups = groups_fit(rule, &mut index(policy.options(), policy.workload()), call);
    let mut fit = groups.iter().min().copied().unwrap_or(Fit::Yes);
    if rule.invalid {
        fit = fit.min(Fit::Unreadable);
    }
    let taken = rule.effect.of(fit);
    let enough = if rule.effect == Effect::Deny { Fit::Unreadable } else { Fit::Yes };
    let failing = rule.groups.iter().zip(&groups).find(|(_, fit)| **fit < enough).map(|(group, fit)| match fit {
        Fit::Unreadable => format!("cannot be read: {}", text::group(group)),
        _ => text::group(group),
    });
    let name = rule.name.as_ref().map(|name| format!("[{name}]")).unwrap_or_default();
    let look = Look {
        tier: tier.to_owned(),
        rule: format!("{}#{}{name}", object.decider(), rule.index),
        effect: text::effect(rule.effect),
        fits: match fit {
            Fit::No => "no",
            Fit::Unreadable => "unreadable",
            Fit::Partly => "partly",
            Fit::Yes => "yes",
        },
        takes: taken.is_some(),
        failing: failing.or_else(|| rule.invalid.then(|| "it is not valid".to_owned())),
    };
    (look, taken)
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tier, rule, effect, fits, takes, failing } = self;
        write!(f, "{tier}: {rule} {effect}: {fits}")?;
        if let Some(failing) = failing.as_ref().filter(|_| !takes) {
            write!(f, " ({failing})")?;
        }
        if *takes { f.write_str(", taken") } else { Ok(()) }
    }
}
