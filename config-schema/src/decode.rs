//! From bytes to documents, with every problem and its path.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::node::Node;
use crate::plugin_config::{Options, Settings, Upstream, Workload};
use crate::problem::{Place, quote};
use crate::reader::{Dialect, Finding, read};
use crate::suggest::suggestion;
use crate::{
    AuthConfig, AuthorizationPolicy, ClusterAuthorizationPolicy, Namespace, ObjectMeta, Problem, ReferenceGrant,
    Secret, istio,
};

const FORMS: &str = "give one AuthConfig, a Kubernetes `List`, or a `PluginConfig` of `sidegate.dev/v1alpha1`, as JSON";

const RESOURCES: &str = "must be a single resource here, such as `AuthConfig` or `Secret`";

/// Where `kubectl apply` keeps a copy of the document: of a Secret, with all its data.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One resource.
#[derive(Debug, Clone)]
pub enum Document {
    /// An AuthConfig.
    AuthConfig(Box<AuthConfig>),
    /// A Kubernetes Secret.
    Secret(Box<Secret>),
    /// A ReferenceGrant of Gateway API.
    ReferenceGrant(Box<ReferenceGrant>),
    /// A policy over identity.
    AuthorizationPolicy(Box<AuthorizationPolicy>),
    /// A cluster-wide policy over identity.
    ClusterAuthorizationPolicy(Box<ClusterAuthorizationPolicy>),
    /// Istio's policy.
    IstioAuthorizationPolicy(Box<istio::AuthorizationPolicy>),
    /// A Kubernetes Namespace.
    Namespace(Box<Namespace>),
}

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// All resources, in the order given.
    pub resources: Vec<Document>,
    /// Everything that is no resource.
    pub settings: Settings,
    /// What is wrong with policies that were left out, as `options.eastWest.lenient` allows.
    pub left_out: Vec<Problem>,
}

/// A configuration with problems.
#[derive(Debug, Clone)]
pub struct Broken {
    /// All of them.
    pub problems: Vec<Problem>,
    /// What is whole of it, to be looked into for more problems and never to be used.
    pub rest: Box<Documents>,
}

/// Decodes a plugin configuration: one AuthConfig, a Kubernetes `List`, or a `PluginConfig`.
///
/// # Errors
/// Every problem found: bytes that are no JSON, kinds and versions that are not known, fields that no type knows,
/// values of the wrong type, required fields that are missing.
pub fn decode(bytes: &[u8]) -> Result<Documents, Broken> {
    let mut decoder = Decoder::default();
    match parse(bytes) {
        Ok(configuration) => decoder.configuration(configuration),
        Err(message) => decoder.problem("configuration", &Place::Root, message),
    }
    let Decoder { documents, problems, names: _ } = decoder;
    if problems.is_empty() { Ok(documents) } else { Err(Broken { problems, rest: Box::new(documents) }) }
}

fn parse(bytes: &[u8]) -> Result<Node<'_>, String> {
    if bytes.trim_ascii().is_empty() {
        return Err(format!("it is empty: {FORMS}"));
    }
    match Node::parse(bytes) {
        Ok(object @ Node::Object(_)) => Ok(object),
        Ok(other) => Err(format!("it must be an object, not {}: {FORMS}", other.kind())),
        Err(_) if bytes.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()) => {
            // Envoy hands over a `Struct` as serialized protobuf.
            Err("it is binary, not JSON: in Envoy's configuration, write it as text in a `google.protobuf.StringValue`"
                .to_owned())
        }
        Err(error) if bytes.trim_ascii().starts_with(b"{") => Err(format!("it is not JSON: {error}")),
        Err(error) => Err(format!("it is not JSON: {error}; {FORMS}")),
    }
}

/// Documents that we know, by `apiVersion` and `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    AuthConfig(Dialect),
    Secret,
    ReferenceGrant,
    AuthorizationPolicy,
    ClusterAuthorizationPolicy,
    IstioAuthorizationPolicy,
    Namespace,
    List { items: Option<Type> },
    PluginConfig,
}

