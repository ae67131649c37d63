//! The policies as their documentation tells them: every one of them is looked at, in order, for every call. Nothing here is
//! shared with the engine but how a path, a host and a SPIFFE ID are read.

use std::collections::BTreeMap;

use sidegate_config::{
    AuthorizationPolicy, ClusterAction, ClusterAuthorizationPolicy, DefaultDecision, EastWestOptions, EnforcementLevel,
    InvalidIdentity, LabelOperator, LabelSelector, PolicyAction, PolicyMode, PolicyTier, istio as istios,
};
use sidegate_engine::east_west::{Chain, Facts, Identity, Workload};

use crate::tree::{Fit, Tally, Tree};

mod istio;
mod rules;

/// All that decides.
#[derive(Debug, Clone)]
pub struct World {
    pub options: EastWestOptions,
    pub policies: Vec<AuthorizationPolicy>,
    pub cluster: Vec<ClusterAuthorizationPolicy>,
    pub istio: Vec<istios::AuthorizationPolicy>,
    pub workload: Workload,
    pub chain: Chain,
}

/// What comes of a call: `ALLOW prod/a#0`; and whether it is marked.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub decision: String,
    pub audited: bool,
}

/// A call, and what decides about it.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    world: &'a World,
    facts: &'a Facts<'a>,
    with_audits: bool,
}

/// A rule of the namespace's step.
struct NamespaceRule {
    id: String,
    tree: Tree,
}

/// What comes of a call; the conditions that mattered are counted.
pub fn decide(world: &World, facts: &Facts<'_>, with_audits: bool, tally: &mut Tally) -> Said {
    let case = Case { world, facts, with_audits };
    if matches!(facts.identity, Identity::Invalid(_)) && world.options.on_invalid_identity == InvalidIdentity::Deny {
        return Said { decision: "DENY identity-invalid".to_owned(), audited: false };
    }
    let audits = Case { with_audits: true, ..case }.namespace(PolicyAction::Audit, None).1;
    let audited = audits.iter().any(|rule| rule.tree.is_valid() && rule.tree.rule_fit().possible);
    let decision = (case.tier(PolicyTier::Admin, tally))
        .or_else(|| case.namespace_step(tally))
        .or_else(|| case.tier(PolicyTier::Baseline, tally))
        .unwrap_or_else(|| match world.options.default {
            DefaultDecision::Allow => "ALLOW default".to_owned(),
            DefaultDecision::Deny => "DENY default".to_owned(),
        });
    Said { decision, audited }
}

impl Case<'_> {
    fn in_force(self, mode: PolicyMode) -> bool {
        self.with_audits || mode == PolicyMode::Enforce
    }

    fn tier(self, tier: PolicyTier, tally: &mut Tally) -> Option<String> {
        let Workload { labels, namespace_labels, .. } = &self.world.workload;
        let mut policies: Vec<_> = (self.world.cluster.iter())
            .filter(|policy| policy.spec.tier == tier && self.in_force(policy.spec.mode))
            .filter(|policy| labels_fit(&policy.spec.subject.namespace_selector, namespace_labels))
            .filter(|policy| labels_fit(&policy.spec.subject.pod_selector, labels))
            .collect();
        policies.sort_by_key(|policy| (policy.spec.priority, &policy.metadata.name));
        for policy in policies {
            for (index, rule) in policy.spec.rules.iter().enumerate() {
                let ports = rule.network_attributes.as_ref().and_then(|network| network.ports.as_deref());
                let tree = self.rule(None, rule.sources.as_deref(), ports, rule.application_attributes.as_ref());
                tree.count(tally);
                let fit = tree.rule_fit();
                let id = format!("{tier:?}/{}#{index}{}{}", policy.metadata.name, named(&rule.name), unavailable(fit));
                match rule.action {
                    ClusterAction::Allow if fit.sure => return Some(format!("ALLOW {id}")),
                    ClusterAction::Pass if fit.sure => return None,
                    ClusterAction::Deny | ClusterAction::Pass if fit.possible => return Some(format!("DENY {id}")),
                    _ => {}
                }
            }
        }
        None
    }

    fn namespace_step(self, tally: &mut Tally) -> Option<String> {
        for NamespaceRule { id, tree } in self.namespace(PolicyAction::Deny, None).1 {
            tree.count(tally);
            let fit = tree.rule_fit();
            if fit.possible {
                return Some(format!("DENY {id}{}", unavailable(fit)));
            }
        }
        let mut allowing = Vec::new();
        for level in [EnforcementLevel::Network, EnforcementLevel::Application] {
            let (closing, rules) = self.namespace(PolicyAction::Allow, Some(level));
            rules.iter().for_each(|rule| rule.tree.count(tally));
            if closing > 0 {
                match rules.into_iter().find(|rule| rule.tree.rule_fit().sure) {
                    Some(rule) => allowing.push(rule.id),
                    None => return Some(format!("DENY implicit({level:?})")),
                }
            }
        }
        // By namespace and name, of which none in the test is the beginning of another.
        allowing.into_iter().min().map(|id| format!("ALLOW {id}"))
    }

    /// How many policies of an action and level there are, and their rules, by namespace and name.
    fn namespace(self, action: PolicyAction, level: Option<EnforcementLevel>) -> (usize, Vec<NamespaceRule>) {
        let mut policies = Vec::new();
        for policy in &self.world.policies {
            let AuthorizationPolicy { metadata, spec, .. } = policy;
            let about = metadata.namespace == self.world.workload.namespace
                && labels_fit(spec.target_refs[0].selector.as_ref().unwrap(), &self.world.workload.labels);
            let of = spec.action == action && level.is_none_or(|level| spec.enforcement_level == level);
            if about && of && self.in_force(spec.mode) {
                let rules = spec.rules.iter().map(|rule| {
                    let ports = rule.network_attributes.as_ref().and_then(|network| network.ports.as_deref());
                    let application = rule.application_attributes.as_ref();
                    let tree = self.rule(Some(&metadata.namespace), rule.sources.as_deref(), ports, application);
                    (named(&rule.name), tree)
                });
                policies.push((metadata, rules.collect::<Vec<_>>()));
            }
        }
        for policy in &self.world.istio {
            if self.istio_is_about(policy, action, level) {
                let rules = policy.spec.rules.iter().map(|rule| (String::new(), self.istio_rule(policy, rule)));
                policies.push((&policy.metadata, rules.collect()));
            }
        }
        policies.sort_by_key(|(metadata, _)| (&metadata.namespace, &metadata.name));
        let closing = policies.len();
        let rules = policies.into_iter().flat_map(|(metadata, rules)| {
            rules.into_iter().enumerate().map(|(index, (name, tree))| NamespaceRule {
                id: format!("{}/{}#{index}{name}", metadata.namespace, metadata.name),
                tree,
            })
        });
        (closing, rules.collect())
    }
}

fn named(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!("[{name}]")).unwrap_or_default()
}

fn unavailable(fit: Fit) -> &'static str {
    if fit.seen { "" } else { "(unavailable)" }
}

fn labels_fit(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let among = value.is_some_and(|value| requirement.values.contains(value));
            match requirement.operator {
                LabelOperator::In => among,
                LabelOperator::NotIn => !among,
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        })
}
