//! The policies that are about one workload, and the order in which they decide.

use std::rc::Rc;

use sidegate_config::{DefaultDecision, EastWestOptions, EnforcementLevel, InvalidIdentity, PolicyTier};

use super::Settings;
use super::identity::{Identities, Identity};
use super::index::{Facts, Index, Seen};
use super::list::{Fit, List, RuleRef};
use super::object::{Dimension, Effect, Object, Place, Workload};
use super::path::Reading;
use super::ruling::{Decider, Reason, Ruling, Shadow};
use crate::gather::sorted;

/// The levels, in the order in which they are asked.
const LEVELS: [EnforcementLevel; 2] = [EnforcementLevel::Network, EnforcementLevel::Application];

/// The policies that are about one workload, compiled.
#[derive(Debug)]
pub struct WorkloadPolicy {
    settings: Rc<Settings>,
    workload: Workload,
    index: Index,
    /// In the order of `Place`, and within it by priority, namespace and name.
    objects: Vec<Rc<Object>>,
    /// How each is called by deciders.
    names: Vec<Rc<str>>,
    enforced: Lists,
    /// All of them, if there is one of `mode: Audit`.
    shadow: Option<Lists>,
}

#[derive(Debug)]
struct Lists {
    admin: List,
    deny: List,
    allow: [Option<Level>; LEVELS.len()],
    audit: List,
    baseline: List,
}

/// What lets callers in at one level.
#[derive(Debug)]
struct Level {
    list: List,
    closed_by: Rc<str>,
}

impl WorkloadPolicy {
    /// Compiles those of the policies that are about a workload.
    #[must_use]
    pub fn compile(settings: Rc<Settings>, objects: &[Rc<Object>], workload: Workload) -> Self {
        let objects = objects.iter().filter(|object| object.target.selects(&workload).is_ok()).map(Rc::clone).collect();
        let objects = sorted(objects, &|a, b| order(a).cmp(&order(b)));
        let names: Vec<_> = objects.iter().map(|object| object.decider()).collect();
        let mut index = index(&settings.options, &workload);
        let enforced = Lists::compile(&objects, &names, |object| !object.audit, &mut index);
        let shadow =
            (objects.iter().any(|object| object.audit)).then(|| Lists::compile(&objects, &names, |_| true, &mut index));
        Self { settings, workload, index, objects, names, enforced, shadow }
    }

    /// Decides whether a caller is let in.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>) -> Ruling {
        let ruling = |allowed, reason, audited, shadow| Ruling {
            allowed,
            reason,
            identity: facts.identity.clone(),
            told: None,
            revision: Rc::default(),
            port: facts.port,
            audited,
            shadow,
        };
        if let Identity::Invalid(how) = facts.identity
            && self.settings.options.on_invalid_identity == InvalidIdentity::Deny
        {
            return ruling(false, Reason::IdentityInvalid(how), false, None);
        }
        let seen = self.index.look(facts);
        let (allowed, reason) = self.enforced.decide(&seen, self);
        let lists = self.shadow.as_ref().unwrap_or(&self.enforced);
        let audited = lists.audit.find(&seen, Fit::Unreadable, |_, _| true).is_some();
        let shadow = self.shadow.as_ref().map(|lists| {
            let (allowed, reason) = lists.decide(&seen, self);
            Shadow { allowed, reason }
        });
        ruling(allowed, reason, audited, shadow)
    }

    /// How it is told who calls.
    #[must_use]
    pub fn identities(&self) -> &Identities {
        &self.settings.identities
    }

    /// Whether a rule looks at a dimension, so that it must be known.
    #[must_use]
    pub const fn reads(&self, dimension: Dimension) -> bool {
        self.index.uses(dimension)
    }

    /// The choices that hold.
    #[must_use]
    pub fn options(&self) -> &EastWestOptions {
        &self.settings.options
    }

    /// The workload.
    #[must_use]
    pub const fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The policies, in the order in which they decide.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().map(Rc::as_ref)
    }

    /// How many values its rules compare with.
    #[must_use]
    pub fn values(&self) -> usize {
        self.index.count()
    }

    /// How many rules have to be looked at, at most, to decide about a caller; the others are ruled out by the indexes.
    #[must_use]
    pub fn looks(&self, facts: &Facts<'_>) -> usize {
        let seen = self.index.look(facts);
        let Lists { admin, deny, allow, audit, baseline } = &self.enforced;
        let allow = allow.iter().flatten().map(|level| &level.list);
        [admin, deny, audit, baseline].into_iter().chain(allow).map(|list| list.looks(&seen)).sum()
    }

    fn decider(&self, place: &RuleRef, fit: Fit) -> Decider {
        let object = self.objects.get(place.object);
        let rule = object.and_then(|object| object.rules.get(place.rule));
        Decider {
            tier: match object.map(|object| object.place) {
                Some(Place::Tier(tier, _)) => Some(tier),
                _ => None,
            },
            policy: self.names.get(place.object).cloned().unwrap_or_default(),
            rule: rule.map_or(0, |rule| rule.index),
            name: rule.and_then(|rule| rule.name.clone()),
            alias: rule.and_then(|rule| rule.alias.clone()),
            unavailable: fit == Fit::Unreadable,
        }
    }
}

