//! Denials of callers by name, which pass over who has none, where nothing else keeps those out.

use sidegate_config::{
    ClusterAction, ClusterPolicyRule, DefaultDecision, Document, Documents, LabelSelector, PolicyAction, PolicyMode,
    PolicyRule, PolicySource, Problem, SourceType, istio,
};

use super::Warnings;
use crate::migrate::is_tried_out;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let options = documents.settings.options.east_west.as_ref();
    if options.is_some_and(|options| options.default == DefaultDecision::Deny) {
        return;
    }
    let root = options.and_then(|options| options.istio.root_namespace.as_deref()).unwrap_or(istio::ROOT_NAMESPACE);
    let enforced: Vec<&Document> = documents.resources.iter().filter(|document| is_enforced(document)).collect();
    let shut = enforced.iter().filter(|document| keeps_the_nameless_out(document));
    let shut: Vec<Option<&str>> = shut.map(|document| namespace(document, root)).collect();
    for document in enforced {
        let place = namespace(document, root);
        if shut.iter().any(|shut| shut.is_none() || *shut == place || selects_namespaces(document)) {
            continue;
        }
        let (label, names): (String, Vec<bool>) = match document {
            Document::AuthorizationPolicy(policy) if policy.spec.action == PolicyAction::Deny => (
                format!("AuthorizationPolicy {}/{}", policy.metadata.namespace, policy.metadata.name),
                policy.spec.rules.iter().map(|rule| is_by_name(rule.sources.as_deref())).collect(),
            ),
            Document::ClusterAuthorizationPolicy(policy) => {
                let denies = |action| action == ClusterAction::Deny;
                let rules = policy.spec.rules.iter();
                (
                    format!("ClusterAuthorizationPolicy {}", policy.metadata.name),
                    rules.map(|rule| denies(rule.action) && is_by_name(rule.sources.as_deref())).collect(),
                )
            }
            Document::IstioAuthorizationPolicy(policy) if policy.spec.action == istio::Action::Deny => (
                format!("{} {}/{}", istio::WORD, policy.metadata.namespace, policy.metadata.name),
                policy.spec.rules.iter().map(is_istios_by_name).collect(),
            ),
            _ => continue,
        };
        let everywhere = if place.is_none() && !selects_namespaces(document) { " of all namespaces" } else { "" };
        for (index, _) in names.iter().enumerate().filter(|(_, by_name)| **by_name) {
            warnings.0.push(Problem {
                document: label.clone(),
                path: format!("spec.rules[{index}]"),
                message: format!(
                    "passes over who comes without a certificate, whom nothing here keeps out{everywhere}: deny `Unauthenticated`, \
                     too, or say who may call"
                ),
            });
        }
    }
}

fn is_enforced(document: &Document) -> bool {
    match document {
        Document::AuthorizationPolicy(policy) => policy.spec.mode == PolicyMode::Enforce,
        Document::ClusterAuthorizationPolicy(policy) => policy.spec.mode == PolicyMode::Enforce,
        Document::IstioAuthorizationPolicy(policy) => !is_tried_out(policy),
        _ => false,
    }
}

/// The namespace that a policy is about; none: all.
fn namespace<'a>(document: &'a Document, root: &str) -> Option<&'a str> {
    match document {
        Document::AuthorizationPolicy(policy) => Some(&policy.metadata.namespace),
        Document::IstioAuthorizationPolicy(policy) => {
            Some(policy.metadata.namespace.as_str()).filter(|namespace| *namespace != root)
        }
        _ => None,
    }
}

/// Whether it is about some namespaces alone: which, is not looked at.
fn selects_namespaces(document: &Document) -> bool {
    let Document::ClusterAuthorizationPolicy(policy) = document else { return false };
    let LabelSelector { match_labels, match_expressions } = &policy.spec.subject.namespace_selector;
    !(match_labels.is_empty() && match_expressions.is_empty())
}

