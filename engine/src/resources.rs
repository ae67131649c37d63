//! Documents that other documents refer to.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidegate_config::{LabelOperator, LabelSelector, LabelSelectorRequirement, Problem, Secret};

/// The Secrets of a configuration.
#[derive(Debug, Default)]
pub struct Resources {
    /// In document order.
    secrets: Vec<DecodedSecret>,
}

/// A Secret with its entries decoded.
#[derive(Debug)]
pub struct DecodedSecret {
    /// The document.
    pub document: Secret,
    entries: BTreeMap<String, Vec<u8>>,
}

impl DecodedSecret {
    /// The bytes of an entry that is there and not empty.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&[u8]> {
        self.entries.get(key).map(Vec::as_slice).filter(|value| !value.is_empty())
    }
}

impl Resources {
    /// Decodes the entries of all Secrets; of two documents with the same name the later one stands.
    pub fn new(secrets: impl IntoIterator<Item = Secret>, problems: &mut Vec<Problem>) -> Self {
        let mut named = BTreeMap::new();
        let mut decoded: Vec<DecodedSecret> = Vec::new();
        for document in secrets {
            let name = (document.metadata.namespace.clone(), document.metadata.name.clone());
            let secret = DecodedSecret { entries: entries(&document, problems), document };
            match named.get(&name).and_then(|index: &usize| decoded.get_mut(*index)) {
                Some(earlier) => *earlier = secret,
                None => {
                    named.insert(name, decoded.len());
                    decoded.push(secret);
                }
            }
        }
        Self { secrets: decoded }
    }

    /// The Secrets of a namespace (`None`: of all) whose labels fit, in document order.
    pub fn secrets<'a>(
        &'a self,
        namespace: Option<&'a str>,
        selector: &'a LabelSelector,
    ) -> impl Iterator<Item = &'a DecodedSecret> {
        self.secrets.iter().filter(move |secret| {
            namespace.is_none_or(|namespace| secret.document.metadata.namespace == namespace)
                && selects(selector, &secret.document.metadata.labels)
        })
    }
}

fn entries(secret: &Secret, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<u8>> {
    let mut entries = BTreeMap::new();
    for (key, text) in &secret.data {
        match STANDARD.decode(text) {
            Ok(bytes) => drop(entries.insert(key.clone(), bytes)),
            Err(_) => problems.push(Problem {
                document: format!("Secret {}/{}", secret.metadata.namespace, secret.metadata.name),
                path: format!("data.{key}"),
                message: "the value is not base64; plain text goes into `stringData`".to_owned(),
            }),
        }
    }
    entries.extend(secret.string_data.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes())));
    entries
}

/// Whether labels meet a selector (Kubernetes `meta/v1` `LabelSelector`); an empty one selects everything.
#[must_use]
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let LabelSelector { match_labels, match_expressions } = selector;
    match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && match_expressions.iter().all(|LabelSelectorRequirement { key, operator, values }| {
            let label = labels.get(key);
            match operator {
                LabelOperator::In => label.is_some_and(|label| values.contains(label)),
                LabelOperator::NotIn => label.is_none_or(|label| !values.contains(label)),
                LabelOperator::Exists => label.is_some(),
                LabelOperator::DoesNotExist => label.is_none(),
            }
        })
}
