//! Documents that other documents refer to.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidegate_config::{self as config, LabelOperator, LabelSelector, LabelSelectorRequirement, ObjectMeta, Problem};

use crate::compile::Compiler;
use crate::grants::{Grants, Referent};
use crate::secret::Secret;

/// The Secrets of a configuration.
#[derive(Debug, Default)]
pub struct Resources {
    /// In document order.
    secrets: Vec<DecodedSecret>,
    /// Positions in `secrets` by label, so that a selector looks at few of them.
    by_label: HashMap<(String, String), Vec<usize>>,
    /// Positions in `secrets` by namespace and name.
    by_name: BTreeMap<(String, String), usize>,
    grants: Grants,
}

/// Where a selector looks for Secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In all namespaces.
    All,
    /// In some, as far as they let AuthConfigs of `from` look.
    Namespaces {
        /// The AuthConfig's own.
        from: String,
        /// Where it looks.
        namespaces: Vec<String>,
    },
}

impl Scope {
    /// Compiles `allNamespaces` and `namespaces`.
    pub fn compile(all_namespaces: bool, namespaces: &[String], compiler: &mut Compiler<'_>) -> Self {
        if all_namespaces && !namespaces.is_empty() {
            compiler.problem("`allNamespaces` and `namespaces` are both given: keep one");
        }
        if namespaces.iter().any(String::is_empty) {
            compiler.at("namespaces", |compiler| compiler.problem("a namespace is empty: leave it out"));
        }
        let from = compiler.namespace.to_owned();
        match (all_namespaces, namespaces) {
            (true, _) => Self::All,
            (false, []) => Self::Namespaces { namespaces: vec![from.clone()], from },
            (false, namespaces) => Self::Namespaces { namespaces: namespaces.to_vec(), from },
        }
    }
}

/// A Secret with its entries decoded.
#[derive(Debug)]
pub struct DecodedSecret {
    /// The document.
    pub document: config::Secret,
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
    #[inline(never)]
    pub fn new(secrets: impl IntoIterator<Item = config::Secret>, problems: &mut Vec<Problem>) -> Self {
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
        let mut by_label: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, secret) in decoded.iter().enumerate() {
            for label in secret.document.metadata.labels.clone() {
                by_label.entry(label).or_default().push(index);
            }
        }
        Self { secrets: decoded, by_label, by_name: named, grants: Grants::default() }
    }

    /// The same, with what namespaces let others refer to.
    #[must_use]
    pub fn with_grants(self, grants: Grants) -> Self {
        Self { grants, ..self }
    }

    /// What namespaces let others refer to.
    #[must_use]
    pub const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The Secret of a name.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&DecodedSecret> {
        let position = self.by_name.get(&(namespace.to_owned(), name.to_owned()))?;
        self.secrets.get(*position)
    }

    /// The text of a Secret's entry, without the line end that editors leave.
    ///
    /// # Errors
    /// It is not there, or is not one line of text; the message names it and not its value.
    pub fn text(&self, namespace: &str, name: &str, key: &str) -> Result<Secret, String> {
        match str::from_utf8(self.bytes(namespace, name, key)?.trim_ascii_end()) {
            Ok(text) if !text.bytes().any(|byte| byte.is_ascii_control()) => Ok(Secret::new(text)),
            _ => Err(format!("entry `{key}` of Secret `{namespace}/{name}` is not one line of text")),
        }
    }

    /// The bytes of a Secret's entry.
    ///
    /// # Errors
    /// It is not there; the message names it.
    pub fn bytes(&self, namespace: &str, name: &str, key: &str) -> Result<&[u8], String> {
        let Some(secret) = self.secret(namespace, name) else {
            return Err(format!("there is no Secret `{namespace}/{name}` in the configuration"));
        };
        let none = || format!("Secret `{namespace}/{name}` has no entry `{key}`, or it is empty");
        secret.entry(key).ok_or_else(none)
    }

    /// The Secrets whose labels fit, in document order.
    pub fn secrets<'a>(
        &'a self,
        scope: &'a Scope,
        selector: &'a LabelSelector,
    ) -> impl Iterator<Item = &'a DecodedSecret> {
        let labelled = selector.match_labels.iter().map(|(key, value)| {
            self.by_label.get(&(key.clone(), value.clone())).map(Vec::as_slice).unwrap_or_default()
        });
        let fewest = labelled.min_by_key(|positions| positions.len());
        let candidates: Box<dyn Iterator<Item = &DecodedSecret>> = match fewest {
            Some(positions) => Box::new(positions.iter().filter_map(|position| self.secrets.get(*position))),
            None => Box::new(self.secrets.iter()),
        };
        candidates.filter(move |secret| {
            self.is_within(scope, &secret.document.metadata) && selects(selector, &secret.document.metadata.labels)
        })
    }

    fn is_within(&self, scope: &Scope, ObjectMeta { namespace, name, .. }: &ObjectMeta) -> bool {
        match scope {
            Scope::All => true,
            Scope::Namespaces { from, namespaces } => {
                namespaces.contains(namespace) && self.grants.permit(from, Referent::Secret, namespace, name)
            }
        }
    }
}

