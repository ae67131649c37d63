//! Choices for policies over identity.

use serde::Deserialize;

/// `options.eastWest`. Every default is the safe one, but for `default`, which is the API's.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct EastWestOptions {
    /// What is done where no policy decides. Default `Allow`.
    #[serde(default)]
    pub default: DefaultDecision,
    /// Trust domains that mean the same as the workload's own.
    #[serde(default)]
    pub trust_domain_aliases: Vec<String>,
    /// Policies that are not valid are left out, and rules that are not valid allow nothing and deny what the rest of them fits.
    /// Default false: the whole configuration is refused.
    #[serde(default)]
    pub lenient: bool,
    /// Only what GEP-3779 has is valid in an `AuthorizationPolicy`. Default false.
    #[serde(default)]
    pub gep_only: bool,
    /// How it is told who calls.
    #[serde(default)]
    pub identity: IdentityOptions,
    /// SPIFFE IDs of proxies in front whose `X-Forwarded-Client-Cert` is believed. Default: none.
    #[serde(default)]
    pub trusted_forwarders: Vec<String>,
    /// How many trusted forwarders may stand one behind another. Default 1.
    pub max_hops: Option<u32>,
    /// That Envoy appends an element about the peer itself to that header (`APPEND_FORWARD`). Default false.
    #[serde(default)]
    pub xfcc_appended: bool,
    /// That trusted forwarders replace what clients send of that header (`SANITIZE_SET`), so that there is no element in it but
    /// theirs. Default false.
    #[serde(default)]
    pub forwarders_sanitize: bool,
    /// What is done with an identity that is there and not valid. Default `Deny`.
    #[serde(default)]
    pub on_invalid_identity: InvalidIdentity,
    /// Where `Peer` in a `CIDR` source is taken from in HTTP. Default: nowhere, and such policies are refused.
    pub peer_address: Option<PeerAddress>,
    /// Letters of paths are compared in any case. Default false.
    pub case_insensitive_paths: Option<bool>,
    /// What `%2f`, `%5c` and `\` in a path mean. Default `Ambiguous`.
    #[serde(default)]
    pub escaped_slash: EscapedSlash,
    /// Keys in the dynamic metadata of `envoy.filters.http.jwt_authn` that have payloads of tokens. Default `payload`.
    pub jwt_payload_keys: Option<Vec<String>>,
    /// How Istio's policies are taken over.
    #[serde(default)]
    pub istio: IstioOptions,
}

/// How Istio's policies are taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct IstioOptions {
    /// The namespace whose policies are about the whole mesh. Default `istio-system`.
    pub root_namespace: Option<String>,
    /// Whether they mean what they mean to Istio even where that is not safe. Default `Strict`.
    #[serde(default)]
    pub mode: IstioMode,
    /// What becomes of `CUSTOM`. Default `Deny`.
    #[serde(default)]
    pub custom: IstioCustom,
}

/// How closely Istio's policies are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum IstioMode {
    /// Never wider than Istio, and narrower where Istio can be tricked.
    #[default]
    Strict,
    /// As Istio.
    Compat,
}

/// What becomes of Istio's `CUSTOM`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum IstioCustom {
    /// Whom its rules fit is kept out, since nobody asks the provider.
    #[default]
    Deny,
    /// Another filter of the proxy asks the provider, and keeps out whom that denies.
    Delegated,
}

/// What is done where no policy decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DefaultDecision {
    /// Who calls is let in.
    #[default]
    Allow,
    /// Who calls is kept out.
    Deny,
}

/// What is done with an identity that is there and not valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum InvalidIdentity {
    /// It is kept out, whatever the policies say.
    #[default]
    Deny,
    /// It fits no rule that allows by identity, and each that denies by it.
    Unreadable,
}

/// What an escaped slash or a backslash in a path means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EscapedSlash {
    /// Nobody knows: the path fits no rule that allows by path, and each that denies by it.
    #[default]
    Ambiguous,
    /// Itself: a character within a segment.
    Keep,
    /// A slash.
    Decode,
}

/// How it is told who calls.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct IdentityOptions {
    /// Where from. Default `Certificate`.
    #[serde(default)]
    pub source: IdentitySource,
    /// Key of the filter state. Default `io.istio.peer_principal`.
    pub filter_state: Option<String>,
    /// That certificates have one URI SAN, for an Envoy that does not show the certificate but only the first of them. Default
    /// false: then nobody has an identity.
    #[serde(default)]
    pub assume_single_uri_san: bool,
    /// That the listener lets no certificate pass which it has not validated, for an Envoy that does not say so. Default false.
    #[serde(default)]
    pub assume_validated: bool,
}

/// Where the identity is taken from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum IdentitySource {
    /// The certificate of the connection.
    #[default]
    Certificate,
    /// Filter state that a filter before this one or Istio's waypoint has set.
    FilterState,
}

/// Where the address of the peer is taken from in HTTP. Exactly one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PeerAddress {
    /// Key of filter state that a `set_filter_state` filter has set to `%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%`.
    pub filter_state: Option<String>,
    /// `true`: that Envoy's `source.address` is the peer's, since its connection manager looks at no header for it.
    pub source_address: Option<bool>,
}
