//! AuthConfigs as they are in force: with what they import, and without those that are there to be imported.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sidegate_config::{
    AuthConfig, AuthConfigSpec, Document, Documents, ImportSpec, LabelSelector, ObjectMeta, Problem, Secret,
};
use sidegate_engine::compose::{Composed, Composition, Origins};
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
    in_force.map(|document| Effective::of(document, composition.of(document))).collect()
}

/// Those that import others, and what each imports, in that order and each with its own imports.
pub fn importers(documents: &Documents) -> Vec<(&AuthConfig, Vec<Effective<'_>>)> {
    let grants = grants(documents);
    let composition = Composition::new(auth_configs(documents), &grants);
    let id = |AuthConfig { metadata, .. }: &AuthConfig| (metadata.namespace.clone(), metadata.name.clone());
    let known: BTreeMap<_, _> = auth_configs(documents).map(|document| (id(document), document)).collect();
    let importers = auth_configs(documents).filter(|document| !document.spec.imports.is_empty());
    let imported = importers.map(|importer| {
        let find = |ImportSpec { name, namespace }: &ImportSpec| {
            let namespace = namespace.as_ref().unwrap_or(&importer.metadata.namespace);
            known.get(&(namespace.clone(), name.clone())).copied()
        };
        let found = importer.spec.imports.iter().filter_map(find);
        (importer, found.map(|document| Effective::of(document, composition.of(document))).collect())
    });
    imported.collect()
}

impl<'a> Effective<'a> {
    fn of(document: &'a AuthConfig, composed: Option<&Composed>) -> Self {
        match composed {
            Some(Composed { spec, origins }) => {
                Self { document, spec: Cow::Owned(spec.clone()), origins: origins.clone() }
            }
            None => Self { document, spec: Cow::Borrowed(&document.spec), origins: Origins::new() },
        }
    }

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
