//! API keys of all Secrets there are, or of none.

use sidegate_config::{Document, Documents, LabelSelector};
use sidegate_engine::resources::selects;

use super::Warnings;
use crate::validate::auth_configs;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let secrets = || {
        documents.resources.iter().filter_map(|document| match document {
            Document::Secret(secret) => Some(&secret.metadata),
            Document::AuthConfig(_) | Document::ReferenceGrant(_) => None,
        })
    };
    for document in auth_configs(documents) {
        for (name, rule) in &document.spec.authentication {
            let Some(api_key) = &rule.api_key else { continue };
            let path = format!("spec.authentication.{name}.apiKey.selector");
            if api_key.selector == LabelSelector::default() {
                warnings.add(
                    document,
                    path,
                    "selects every Secret, so whatever has an `api_key` opens this door: name labels",
                );
                continue;
            }
            let ours =
                secrets().filter(|secret| api_key.all_namespaces || secret.namespace == document.metadata.namespace);
            if !ours.into_iter().any(|secret| selects(&api_key.selector, &secret.labels)) {
                warnings.add(document, path, "selects no Secret that is here, so nobody gets in by this rule");
            }
        }
    }
}
