//! Keys and CAs of all Secrets there are, or of none.

use sidegate_config::{ApiKeySpec, AuthConfig, Documents, HmacSpec, LabelSelector, X509Spec};

use super::Warnings;
use crate::effective::Secrets;
use crate::validate::auth_configs;

/// Without the Secrets this is so of every selector.
pub const SELECTS_NONE: &str = "selects no Secret that is here, so nobody gets in by this rule";

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let secrets = Secrets::of(documents);
    for document in auth_configs(documents) {
        for (name, rule) in &document.spec.authentication {
            let path = |method: &str| format!("spec.authentication.{name}.{method}.selector");
            if let Some(ApiKeySpec { selector, all_namespaces, namespaces }) = rule.api_key.as_deref() {
                judge(document, path("apiKey"), (selector, *all_namespaces, namespaces), &secrets, warnings);
            }
            if let Some(HmacSpec { selector, all_namespaces, namespaces, .. }) = rule.hmac.as_deref() {
                judge(document, path("hmac"), (selector, *all_namespaces, namespaces), &secrets, warnings);
            }
            if let Some(X509Spec { selector, all_namespaces, namespaces, .. }) = rule.x509.as_deref() {
                judge(document, path("x509"), (selector, *all_namespaces, namespaces), &secrets, warnings);
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
        let message = "selects every Secret, so whatever has a key or a CA in it opens this door: name labels";
        warnings.add(document, path, message);
    } else if secrets.selected(document, selector, all_namespaces, namespaces).is_empty() {
        warnings.add(document, path, SELECTS_NONE);
    }
}
