//! `CustomResourceDefinition`s, whose schemas are "structural": each place says its type, and nothing is referred to.

use serde_json::{Map, Value, json};

/// Columns that `kubectl get` prints.
const COLUMNS: [(&str, &str, &str); 4] = [
    ("Tier", "string", ".spec.tier"),
    ("Priority", "integer", ".spec.priority"),
    ("Mode", "string", ".spec.mode"),
    ("Age", "date", ".metadata.creationTimestamp"),
];

/// The manifest of a cluster-wide kind of `sidegate.dev/v1alpha1`, and the name of its file.
pub fn custom_resource_definition(kind: &str, schema: Value) -> (String, Value) {
    let singular = kind.to_lowercase();
    let plural = format!("{}ies", singular.trim_end_matches('y'));
    let columns = COLUMNS.map(|(name, kind, path)| json!({ "name": name, "type": kind, "jsonPath": path }));
    let manifest = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.sidegate.dev") },
        "spec": {
            "group": "sidegate.dev",
            "scope": "Cluster",
            "names": { "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "additionalPrinterColumns": columns,
                "schema": { "openAPIV3Schema": structural(schema) },
            }],
        },
    });
    (format!("{plural}.sidegate.dev.yaml"), manifest)
}

fn structural(mut schema: Value) -> Value {
    let definitions = schema.as_object_mut().and_then(|members| members.remove("$defs")).unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        match name.as_str() {
            "metadata" => *property = json!({ "type": "object" }),
            "apiVersion" | "kind" => {
                property.as_object_mut().into_iter().for_each(|members| {
                    members.remove("enum");
                    members.insert("type".to_owned(), "string".into());
                });
            }
            _ => {}
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("status");
    }
    Inlining { definitions, within: Vec::new() }.schema(&mut schema);
    schema
}

/// Puts what is referred to into its place.
struct Inlining {
    definitions: Value,
    /// Definitions that this place is in.
    within: Vec<String>,
}

impl Inlining {
    /// Whether the schema can be had without a reference: one that has itself within it cannot, a second time.
    fn schema(&mut self, schema: &mut Value) -> bool {
        let Value::Object(members) = schema else { return true };
        without_null(members);
        let Some(Value::String(reference)) = members.remove("$ref") else { return self.inner(members) };
        let name = reference.trim_start_matches("#/$defs/").to_owned();
        let Some(Value::Object(definition)) = self.definitions.get(&name).cloned() else { return false };
        if self.within.contains(&name) {
            return false;
        }
        for (key, value) in definition {
            match (key.as_str(), members.get_mut(&key)) {
                ("description", Some(Value::String(own))) => own.extend(value.as_str().map(values_of)),
                (_, Some(_)) => {}
                (_, None) => drop(members.insert(key, value)),
            }
        }
        self.within.push(name);
        let whole = self.schema(schema);
        self.within.pop();
        whole
    }

    fn inner(&mut self, members: &mut Map<String, Value>) -> bool {
        // What is not structural, and what `kubectl explain` has no place for.
        for key in ["$schema", "title", "examples", "oneOf"] {
            members.remove(key);
        }
        if members.get("additionalProperties") == Some(&false.into()) {
            members.remove("additionalProperties");
        }
        if let Some(Value::Object(properties)) = members.get_mut("properties") {
            properties.retain(|_, property| self.schema(property));
        }
        ["items", "additionalProperties"].iter().all(|key| members.get_mut(*key).is_none_or(|inner| self.schema(inner)))
    }
}

/// Kubernetes drops what is null by itself.
fn without_null(members: &mut Map<String, Value>) {
    let of_type = members.get("type").and_then(|kind| kind.get(0)).cloned();
    if let Some(kind) = of_type {
        members.insert("type".to_owned(), kind);
    }
    let reference = members.remove("else").and_then(|other| other.get("$ref").cloned());
    if let Some(reference) = reference {
        members.remove("if");
        members.insert("$ref".to_owned(), reference);
    }
}

/// The list of values, which the docs of a field do not have.
fn values_of(description: &str) -> &str {
    description.find("\n\n- `").and_then(|start| description.get(start..)).unwrap_or_default()
}
