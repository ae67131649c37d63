//! Rules of policies over identity that nobody can meet.

use sidegate_config::{Document, Documents, Problem};

use super::Warnings;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for document in &documents.resources {
        let (label, empty): (String, Vec<bool>) = match document {
            Document::AuthorizationPolicy(policy) => (
                format!("AuthorizationPolicy {}/{}", policy.metadata.namespace, policy.metadata.name),
                policy.spec.rules.iter().map(|rule| rule.sources.as_ref().is_some_and(Vec::is_empty)).collect(),
            ),
            Document::ClusterAuthorizationPolicy(policy) => (
                format!("ClusterAuthorizationPolicy {}", policy.metadata.name),
                policy.spec.rules.iter().map(|rule| rule.sources.as_ref().is_some_and(Vec::is_empty)).collect(),
            ),
            _ => continue,
        };
        for (index, _) in empty.iter().enumerate().filter(|(_, empty)| **empty) {
            warnings.0.push(Problem {
                document: label.clone(),
                path: format!("spec.rules[{index}].sources"),
                message: "is empty, which nobody meets; clients that drop empty lists make anybody of it: write \
                          `rules: []`, or name who calls"
                    .to_owned(),
            });
        }
    }
}
