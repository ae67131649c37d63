//! For which workloads policies are compared: those that their selectors can tell apart.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sidegate_config::{LabelOperator, LabelSelector};

use super::text;
use crate::east_west::object::{Object, Target};
use crate::east_west::workload::listed;
use crate::east_west::{Mesh, NAMESPACE_NAME};
use crate::resources::selects;

/// So many selectors of a namespace are tried together.
const MOST_SELECTORS: usize = 100;

/// So many values of one requirement of a selector are tried.
const MOST_VALUES: usize = 20;

/// The value of a label that may have any.
const ANY: &str = "any";

/// A namespace that no document names: what is about all namespaces is so of it, too.
const OTHER: &str = "any-other";

/// A namespace, and labels.
type Labelled = (String, BTreeMap<String, String>);

/// Workloads that are made up from what policies select.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// For each namespace and selector one with the fewest labels, one with each other value that it names of a label, one that as
    /// many others as can be select too, and one without.
    pub workloads: BTreeSet<Labelled>,
    /// What they leave out, a sentence each.
    pub not_known: Vec<String>,
}

impl Candidates {
    /// For two sets of policies.
    #[must_use]
    pub fn of(meshes: [&Mesh; 2]) -> Self {
        let mut all = Self::default();
        if meshes[0].is_same(meshes[1]) {
            return all;
        }
        let mut namespaces: BTreeSet<String> = meshes.iter().flat_map(|mesh| mesh.known_namespaces()).collect();
        for namespace in &namespaces {
            all.not_known.extend(labels_not_known(meshes, namespace));
        }
        all.not_known.extend(fits_no_namespace(meshes));
        namespaces.insert(OTHER.to_owned());
        for namespace in namespaces {
            let selectors = selectors(meshes, &namespace);
            let some = selectors.get(..MOST_SELECTORS).unwrap_or(&selectors);
            if some.len() < selectors.len() {
                all.not_known.push(format!(
                    "namespace {namespace}: of {} selectors {MOST_SELECTORS} were tried together, the others each alone",
                    selectors.len()
                ));
            }
            all.not_known.extend(selectors.iter().copied().flat_map(|selector| too_many(&namespace, selector)));
            let alone = selectors.iter().flat_map(|selector| told_apart(selector));
            let together = some.iter().map(|selector| union(selector, some));
            let of = alone.chain(together).chain([BTreeMap::new()]);
            all.workloads.extend(of.map(|labels| (namespace.clone(), labels)));
        }
        all
    }
}

/// That policies look at the labels of a namespace of which there is no document; none if none does, or the sets are alike.
#[must_use]
pub fn labels_not_known(meshes: [&Mesh; 2], namespace: &str) -> Option<String> {
    if meshes[0].is_same(meshes[1]) {
        return None;
    }
    meshes.iter().find_map(|mesh| mesh.labels_not_known(namespace))
}

impl Mesh {
    /// That policies look at the labels of a namespace of which there is no document; none if none does.
    #[must_use]
    pub fn labels_not_known(&self, namespace: &str) -> Option<String> {
        if self.namespaces.contains_key(namespace) {
            return None;
        }
        let looking = self.objects().filter(|object| looks(&object.target)).map(Object::decider);
        let looking: Vec<Rc<str>> = looking.collect();
        let names: Vec<&str> = looking.iter().map(|name| &**name).collect();
        (!names.is_empty()).then(|| {
            format!("namespace {namespace}: there is no document of it, whose labels count for {}", listed(&names))
        })
    }

    /// Whether a policy has a selector of pods.
    #[must_use]
    pub fn selects_pods(&self, namespace: &str) -> bool {
        let targets = self.objects().map(|object| &object.target);
        let mut of = targets.filter(|target| target.namespace.as_ref().is_none_or(|of| **of == *namespace));
        of.any(|target| target.pods != LabelSelector::default())
    }

    /// Namespaces that policies or documents name.
    fn known_namespaces(&self) -> BTreeSet<String> {
        let targets = self.objects().filter_map(|object| object.target.namespace.as_deref());
        let own = self.workload.as_ref().and_then(|workload| workload.namespace.as_deref());
        targets.chain(self.namespaces.keys().map(String::as_str)).chain(own).map(ToOwned::to_owned).collect()
    }

