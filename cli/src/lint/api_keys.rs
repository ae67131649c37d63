//! API keys of all Secrets there are, or of none.

use sidegate_config::{Documents, LabelSelector};

use super::Warnings;
use crate::effective::Secrets;
use crate::validate::auth_configs;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let secrets = Secrets::of(documents);
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
            } else if secrets
                .selected(document, &api_key.selector, api_key.all_namespaces, &api_key.namespaces)
                .is_empty()
            {
                warnings.add(document, path, "selects no Secret that is here, so nobody gets in by this rule");
            }
        }
    }
}
