//! JSON Schemas (2020-12) of the documents, for editors and for checks where there is no proxy, and manifests of our own kinds.
//!
//! They are made of the types and their docs: what is not said there is not in them. A schema knows the shape of a document
//! alone; whether it means something the engine says.

mod admission;
mod examples;
mod manifest;
mod rules;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::decode::{KINDS, Kind, Type};
use crate::reader::Dialect;
use crate::{
    AuthConfig, AuthorizationPolicy, ClusterAuthorizationPolicy, Namespace, ReferenceGrant, Secret, Settings, istio,
};

/// The schema of every document that Sidegate takes, whichever it is.
const ANY: &str = "sidegate";

/// Where in a file the schema of one resource is, whichever it is.
const RESOURCE: &str = "resource";

/// The same, or a list of them.
const RESOURCES: &str = "resources";

/// All schemas by the names of their files, which are those that kubeconform looks for.
///
/// Each stands for itself: it refers to no other file.
#[must_use]
pub fn schemas() -> BTreeMap<String, Value> {
    let resources: Vec<_> = documents().into_iter().filter(|document| document.kind != "PluginConfig").collect();
    let mut plugin_config = document(("sidegate.dev/v1alpha1", "PluginConfig"), Kind::PluginConfig);
    let mut any = any(&resources);
    if let (Some(any), Some(plugin_config)) = (any.as_mut(), plugin_config.as_ref()) {
        add_definitions(&mut any.schema, [(plugin_config.stem(), nested(plugin_config))]);
    }
    let shared = shared(&resources);
    for document in plugin_config.iter_mut().chain(&mut any) {
        add_definitions(&mut document.schema, shared.clone());
    }
    let files = resources.into_iter().chain(plugin_config).map(|document| (document.stem(), document.schema));
    let files = files.chain(any.map(|document| (ANY.to_owned(), document.schema)));
    files.map(|(stem, schema)| (format!("{stem}.json"), schema)).collect()
}

/// Manifests of our own kinds by the names of their files: the `CustomResourceDefinition`, and what refuses fields that it does
/// not name.
#[must_use]
pub fn manifests() -> BTreeMap<String, Value> {
    let ours = documents().into_iter().filter(|document| document.kind == "ClusterAuthorizationPolicy");
    let definitions = ours.map(|document| manifest::custom_resource_definition(document.kind, document.schema));
    let both = definitions.flat_map(|definition| {
        let policy = admission::refusing_unknown_fields(&definition.1);
        std::iter::once(definition).chain(policy)
    });
    both.collect()
}

/// The schema of a document.
#[derive(Debug, Clone)]
struct Described {
    api_version: &'static str,
    kind: &'static str,
    schema: Value,
}

impl Described {
    /// Kind, first word of the group, and version: kubeconform's `{{.ResourceKind}}{{.KindSuffix}}`.
    fn stem(&self) -> String {
        let (group, version) = self.api_version.rsplit_once('/').unwrap_or(("", self.api_version));
        let group = group.split('.').next().unwrap_or_default();
        let parts = [self.kind, group, version].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("-").to_lowercase()
    }
}

fn documents() -> Vec<Described> {
    KINDS.iter().filter_map(|(known, kind)| document(*known, *kind)).collect()
}

/// The schema of one kind of document; none of a list.
fn document((api_version, word): Type, kind: Kind) -> Option<Described> {
    let mut schema = match kind {
        Kind::AuthConfig(Dialect::V1beta2) => rules::without_newer(of::<AuthConfig>()),
        Kind::AuthConfig(_) => of::<AuthConfig>(),
        Kind::Secret => of::<Secret>(),
        Kind::ReferenceGrant => of::<ReferenceGrant>(),
        Kind::AuthorizationPolicy => of::<AuthorizationPolicy>(),
        Kind::ClusterAuthorizationPolicy => of::<ClusterAuthorizationPolicy>(),
        Kind::IstioAuthorizationPolicy => of::<istio::AuthorizationPolicy>(),
        Kind::Namespace => of::<Namespace>(),
        Kind::PluginConfig => of::<Settings>(),
        Kind::List { .. } => return None,
    };
    rules::apply(&mut schema);
    match kind {
        Kind::PluginConfig => plugin_config(&mut schema),
        _ => resource(&mut schema),
    }
    if !matches!(kind, Kind::AuthConfig(_) | Kind::Secret | Kind::ReferenceGrant | Kind::PluginConfig) {
        rules::allow_null(&mut schema);
    }
    name(&mut schema, api_version, word);
    Some(Described { api_version, kind: word, schema })
}

/// What serde and the docs say of a type.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// What all resources of Kubernetes have.
fn resource(schema: &mut Value) {
    require(schema, &["metadata"]);
    property(schema, "status", json!({ "description": "What Kubernetes says of it. Not looked at." }));
}

