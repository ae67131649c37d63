//! Istio's `AuthorizationPolicy` (`security.istio.io/v1` and `v1beta1`), as it is written.
//!
//! A list that is empty is the same to Istio as one that is left out, but for `from` and `to`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::metadata::ObjectMeta;

/// How problems name the kind, of which there is another one.
pub const WORD: &str = "Istio AuthorizationPolicy";

/// The namespace whose policies are about the whole mesh, unless the options name another.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// One `AuthorizationPolicy`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicy {
    /// `security.istio.io/v1` or `security.istio.io/v1beta1`.
    pub api_version: String,
    /// `AuthorizationPolicy`.
    pub kind: String,
    /// Name, namespace, and the annotation `istio.io/dry-run`.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Left out: it lets nobody in.
    #[serde(default)]
    pub spec: Spec,
}

/// `spec` of an `AuthorizationPolicy`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Labels of the pods that it is about. Left out: all of the namespace, of the root namespace all of the mesh.
    pub selector: Option<WorkloadSelector>,
    /// Older form of `targetRefs`.
    pub target_ref: Option<TargetReference>,
    /// What it is attached to, in place of a selector.
    #[serde(default)]
    pub target_refs: Vec<TargetReference>,
    /// What a rule that matches does. Default `ALLOW`.
    #[serde(default)]
    pub action: Action,
    /// Whom `CUSTOM` asks.
    pub provider: Option<Provider>,
    /// One that matches is enough.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Pods by their labels.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSelector {
    /// All of them are there.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// What a policy is attached to.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// API group; empty for the core one.
    #[serde(default)]
    pub group: String,
    /// `Gateway`, `Service`, `ServiceEntry` or `GatewayClass`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace, which is the policy's own.
    #[serde(default)]
    pub namespace: String,
}

/// What a rule that matches does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// Lets in; and a workload that is selected is closed to everybody else.
    #[default]
    Allow,
    /// Keeps out, over every `ALLOW`.
    Deny,
    /// Marks the decision, and changes nothing.
    Audit,
    /// Asks a provider.
    Custom,
}

/// Whom `CUSTOM` asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Its name in the configuration of the mesh.
    #[serde(default)]
    pub name: String,
}

/// A rule: one of `from`, one of `to`, and all of `when`. What is left out is anything.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Who calls.
    pub from: Option<Vec<From>>,
    /// What is called.
    pub to: Option<Vec<To>>,
    /// What else is so.
    #[serde(default)]
    pub when: Vec<Condition>,
}

/// One of `from`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct From {
    /// Who calls.
    pub source: Option<Source>,
}

/// Who calls: all fields that are given must fit, of each one value, of each `not…` none.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// SPIFFE IDs without `spiffe://`.
    pub principals: Vec<String>,
    /// See `principals`.
    pub not_principals: Vec<String>,
    /// `iss/sub` of verified tokens.
    pub request_principals: Vec<String>,
    /// See `requestPrincipals`.
    pub not_request_principals: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// See `namespaces`.
    pub not_namespaces: Vec<String>,
    /// `name` or `namespace/name`.
    pub service_accounts: Vec<String>,
    /// See `serviceAccounts`.
    pub not_service_accounts: Vec<String>,
    /// Trust domains.
    pub trust_domains: Vec<String>,
    /// See `trustDomains`.
    pub not_trust_domains: Vec<String>,
    /// Addresses of who has opened the connection.
    pub ip_blocks: Vec<String>,
    /// See `ipBlocks`.
    pub not_ip_blocks: Vec<String>,
    /// Addresses of the client, as the proxy trusts them.
    pub remote_ip_blocks: Vec<String>,
    /// See `remoteIpBlocks`.
    pub not_remote_ip_blocks: Vec<String>,
}

/// One of `to`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct To {
    /// What is called.
    pub operation: Option<Operation>,
}

/// What is called: all fields that are given must fit, of each one value, of each `not…` none.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Hosts.
    pub hosts: Vec<String>,
    /// See `hosts`.
    pub not_hosts: Vec<String>,
    /// Ports of the workload.
    pub ports: Vec<String>,
    /// See `ports`.
    pub not_ports: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// See `methods`.
    pub not_methods: Vec<String>,
    /// Paths.
    pub paths: Vec<String>,
    /// See `paths`.
    pub not_paths: Vec<String>,
}

/// One of `when`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// An attribute.
    pub key: String,
    /// It has one of these values.
    pub values: Vec<String>,
    /// It has none of these.
    pub not_values: Vec<String>,
}
