//! An identity that the client itself says.

use sidegate_config::Documents;

use super::Warnings;
use crate::validate::auth_configs;

/// What the client chooses.
const BY_CLIENT: [&str; 5] = ["request.headers", "request.path", "request.query", "request.body", "request.url_path"];

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for document in auth_configs(documents) {
        for (name, rule) in &document.spec.authentication {
            let Some(plain) = &rule.plain else { continue };
            for (field, text) in [("selector", &plain.selector), ("expression", &plain.expression)] {
                let Some(text) = text else { continue };
                if BY_CLIENT.iter().any(|place| text.trim_start_matches("context.").starts_with(place)) {
                    warnings.add(
                        document,
                        format!("spec.authentication.{name}.plain.{field}"),
                        "the client itself says who it is: see that a proxy in front sets this, whatever the client sent",
                    );
                }
            }
        }
    }
}