/// What the decoder reads of a `PluginConfig` by hand.
fn plugin_config(schema: &mut Value) {
    let description = "One configuration of the filter: everything that it needs, in one document.";
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), description.into());
    }
    property(
        schema,
        "resources",
        json!({
            "description": "AuthConfigs, policies over identity, and the Secrets, ReferenceGrants and Namespaces that they need.",
            "type": "array",
            "items": { "$ref": format!("#/$defs/{RESOURCES}") },
        }),
    );
    require(schema, &["apiVersion", "kind", "resources"]);
}

/// Says which document it is of.
fn name(schema: &mut Value, api_version: &str, kind: &str) {
    property(schema, "apiVersion", json!({ "description": format!("`{api_version}`."), "enum": [api_version] }));
    property(schema, "kind", json!({ "description": format!("`{kind}`."), "enum": [kind] }));
    let Some(members) = schema.as_object_mut() else { return };
    members.insert("title".to_owned(), format!("{kind} ({api_version})").into());
    members.insert("examples".to_owned(), examples::of(api_version, kind).into_iter().collect());
}

fn property(schema: &mut Value, name: &str, value: Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(name.to_owned(), value);
    }
}

fn require(schema: &mut Value, names: &[&str]) {
    let Some(members) = schema.as_object_mut() else { return };
    let Some(required) = members.entry("required").or_insert_with(|| json!([])).as_array_mut() else { return };
    required.extend(names.iter().map(|name| Value::from(*name)));
    required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    required.dedup();
}

/// Any document: a resource, a list of them, or a `PluginConfig`.
fn any(resources: &[Described]) -> Option<Described> {
    let plugin_config = document(("sidegate.dev/v1alpha1", "PluginConfig"), Kind::PluginConfig)?;
    let mut schema = by_kind(resources.iter().chain([&plugin_config]), true);
    let members = schema.as_object_mut()?;
    members.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    members.insert("title".to_owned(), "Sidegate".into());
    members.insert("description".to_owned(), "Any document that Sidegate takes.".into());
    Some(Described { api_version: "", kind: "", schema })
}

/// What a schema that speaks of several kinds refers to.
fn shared(resources: &[Described]) -> Vec<(String, Value)> {
    let mut shared: Vec<_> = resources.iter().map(|resource| (resource.stem(), nested(resource))).collect();
    shared.push((RESOURCE.to_owned(), by_kind(resources, false)));
    shared.push((RESOURCES.to_owned(), by_kind(resources, true)));
    shared
}

/// A schema that looks at `apiVersion` and `kind` first, so that a problem is told of the kind that was meant.
fn by_kind<'a>(documents: impl IntoIterator<Item = &'a Described>, lists: bool) -> Value {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut rules = Vec::new();
    for document in documents {
        let Described { api_version, kind, schema: _ } = document;
        versions.entry(kind).or_default().push(api_version);
        rules.push(json!({
            "if": { "properties": { "apiVersion": { "const": api_version }, "kind": { "const": kind } } },
            "then": { "$ref": format!("#/$defs/{}", document.stem()) },
        }));
    }
    let lists = KINDS.iter().filter(|(_, kind)| lists && matches!(kind, Kind::List { .. }));
    for ((api_version, kind), list) in lists {
        versions.entry(kind).or_default().push(api_version);
        // The items of a list of one kind may leave out what they are.
        let items = match list {
            Kind::List { items: None } => json!({ "$ref": format!("#/$defs/{RESOURCE}") }),
            _ => json!({ "type": "object" }),
        };
        rules.push(json!({
            "if": { "properties": { "kind": { "const": kind }, "apiVersion": { "const": api_version } } },
            "then": { "properties": { "items": { "type": "array", "items": items } }, "required": ["items"] },
        }));
    }
    for (kind, versions) in &versions {
        rules.push(json!({
            "if": { "properties": { "kind": { "const": kind } } },
            "then": { "properties": { "apiVersion": { "enum": versions } } },
        }));
    }
    json!({
        "type": "object",
        "properties": {
            "apiVersion": { "description": "API group and version.", "type": "string" },
            "kind": { "description": "Which document it is.", "enum": versions.keys().collect::<Vec<_>>() },
        },
        "required": ["apiVersion", "kind"],
        "allOf": rules,
    })
}

/// A schema as a definition of another, with its own definitions within it.
fn nested(document: &Described) -> Value {
    let mut schema = document.schema.clone();
    let own: Vec<_> = schema.get("$defs").and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned().collect();
    let stem = document.stem();
    rules::each(&mut schema, &mut |members| {
        members.remove("$schema");
        let Some(Value::String(reference)) = members.get_mut("$ref") else { return };
        if let Some(name) = reference.strip_prefix("#/$defs/").filter(|name| own.iter().any(|own| own == name)) {
            *reference = format!("#/$defs/{stem}/$defs/{name}");
        }
    });
    schema
}

fn add_definitions(schema: &mut Value, definitions: impl IntoIterator<Item = (String, Value)>) {
    let Some(members) = schema.as_object_mut() else { return };
    let known = members.entry("$defs").or_insert_with(|| json!({}));
    if let Some(known) = known.as_object_mut() {
        known.extend(definitions);
    }
}
