//! `AuthConfig` (`authorino.kuadrant.io/v1beta3` and `v1beta2`), field by field.
//!
//! Where the API says "exactly one of", the types have one optional field each; which one was given is decided, and
//! anything else refused, by the engine's compiler, so that all problems of a document are reported at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::external::{
    CallbackSpec, KubernetesSubjectAccessReviewSpec, KubernetesTokenReviewSpec, MetadataSpec, OAuth2IntrospectionSpec,
    OpaSpec, SpiceDbSpec, WristbandSpec,
};
use crate::metadata::ObjectMeta;
use crate::one_or_many::OneOrMany;

/// One AuthConfig document.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthConfig {
    /// `authorino.kuadrant.io/v1beta3` or `authorino.kuadrant.io/v1beta2`.
    pub api_version: String,
    /// `AuthConfig`.
    pub kind: String,
    /// Name and namespace; a document without a namespace is in `default`.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is protected, and how.
    pub spec: AuthConfigSpec,
}

/// `spec` of an AuthConfig.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthConfigSpec {
    /// Hosts that this AuthConfig protects: `host`, `host:port`, `*.suffix` or `*`. None: it is there to be imported.
    #[cfg_attr(feature = "schema", schemars(extend("examples" = [["talker-api.example.com", "*.example.org"]])))]
    pub hosts: Vec<String>,
    /// Named sets of patterns, to be used by `patternRef`.
    #[serde(default)]
    pub patterns: BTreeMap<String, Vec<PatternExpression>>,
    /// Conditions for the whole AuthConfig; if they do not hold, the request passes untouched.
    #[serde(default)]
    pub when: Vec<PatternExpressionOrRef>,
    /// Ways to prove an identity; one that succeeds is enough. Empty: everyone, as `anonymous`.
    #[serde(default)]
    pub authentication: BTreeMap<String, AuthenticationSpec>,
    /// External metadata to fetch; what cannot be had is left out.
    #[serde(default)]
    pub metadata: BTreeMap<String, MetadataSpec>,
    /// Rules that must all grant.
    #[serde(default)]
    pub authorization: BTreeMap<String, AuthorizationSpec>,
    /// What client and upstream are told.
    #[serde(default)]
    pub response: ResponseSpec,
    /// Calls made after the decision, whichever it was.
    #[serde(default)]
    pub callbacks: BTreeMap<String, CallbackSpec>,
    /// AuthConfigs whose rules are taken over. Of two of one name this AuthConfig's own wins, and of those of imports the
    /// later one; all conditions must hold.
    #[serde(default)]
    pub imports: Vec<ImportSpec>,
    /// How many of the ways to prove an identity must succeed. Default `any`.
    pub authentication_strategy: Option<AuthenticationStrategy>,
}

/// An AuthConfig that is imported. It has no hosts of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ImportSpec {
    /// Its name.
    pub name: String,
    /// Its namespace, which a ReferenceGrant there must allow. Default: that of the AuthConfig that imports it.
    pub namespace: Option<String>,
}

/// How many of the ways to prove an identity must succeed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuthenticationStrategy {
    /// One; `auth.identity` is what it found.
    #[default]
    Any,
    /// All whose conditions hold, and at least one; `auth.identity` has what each of them found by its name.
    All,
}

/// A selector, an operator and a value to compare.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatternExpression {
    /// Path into the Authorization JSON, or a template.
    #[cfg_attr(feature = "schema", schemars(example = "request.path", example = "auth.identity.realm_access.roles"))]
    pub selector: String,
    /// How to compare.
    pub operator: Operator,
    /// What to compare with; absent is the empty string. A string is compared as text, anything else by its type.
    #[serde(default = "empty_text")]
    pub value: Value,
}

fn empty_text() -> Value {
    Value::String(String::new())
}

/// Operators of a pattern expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Operator {
    /// They are equal: as texts if `value` is one, else of the same type and value.
    Eq,
    /// They are not equal.
    Neq,
    /// The list has the value.
    Incl,
    /// The list does not have the value.
    Excl,
    /// The text matches the regular expression (RE2, not anchored).
    Matches,
    /// The value, which is a list, has what is selected.
    In,
    /// The value, which is a list, does not have what is selected.
    NotIn,
    /// The number is greater.
    Gt,
    /// The number is greater or equal.
    Ge,
    /// The number is less.
    Lt,
    /// The number is less or equal.
    Le,
}

