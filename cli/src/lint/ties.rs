//! Cluster-wide policies of one priority, of which the name decides.

use sidegate_config::{ClusterAuthorizationPolicy, Document, Documents, Problem};

use super::Warnings;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let policies: Vec<&ClusterAuthorizationPolicy> = (documents.resources.iter())
        .filter_map(|document| match document {
            Document::ClusterAuthorizationPolicy(policy) => Some(&**policy),
            _ => None,
        })
        .collect();
    for policy in &policies {
        let place = |policy: &ClusterAuthorizationPolicy| (policy.spec.tier, policy.spec.priority);
        let before = (policies.iter())
            .filter(|other| place(other) == place(policy) && other.metadata.name < policy.metadata.name)
            .min_by_key(|other| &other.metadata.name);
        if let Some(before) = before {
            warnings.0.push(Problem {
                document: format!("ClusterAuthorizationPolicy {}", policy.metadata.name),
                path: "spec.priority".to_owned(),
                message: format!(
                    "is that of `{}`, too, which decides first since its name comes first: give each its own",
                    before.metadata.name
                ),
            });
        }
    }
}
