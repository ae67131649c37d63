//! Rules that stand in for those of an import, which are not asked then.

use std::collections::BTreeMap;

use sidegate_config::{AuthConfigSpec, Documents};

use super::Warnings;
use crate::effective;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for (document, imports) in effective::importers(documents) {
        // Where each was written, of the imports so far.
        let mut known: BTreeMap<(&str, String), String> = BTreeMap::new();
        for (index, import) in imports.iter().enumerate() {
            for (section, name) in names(&import.spec) {
                let (written, _) = import.written(&format!("spec.{section}.{name}"));
                let before = known.insert((section, name.clone()), written.clone());
                if let Some(other) = before.filter(|other| *other != written) {
                    let message = format!(
                        "`{section}.{name}` of {written} stands in for that of {other}, which counts no more: if both are to hold, \
                         name one of them otherwise, or else leave one out"
                    );
                    warnings.add(document, format!("spec.imports[{index}]"), message);
                }
            }
        }
        for (section, name) in names(&document.spec) {
            if let Some(other) = known.get(&(section, name.clone())) {
                let message = format!(
                    "stands in for that of {other}, which counts no more: if both are to hold, name it otherwise"
                );
                warnings.add(document, format!("spec.{section}.{name}"), message);
            }
        }
    }
}

/// What requests are denied by, and the patterns that may be named there.
fn names(
    AuthConfigSpec { authorization, patterns, .. }: &AuthConfigSpec,
) -> impl Iterator<Item = (&'static str, String)> {
    let rules = authorization.keys().map(|name| ("authorization", name.clone()));
    rules.chain(patterns.keys().map(|name| ("patterns", name.clone())))
}
