//! Denials of callers by name, which pass over who has none, where nothing else keeps those out.

use sidegate_config::{
    ClusterAction, DefaultDecision, Document, Documents, PolicyAction, PolicySource, PolicyTier, Problem, SourceType,
    istio,
};

use super::Warnings;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let options = documents.settings.options.east_west.as_ref();
    let is_shut = options.is_some_and(|options| options.default == DefaultDecision::Deny);
    if is_shut || documents.resources.iter().any(keeps_the_nameless_out) {
        return;
    }
    for document in &documents.resources {
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
        for (index, _) in names.iter().enumerate().filter(|(_, by_name)| **by_name) {
            warnings.0.push(Problem {
                document: label.clone(),
                path: format!("spec.rules[{index}]"),
                message: "passes over who comes without a certificate, whom nothing here keeps out: deny `Unauthenticated`, too, \
                          or say who may call"
                    .to_owned(),
            });
        }
    }
}

/// Whether a policy keeps out who has no identity, or lets in some alone.
fn keeps_the_nameless_out(document: &Document) -> bool {
    match document {
        Document::AuthorizationPolicy(policy) => match policy.spec.action {
            PolicyAction::Allow => true,
            PolicyAction::Deny => policy.spec.rules.iter().any(|rule| names_nobody(rule.sources.as_deref())),
            PolicyAction::Audit => false,
        },
        Document::ClusterAuthorizationPolicy(policy) => {
            let mut denials = policy.spec.rules.iter().filter(|rule| rule.action == ClusterAction::Deny);
            let is_last = policy.spec.tier == PolicyTier::Baseline;
            denials.any(|rule| (is_last && rule.sources.is_none()) || names_nobody(rule.sources.as_deref()))
        }
        Document::IstioAuthorizationPolicy(policy) => match policy.spec.action {
            istio::Action::Allow => true,
            istio::Action::Deny => policy.spec.rules.iter().any(|rule| {
                let mut sources = rule.from.iter().flatten().flat_map(|from| &from.source);
                sources.any(|source| source.not_principals.iter().any(|principal| principal == "*"))
            }),
            _ => false,
        },
        _ => false,
    }
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