fn entries(secret: &config::Secret, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<u8>> {
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

/// Says what Kubernetes would refuse in a selector.
pub fn check_selector(selector: &LabelSelector, compiler: &mut Compiler<'_>) {
    for (index, field, message) in wrong_requirements(selector) {
        let at = |compiler: &mut Compiler<'_>| compiler.at(field, |compiler| compiler.problem(message));
        compiler.at("matchExpressions", |compiler| compiler.at(format!("[{index}]"), at));
    }
}

/// What Kubernetes would refuse in `matchExpressions`: index, field and what is wrong there.
#[must_use]
pub fn wrong_requirements(selector: &LabelSelector) -> Vec<(usize, &'static str, &'static str)> {
    let mut wrong = Vec::new();
    for (index, LabelSelectorRequirement { key, operator, values }) in selector.match_expressions.iter().enumerate() {
        if key.is_empty() {
            wrong.push((index, "key", "must not be empty"));
        }
        match operator {
            LabelOperator::In | LabelOperator::NotIn if values.is_empty() => {
                wrong.push((index, "values", "`In` and `NotIn` need at least one value"));
            }
            LabelOperator::Exists | LabelOperator::DoesNotExist if !values.is_empty() => {
                wrong.push((index, "values", "`Exists` and `DoesNotExist` have no values"));
            }
            _ => {}
        }
    }
    wrong
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

#[cfg(test)]
mod tests {
    use super::*;
    use sidegate_config::Secret;

    fn secret(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Secret {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata =
            ObjectMeta { name: name.to_owned(), namespace: namespace.to_owned(), labels, ..Default::default() };
        Secret { metadata, ..Default::default() }
    }

    fn selector(labels: &[(&str, &str)], expressions: &[(&str, LabelOperator, &[&str])]) -> LabelSelector {
        LabelSelector {
            match_labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            match_expressions: (expressions.iter())
                .map(|(key, operator, values)| LabelSelectorRequirement {
                    key: (*key).to_owned(),
                    operator: *operator,
                    values: values.iter().map(|value| (*value).to_owned()).collect(),
                })
                .collect(),
        }
    }

    fn scope(namespace: Option<&str>) -> Scope {
        let own =
            |namespace: &str| Scope::Namespaces { from: namespace.to_owned(), namespaces: vec![namespace.to_owned()] };
        namespace.map_or(Scope::All, own)
    }

    #[test]
    fn selectors_mean_what_they_mean_in_kubernetes() {
        use LabelOperator::{DoesNotExist, Exists, In, NotIn};
        let secrets = [
            secret("a", "gold", &[("tier", "gold"), ("app", "x")]),
            secret("a", "tin", &[("tier", "tin")]),
            secret("b", "gold", &[("tier", "gold")]),
            secret("a", "bare", &[]),
        ];
        let resources = Resources::new(secrets, &mut Vec::new());
        for (namespace, selector, expected) in [
            (Some("a"), selector(&[], &[]), "a/gold a/tin a/bare"),
            (None, selector(&[("tier", "gold")], &[]), "a/gold b/gold"),
            (Some("b"), selector(&[("tier", "gold")], &[]), "b/gold"),
            (None, selector(&[("tier", "gold"), ("app", "x")], &[]), "a/gold"),
            (None, selector(&[("tier", "gold"), ("app", "y")], &[]), ""),
            (None, selector(&[], &[("tier", In, &["tin", "gold"])]), "a/gold a/tin b/gold"),
            (None, selector(&[], &[("tier", NotIn, &["gold"])]), "a/tin a/bare"),
            (None, selector(&[], &[("tier", DoesNotExist, &[])]), "a/bare"),
            (Some("a"), selector(&[("tier", "gold")], &[("app", Exists, &[])]), "a/gold"),
        ] {
            let scope = scope(namespace);
            let selected = resources
                .secrets(&scope, &selector)
                .map(|secret| format!("{}/{}", secret.document.metadata.namespace, secret.document.metadata.name));
            assert_eq!(selected.collect::<Vec<_>>().join(" "), expected, "{selector:?}");
        }
    }

    #[test]
    fn entries_are_decoded_and_damaged_ones_reported_without_their_value() {
        let mut document = secret("a", "s", &[]);
        document.data = BTreeMap::from([("good".into(), "aGk=".into()), ("bad".into(), "s3cret!".into())]);
        document.string_data = BTreeMap::from([("text".into(), "plain".into()), ("empty".into(), String::new())]);
        let mut problems = Vec::new();
        let resources = Resources::new([document], &mut problems);
        let everything = selector(&[], &[]);
        let secret = resources.secrets(&Scope::All, &everything).next().unwrap();
        assert_eq!(secret.entry("good"), Some(b"hi".as_slice()));
        assert_eq!(secret.entry("text"), Some(b"plain".as_slice()));
        assert_eq!(secret.entry("empty"), None);
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].document.as_str(), problems[0].path.as_str()), ("Secret a/s", "data.bad"));
        assert!(!problems[0].to_string().contains("s3cret"));
    }
}