    /// Whether both are alike in all that decides.
    fn is_same(&self, other: &Self) -> bool {
        let all = |Self { settings, objects, namespaces, workload, .. }: &Self| {
            format!("{:?}", (&settings.options, objects, namespaces, workload))
        };
        all(self) == all(other)
    }
}

/// Whether labels of namespaces count but for the name.
fn looks(Target { namespace, namespaces, .. }: &Target) -> bool {
    let LabelSelector { match_labels, match_expressions } = namespaces;
    let mut keys = match_labels.keys().chain(match_expressions.iter().map(|requirement| &requirement.key));
    namespace.is_none() && keys.any(|key| key != NAMESPACE_NAME)
}

/// Policies about namespaces with labels that no document of a namespace has.
fn fits_no_namespace(meshes: [&Mesh; 2]) -> BTreeSet<String> {
    let none = |mesh: &Mesh, object: &Object| {
        let other = BTreeMap::from([(NAMESPACE_NAME.to_owned(), OTHER.to_owned())]);
        let mut all = mesh.namespaces.values().chain([&other]);
        looks(&object.target) && !all.any(|labels| selects(&object.target.namespaces, labels))
    };
    let of = meshes.into_iter().flat_map(|mesh| mesh.objects().filter(move |object| none(mesh, object)));
    let line = |object: &Object| {
        let namespaces = text::selector(&object.target.namespaces);
        format!("{}: there is no document of a namespace with {namespaces}", object.decider())
    };
    of.map(line).collect()
}

/// The selectors of pods of a namespace, each once.
fn selectors<'a>(meshes: [&'a Mesh; 2], namespace: &str) -> Vec<&'a LabelSelector> {
    let targets = meshes.into_iter().flat_map(Mesh::objects).map(|object| &object.target);
    let of = targets.filter(|target| target.namespace.as_ref().is_none_or(|of| **of == *namespace));
    let all: BTreeMap<String, &LabelSelector> = of.map(|target| (format!("{:?}", target.pods), &target.pods)).collect();
    all.into_values().collect()
}

/// The fewest labels that a selector fits.
fn labels(LabelSelector { match_labels, match_expressions }: &LabelSelector) -> BTreeMap<String, String> {
    let mut labels = match_labels.clone();
    for requirement in match_expressions {
        let value = match requirement.operator {
            LabelOperator::In => requirement.values.first().cloned(),
            LabelOperator::Exists => Some(ANY.to_owned()),
            LabelOperator::NotIn | LabelOperator::DoesNotExist => None,
        };
        if let Some(value) = value {
            labels.entry(requirement.key.clone()).or_insert(value);
        }
    }
    labels
}

/// The fewest labels that a selector fits; and those with each other value that one of its requirements names, or with a label that
/// must not be there.
fn told_apart(selector: &LabelSelector) -> impl Iterator<Item = BTreeMap<String, String>> {
    let fewest = labels(selector);
    let mut all = vec![fewest.clone()];
    for requirement in &selector.match_expressions {
        let values = match requirement.operator {
            LabelOperator::In | LabelOperator::NotIn => {
                requirement.values.get(..MOST_VALUES).unwrap_or(&requirement.values).to_vec()
            }
            LabelOperator::DoesNotExist => vec![ANY.to_owned()],
            LabelOperator::Exists => Vec::new(),
        };
        let with = |value| fewest.clone().into_iter().chain([(requirement.key.clone(), value)]).collect();
        all.extend(values.into_iter().map(with));
    }
    all.into_iter()
}

/// That a selector names more values of a label than are tried.
fn too_many(namespace: &str, selector: &LabelSelector) -> Vec<String> {
    let long = selector.match_expressions.iter().filter(|requirement| requirement.values.len() > MOST_VALUES);
    let line = |key: &str, count: usize| {
        format!("namespace {namespace}: of {count} values of label `{key}` {MOST_VALUES} were tried")
    };
    long.map(|requirement| line(&requirement.key, requirement.values.len())).collect()
}

/// Labels that a selector fits, and as many of the others as can be.
fn union(first: &LabelSelector, others: &[&LabelSelector]) -> BTreeMap<String, String> {
    let mut all = labels(first);
    let mut taken = vec![first];
    for other in others {
        let mut more = all.clone();
        for (key, value) in labels(other) {
            more.entry(key).or_insert(value);
        }
        if taken.iter().chain([other]).all(|selector| selects(selector, &more)) {
            all = more;
            taken.push(other);
        }
    }
    all
}
