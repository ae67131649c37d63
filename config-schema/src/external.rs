//! The parts of an AuthConfig that speak of servers outside.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::auth_config::{CacheSpec, Credentials, PatternExpressionOrRef, ValueOrSelector};

/// A Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    pub name: String,
    /// Its namespace, which a ReferenceGrant there must allow. Default: the AuthConfig's own.
    pub namespace: Option<String>,
}

/// An entry of a Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Name of the entry.
    pub key: String,
    /// Namespace of the Secret, which a ReferenceGrant there must allow. Default: the AuthConfig's own.
    pub namespace: Option<String>,
}

/// `oauth2Introspection` (RFC 7662).
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OAuth2IntrospectionSpec {
    /// URL of the introspection endpoint.
    pub endpoint: String,
    /// `token_type_hint` of the request. Default `access_token`.
    pub token_type_hint: Option<String>,
    /// Secret with the entries `clientID` and `clientSecret`.
    pub credentials_ref: SecretRef,
    /// Milliseconds that the call may take. Default, also for 0: 5000.
    pub timeout: Option<u64>,
}

/// `kubernetesTokenReview` (`authentication.k8s.io/v1`).
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct KubernetesTokenReviewSpec {
    /// Audiences that the token must be for one of. Default: the request's host.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Milliseconds that the call may take. Default, also for 0: 5000.
    pub timeout: Option<u64>,
}

/// One source of external metadata. Exactly one method.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MetadataSpec {
    /// Lower numbers are fetched first; members of one number together. Default 0.
    #[serde(default)]
    pub priority: i64,
    /// Count this source in metrics of its own.
    #[serde(default)]
    pub metrics: bool,
    /// Conditions; if they do not hold the source is skipped.
    #[serde(default)]
    pub when: Vec<PatternExpressionOrRef>,
    /// Caching of the result.
    pub cache: Option<Box<CacheSpec>>,
    /// A request over HTTP.
    pub http: Option<Box<HttpSpec>>,
    /// OpenID Connect UserInfo.
    pub user_info: Option<Box<UserInfoSpec>>,
    /// User-Managed Access 2.0 resource data.
    pub uma: Option<Box<UmaSpec>>,
}

/// One callback.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CallbackSpec {
    /// Lower numbers are called first; members of one number together. Default 0.
    #[serde(default)]
    pub priority: i64,
    /// Count this callback in metrics of its own.
    #[serde(default)]
    pub metrics: bool,
    /// Conditions; if they do not hold the callback is skipped.
    #[serde(default)]
    pub when: Vec<PatternExpressionOrRef>,
    /// Not used, as upstream does not use it.
    pub cache: Option<Box<CacheSpec>>,
    /// A request over HTTP.
    pub http: HttpSpec,
}

/// A request over HTTP. Exactly one of `url` and `urlExpression`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HttpSpec {
    /// URL with `{path}` placeholders, whose values are percent-encoded for where they stand.
    #[cfg_attr(feature = "schema", schemars(example = "https://accounts.example.com/users/{auth.identity.sub}"))]
    pub url: Option<String>,
    /// CEL expression that yields the URL.
    pub url_expression: Option<String>,
    /// HTTP method. Default `GET`.
    #[serde(default)]
    pub method: HttpMethod,
    /// Body; not together with `bodyParameters`.
    pub body: Option<ValueOrSelector>,
    /// Members of the body, written as `contentType` says; not together with `body`.
    #[serde(default)]
    pub body_parameters: BTreeMap<String, ValueOrSelector>,
    /// What the body is. Default `application/x-www-form-urlencoded`.
    #[serde(default)]
    pub content_type: ContentType,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, ValueOrSelector>,
    /// Secret that is sent as the credential.
    pub shared_secret_ref: Option<SecretKeyRef>,
    /// OAuth 2.0 client credentials, by which the credential is got; over `sharedSecretRef`.
    pub oauth2: Option<Box<OAuth2ClientSpec>>,
    /// Where the credential goes. Default: `Authorization: Bearer …`.
    pub credentials: Option<Credentials>,
    /// Milliseconds that the call may take. Default, also for 0: 5000.
    pub timeout: Option<u64>,
    /// Bytes that the answer's body may have; a longer one is no answer. Default, also for 0: 1048576 (1 MiB).
    pub max_response_bytes: Option<u64>,
}

/// HTTP methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the methods of RFC 9110 by their names")]
pub enum HttpMethod {
    #[default]
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
    Options,
    Connect,
    Trace,
}

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ContentType {
    /// Pairs of an HTML form.
    #[default]
    #[serde(rename = "application/x-www-form-urlencoded")]
    Form,
    /// JSON.
    #[serde(rename = "application/json")]
    Json,
}

/// OAuth 2.0 client credentials grant (RFC 6749 section 4.4).
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OAuth2ClientSpec {
    /// URL of the token endpoint.
    pub token_url: String,
    /// Client id.
    pub client_id: String,
    /// Secret entry with the client secret.
    pub client_secret_ref: SecretKeyRef,
    /// Scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Further parameters of the token request.
    #[serde(default)]
    pub extra_params: BTreeMap<String, String>,
    /// Keep the token until shortly before it expires. Default true.
    pub cache: Option<bool>,
    /// Milliseconds that the call may take. Default, also for 0: 5000.
    pub timeout: Option<u64>,
}

