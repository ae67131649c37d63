//! Denials of all that is below a path, which leave the path itself open.

use sidegate_config::{
    ApplicationAttributes, ClusterAction, Document, Documents, PathMatchType, PolicyAction, Problem,
};

use super::Warnings;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for document in &documents.resources {
        match document {
            Document::AuthorizationPolicy(policy) if policy.spec.action == PolicyAction::Deny => {
                let label = format!("AuthorizationPolicy {}/{}", policy.metadata.namespace, policy.metadata.name);
                for (index, rule) in policy.spec.rules.iter().enumerate() {
                    warn(&label, index, rule.application_attributes.as_ref(), warnings);
                }
            }
            Document::ClusterAuthorizationPolicy(policy) => {
                let label = format!("ClusterAuthorizationPolicy {}", policy.metadata.name);
                let rules = policy.spec.rules.iter().enumerate();
                for (index, rule) in rules.filter(|(_, rule)| rule.action == ClusterAction::Deny) {
                    warn(&label, index, rule.application_attributes.as_ref(), warnings);
                }
            }
            _ => {}
        }
    }
}

fn warn(label: &str, index: usize, attributes: Option<&ApplicationAttributes>, warnings: &mut Warnings) {
    let paths = attributes.and_then(|attributes| attributes.paths.as_deref()).unwrap_or_default();
    for (path, template) in paths.iter().enumerate().filter(|(_, path)| path.kind == PathMatchType::Template) {
        let Some(folder) = template.value.strip_suffix("/{**}").filter(|folder| !folder.is_empty()) else { continue };
        if !paths.iter().any(|path| path.value == folder) {
            warnings.0.push(Problem {
                document: label.to_owned(),
                path: format!("spec.rules[{index}].applicationAttributes.paths[{path}]"),
                message: format!(
                    "does not fit `{folder}` itself, which stays open: name it, too, or write a `PathPrefix`"
                ),
            });
        }
    }
}
