//! Addresses that let in who has no identity.

use sidegate_config::{ClusterAction, Document, Documents, PolicyAction, PolicySource, Problem, SourceType};

use super::Warnings;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for document in &documents.resources {
        match document {
            Document::AuthorizationPolicy(policy) if policy.spec.action == PolicyAction::Allow => {
                let label = format!("AuthorizationPolicy {}/{}", policy.metadata.namespace, policy.metadata.name);
                for (index, rule) in policy.spec.rules.iter().enumerate() {
                    warn(&label, index, rule.sources.as_deref(), warnings);
                }
            }
            Document::ClusterAuthorizationPolicy(policy) => {
                let label = format!("ClusterAuthorizationPolicy {}", policy.metadata.name);
                let rules = policy.spec.rules.iter().enumerate();
                for (index, rule) in rules.filter(|(_, rule)| rule.action == ClusterAction::Allow) {
                    warn(&label, index, rule.sources.as_deref(), warnings);
                }
            }
            _ => {}
        }
    }
}

fn warn(label: &str, index: usize, sources: Option<&[PolicySource]>, warnings: &mut Warnings) {
    let sources = sources.into_iter().flatten().enumerate();
    for (source, _) in sources.filter(|(_, source)| source.kind == SourceType::Cidr) {
        warnings.0.push(Problem {
            document: label.to_owned(),
            path: format!("spec.rules[{index}].sources[{source}]"),
            message: "lets in whoever has the address, with an identity or without one, and unencrypted: put it into an `AllOf` \
                      beside who may call, unless that is meant"
                .to_owned(),
        });
    }
}