/// `userInfo`. Exactly one of `identitySource` and `userInfoUrl`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UserInfoSpec {
    /// Name of the `jwt` authentication rule whose issuer is asked.
    pub identity_source: Option<String>,
    /// URL of the UserInfo endpoint.
    pub user_info_url: Option<String>,
    /// Milliseconds that the call may take. Default, also for 0: 5000.
    pub timeout: Option<u64>,
}

/// `uma`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UmaSpec {
    /// Issuer of the UMA server; its `/.well-known/uma2-configuration` says the rest.
    pub endpoint: String,
    /// Secret with the entries `clientID` and `clientSecret`.
    pub credentials_ref: SecretRef,
    /// Milliseconds that each call may take. Default, also for 0: 5000.
    pub timeout: Option<u64>,
}

/// `opa`. Exactly one of `rego` and `externalPolicy`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OpaSpec {
    /// The policy: rules, `allow` among them, without a `package`.
    #[cfg_attr(feature = "schema", schemars(example = "allow { input.auth.identity.sub == \"alice\" }"))]
    pub rego: Option<String>,
    /// Where the policy is fetched from.
    pub external_policy: Option<Box<ExternalPolicySpec>>,
    /// Keep the values of all rules, not of `allow` alone.
    #[serde(default)]
    pub all_values: bool,
    /// Syntax of the policy. Default `v0`.
    #[serde(default)]
    pub version: RegoVersion,
}

/// Syntaxes of Rego.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RegoVersion {
    /// Of OPA before 1.0.
    #[default]
    V0,
    /// Of OPA 1.0.
    V1,
}

/// `opa.externalPolicy`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExternalPolicySpec {
    /// URL of the policy: text, or JSON with the text at `result.raw`.
    pub url: String,
    /// `GET`; Kubernetes writes it into every document.
    #[serde(default)]
    pub method: HttpMethod,
    /// Not used; Kubernetes writes it into every document.
    #[serde(default)]
    pub content_type: ContentType,
    /// Secret that is sent as the credential.
    pub shared_secret_ref: Option<SecretKeyRef>,
    /// Where the credential goes. Default: `Authorization: Bearer …`.
    pub credentials: Option<Credentials>,
    /// Milliseconds that a fetch may take. Default, also for 0: 5000.
    pub timeout: Option<u64>,
    /// Seconds between refreshes. Default (0): none after the first fetch that is good.
    #[serde(default)]
    pub ttl: i64,
    /// Bytes that the policy may have. Default, also for 0: 1048576 (1 MiB).
    pub max_response_bytes: Option<u64>,
}

/// `kubernetesSubjectAccessReview` (`authorization.k8s.io/v1`). At least one of `user`, `groups` and
/// `authorizationGroups`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct KubernetesSubjectAccessReviewSpec {
    /// The user.
    pub user: Option<ValueOrSelector>,
    /// Fixed groups; `authorizationGroups` wins.
    pub groups: Option<Vec<String>>,
    /// Groups: a list of strings.
    pub authorization_groups: Option<ValueOrSelector>,
    /// The resource. Default: the request's path and method, as a non-resource review.
    pub resource_attributes: Option<Box<ResourceAttributesSpec>>,
    /// Milliseconds that the call may take. Default, also for 0: 5000.
    pub timeout: Option<u64>,
}

/// `kubernetesSubjectAccessReview.resourceAttributes`; what is absent is empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ResourceAttributesSpec {
    /// Namespace.
    pub namespace: Option<ValueOrSelector>,
    /// API group.
    pub group: Option<ValueOrSelector>,
    /// Resource type.
    pub resource: Option<ValueOrSelector>,
    /// Subresource.
    pub subresource: Option<ValueOrSelector>,
    /// Name of the object.
    pub name: Option<ValueOrSelector>,
    /// Verb.
    pub verb: Option<ValueOrSelector>,
}

/// `spicedb`: `CheckPermission` of `authzed.api.v1`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SpiceDbSpec {
    /// `host:port`.
    pub endpoint: String,
    /// Without TLS; the Envoy cluster has the last word.
    #[serde(default)]
    pub insecure: bool,
    /// Secret that is sent as the bearer token.
    pub shared_secret_ref: Option<SecretKeyRef>,
    /// Who asks.
    pub subject: Option<SpiceDbObject>,
    /// What is asked for.
    pub resource: Option<SpiceDbObject>,
    /// What is to be done with it.
    pub permission: Option<ValueOrSelector>,
}

/// An object of SpiceDB.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SpiceDbObject {
    /// Its definition.
    pub kind: Option<ValueOrSelector>,
    /// Its id.
    pub name: Option<ValueOrSelector>,
}

/// `wristband`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WristbandSpec {
    /// `iss` of the tokens, and where their discovery document is found.
    pub issuer: String,
    /// Keys; the first one signs, all are published.
    pub signing_key_refs: Vec<SigningKeyRef>,
    /// Claims over the usual ones.
    #[serde(default)]
    pub custom_claims: BTreeMap<String, ValueOrSelector>,
    /// Seconds that a token holds. Default 300.
    pub token_duration: Option<i64>,
}

/// A signing key: the entry `key.pem` of a Secret.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SigningKeyRef {
    /// Name of the Secret; also the `kid`.
    pub name: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Namespace of the Secret, which a ReferenceGrant there must allow. Default: the AuthConfig's own.
    pub namespace: Option<String>,
}

/// Algorithms of wristbands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the algorithms of RFC 7518 by their names")]
pub enum SigningAlgorithm {
    Es256,
    Es384,
    Es512,
    Rs256,
    Rs384,
    Rs512,
}
