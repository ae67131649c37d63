//! Policies over the identity of who calls: `AuthorizationPolicy` (GEP-3779, `gateway.networking.x-k8s.io/v1alpha1`, and what
//! goes beyond it) and `ClusterAuthorizationPolicy` (`sidegate.dev/v1alpha1`).
//!
//! Of a union only the body counts that `type` names, as Go's types write empty ones beside it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::auth_config::LabelSelector;
use crate::metadata::ObjectMeta;

/// One `AuthorizationPolicy` or `XAuthorizationPolicy`: the same by two names.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicy {
    /// `gateway.networking.x-k8s.io/v1alpha1`.
    pub api_version: String,
    /// `AuthorizationPolicy` or `XAuthorizationPolicy`.
    pub kind: String,
    /// Name and namespace; a policy targets workloads of its own namespace alone.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Whom it targets, and who may call them.
    pub spec: AuthorizationPolicySpec,
}

/// `spec` of an `AuthorizationPolicy`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicySpec {
    /// Exactly one, of kind `Pod` and with a `selector`.
    pub target_refs: Vec<PolicyTarget>,
    /// What a rule that matches does.
    pub action: PolicyAction,
    /// Which attributes the rules may look at.
    pub enforcement_level: EnforcementLevel,
    /// Whether it is enforced. Default `Enforce`.
    #[serde(default)]
    pub mode: PolicyMode,
    /// One that matches is enough. None: nothing matches, and an `ALLOW` still closes the workload.
    #[serde(default)]
    pub rules: Vec<PolicyRule>,
}

/// One `ClusterAuthorizationPolicy`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ClusterAuthorizationPolicy {
    /// `sidegate.dev/v1alpha1`.
    pub api_version: String,
    /// `ClusterAuthorizationPolicy`.
    pub kind: String,
    /// Its name; there is no namespace.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Whom it is about, and what is done.
    pub spec: ClusterAuthorizationPolicySpec,
}

/// `spec` of a `ClusterAuthorizationPolicy`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ClusterAuthorizationPolicySpec {
    /// Before or after the policies of the namespace.
    pub tier: PolicyTier,
    /// From 0 to 1000; lower ones go first, those of one number by name.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1000)))]
    pub priority: i64,
    /// The workloads that it is about. Default: all.
    #[serde(default)]
    pub subject: PolicySubject,
    /// Whether it is enforced. Default `Enforce`.
    #[serde(default)]
    pub mode: PolicyMode,
    /// In order: the first one that matches decides.
    #[serde(default)]
    pub rules: Vec<ClusterPolicyRule>,
}

/// A Kubernetes `Namespace`, for its labels.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Namespace {
    /// `v1`.
    pub api_version: String,
    /// `Namespace`.
    pub kind: String,
    /// Name and labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Not looked at.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub spec: BTreeMap<String, IgnoredAny>,
}

/// One of `targetRefs`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyTarget {
    /// Empty or `core`.
    #[serde(default)]
    pub group: String,
    /// `Pod`.
    pub kind: String,
    /// Must be empty.
    #[serde(default)]
    pub name: String,
    /// Labels of the pods; `{}` is all of the namespace.
    pub selector: Option<LabelSelector>,
}

/// The workloads that a cluster-wide policy is about; both must fit.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicySubject {
    /// Labels of the namespace, and `kubernetes.io/metadata.name`. Default: all.
    #[serde(default)]
    pub namespace_selector: LabelSelector,
    /// Labels of the pod. Default: all.
    #[serde(default)]
    pub pod_selector: LabelSelector,
}

/// What a rule of an `AuthorizationPolicy` that matches does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum PolicyAction {
    /// Lets in; and a workload that is selected is closed to everybody else.
    Allow,
    /// Keeps out, over every `ALLOW`.
    Deny,
    /// Marks the decision, and changes nothing.
    Audit,
}

/// What a rule of a `ClusterAuthorizationPolicy` that matches does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ClusterAction {
    /// Lets in; nothing after it is asked.
    Allow,
    /// Keeps out.
    Deny,
    /// Leaves the tier to go on with what comes after it.
    Pass,
}

/// Which attributes the rules of a policy may look at. Levels are enforced each by itself: a request needs an `ALLOW` of each
/// level that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EnforcementLevel {
    /// Identity, addresses and ports.
    Network,
    /// Attributes of the HTTP request, too.
    Application,
}

/// Where among the tiers a cluster-wide policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PolicyTier {
    /// Before the policies of the namespace, which cannot say otherwise.
    Admin,
    /// After the policies of the namespace, if none of them decided.
    Baseline,
}

/// Whether a policy is enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PolicyMode {
    /// It is.
    #[default]
    Enforce,
    /// It has a say in the shadow decision alone.
    Audit,
}

/// A rule of an `AuthorizationPolicy`; all of it must fit.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyRule {
    /// For logs and explanations; at most 100 characters.
    #[cfg_attr(feature = "schema", schemars(length(max = 100)))]
    pub name: Option<String>,
    /// Who calls: one of these. Left out: anybody, without an identity too; empty: nobody.
    pub sources: Option<Vec<PolicySource>>,
    /// Where the connection goes. Left out: anywhere.
    pub network_attributes: Option<NetworkAttributes>,
    /// What the HTTP request is like. Left out: whatever it is like, and what is no HTTP.
    pub application_attributes: Option<ApplicationAttributes>,
}

