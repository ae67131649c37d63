//! Kubernetes object metadata, as far as decisions can see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Kubernetes `ObjectMeta`. Fields that no decision reads (`managedFields`, `ownerReferences`, …) are ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("additionalProperties" = true)))]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Name within the namespace.
    #[serde(default)]
    pub name: String,
    /// Namespace. Default: `default`.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Unique id that Kubernetes gave.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When the object was created, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
}

fn default_namespace() -> String {
    "default".to_owned()
}
