//! What refuses unknown fields in a cluster, whoever sends them: a `ValidatingAdmissionPolicy`, which sees them since the
//! [definition](super::manifest) has the API server keep them.

use serde_json::{Value, json};

/// Policy and binding of a resource, by the schema of its definition, and the name of their file.
pub fn refusing_unknown_fields(definition: &Value) -> Option<(String, Value)> {
    let name = definition["metadata"]["name"].as_str()?;
    let spec = &definition["spec"];
    let version = &spec["versions"][0];
    let mut schema = version["schema"]["openAPIV3Schema"].clone();
    // It has none, and what is read from a cluster may.
    schema["properties"]["status"] = json!({ "type": "object" });
    let validations = places(&schema, "object", 0).into_iter().map(|place| {
        let known: Vec<_> = place.known.iter().map(|field| format!("`{field}`")).collect();
        let at = if place.path.is_empty() { "the document" } else { place.path.as_str() };
        json!({
            "expression": place.holds,
            "message": format!("{at} has a field that is not known; known are {}", known.join(", ")),
        })
    });
    let validations: Vec<Value> = validations.collect();
    let name = format!("unknown-fields.{name}");
    let list = json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicy",
                "metadata": { "name": name },
                "spec": {
                    "failurePolicy": "Fail",
                    "matchConstraints": {
                        "resourceRules": [{
                            "apiGroups": [spec["group"]],
                            "apiVersions": [version["name"]],
                            "operations": ["CREATE", "UPDATE"],
                            "resources": [spec["names"]["plural"]],
                        }],
                    },
                    "validations": validations,
                },
            },
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": { "name": name },
                "spec": { "policyName": name, "validationActions": ["Deny"] },
            },
        ],
    });
    Some((format!("{name}.yaml"), list))
}

/// A place in a document that has fields.
struct Place {
    path: String,
    known: Vec<String>,
    /// CEL: no other fields are there.
    holds: String,
}

/// Those of a schema, for the value that CEL calls so. Fields are asked for by index: some have names that CEL keeps for itself.
fn places(schema: &Value, value: &str, depth: usize) -> Vec<Place> {
    let mut all = Vec::new();
    let variable = format!("v{depth}");
    if let Some(properties) = schema["properties"].as_object() {
        let known: Vec<String> = properties.keys().cloned().collect();
        all.push(Place {
            path: String::new(),
            holds: format!("{value}.all({variable}, {variable} in {})", json!(known)),
            known,
        });
        // The API server looks at metadata itself.
        for (name, property) in properties.iter().filter(|(name, _)| *name != "metadata" && *name != "status") {
            let field = format!("{value}['{name}']");
            all.extend(places(property, &field, depth + 1).into_iter().map(|Place { path, known, holds }| Place {
                path: if path.is_empty() || path.starts_with('[') {
                    format!("{name}{path}")
                } else {
                    format!("{name}.{path}")
                },
                known,
                holds: format!("!('{name}' in {value}) || {holds}"),
            }));
        }
    }
    if schema["items"].is_object() {
        all.extend(places(&schema["items"], &variable, depth + 1).into_iter().map(|Place { path, known, holds }| {
            Place {
                path: if path.is_empty() { "[]".to_owned() } else { format!("[].{path}") },
                known,
                holds: format!("{value}.all({variable}, {holds})"),
            }
        }));
    }
    all
}