/// Whether a policy keeps out who has no identity, or lets in some alone.
fn keeps_the_nameless_out(document: &Document) -> bool {
    match document {
        Document::AuthorizationPolicy(policy) => {
            let mut rules = policy.spec.rules.iter();
            match policy.spec.action {
                PolicyAction::Allow => {
                    rules.all(|rule| rule.sources.is_some() && !names_nobody(rule.sources.as_deref()))
                }
                PolicyAction::Deny => rules.any(|rule| names_nobody(rule.sources.as_deref()) || fits_all(rule)),
                PolicyAction::Audit => false,
            }
        }
        Document::ClusterAuthorizationPolicy(policy) => {
            let lets_all_in = |rule: &&ClusterPolicyRule| rule.action != ClusterAction::Deny && fits_all_of_mesh(rule);
            let mut rules = policy.spec.rules.iter().take_while(|rule| !lets_all_in(rule));
            rules.any(|rule| {
                rule.action == ClusterAction::Deny && (names_nobody(rule.sources.as_deref()) || fits_all_of_mesh(rule))
            })
        }
        Document::IstioAuthorizationPolicy(policy) => match policy.spec.action {
            istio::Action::Allow => policy.spec.rules.iter().all(says_who),
            istio::Action::Deny => policy.spec.rules.iter().any(|istio::Rule { from, to, when }| {
                let mut sources = from.iter().flatten().flat_map(|from| &from.source);
                let is_for_all = from.is_none() && to.is_none() && when.is_empty();
                is_for_all || sources.any(|source| source.not_principals.iter().any(|principal| principal == "*"))
            }),
            _ => false,
        },
        _ => false,
    }
}

fn fits_all(PolicyRule { name: _, sources, network_attributes, application_attributes }: &PolicyRule) -> bool {
    sources.is_none() && network_attributes.is_none() && application_attributes.is_none()
}

fn fits_all_of_mesh(rule: &ClusterPolicyRule) -> bool {
    let ClusterPolicyRule { name: _, action: _, sources, network_attributes, application_attributes } = rule;
    sources.is_none() && network_attributes.is_none() && application_attributes.is_none()
}

/// Whether a rule of Istio's asks who calls, by name, token or address.
fn says_who(rule: &istio::Rule) -> bool {
    let asks = |from: &istio::From| {
        from.source.as_ref().is_some_and(|source| {
            let istio::Source { principals, request_principals, namespaces, service_accounts, .. } = source;
            let istio::Source { trust_domains, ip_blocks, remote_ip_blocks, .. } = source;
            let names = [principals, request_principals, namespaces, service_accounts, trust_domains];
            names.into_iter().chain([ip_blocks, remote_ip_blocks]).any(|list| !list.is_empty())
        })
    };
    let is_about_callers =
        |key: &str| ["source.", "remote.", "request.auth."].iter().any(|begin| key.starts_with(begin));
    rule.from.as_ref().is_some_and(|from| from.iter().all(asks))
        || rule.when.iter().any(|when| is_about_callers(&when.key) && !when.values.is_empty())
}

fn names_nobody(sources: Option<&[PolicySource]>) -> bool {
    sources.into_iter().flatten().any(|source| source.kind == SourceType::Unauthenticated)
}

fn is_by_name(sources: Option<&[PolicySource]>) -> bool {
    let by_name = |source: &PolicySource| {
        matches!(
            source.kind,
            SourceType::ServiceAccount | SourceType::Spiffe | SourceType::Namespace | SourceType::TrustDomain
        )
    };
    sources.into_iter().flatten().any(|source| by_name(source) || source.all_of.iter().flatten().any(by_name))
}

fn is_istios_by_name(rule: &istio::Rule) -> bool {
    const KEYS: [&str; 4] = ["source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"];
    let mut sources = rule.from.iter().flatten().flat_map(|from| &from.source);
    let in_source = sources.any(|source| {
        let istio::Source { principals, namespaces, service_accounts, trust_domains, .. } = source;
        [principals, namespaces, service_accounts, trust_domains].iter().any(|list| !list.is_empty())
    });
    in_source || rule.when.iter().any(|when| KEYS.contains(&when.key.as_str()) && !when.values.is_empty())
}
