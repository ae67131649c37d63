//! Our own document: everything that one filter needs, in one JSON object.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::east_west::EastWestOptions;

/// Everything but the resources of a `PluginConfig`; those are decoded one by one.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Which Envoy cluster carries calls to which server.
    #[serde(default)]
    pub upstreams: Vec<Upstream>,
    /// The workload that this proxy stands for, by which identity policies are selected. Default: what the proxy knows of itself.
    pub workload: Option<Workload>,
    /// Choices that hold for all documents.
    #[serde(default)]
    pub options: Options,
}

/// The Envoy cluster for calls to a scheme and authority.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// `https://host[:port][/path-prefix]`; the longest prefix that fits wins.
    #[cfg_attr(feature = "schema", schemars(example = "https://keycloak.example.com"))]
    pub url: String,
    /// Name of the cluster.
    pub cluster: String,
}

/// A workload, as identity policies target it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Labels of the pod.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Kubernetes ServiceAccount.
    pub service_account: Option<String>,
    /// SPIFFE trust domain. Default `cluster.local`.
    pub trust_domain: Option<String>,
}

/// Choices that hold for all documents of a configuration. Every default is the safe one.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// What an error in a `when` means.
    #[serde(default)]
    pub when_errors: WhenErrors,
    /// What stands in for the request's host when an AuthConfig is looked up.
    pub host_override: Option<HostOverride>,
    /// How a port in the request's host is treated. Default `ExactFirst`.
    #[serde(default)]
    pub host_port: HostPort,
    /// Peers whose `X-Forwarded-Client-Cert` and `Client-Cert` headers are believed: URI SANs of the certificate that
    /// the peer shows on the TLS connection, or `*` for every peer. Default: none.
    #[serde(default)]
    pub trusted_forwarders: Vec<String>,
    /// Request header that carries dynamic metadata to Envoy's `header_to_metadata` filter, as base64 of a
    /// `google.protobuf.Value`. Default: none, filter state only.
    pub dynamic_metadata_header: Option<String>,
    /// How `plain` header values that are no text are written. Default `Json`.
    #[serde(default)]
    pub plain_header_format: PlainHeaderFormat,
    /// Milliseconds that all of a request's calls together may take; then 503. Default 10000.
    pub timeout: Option<u64>,
    /// That Envoy's plugin configuration has `allow_on_headers_stop_iteration: true`, without which the filter cannot
    /// wait for a request's body. Default false: AuthConfigs that read the body are refused.
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    /// Bytes that a body may have which an AuthConfig reads; a request with a longer one is denied with 413. Default 8192.
    pub max_request_bytes: Option<usize>,
    /// Bytes that the answers to all calls for one request may have together; then 503. More than 0. Default 4194304.
    pub max_response_bytes: Option<usize>,
    /// The Kubernetes API server, which `kubernetesTokenReview` and `kubernetesSubjectAccessReview` ask.
    pub kubernetes: Option<KubernetesApi>,
    /// When callbacks are sent. Default `Detached`.
    #[serde(default)]
    pub callbacks: CallbackOrder,
    /// Bytes of results that each rule with a `cache` keeps, in each worker. Default 1048576.
    pub evaluator_cache_size: Option<usize>,
    /// Where the OpenID Connect documents of wristbands are served. Default: nowhere.
    pub wristband_discovery: Option<WristbandDiscovery>,
    /// How many verified tokens, and API keys that let somebody in, each worker remembers with what was granted to them, fewer if that is more
    /// than 2 KiB each; and as many client certificates. 0: none. Default 10000.
    pub token_cache_size: Option<usize>,
    /// Choices for policies over identity.
    pub east_west: Option<EastWestOptions>,
}

/// The Kubernetes API server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct KubernetesApi {
    /// Its URL. Default `https://kubernetes.default.svc`.
    pub url: Option<String>,
    /// The bearer token that it is asked with. Default: none; the Envoy cluster adds one.
    pub token_ref: Option<NamespacedKeyRef>,
}

/// An entry of a Secret of any namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NamespacedKeyRef {
    /// Namespace of the Secret. Default `default`.
    pub namespace: Option<String>,
    /// Name of the Secret.
    pub name: String,
    /// Name of the entry. Default `token`.
    pub key: Option<String>,
}

/// Where the OpenID Connect documents of wristbands are served, without asking an AuthConfig:
/// `<pathPrefix>/<namespace>/<AuthConfig>/<item>/.well-known/openid-configuration` and `…/openid-connect/certs`. Whatever
/// else is asked for below the prefix is answered with 404. At least one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WristbandDiscovery {
    /// `host`, `host:port` or `*.suffix`. Default: every host.
    pub host: Option<String>,
    /// Path before the namespace. Default: none.
    pub path_prefix: Option<String>,
}

/// When callbacks are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CallbackOrder {
    /// After the decision has been carried out; no request waits for them.
    #[default]
    Detached,
    /// Before the decision is carried out, which waits for all answers, as Authorino does.
    Blocking,
}

/// What an error in a `when` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WhenErrors {
    /// In `spec.when`. Default: `Enforce`.
    #[serde(default)]
    pub auth_config: AuthConfigWhenError,
    /// In the `when` of a rule. Default: `Skip`.
    #[serde(default)]
    pub rule: RuleWhenError,
}

/// What an error in `spec.when` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AuthConfigWhenError {
    /// The AuthConfig is enforced.
    #[default]
    Enforce,
    /// The AuthConfig is skipped and the request passes, as Authorino does.
    Skip,
}

/// What an error in a rule's `when` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RuleWhenError {
    /// The rule is skipped, as Authorino does; a skipped authorization rule permits.
    #[default]
    Skip,
    /// The rule fails: an authentication rule yields no identity, an authorization rule denies, others yield nothing.
    Fail,
}

/// What stands in for the request's host when an AuthConfig is looked up. Exactly one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostOverride {
    /// A key of the route's `filter_metadata`; routes without it are looked up by their host.
    pub route_metadata: Option<RouteMetadataKey>,
    /// The name of Envoy's virtual host.
    pub virtual_host_name: Option<bool>,
}

/// A key of the route's `filter_metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RouteMetadataKey {
    /// Namespace within `filter_metadata`. Default `sidegate`.
    pub namespace: Option<String>,
    /// Key; its value must be a string. Default `host`.
    pub key: Option<String>,
}

/// How a port in the request's host is treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HostPort {
    /// An exact host, with or without the port, wins over any wildcard.
    #[default]
    ExactFirst,
    /// With the port and wildcards first, then without the port, as Authorino does: `*` wins over `foo.com` for
    /// `foo.com:8080`.
    Authorino,
}

/// How `plain` header values that are no text are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PlainHeaderFormat {
    /// Numbers and booleans as JSON writes them, objects and lists as JSON, nothing for null.
    #[default]
    Json,
    /// As Authorino's releases do, by Go's `%v`: `1.7e+09`, `<nil>`, `map[a:1]`.
    Authorino,
}
