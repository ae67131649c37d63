//! Denials of paths, and what lets in all but some, for a server of which nobody has said how it reads letters.

use sidegate_config::{
    ApplicationAttributes, ClusterAction, Document, Documents, PathMatch, PolicyAction, Problem, istio,
};

use super::Warnings;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let options = documents.settings.options.east_west.as_ref();
    // Who says that letters count has thought of it.
    if options.is_some_and(|options| options.case_insensitive_paths.is_some()) {
        return;
    }
    for document in &documents.resources {
        match document {
            Document::AuthorizationPolicy(policy) if policy.spec.action == PolicyAction::Deny => {
                let label = format!("AuthorizationPolicy {}/{}", policy.metadata.namespace, policy.metadata.name);
                for (index, rule) in policy.spec.rules.iter().enumerate() {
                    warn(&label, &attributes(index), paths(rule.application_attributes.as_ref()), warnings);
                }
            }
            Document::ClusterAuthorizationPolicy(policy) => {
                let label = format!("ClusterAuthorizationPolicy {}", policy.metadata.name);
                let rules = policy.spec.rules.iter().enumerate();
                for (index, rule) in rules.filter(|(_, rule)| rule.action == ClusterAction::Deny) {
                    warn(&label, &attributes(index), paths(rule.application_attributes.as_ref()), warnings);
                }
            }
            Document::IstioAuthorizationPolicy(policy) => {
                let field = match policy.spec.action {
                    istio::Action::Deny => "paths",
                    istio::Action::Allow => "notPaths",
                    _ => continue,
                };
                let label = format!("{} {}/{}", istio::WORD, policy.metadata.namespace, policy.metadata.name);
                for (index, rule) in policy.spec.rules.iter().enumerate() {
                    for (to, it) in rule.to.iter().flatten().enumerate() {
                        let path = format!("spec.rules[{index}].to[{to}].operation.{field}");
                        let paths = it.operation.iter().flat_map(
                            |istio::Operation { paths, not_paths, .. }| {
                                if field == "paths" { paths } else { not_paths }
                            },
                        );
                        warn(&label, &path, paths.map(String::as_str), warnings);
                    }
                }
            }
            _ => {}
        }
    }
}

fn attributes(rule: usize) -> String {
    format!("spec.rules[{rule}].applicationAttributes.paths")
}

fn paths(attributes: Option<&ApplicationAttributes>) -> impl Iterator<Item = &str> {
    let paths = attributes.and_then(|attributes| attributes.paths.as_deref()).unwrap_or_default();
    paths.iter().map(|PathMatch { value, .. }| value.as_str())
}

/// One warning is enough for a list.
fn warn<'p>(label: &str, field: &str, mut paths: impl Iterator<Item = &'p str>, warnings: &mut Warnings) {
    let found = paths.by_ref().enumerate().find(|(_, path)| path.bytes().any(|byte| byte.is_ascii_alphabetic()));
    let Some((at, path)) = found else { return };
    let upper = path.to_ascii_uppercase();
    let other = if upper == path { path.to_ascii_lowercase() } else { upper };
    warnings.0.push(Problem {
        document: label.to_owned(),
        path: format!("{field}[{at}]"),
        message: format!(
            "leaves the same in other letters open, as `{other}`: say by `options.eastWest.caseInsensitivePaths` whether your \
             server takes that for the same"
        ),
    });
}