/// A pattern expression, a reference to named ones, a CEL predicate, or a combination.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatternExpressionOrRef {
    /// Path into the Authorization JSON; with `operator`.
    #[cfg_attr(feature = "schema", schemars(example = "request.path", example = "auth.identity.realm_access.roles"))]
    pub selector: Option<String>,
    /// How to compare; with `selector`.
    pub operator: Option<Operator>,
    /// What to compare with; absent is the empty string. A string is compared as text, anything else by its type.
    #[serde(default, deserialize_with = "given")]
    pub value: Option<Value>,
    /// Name of an entry of `spec.patterns`.
    pub pattern_ref: Option<String>,
    /// CEL expression that yields a boolean.
    #[cfg_attr(feature = "schema", schemars(example = "request.method == 'GET'"))]
    pub predicate: Option<String>,
    /// All of these.
    pub all: Option<Vec<PatternExpressionOrRef>>,
    /// Any of these.
    pub any: Option<Vec<PatternExpressionOrRef>>,
}

/// A value that is there, be it null.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A value: fixed, selected from the Authorization JSON, or computed by CEL (`expression` over `selector` over `value`), or
/// a `template`, which stands alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ValueOrSelector {
    /// Fixed value of any JSON type.
    pub value: Option<Value>,
    /// Path into the Authorization JSON, or a template with `{path}` placeholders.
    #[cfg_attr(feature = "schema", schemars(example = "auth.identity.sub"))]
    pub selector: Option<String>,
    /// CEL expression.
    #[cfg_attr(feature = "schema", schemars(example = "auth.identity.roles.exists(role, role == 'admin')"))]
    pub expression: Option<String>,
    /// Text with `{{ path }}` placeholders; one placeholder and nothing else is the value itself, with its type.
    #[cfg_attr(feature = "schema", schemars(example = "Hello, {{ auth.identity.name }}"))]
    pub template: Option<String>,
}

/// Caching of a rule's result.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct CacheSpec {
    /// What tells one entry from another.
    pub key: ValueOrSelector,
    /// Seconds that an entry lives. Default 60.
    #[serde(default)]
    pub ttl: i64,
}

/// One way to prove an identity. Exactly one method.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationSpec {
    /// Lower numbers are tried first; members of one number are tried in order of their names. Default 0.
    #[serde(default)]
    pub priority: i64,
    /// Count this rule in metrics of its own.
    #[serde(default)]
    pub metrics: bool,
    /// Conditions; if they do not hold the rule is skipped.
    #[serde(default)]
    pub when: Vec<PatternExpressionOrRef>,
    /// Caching of the result.
    pub cache: Option<Box<CacheSpec>>,
    /// Where in the request the credential is. Default: `Authorization: Bearer …`.
    pub credentials: Option<Box<Credentials>>,
    /// Properties added to the identity where it has none of that name.
    #[serde(default)]
    pub defaults: BTreeMap<String, ValueOrSelector>,
    /// Properties set on the identity, whatever it had.
    #[serde(default)]
    pub overrides: BTreeMap<String, ValueOrSelector>,
    /// API keys, kept in Secrets.
    pub api_key: Option<Box<ApiKeySpec>>,
    /// JSON Web Tokens.
    pub jwt: Option<Box<JwtSpec>>,
    /// OAuth 2.0 token introspection (RFC 7662).
    pub oauth2_introspection: Option<Box<OAuth2IntrospectionSpec>>,
    /// Client certificates.
    pub x509: Option<Box<X509Spec>>,
    /// Kubernetes TokenReview.
    pub kubernetes_token_review: Option<Box<KubernetesTokenReviewSpec>>,
    /// An identity that somebody in front has already verified.
    pub plain: Option<Box<PlainSpec>>,
    /// Everyone.
    pub anonymous: Option<Empty>,
    /// HTTP Message Signatures (RFC 9421) by keys that client and proxy share.
    pub hmac: Option<Box<HmacSpec>>,
    /// What the client is told if this rule decides that it is not known; what is not said here, `response` says.
    pub deny_with: Option<Box<OneOrMany<DenyWithSpec>>>,
}

/// An object without fields.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("additionalProperties" = false)))]
pub struct Empty {}

