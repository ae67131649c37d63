//! An AuthConfig that lets everybody in.

use sidegate_config::Documents;

use super::Warnings;
use crate::effective::{self, Effective};

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for Effective { document, spec, .. } in effective::all(documents) {
        let anybody = spec.authentication.values().any(|rule| rule.anonymous.is_some() && rule.when.is_empty());
        if spec.authorization.is_empty() && (spec.authentication.is_empty() || anybody) {
            let why = if anybody { "`anonymous` is enough" } else { "there is no `authentication`" };
            let message = format!("everybody may do everything: {why}, and there is no `authorization`");
            warnings.add(document, "spec", message);
        }
    }
}
