//! A JWT rule that takes tokens for others.

use sidegate_config::{AuthConfig, Documents};

use super::{Warnings, criteria};
use crate::validate::auth_configs;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for document in auth_configs(documents).filter(|document| !reads_audience(document)) {
        for (name, rule) in &document.spec.authentication {
            if rule.jwt.as_ref().is_some_and(|jwt| jwt.audiences.is_empty()) {
                warnings.add(
                    document,
                    format!("spec.authentication.{name}.jwt"),
                    "takes every token of the issuer, also one that was made for another service: name yours in `audiences`",
                );
            }
        }
    }
}

/// Whether a rule looks at the audience itself.
fn reads_audience(document: &AuthConfig) -> bool {
    let named = document.spec.patterns.values().flatten().map(|pattern| pattern.selector.as_str());
    let criteria = criteria(document);
    let mut texts =
        criteria.iter().flat_map(|criterion| [&criterion.spec.selector, &criterion.spec.predicate]).flatten();
    let rego = document.spec.authorization.values().filter_map(|rule| rule.opa.as_ref()?.rego.as_deref());
    texts.any(|text| text.contains("identity.aud")) || named.chain(rego).any(|text| text.contains("identity.aud"))
}
