//! Istio's `AuthorizationPolicy` as ours, and never wider: a policy of which something cannot be said in ours stays as it is, which
//! Sidegate reads, too.

mod operation;
mod source;

use serde_json::{Map, Value, json};
use sidegate_config::istio::{
    Action, AuthorizationPolicy, ROOT_NAMESPACE, Rule, Spec, TargetReference, WorkloadSelector,
};
use sidegate_config::{Document, Documents};
use sidegate_engine::Policy;

use super::note;
use crate::args::Assumption;
use crate::documents::label;
use crate::report::Finding;
use crate::yaml::Node;

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const DRY_RUN: &str = "istio.io/dry-run";

/// So many sources may come of one rule.
const MOST_SOURCES: usize = 500;

/// What is known of the mesh beside one policy.
#[derive(Debug, Default)]
pub struct Mesh {
    root: Option<String>,
    /// There are other names for the trust domain.
    aliases: bool,
    /// There are cluster-wide policies, which may let somebody in before, or leave the tier.
    tiers: bool,
    assumed: Vec<Assumption>,
}

impl Mesh {
    pub fn of(documents: &Documents, assumed: &[Assumption]) -> Self {
        let options = documents.settings.options.east_west.clone().unwrap_or_default();
        let is_tier = |document: &Document| matches!(document, Document::ClusterAuthorizationPolicy(_));
        Self {
            root: options.istio.root_namespace,
            aliases: !options.trust_domain_aliases.is_empty(),
            tiers: documents.resources.iter().any(is_tier),
            assumed: assumed.to_vec(),
        }
    }

    fn assumes(&self, what: Assumption) -> bool {
        self.assumed.contains(&what)
    }
}

/// A policy that is carried over, and which of its rules became which.
pub struct Migrated {
    pub value: Value,
    /// For each of Istio's rules the first of ours.
    pub rules: Vec<usize>,
}

/// Whether a document is one of Istio's policies.
pub fn is_one(document: &Node) -> bool {
    document.text("kind") == Some("AuthorizationPolicy")
        && document.text("apiVersion").is_some_and(|version| version.starts_with("security.istio.io/"))
}

