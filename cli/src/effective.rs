//! AuthConfigs as they are in force: with what they import, and without those that are there to be imported.

use std::borrow::Cow;

use sidegate_config::{AuthConfig, AuthConfigSpec, Document, Documents, LabelSelector, ObjectMeta, Problem, Secret};
use sidegate_engine::compose::{Composition, Origins};
use sidegate_engine::grants::Grants;
use sidegate_engine::resources::{Resources, Scope};

use crate::validate::auth_configs;

/// An AuthConfig that is in force.
pub struct Effective<'a> {
    pub document: &'a AuthConfig,
    pub spec: Cow<'a, AuthConfigSpec>,
    /// Where what is imported was written.
    origins: Origins,
}

/// All that are in force.
pub fn all(documents: &Documents) -> Vec<Effective<'_>> {
    let grants = grants(documents);
    let composition = Composition::new(auth_configs(documents), &grants);
    let in_force = auth_configs(documents).filter(|document| !composition.is_imported(document));
    let effective = in_force.map(|document| match composition.of(document) {
        Some(composed) => {
            Effective { document, spec: Cow::Owned(composed.spec.clone()), origins: composed.origins.clone() }
        }
        None => Effective { document, spec: Cow::Borrowed(&document.spec), origins: Origins::new() },
    });
    effective.collect()
}

impl Effective<'_> {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        let ObjectMeta { namespace, name, .. } = &self.document.metadata;
        format!("{namespace}/{name}")
    }

    /// The document in which something was written, as problems name it, and the path there.
    pub fn written(&self, path: &str) -> (String, String) {
        for (steps, origin) in &self.origins {
            let here = joined(steps);
            let Some(rest) = path.strip_prefix(&here).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            else {
                continue;
            };
            let mut there = steps.clone();
            if let (Some(last), Some(step)) = (there.last_mut(), &origin.step) {
                last.clone_from(step);
            }
            return (format!("AuthConfig {}/{}", origin.namespace, origin.name), joined(&there) + rest);
        }
        (format!("AuthConfig {}", self.id()), path.to_owned())
    }
}

fn joined(steps: &[String]) -> String {
    steps.iter().fold(String::new(), |path, step| match path.is_empty() || step.starts_with('[') {
        true => path + step,
        false => path + "." + step,
    })
}

fn grants(documents: &Documents) -> Grants {
    let grants = documents.resources.iter().filter_map(|document| match document {
        Document::ReferenceGrant(grant) => Some((**grant).clone()),
        _ => None,
    });
    Grants::new(grants.collect())
}

/// The Secrets of a configuration, as rules select them.
pub struct Secrets(Resources);

impl Secrets {
    pub fn of(documents: &Documents) -> Self {
        let secrets = documents.resources.iter().filter_map(secret).cloned();
        // What is wrong with them has been told.
        Self(Resources::new(secrets, &mut Vec::<Problem>::new()).with_grants(grants(documents)))
    }

    /// The metadata of those that a rule of an AuthConfig selects.
    pub fn selected(
        &self,
        AuthConfig { metadata, .. }: &AuthConfig,
        selector: &LabelSelector,
        all_namespaces: bool,
        namespaces: &[String],
    ) -> Vec<ObjectMeta> {
        let from = metadata.namespace.clone();
        let scope = match (all_namespaces, namespaces) {
            (true, _) => Scope::All,
            (false, []) => Scope::Namespaces { namespaces: vec![from.clone()], from },
            (false, namespaces) => Scope::Namespaces { namespaces: namespaces.to_vec(), from },
        };
        self.0.secrets(&scope, selector).map(|secret| secret.document.metadata.clone()).collect()
    }
}

fn secret(document: &Document) -> Option<&Secret> {
    match document {
        Document::Secret(secret) => Some(secret),
        _ => None,
    }
}