impl Kind {
    /// As problems name it; none for what is no resource.
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::AuthConfig(_) => Some("AuthConfig"),
            Self::Secret => Some("Secret"),
            Self::ReferenceGrant => Some("ReferenceGrant"),
            Self::AuthorizationPolicy => Some("AuthorizationPolicy"),
            Self::ClusterAuthorizationPolicy => Some("ClusterAuthorizationPolicy"),
            Self::IstioAuthorizationPolicy => Some(istio::WORD),
            Self::Namespace => Some("Namespace"),
            Self::List { .. } | Self::PluginConfig => None,
        }
    }

    const fn is_namespaced(self) -> bool {
        !matches!(self, Self::ClusterAuthorizationPolicy | Self::Namespace)
    }

    /// Whether one that is not valid may be left out. Istio's may not: an ALLOW closes a workload, and what an older version of
    /// ours does not know may be the field that says which.
    const fn is_policy(self) -> bool {
        matches!(self, Self::AuthorizationPolicy | Self::ClusterAuthorizationPolicy)
    }
}

/// `apiVersion` and `kind`.
pub type Type = (&'static str, &'static str);

/// The API group of GEP-3779.
const GATEWAY_X: &str = "gateway.networking.x-k8s.io/v1alpha1";

/// The API group of Istio's policy, in the versions that it has.
const ISTIO: [&str; 2] = ["security.istio.io/v1", "security.istio.io/v1beta1"];

/// All that we know.
pub const KINDS: [(Type, Kind); 21] = [
    (("authorino.kuadrant.io/v1beta3", "AuthConfig"), Kind::AuthConfig(Dialect::Kubernetes)),
    (("authorino.kuadrant.io/v1beta2", "AuthConfig"), Kind::AuthConfig(Dialect::V1beta2)),
    (("v1", "Secret"), Kind::Secret),
    (("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"), Kind::ReferenceGrant),
    (("gateway.networking.k8s.io/v1", "ReferenceGrant"), Kind::ReferenceGrant),
    (("v1", "List"), Kind::List { items: None }),
    (("v1", "SecretList"), Kind::List { items: Some(("v1", "Secret")) }),
    (
        ("authorino.kuadrant.io/v1beta3", "AuthConfigList"),
        Kind::List { items: Some(("authorino.kuadrant.io/v1beta3", "AuthConfig")) },
    ),
    (
        ("authorino.kuadrant.io/v1beta2", "AuthConfigList"),
        Kind::List { items: Some(("authorino.kuadrant.io/v1beta2", "AuthConfig")) },
    ),
    ((GATEWAY_X, "AuthorizationPolicy"), Kind::AuthorizationPolicy),
    ((GATEWAY_X, "XAuthorizationPolicy"), Kind::AuthorizationPolicy),
    ((GATEWAY_X, "AuthorizationPolicyList"), Kind::List { items: Some((GATEWAY_X, "AuthorizationPolicy")) }),
    ((GATEWAY_X, "XAuthorizationPolicyList"), Kind::List { items: Some((GATEWAY_X, "XAuthorizationPolicy")) }),
    (("sidegate.dev/v1alpha1", "ClusterAuthorizationPolicy"), Kind::ClusterAuthorizationPolicy),
    ((ISTIO[0], "AuthorizationPolicy"), Kind::IstioAuthorizationPolicy),
    ((ISTIO[1], "AuthorizationPolicy"), Kind::IstioAuthorizationPolicy),
    ((ISTIO[0], "AuthorizationPolicyList"), Kind::List { items: Some((ISTIO[0], "AuthorizationPolicy")) }),
    ((ISTIO[1], "AuthorizationPolicyList"), Kind::List { items: Some((ISTIO[1], "AuthorizationPolicy")) }),
    (("v1", "Namespace"), Kind::Namespace),
    (("v1", "NamespaceList"), Kind::List { items: Some(("v1", "Namespace")) }),
    (("sidegate.dev/v1alpha1", "PluginConfig"), Kind::PluginConfig),
];

/// `PluginConfig` as it is written; its resources are decoded one by one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "the fields are there to be known, and required")]
struct PluginConfig {
    api_version: IgnoredAny,
    kind: IgnoredAny,
    resources: IgnoredAny,
    #[serde(default)]
    upstreams: Vec<Upstream>,
    workload: Option<Workload>,
    #[serde(default)]
    options: Options,
}

#[derive(Default)]
struct Decoder {
    documents: Documents,
    problems: Vec<Problem>,
    /// Kind, namespace and name of the resources so far.
    names: BTreeSet<String>,
}

impl Decoder {
    fn problem(&mut self, document: &str, place: &Place<'_>, message: impl Into<String>) {
        self.problems.push(Problem { document: document.to_owned(), path: place.to_string(), message: message.into() });
    }