/// An empty index for a workload.
pub fn index(options: &EastWestOptions, workload: &Workload) -> Index {
    let EastWestOptions { trust_domain_aliases, escaped_slash, case_insensitive_paths, .. } = options;
    let mut domains = vec![workload.trust_domain.clone()];
    domains.extend(trust_domain_aliases.iter().cloned());
    let reading = Reading { escaped_slash: *escaped_slash, case_insensitive: case_insensitive_paths.unwrap_or(false) };
    Index::new(domains, reading)
}

/// Tiers by priority and name, others by namespace and name.
fn order(object: &Object) -> (Place, &str, &str) {
    (object.place, &object.namespace, &object.name)
}

impl Lists {
    fn compile(objects: &[Rc<Object>], names: &[Rc<str>], says: impl Fn(&Object) -> bool, index: &mut Index) -> Self {
        let selected = |wanted: &dyn Fn(Place) -> bool| -> Vec<(usize, &Object)> {
            let all = objects.iter().map(Rc::as_ref).enumerate();
            all.filter(|(_, object)| says(object) && wanted(object.place)).collect()
        };
        let mut list = |objects: Vec<(usize, &Object)>| {
            let rules = objects.into_iter().flat_map(|(object, document)| {
                document.rules.iter().enumerate().map(move |(position, rule)| {
                    (RuleRef { object, rule: position, effect: rule.effect, invalid: rule.invalid }, rule)
                })
            });
            List::compile(rules, index)
        };
        let tier = |tier| move |place| matches!(place, Place::Tier(of, _) if of == tier);
        let allow = LEVELS.map(|level| {
            let closing = selected(&|place| place == Place::Allow(level));
            let closed_by: Vec<&str> =
                closing.iter().filter_map(|(at, _)| names.get(*at)).map(|name| &**name).collect();
            (!closing.is_empty()).then(|| Level { closed_by: listed(&closed_by).into(), list: list(closing) })
        });
        Self {
            admin: list(selected(&tier(PolicyTier::Admin))),
            deny: list(selected(&|place| place == Place::Deny)),
            allow,
            audit: list(selected(&|place| place == Place::Audit)),
            baseline: list(selected(&tier(PolicyTier::Baseline))),
        }
    }

    /// The order of evaluation.
    fn decide(&self, seen: &Seen, policy: &WorkloadPolicy) -> (bool, Reason) {
        tier(&self.admin, seen, policy)
            .or_else(|| self.namespace(seen, policy))
            .or_else(|| tier(&self.baseline, seen, policy))
            .unwrap_or((policy.options().default == DefaultDecision::Allow, Reason::Default))
    }

    fn namespace(&self, seen: &Seen, policy: &WorkloadPolicy) -> Option<(bool, Reason)> {
        if let Some((rule, fit)) = self.deny.find(seen, Fit::Unreadable, |_, _| true) {
            return Some((false, Reason::Rule(policy.decider(&rule, fit))));
        }
        let mut first: Option<RuleRef> = None;
        for (level, allow) in LEVELS.into_iter().zip(&self.allow) {
            let Some(Level { list, closed_by }) = allow else { continue };
            let Some((rule, _)) = list.find(seen, Fit::Yes, |_, _| true) else {
                return Some((false, Reason::Implicit { level, closed_by: Rc::clone(closed_by) }));
            };
            let name = |rule: &RuleRef| policy.objects.get(rule.object).map(|object| (&object.namespace, &object.name));
            if first.is_none_or(|first| name(&rule) < name(&first)) {
                first = Some(rule);
            }
        }
        first.map(|rule| (true, Reason::Rule(policy.decider(&rule, Fit::Yes))))
    }
}

/// The first rule that fits decides, but for one that leaves the tier.
fn tier(list: &List, seen: &Seen, policy: &WorkloadPolicy) -> Option<(bool, Reason)> {
    // What cannot be read lets nobody in, and does not leave the tier.
    let decides = |rule: &RuleRef, fit: Fit| rule.effect != Effect::Allow || fit == Fit::Yes;
    let (rule, fit) = list.find(seen, Fit::Unreadable, decides)?;
    let allowed = match rule.effect {
        Effect::Allow => true,
        Effect::Pass if fit == Fit::Yes => return None,
        Effect::Pass | Effect::Deny | Effect::Audit => false,
    };
    Some((allowed, Reason::Rule(policy.decider(&rule, fit))))
}

/// At most ten names, and how many more there are.
pub fn listed(names: &[&str]) -> String {
    const MOST: usize = 10;
    let mut text = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(MOST).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
