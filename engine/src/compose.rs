//! `imports`: AuthConfigs whose rules come from others.
//!
//! What is imported is put together before anything is compiled. Each rule keeps the place where it was written: Secrets are
//! looked up in the namespace of that document, and problems are told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sidegate_config::{AuthConfig, AuthConfigSpec, ImportSpec, Problem};

use crate::gather::gathered;
use crate::grants::{Grants, Referent};

/// How many imports may stand behind one another.
const MAX_DEPTH: usize = 16;

/// Where in the specification something stands that was imported, and where it was written.
pub type Origins = BTreeMap<Vec<String>, Origin>;

/// Where something was written.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Namespace of the document.
    pub namespace: String,
    /// Name of the document.
    pub name: String,
    /// The last step of the path in that document, if it is another one.
    pub step: Option<String>,
}

/// The specification of an AuthConfig with all that it imports.
#[derive(Debug, Clone, Default)]
pub struct Composed {
    /// The specification.
    pub spec: AuthConfigSpec,
    /// Where its parts were written; nothing if there are no imports.
    pub origins: Origins,
}

/// Namespace and name.
type Id<'a> = (&'a str, &'a str);

/// The AuthConfigs of a configuration, each with what it imports.
#[derive(Debug)]
pub struct Composition<'a> {
    documents: BTreeMap<Id<'a>, &'a AuthConfig>,
    grants: &'a Grants,
    imported: BTreeSet<Id<'a>>,
    made: BTreeMap<Id<'a>, Made>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
enum Made {
    UnderWay,
    Done(Rc<Composed>),
}

impl<'a> Composition<'a> {
    /// Puts together those that import others.
    #[inline(never)]
    pub fn new(documents: impl Iterator<Item = &'a AuthConfig>, grants: &'a Grants) -> Self {
        let documents: BTreeMap<_, _> = gathered(documents.map(|document| (id(document), document)));
        let importers: Vec<_> =
            documents.values().copied().filter(|document| !document.spec.imports.is_empty()).collect();
        let (imported, made, problems) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        let mut composition = Self { documents, grants, imported, made, problems };
        for document in importers {
            drop(composition.compose(document, 0));
        }
        composition
    }

    /// What is wrong with imports, taken out.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// The AuthConfig with what it imports; none if it imports nothing.
    #[must_use]
    pub fn of(&self, document: &'a AuthConfig) -> Option<&Composed> {
        match self.made.get(&id(document)) {
            Some(Made::Done(composed)) if !document.spec.imports.is_empty() => Some(composed),
            _ => None,
        }
    }

    /// Whether another AuthConfig imports it: then it protects nothing itself.
    #[must_use]
    pub fn is_imported(&self, document: &'a AuthConfig) -> bool {
        self.imported.contains(&id(document))
    }

    fn compose(&mut self, document: &'a AuthConfig, depth: usize) -> Rc<Composed> {
        if let Some(Made::Done(composed)) = self.made.get(&id(document)) {
            return Rc::clone(composed);
        }
        self.made.insert(id(document), Made::UnderWay);
        let mut composed = Composed::default();
        for (index, import) in document.spec.imports.iter().enumerate() {
            match self.find(document, import, depth) {
                Ok(other) => {
                    self.imported.insert(id(other));
                    let other_composed = self.compose(other, depth.saturating_add(1));
                    composed.add(id(other), &other_composed.spec, &other_composed.origins);
                }
                Err(message) => {
                    let (namespace, name) = id(document);
                    let (document, path) = (format!("AuthConfig {namespace}/{name}"), format!("spec.imports[{index}]"));
                    self.problems.push(Problem { document, path, message });
                }
            }
        }
        composed.add(id(document), &document.spec, &Origins::new());
        let composed = Rc::new(composed);
        self.made.insert(id(document), Made::Done(Rc::clone(&composed)));
        composed
    }

    fn find(&self, document: &AuthConfig, import: &ImportSpec, depth: usize) -> Result<&'a AuthConfig, String> {
        let ImportSpec { name, namespace } = import;
        let from = &document.metadata.namespace;
        let namespace = namespace.as_ref().unwrap_or(from);
        if !self.grants.permit(from, Referent::AuthConfig, namespace, name) {
            return Err(format!(
                "AuthConfig `{namespace}/{name}` may not be imported into namespace `{from}`: a ReferenceGrant in \
                 `{namespace}` must allow it"
            ));
        }
        let Some(other) = self.documents.get(&(namespace.as_str(), name.as_str())) else {
            return Err(format!("there is no AuthConfig `{namespace}/{name}` in the configuration"));
        };
        if !other.spec.hosts.is_empty() {
            return Err(format!("`{namespace}/{name}` has hosts of its own: what is imported has `hosts: []`"));
        }
        if matches!(self.made.get(&id(other)), Some(Made::UnderWay)) {
            return Err(format!("`{namespace}/{name}` imports this AuthConfig in turn"));
        }
        if depth >= MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} imports stand behind one another"));
        }
        Ok(other)
    }
}

impl Composed {
    /// Adds what another document says, or one that it was put together from.
    fn add(&mut self, (namespace, name): Id<'_>, spec: &AuthConfigSpec, origins: &Origins) {
        let Self { spec: whole, origins: written } = self;
        whole.take_over(spec, &mut |here, there| {
            let step = there.last().cloned();
            let origin = || Origin { namespace: namespace.to_owned(), name: name.to_owned(), step };
            written.insert(here, origins.get(&there).cloned().unwrap_or_else(origin));
        });
    }
}

fn id(document: &AuthConfig) -> Id<'_> {
    (&document.metadata.namespace, &document.metadata.name)
}