/// Where a credential is. At most one field.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// `Authorization: <prefix> <credential>`.
    pub authorization_header: Option<AuthorizationHeader>,
    /// A header of its own.
    pub custom_header: Option<Named>,
    /// A parameter of the query string.
    pub query_string: Option<Named>,
    /// A cookie.
    pub cookie: Option<Named>,
}

/// `credentials.authorizationHeader`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationHeader {
    /// The word before the credential. Default, also when empty: `Bearer`.
    #[serde(default)]
    pub prefix: String,
}

/// A thing known by its name.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// The name.
    pub name: String,
}

/// `apiKey`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySpec {
    /// Labels of the Secrets that hold the keys; an empty selector selects all.
    pub selector: LabelSelector,
    /// Secrets of all namespaces, not only of the AuthConfig's own.
    #[serde(default)]
    pub all_namespaces: bool,
    /// Namespaces of the Secrets, in place of the AuthConfig's own. Those of another one count as far as a ReferenceGrant
    /// there allows them.
    #[serde(default)]
    pub namespaces: Vec<String>,
}

/// Kubernetes `LabelSelector` (`meta/v1`): all requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels and the value each must have.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels.
    #[serde(default)]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement of a `LabelSelector`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// Label key.
    pub key: String,
    /// How the label relates to `values`.
    pub operator: LabelOperator,
    /// Non-empty for `In` and `NotIn`, empty for the others.
    #[serde(default)]
    pub values: Vec<String>,
}

/// Operators of a `LabelSelectorRequirement`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values; an absent label passes.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// `jwt`. Exactly one of `issuerUrl` and `jwksUrl`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct JwtSpec {
    /// OpenID Connect issuer; its discovery document names the key set.
    #[cfg_attr(feature = "schema", schemars(example = "https://keycloak.example.com/realms/shop"))]
    pub issuer_url: Option<String>,
    /// URL of the JSON Web Key Set.
    pub jwks_url: Option<String>,
    /// If set, `iss` of the token must be exactly this.
    pub issuer: Option<String>,
    /// If not empty, `aud` of the token must have one of these.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Seconds between refreshes of discovery and keys. Default (0): as the server's `Cache-Control` says.
    #[serde(default)]
    pub ttl: i64,
    /// Milliseconds that a fetch of discovery or keys may take. Default 5000.
    pub timeout: Option<u64>,
}

/// `x509`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct X509Spec {
    /// Labels of the Secrets that hold trusted CA certificates (`tls.crt`, else `ca.crt`).
    pub selector: LabelSelector,
    /// Secrets of all namespaces, not only of the AuthConfig's own.
    #[serde(default)]
    pub all_namespaces: bool,
    /// Namespaces of the Secrets, in place of the AuthConfig's own. Those of another one count as far as a ReferenceGrant
    /// there allows them.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Where the client certificate is. Default: the certificate of the TLS connection.
    pub source: Option<X509Source>,
}

/// `x509.source`. At most one field.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct X509Source {
    /// Name of the `X-Forwarded-Client-Cert` header.
    pub xfcc_header: Option<String>,
    /// Name of the `Client-Cert` header (RFC 9440).
    pub client_cert_header: Option<String>,
    /// CEL expression that yields a URL-encoded PEM certificate.
    pub expression: Option<String>,
}

/// `hmac`: HTTP Message Signatures (RFC 9421) with the algorithm `hmac-sha256`. The `keyid` is the name of a Secret.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HmacSpec {
    /// Labels of the Secrets that hold the keys (`hmac_key`, 32 bytes at least).
    pub selector: LabelSelector,
    /// Secrets of all namespaces, not only of the AuthConfig's own.
    #[serde(default)]
    pub all_namespaces: bool,
    /// Namespaces of the Secrets, in place of the AuthConfig's own. Those of another one count as far as a ReferenceGrant
    /// there allows them.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// What a signature must cover: headers, and parts of the request such as `@method`. Default: `@method`, `@authority`,
    /// `@path` and `@query`.
    #[serde(default)]
    pub components: Vec<String>,
    /// Seconds that a signature holds from when it was made. Default 300.
    pub max_age: Option<u64>,
    /// The body must be signed, too: by `Content-Digest` (RFC 9530), which is compared with it. Default false.
    #[serde(default)]
    pub body: bool,
}

