//! What is legal but dangerous. One file for each check; `docs/cli.md` says of each why it warns.

mod addresses;
mod api_keys;
mod audience;
mod hosts;
mod letter_case;
mod missing_header;
mod no_identity;
mod not_http;
mod open;
mod plain_identity;
mod query;
mod regex;
mod shadowed;
mod sources;
mod templates;
mod ties;
mod trusted_forwarders;

use std::collections::BTreeMap;

use sidegate_config::{
    Action, AuthConfig, AuthConfigSpec, AuthenticationSpec, AuthorizationSpec, CallbackSpec, Documents, MetadataSpec,
    PatternExpressionOrRef, Problem, ResponseSpec, SuccessItemSpec, SuccessSpec,
};

pub use api_keys::SELECTS_NONE;

/// A check.
type Lint = fn(&Documents, &mut Warnings);

/// All checks by their names. One that is about another kind of document goes here too.
const LINTS: [(&str, Lint); 17] = [
    ("missing-header", missing_header::check),
    ("audience", audience::check),
    ("hosts", hosts::check),
    ("regex", regex::check),
    ("query", query::check),
    ("api-keys", api_keys::check),
    ("open", open::check),
    ("shadowed", shadowed::check),
    ("plain-identity", plain_identity::check),
    ("trusted-forwarders", trusted_forwarders::check),
    ("sources", sources::check),
    ("not-http", not_http::check),
    ("ties", ties::check),
    ("addresses", addresses::check),
    ("templates", templates::check),
    ("letter-case", letter_case::check),
    ("no-identity", no_identity::check),
];

/// All warnings, with the names of the checks.
pub fn all(documents: &Documents) -> Vec<(&'static str, Problem)> {
    let mut all = Vec::new();
    for (rule, lint) in LINTS {
        let mut warnings = Warnings::default();
        lint(documents, &mut warnings);
        all.extend(warnings.0.into_iter().map(|problem| (rule, problem)));
    }
    all
}

/// What a check has found.
#[derive(Default)]
struct Warnings(Vec<Problem>);

impl Warnings {
    fn add(&mut self, document: &AuthConfig, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { document: label(document), path: path.into(), message: message.into() });
    }
}

fn label(AuthConfig { metadata, .. }: &AuthConfig) -> String {
    format!("AuthConfig {}/{}", metadata.namespace, metadata.name)
}

/// Where a condition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// `spec.when`.
    AuthConfig,
    /// `when` of a rule of authorization, without which it permits.
    Authorization,
    /// `when` of a rule that denies, which is taken for met if it is an error.
    Denial,
    /// `when` of another rule.
    Rule,
    /// What `patternMatching` demands.
    Pattern,
}

/// One criterion of a condition, and its path.
struct Criterion<'a> {
    role: Role,
    path: String,
    spec: &'a PatternExpressionOrRef,
}

/// All criteria of an AuthConfig, those within `all` and `any` too.
fn criteria(document: &AuthConfig) -> Vec<Criterion<'_>> {
    let AuthConfigSpec { when, authentication, metadata, authorization, response, callbacks, .. } = &document.spec;
    let ResponseSpec { success, .. } = response;
    let SuccessSpec { headers, dynamic_metadata } = success;
    let mut all = Vec::new();
    add(Role::AuthConfig, "spec.when", when, &mut all);
    whens(Role::Rule, "spec.authentication", authentication, |AuthenticationSpec { when, .. }| when, &mut all);
    whens(Role::Rule, "spec.metadata", metadata, |MetadataSpec { when, .. }| when, &mut all);
    for (name, AuthorizationSpec { when, action, .. }) in authorization {
        let role = if *action == Action::Deny { Role::Denial } else { Role::Authorization };
        add(role, &format!("spec.authorization.{name}.when"), when, &mut all);
    }
    whens(Role::Rule, "spec.response.success.headers", headers, |SuccessItemSpec { when, .. }| when, &mut all);
    whens(Role::Rule, "spec.response.success.dynamicMetadata", dynamic_metadata, |item| &item.when, &mut all);
    whens(Role::Rule, "spec.callbacks", callbacks, |CallbackSpec { when, .. }| when, &mut all);
    for (name, rule) in authorization {
        if let Some(matching) = &rule.pattern_matching {
            let path = format!("spec.authorization.{name}.patternMatching.patterns");
            add(Role::Pattern, &path, &matching.patterns, &mut all);
        }
    }
    all
}

fn whens<'a, T>(
    role: Role,
    path: &str,
    rules: &'a BTreeMap<String, T>,
    when: impl Fn(&'a T) -> &'a Vec<PatternExpressionOrRef>,
    all: &mut Vec<Criterion<'a>>,
) {
    rules.iter().for_each(|(name, rule)| add(role, &format!("{path}.{name}.when"), when(rule), all));
}

fn add<'a>(role: Role, path: &str, specs: &'a [PatternExpressionOrRef], all: &mut Vec<Criterion<'a>>) {
    for (index, spec) in specs.iter().enumerate() {
        let path = format!("{path}[{index}]");
        for (name, within) in [("all", &spec.all), ("any", &spec.any)] {
            add(role, &format!("{path}.{name}"), within.as_deref().unwrap_or_default(), all);
        }
        all.push(Criterion { role, path, spec });
    }
}
