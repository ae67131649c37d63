//! Keys of all Secrets there are, or of none.

use sidegate_config::{ApiKeySpec, AuthConfig, Documents, HmacSpec, LabelSelector};

use super::Warnings;
use crate::effective::Secrets;
use crate::validate::auth_configs;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let secrets = Secrets::of(documents);
    for document in auth_configs(documents) {
        for (name, rule) in &document.spec.authentication {
            let path = |method: &str| format!("spec.authentication.{name}.{method}.selector");
            if let Some(ApiKeySpec { selector, all_namespaces, namespaces }) = &rule.api_key {
                judge(document, path("apiKey"), (selector, *all_namespaces, namespaces), &secrets, warnings);
            }
            if let Some(HmacSpec { selector, all_namespaces, namespaces, .. }) = &rule.hmac {
                judge(document, path("hmac"), (selector, *all_namespaces, namespaces), &secrets, warnings);
            }
        }
    }
}

fn judge(
    document: &AuthConfig,
    path: String,
    (selector, all_namespaces, namespaces): (&LabelSelector, bool, &[String]),
    secrets: &Secrets,
    warnings: &mut Warnings,
) {
    if *selector == LabelSelector::default() {
        let message = "selects every Secret, so whatever has a key in it opens this door: name labels";
        warnings.add(document, path, message);
    } else if secrets.selected(document, selector, all_namespaces, namespaces).is_empty() {
        warnings.add(document, path, "selects no Secret that is here, so nobody gets in by this rule");
    }
}
