//! What the checked-in schemas say of a document.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// Where the schemas, the manifests and the documents that are wrong are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config-schema")
}

/// The schema of any document.
static ANY: LazyLock<Result<Validator, String>> = LazyLock::new(|| checked_in("sidegate.json"));

/// The validator of a checked-in schema.
///
/// # Errors
/// There is no such file, or it is no schema.
pub fn checked_in(name: &str) -> Result<Validator, String> {
    let text = fs::read_to_string(folder().join("schemas").join(name)).map_err(|error| format!("{name}: {error}"))?;
    let schema: Value = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    jsonschema::draft202012::new(&schema).map_err(|error| format!("{name}: {error}"))
}

/// Validates a document, whichever it is.
///
/// # Errors
/// All that the schema does not allow.
pub fn validate(document: &Value) -> Result<(), String> {
    problems(ANY.as_ref()?, document)
}

/// Validates a value.
///
/// # Errors
/// All that the schema does not allow.
pub fn problems(validator: &Validator, value: &Value) -> Result<(), String> {
    let problems: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// A value with the members of objects in order of their names, whatever order the build keeps them in.
#[must_use]
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            members.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