/// Whether a policy is there to be tried out, by its annotation, as Go reads truth.
pub fn is_tried_out(policy: &AuthorizationPolicy) -> bool {
    let annotation = policy.metadata.annotations.get(DRY_RUN).map(String::as_str);
    matches!(annotation, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// The policy as ours; none: it stays, which is told.
pub fn convert(document: &Node, mesh: &Mesh, notes: &mut Vec<Finding>) -> Option<Migrated> {
    let mut tell = |path: &str, message: String| {
        notes.push(note(document.locate(path), label(document), path.to_owned(), message));
    };
    let policy = match read(document) {
        Ok(policy) => policy,
        Err(problem) => {
            tell("", format!("is not valid, and stays as it is: {problem}"));
            return None;
        }
    };
    let mut reader = Reader { policy: &policy, mesh, stays: Vec::new(), notes: Vec::new() };
    let migrated = reader.policy();
    let Reader { stays, notes: told, .. } = reader;
    for (path, message) in stays.iter() {
        tell(path, format!("{message}; the policy stays Istio's, which is read as it is"));
    }
    if !stays.is_empty() {
        return None;
    }
    if let Err(problem) = compiled(&migrated.value) {
        tell("", format!("would not be valid as one of ours, and stays as it is: {problem}"));
        return None;
    }
    told.iter().for_each(|(path, message)| tell(path, message.clone()));
    Some(migrated)
}

/// The document as the engine reads it.
fn read(document: &Node) -> Result<AuthorizationPolicy, String> {
    let text = compiled(&document.to_value())?;
    let documents = sidegate_config::decode(text.as_bytes()).map_err(|_| "it cannot be read")?;
    match documents.resources.into_iter().next() {
        Some(Document::IstioAuthorizationPolicy(policy)) => Ok(*policy),
        _ => Err("it cannot be read".to_owned()),
    }
}

/// A configuration of one policy that the engine takes, or what is wrong with it.
fn compiled(policy: &Value) -> Result<String, String> {
    let text =
        json!({ "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": [policy] }).to_string();
    match Policy::compile(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(problems) => Err(problems.first().map(ToString::to_string).unwrap_or_default()),
    }
}

struct Reader<'a> {
    policy: &'a AuthorizationPolicy,
    mesh: &'a Mesh,
    /// Paths, and what cannot be said.
    stays: Vec<(String, String)>,
    /// Paths, and what a person must look at.
    notes: Vec<(String, String)>,
}

impl Reader<'_> {
    fn stays(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.stays.push((path.into(), message.into()));
    }

    fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.notes.push((path.into(), message.into()));
    }

    fn allows(&self) -> bool {
        self.policy.spec.action == Action::Allow
    }

    fn policy(&mut self) -> Migrated {
        let AuthorizationPolicy { metadata, spec, .. } = self.policy;
        let Spec { selector: _, target_ref: _, target_refs: _, action, provider: _, rules } = spec;
        let root = self.mesh.root.as_deref().unwrap_or(ROOT_NAMESPACE);
        let mesh_wide = metadata.namespace == root;
        let selector = self.selector();
        let mut carried: Vec<Value> = Vec::new();
        let mut firsts = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            firsts.push(carried.len());
            carried.extend(self.rule(&format!("spec.rules[{index}]"), rule));
        }
        let action = match action {
            Action::Allow => "ALLOW",
            Action::Deny => "DENY",
            Action::Audit => "AUDIT",
            Action::Custom => {
                self.stays("spec.action", "`CUSTOM` asks a provider, which no policy of ours does");
                "DENY"
            }
        };
        let mode = self.mode();
        if mesh_wide {
            return Migrated { value: self.cluster_wide(selector, carried, mode, action), rules: firsts };
        }
        let mut spec = json!({
            "targetRefs": [{ "group": "", "kind": "Pod", "selector": selector }],
            "action": action,
            "enforcementLevel": "Application",
            "rules": carried,
        });
        if let Some(mode) = mode {
            spec["mode"] = mode.into();
        }
        let value = json!({
            "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
            "metadata": self.metadata(true), "spec": spec,
        });
        Migrated { value, rules: firsts }
    }

    /// Denials for the whole mesh. What lets in there is one union with the policies of each namespace, which no tier is.
    fn cluster_wide(&mut self, pods: Value, mut rules: Vec<Value>, mode: Option<&str>, action: &str) -> Value {
        if action != "DENY" {
            self.stays(
                "metadata.namespace",
                "`ALLOW` and `AUDIT` of the root namespace are about all namespaces at once",
            );
        } else if self.mesh.tiers {
            let message = "a denial of the root namespace would stand among the cluster-wide policies that there are, one of \
                           which may `Pass`";
            self.stays("metadata.namespace", message);
        }
        for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
            rule.insert("action".to_owned(), "Deny".into());
        }
        let mut spec = json!({ "tier": "Admin", "priority": 0, "subject": { "podSelector": pods }, "rules": rules });
        if let Some(mode) = mode {
            spec["mode"] = mode.into();
        }
        self.note("metadata.namespace", "is the root namespace: the policy is a cluster-wide one, before all others");
        json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "ClusterAuthorizationPolicy",
            "metadata": self.metadata(false), "spec": spec,
        })
    }

    /// Name, labels and annotations; the rest is the API server's.
    fn metadata(&self, namespaced: bool) -> Value {
        let metadata = &self.policy.metadata;
        let mut kept = Map::from_iter([("name".to_owned(), metadata.name.as_str().into())]);
        if namespaced {
            kept.insert("namespace".to_owned(), metadata.namespace.as_str().into());
        }
        let annotations =
            metadata.annotations.iter().filter(|(name, _)| *name != DRY_RUN && *name != super::LAST_APPLIED);
        let annotations: Map<String, Value> = annotations.map(|(name, value)| (name.clone(), json!(value))).collect();
        for (name, value) in [("labels", json!(metadata.labels)), ("annotations", annotations.into())] {
            if value.as_object().is_some_and(|members| !members.is_empty()) {
                kept.insert(name.to_owned(), value);
            }
        }
        kept.into()
    }

    fn mode(&mut self) -> Option<&'static str> {
        is_tried_out(self.policy).then_some("Audit")
    }

    fn selector(&mut self) -> Value {
        let Spec { selector, target_ref, target_refs, .. } = &self.policy.spec;
        let references = if target_refs.is_empty() { target_ref.as_slice() } else { target_refs.as_slice() };
        if references.is_empty() {
            return match selector {
                Some(WorkloadSelector { match_labels }) if !match_labels.is_empty() => {
                    json!({ "matchLabels": match_labels })
                }
                _ => json!({}),
            };
        }
        let mut names = Vec::new();
        for (index, TargetReference { group, kind, name, namespace }) in references.iter().enumerate() {
            let own = namespace.is_empty() || *namespace == self.policy.metadata.namespace;
            if group == GATEWAY_GROUP && kind == "Gateway" && own {
                names.push(name.clone());
            } else {
                self.stays(format!("spec.targetRefs[{index}]"), format!("`{kind}/{name}` is no workload"));
            }
        }
        json!({ "matchExpressions": [{ "key": GATEWAY_NAME, "operator": "In", "values": names }] })
    }

    /// As many of ours as there are alternatives in `to`.
    fn rule(&mut self, path: &str, rule: &Rule) -> Vec<Value> {
        let sources = self.sources(path, rule);
        let operations = self.operations(path, rule);
        if sources.as_ref().is_some_and(|sources| sources.len() > MOST_SOURCES) {
            self.stays(format!("{path}.from"), "comes to too many sources");
            return Vec::new();
        }
        let has_token = sources.iter().flatten().flatten().any(|source| source["type"] == "JWT");
        let is_http = has_token || operations.iter().any(|(_, attributes)| !attributes.is_empty());
        let one = |mut all: Vec<Value>| match all.len() {
            1 => all.remove(0),
            _ => json!({ "type": "AllOf", "allOf": all }),
        };
        let sources: Option<Vec<Value>> = sources.map(|sources| sources.into_iter().map(one).collect());
        let ours = operations.into_iter().map(|(ports, mut attributes)| {
            let mut ours = Map::new();
            ours.extend(sources.iter().map(|sources| ("sources".to_owned(), json!(sources))));
            ours.extend(ports.map(|ports| ("networkAttributes".to_owned(), json!({ "ports": ports }))));
            // If one alternative is about HTTP, Istio has the whole rule let nobody in by a connection that is none.
            if is_http && attributes.is_empty() && self.allows() {
                attributes.insert("hosts".to_owned(), json!(["*"]));
            }
            if !attributes.is_empty() {
                ours.insert("applicationAttributes".to_owned(), attributes.into());
            }
            Value::Object(ours)
        });
        ours.collect()
    }
}