/// A rule of a `ClusterAuthorizationPolicy`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ClusterPolicyRule {
    /// For logs and explanations; at most 100 characters.
    #[cfg_attr(feature = "schema", schemars(length(max = 100)))]
    pub name: Option<String>,
    /// What it does.
    pub action: ClusterAction,
    /// As in a `PolicyRule`.
    pub sources: Option<Vec<PolicySource>>,
    /// As in a `PolicyRule`.
    pub network_attributes: Option<NetworkAttributes>,
    /// As in a `PolicyRule`.
    pub application_attributes: Option<ApplicationAttributes>,
}

/// Who calls.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicySource {
    /// Which of the fields counts.
    #[serde(rename = "type")]
    pub kind: SourceType,
    /// A ServiceAccount of the workload's trust domain.
    pub service_account: Option<ServiceAccountSource>,
    /// A SPIFFE ID, or with `/*` at its end all below that path.
    #[cfg_attr(feature = "schema", schemars(example = "spiffe://cluster.local/ns/shop/sa/cart"))]
    pub spiffe: Option<String>,
    /// A namespace: exact, `prefix*`, `*suffix` or `*`.
    pub namespace: Option<String>,
    /// A trust domain: exact, `prefix*`, `*suffix` or `*`.
    pub trust_domain: Option<String>,
    /// Addresses.
    pub cidr: Option<CidrSource>,
    /// A token that Envoy's `jwt_authn` has verified. Level `Application` alone.
    pub jwt: Option<JwtSource>,
    /// Sources that must all fit; none of them an `AllOf`.
    pub all_of: Option<Vec<PolicySource>>,
}

/// Kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SourceType {
    /// `serviceAccount`.
    ServiceAccount,
    /// `spiffe`.
    #[serde(rename = "SPIFFE")]
    Spiffe,
    /// `namespace`.
    Namespace,
    /// `trustDomain`.
    TrustDomain,
    /// `cidr`.
    #[serde(rename = "CIDR")]
    Cidr,
    /// `jwt`.
    #[serde(rename = "JWT")]
    Jwt,
    /// Who has no identity.
    Unauthenticated,
    /// `allOf`.
    AllOf,
}

/// A ServiceAccount.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountSource {
    /// Its namespace. Default: the policy's.
    pub namespace: Option<String>,
    /// Its name, or `*` for all of the namespace.
    #[serde(default)]
    pub name: String,
}

/// Addresses.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CidrSource {
    /// Whose address. Default `Peer`.
    #[serde(default)]
    pub address: CidrAddress,
    /// Blocks or single addresses, one of which has it.
    #[serde(default)]
    pub blocks: Vec<String>,
    /// Blocks none of which has it.
    #[serde(default)]
    pub except: Vec<String>,
}

/// Whose address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CidrAddress {
    /// Of who has opened the connection to this Envoy.
    #[default]
    Peer,
    /// Of the client, as Envoy trusts it: by `X-Forwarded-For` or the PROXY protocol.
    Client,
}

/// A verified token.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct JwtSource {
    /// `iss`, exactly.
    #[serde(default)]
    pub issuer: String,
    /// `sub`, exactly. Default: any.
    pub subject: Option<String>,
    /// `aud` has one of these. Default: any.
    pub audiences: Option<Vec<String>>,
    /// Claims, each a text or a list of texts that has one of the values.
    #[serde(default)]
    pub claims: BTreeMap<String, Vec<String>>,
}

/// Where a connection goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NetworkAttributes {
    /// Ports of the workload, one of which it is. Left out: any.
    pub ports: Option<Vec<i64>>,
}

/// What an HTTP request is like; of each field that is given one value must fit.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApplicationAttributes {
    /// Methods.
    pub methods: Option<Vec<String>>,
    /// Hosts: exact or `*.suffix`; without port.
    pub hosts: Option<Vec<String>>,
    /// Paths, without query.
    pub paths: Option<Vec<PathMatch>>,
    /// Headers, all of which must fit.
    pub headers: Option<Vec<HeaderMatch>>,
}

/// A path.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: PathMatchType,
    /// What it is compared with.
    pub value: String,
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PathMatchType {
    /// It is the same.
    Exact,
    /// It begins with these segments.
    PathPrefix,
    /// Its text begins so.
    StringPrefix,
    /// Its text ends so.
    Suffix,
    /// As Envoy's URI templates: `{*}` is one segment, `{**}` is any text.
    Template,
}

/// A header. Exactly one of `values`, `present` and `absent`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatch {
    /// Its name, in any case.
    pub name: String,
    /// It has one of these values. Of a header that is there more than once, or that has a list, a rule that denies looks at each
    /// item; for a rule that allows it must be there once and as a whole.
    pub values: Option<Vec<String>>,
    /// `true`: it is there.
    pub present: Option<bool>,
    /// `true`: it is not there.
    pub absent: Option<bool>,
}