/// `plain`. Exactly one field.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlainSpec {
    /// Path into the Authorization JSON, or a template.
    pub selector: Option<String>,
    /// CEL expression.
    pub expression: Option<String>,
}

/// One rule that must grant. Exactly one method.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationSpec {
    /// Lower numbers are evaluated first; members of one number in order of their names. Default 0.
    #[serde(default)]
    pub priority: i64,
    /// Count this rule in metrics of its own.
    #[serde(default)]
    pub metrics: bool,
    /// Conditions; if they do not hold the rule is skipped, which permits.
    #[serde(default)]
    pub when: Vec<PatternExpressionOrRef>,
    /// Caching of the result.
    pub cache: Option<Box<CacheSpec>>,
    /// Patterns over the Authorization JSON.
    pub pattern_matching: Option<PatternMatchingSpec>,
    /// Open Policy Agent's Rego.
    pub opa: Option<Box<OpaSpec>>,
    /// Kubernetes SubjectAccessReview.
    pub kubernetes_subject_access_review: Option<Box<KubernetesSubjectAccessReviewSpec>>,
    /// SpiceDB's CheckPermission.
    pub spicedb: Option<Box<SpiceDbSpec>>,
    /// Whether the rule allows what it grants, or denies it. Default `allow`.
    #[serde(default)]
    pub action: Action,
    /// What the client is told if this rule denies; what is not said here, `response` says.
    pub deny_with: Option<Box<OneOrMany<DenyWithSpec>>>,
}

/// What an authorization rule does with what it grants. One that cannot decide denies in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It must grant.
    #[default]
    Allow,
    /// It must not grant.
    Deny,
}

/// `patternMatching`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PatternMatchingSpec {
    /// All of these must hold; none at all always holds.
    pub patterns: Vec<PatternExpressionOrRef>,
}

/// `response`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ResponseSpec {
    /// What a client without an identity is told. Default status 401.
    pub unauthenticated: Option<Box<OneOrMany<DenyWithSpec>>>,
    /// What a client that a rule denied is told. Default status 403.
    pub unauthorized: Option<Box<OneOrMany<DenyWithSpec>>>,
    /// What the upstream, and later filters, are told of a request that passes.
    #[serde(default)]
    pub success: SuccessSpec,
}

/// A customised denial. Of several the first counts whose conditions hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DenyWithSpec {
    /// HTTP status, 300 to 599; 0 is the default of the kind of denial.
    #[serde(default)]
    pub code: i64,
    /// Value of `X-Ext-Auth-Reason`. Default: the reason of the denial.
    pub message: Option<ValueOrSelector>,
    /// Headers; if there are any they stand in for the default ones.
    #[serde(default)]
    pub headers: BTreeMap<String, ValueOrSelector>,
    /// Body. Default: empty.
    pub body: Option<ValueOrSelector>,
    /// Conditions; if they do not hold, or cannot be evaluated, it is passed over.
    #[serde(default)]
    pub when: Vec<PatternExpressionOrRef>,
}

/// `response.success`.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SuccessSpec {
    /// Request headers for the upstream.
    #[serde(default)]
    pub headers: BTreeMap<String, SuccessItemSpec>,
    /// Facts for later filters and access logs.
    #[serde(default)]
    pub dynamic_metadata: BTreeMap<String, SuccessItemSpec>,
}

/// One item of a success response. Exactly one method.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SuccessItemSpec {
    /// Name of the header or metadata key. Default: the item's name.
    pub key: Option<String>,
    /// Lower numbers are built first. Default 0.
    #[serde(default)]
    pub priority: i64,
    /// Count this item in metrics of its own.
    #[serde(default)]
    pub metrics: bool,
    /// Conditions; if they do not hold the item is left out.
    #[serde(default)]
    pub when: Vec<PatternExpressionOrRef>,
    /// Caching of the result.
    pub cache: Option<Box<CacheSpec>>,
    /// One value.
    pub plain: Option<ValueOrSelector>,
    /// An object.
    pub json: Option<Box<JsonSpec>>,
    /// A signed Festival Wristband token.
    pub wristband: Option<Box<WristbandSpec>>,
}

/// `json` of a success item.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct JsonSpec {
    /// Members of the object.
    pub properties: BTreeMap<String, ValueOrSelector>,
}