    fn configuration(&mut self, node: Node<'_>) {
        match identify(&node, None) {
            Ok(Kind::PluginConfig) => self.plugin_config(node),
            Ok(Kind::List { items }) => self.list("List", &Place::Root, node, items),
            Ok(kind) => self.resource("configuration", &Place::Root, &node, kind),
            Err((path, message)) => self.problem("configuration", &Place::Member(&Place::Root, path), message),
        }
        let decides = |document: &Document| {
            !matches!(document, Document::Secret(_) | Document::ReferenceGrant(_) | Document::Namespace(_))
        };
        let any = self.documents.resources.iter().any(decides) || self.documents.settings.options.east_west.is_some();
        if !any && self.problems.is_empty() {
            self.problem(
                "configuration",
                &Place::Root,
                "there is no AuthConfig in it, so every request would be denied",
            );
        }
    }

    fn plugin_config(&mut self, node: Node<'_>) {
        match read(&node, Dialect::Ours) {
            Ok(PluginConfig { upstreams, workload, options, .. }) => {
                self.documents.settings = Settings { upstreams, workload, options };
            }
            Err(findings) => self.findings("PluginConfig", "", findings),
        }
        let Node::Object(members) = node else { return };
        let Some((_, resources)) = members.into_iter().find(|(name, _)| name == "resources") else { return };
        let place = Place::Member(&Place::Root, "resources");
        let Node::List(resources) = resources else {
            return self.problem("PluginConfig", &place, format!("must be a list, not {}", resources.kind()));
        };
        for (index, resource) in resources.into_iter().enumerate() {
            let place = Place::Item(&place, index);
            match identify(&resource, None) {
                Ok(Kind::List { items }) => self.list("PluginConfig", &place, resource, items),
                found => self.item("PluginConfig", &place, &resource, found),
            }
        }
    }

    fn list(&mut self, document: &str, place: &Place<'_>, node: Node<'_>, default: Option<Type>) {
        let Node::Object(members) = node else { return };
        let items = members.into_iter().find(|(name, _)| name == "items").map(|(_, items)| items);
        let place = Place::Member(place, "items");
        let items = match items {
            Some(Node::List(items)) => items,
            Some(other) => return self.problem(document, &place, format!("must be a list, not {}", other.kind())),
            None => return self.problem(document, &place, "is required but missing"),
        };
        for (index, mut item) in items.into_iter().enumerate() {
            let found = identify(&item, default);
            if let (Node::Object(members), Some((api_version, kind))) = (&mut item, default) {
                for (name, value) in [("apiVersion", api_version), ("kind", kind)] {
                    if members.iter().all(|(other, _)| other != name) {
                        members.push((Cow::Borrowed(name), Node::String(Cow::Borrowed(value))));
                    }
                }
            }
            self.item(document, &Place::Item(&place, index), &item, found);
        }
    }

    fn item(&mut self, document: &str, place: &Place<'_>, node: &Node<'_>, found: Result<Kind, (&str, String)>) {
        match found {
            Ok(kind) if kind.word().is_some() => self.resource(document, place, node, kind),
            Ok(_) => self.problem(document, &Place::Member(place, "kind"), RESOURCES),
            Err(("", message)) => self.problem(document, place, message),
            Err((path, message)) => self.problem(document, &Place::Member(place, path), message),
        }
    }

    /// Decodes a resource; problems of one that has no name are told by its place in the container.
    fn resource(&mut self, container: &str, place: &Place<'_>, node: &Node<'_>, kind: Kind) {
        let metadata = |field| match node.member("metadata").and_then(|metadata| metadata.member(field)) {
            Some(Node::String(text)) if !text.is_empty() => Some(text.as_ref()),
            _ => None,
        };
        let word = kind.word().unwrap_or_default();
        let namespace = if kind.is_namespaced() { metadata("namespace").unwrap_or("default") } else { "" };
        let slash = if kind.is_namespaced() { "/" } else { "" };
        let label = metadata("name").map(|name| format!("{word} {namespace}{slash}{name}"));
        let read = document(node, kind, namespace);
        let prefix = place.to_string();
        let (document, prefix) = label.as_ref().map_or((container, prefix.as_str()), |label| (label, ""));
        match read {
            Ok(resource) => self.documents.resources.push(resource),
            Err(findings) if kind.is_policy() && self.is_lenient() => {
                let first = self.problems.len();
                self.findings(document, prefix, findings);
                self.documents.left_out.extend(self.problems.drain(first..));
            }
            Err(findings) => self.findings(document, prefix, findings),
        }
        match &label {
            None => {
                self.findings(document, prefix, vec![("metadata.name".to_owned(), "a name is required".to_owned())])
            }
            Some(label) if !self.names.insert(label.clone()) => {
                self.problem(label, &Place::Root, "there is more than one of this name: keep one");
            }
            Some(_) => {}
        }
    }

