//! Gateway API's `ReferenceGrant`, by which a namespace lets others refer to what it has.

use serde::Deserialize;

use crate::metadata::ObjectMeta;

/// One ReferenceGrant document. It stands in the namespace that is referred to.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrant {
    /// `gateway.networking.k8s.io/v1beta1` or `gateway.networking.k8s.io/v1`.
    pub api_version: String,
    /// `ReferenceGrant`.
    pub kind: String,
    /// Name and namespace.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Who may refer to what.
    pub spec: ReferenceGrantSpec,
}

/// `spec` of a ReferenceGrant: each of `from` may refer to each of `to`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantSpec {
    /// Who may refer.
    pub from: Vec<GrantFrom>,
    /// To what.
    pub to: Vec<GrantTo>,
}

/// Who may refer.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GrantFrom {
    /// API group: `authorino.kuadrant.io` for AuthConfigs.
    pub group: String,
    /// `AuthConfig`; other kinds are no matter of ours.
    pub kind: String,
    /// Their namespace.
    pub namespace: String,
}

/// To what they may refer, in the namespace of the ReferenceGrant.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GrantTo {
    /// API group: empty for Secrets, `authorino.kuadrant.io` for AuthConfigs.
    pub group: String,
    /// `Secret` or `AuthConfig`; other kinds are no matter of ours.
    pub kind: String,
    /// The one that may be referred to. Default: all.
    pub name: Option<String>,
}
