//! `CustomResourceDefinition`s, whose schemas are "structural": each place says its type, and nothing is referred to.
//!
//! The API server drops a field that such a schema does not name, and a rule whose `sources` was misspelled would be one for
//! everybody. So it is told to keep them; what refuses them is the filter, and before it the [admission policy](super::admission).

use serde_json::{Map, Value, json};

/// Columns that `kubectl get` prints.
const COLUMNS: [(&str, &str, &str); 4] = [
    ("Tier", "string", ".spec.tier"),
    ("Priority", "integer", ".spec.priority"),
    ("Mode", "string", ".spec.mode"),
    ("Age", "date", ".metadata.creationTimestamp"),
];

/// That a place keeps fields which are not known.
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

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
    /// One that has itself within it does so once: what is within that may be anything here.
    fn schema(&mut self, schema: &mut Value) {
        let Value::Object(members) = schema else { return };
        without_null(members);
        let Some(Value::String(reference)) = members.remove("$ref") else { return self.inner(members) };
        let name = reference.trim_start_matches("#/$defs/").to_owned();
        let definition = self.definitions.get(&name).cloned();
        let is_deep = self.within.iter().filter(|other| **other == name).count() > 1;
        let Some(Value::Object(definition)) = definition.filter(|_| !is_deep) else {
            members.insert("type".to_owned(), "object".into());
            members.insert(PRESERVE.to_owned(), true.into());
            return;
        };
        for (key, value) in definition {
            match (key.as_str(), members.get_mut(&key)) {
                ("description", Some(Value::String(own))) => own.extend(value.as_str().map(values_of)),
                (_, Some(_)) => {}
                (_, None) => drop(members.insert(key, value)),
            }
        }
        self.within.push(name);
        self.schema(schema);
        self.within.pop();
    }

    fn inner(&mut self, members: &mut Map<String, Value>) {
        // What is not structural, and what `kubectl explain` has no place for.
        for key in ["$schema", "title", "examples", "oneOf"] {
            members.remove(key);
        }
        if members.get("additionalProperties") == Some(&false.into()) {
            members.remove("additionalProperties");
            members.insert(PRESERVE.to_owned(), true.into());
        }
        if let Some(Value::Object(properties)) = members.get_mut("properties") {
            properties.values_mut().for_each(|property| self.schema(property));
        }
        for key in ["items", "additionalProperties"] {
            members.get_mut(key).into_iter().for_each(|inner| self.schema(inner));
        }
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