    fn is_lenient(&self) -> bool {
        self.documents.settings.options.east_west.as_ref().is_some_and(|east_west| east_west.lenient)
    }

    fn findings(&mut self, document: &str, prefix: &str, findings: Vec<Finding>) {
        for (path, message) in findings {
            let dot = if prefix.is_empty() || path.is_empty() { "" } else { "." };
            let path = format!("{prefix}{dot}{path}");
            self.problems.push(Problem { document: document.to_owned(), path, message });
        }
    }
}

/// Reads a resource and puts it into its namespace.
fn document(node: &Node<'_>, kind: Kind, namespace: &str) -> Result<Document, Vec<Finding>> {
    fn at(metadata: &mut ObjectMeta, namespace: &str) {
        namespace.clone_into(&mut metadata.namespace);
        metadata.annotations.remove(LAST_APPLIED);
    }
    Ok(match kind {
        Kind::AuthConfig(dialect) => {
            let mut document: Box<AuthConfig> = read(node, dialect)?;
            namespace.clone_into(&mut document.metadata.namespace);
            Document::AuthConfig(document)
        }
        Kind::ReferenceGrant => {
            let mut document: Box<ReferenceGrant> = read(node, Dialect::Kubernetes)?;
            namespace.clone_into(&mut document.metadata.namespace);
            Document::ReferenceGrant(document)
        }
        Kind::AuthorizationPolicy => {
            let mut document: Box<AuthorizationPolicy> = read(node, Dialect::Nullable)?;
            at(&mut document.metadata, namespace);
            Document::AuthorizationPolicy(document)
        }
        Kind::ClusterAuthorizationPolicy => {
            let mut document: Box<ClusterAuthorizationPolicy> = read(node, Dialect::Nullable)?;
            at(&mut document.metadata, namespace);
            Document::ClusterAuthorizationPolicy(document)
        }
        Kind::IstioAuthorizationPolicy => {
            let mut document: Box<istio::AuthorizationPolicy> = read(node, Dialect::Nullable)?;
            at(&mut document.metadata, namespace);
            Document::IstioAuthorizationPolicy(document)
        }
        Kind::Namespace => {
            let mut document: Box<Namespace> = read(node, Dialect::Nullable)?;
            at(&mut document.metadata, namespace);
            Document::Namespace(document)
        }
        Kind::Secret | Kind::List { .. } | Kind::PluginConfig => {
            let mut document: Box<Secret> = read(node, Dialect::Kubernetes)?;
            at(&mut document.metadata, namespace);
            Document::Secret(document)
        }
    })
}

/// What a document is; `default` stands in for what the items of a typed list leave out.
fn identify(node: &Node<'_>, default: Option<Type>) -> Result<Kind, (&'static str, String)> {
    if !matches!(node, Node::Object(_)) {
        return Err(("", format!("must be an object, not {}", node.kind())));
    }
    let text = |field: &'static str, default: Option<&'static str>| match (node.member(field), default) {
        (Some(Node::String(text)), _) => Ok(text.as_ref()),
        (Some(other), _) => Err((field, format!("must be a string, not {}", other.kind()))),
        (None, Some(default)) => Ok(default),
        (None, None) => Err((field, format!("is required but missing: {FORMS}"))),
    };
    let kind = text("kind", default.map(|(_, kind)| kind))?;
    let api_version = text("apiVersion", default.map(|(api_version, _)| api_version))?;
    if let Some((_, found)) = KINDS.iter().find(|(known, _)| *known == (api_version, kind)) {
        return Ok(*found);
    }
    let versions: Vec<_> =
        KINDS.iter().filter(|((_, known), _)| *known == kind).map(|((known, _), _)| *known).collect();
    if versions.is_empty() {
        let known = [
            "AuthConfig",
            "Secret",
            "List",
            "AuthConfigList",
            "SecretList",
            "PluginConfig",
            "ReferenceGrant",
            "AuthorizationPolicy",
            "XAuthorizationPolicy",
            "ClusterAuthorizationPolicy",
            "Namespace",
        ];
        return Err(("kind", format!("unknown kind {}{}", quote(kind), suggestion(kind, &known))));
    }
    let remedy = match api_version {
        "authorino.kuadrant.io/v1beta1" => {
            "; convert the document to `authorino.kuadrant.io/v1beta3`, where rules are objects by name".to_owned()
        }
        _ => suggestion(api_version, &versions),
    };
    Err(("apiVersion", format!("{} is not supported for {}{remedy}", quote(api_version), quote(kind))))
}
