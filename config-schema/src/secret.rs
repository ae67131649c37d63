//! Kubernetes `Secret` (`v1`), the carrier of API keys and CA certificates.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::metadata::ObjectMeta;

/// One Secret document.
#[derive(Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// `v1`.
    pub api_version: String,
    /// `Secret`.
    pub kind: String,
    /// Name, namespace, labels and annotations; the identity of who shows this Secret's API key.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Kubernetes' type of Secret; not looked at.
    #[serde(default, rename = "type")]
    pub type_: Option<String>,
    /// Entries, base64 (RFC 4648 section 4).
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Entries as plain text; they win over `data`.
    #[serde(default)]
    pub string_data: BTreeMap<String, String>,
    /// Kubernetes' mark; not looked at.
    #[serde(default)]
    pub immutable: Option<bool>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}/{}, …)", self.metadata.namespace, self.metadata.name)
    }
}
