//! From a rule of Istio's to groups of terms.

use std::rc::Rc;

use sidegate_config::EscapedSlash;
use sidegate_config::istio::{Condition, Operation, Rule, Source};

use super::value;
use crate::east_west::object::{Alternative, Dimension, Effect, Group, Term, Value};
use crate::east_west::path::Reading;
use crate::east_west::pattern::{PathPattern, Pattern};

/// Reads one rule.
#[derive(Debug)]
pub struct RuleReader<'a> {
    path: &'a str,
    /// Of the policy.
    namespace: &'a Rc<str>,
    effect: Effect,
    compat: bool,
    one_token: bool,
    any_case: bool,
    /// Paths, and what is wrong there.
    pub problems: Vec<(String, String)>,
    /// Paths, and what is not as it looks there.
    pub notes: Vec<(String, String)>,
}

/// What a field compares, and how its values are read.
#[derive(Debug, Clone)]
enum Field {
    Principal,
    Namespace,
    Account,
    TrustDomain,
    RequestPrincipal,
    /// Names of claims.
    Claim(Vec<Box<str>>),
    /// A filter, and a key.
    Metadata(Vec<Box<str>>),
    Block(Dimension),
    Port,
    Host,
    Method,
    Path,
    ServerName,
    /// In lower case.
    Header(Rc<str>),
}

impl Field {
    const fn dimension(&self) -> Dimension {
        match self {
            Self::Principal | Self::Namespace | Self::Account | Self::TrustDomain => Dimension::Identity,
            Self::RequestPrincipal | Self::Claim(_) => Dimension::Jwt,
            Self::Metadata(_) => Dimension::Metadata,
            Self::Block(dimension) => *dimension,
            Self::Port => Dimension::Port,
            Self::Host => Dimension::Host,
            Self::Method => Dimension::Method,
            Self::Path => Dimension::Path,
            Self::ServerName => Dimension::ServerName,
            Self::Header(_) => Dimension::Header,
        }
    }

    /// Whether a star stands for text wherever it is, or is never allowed.
    const fn has_own_stars(&self) -> bool {
        matches!(self, Self::Namespace | Self::Account | Self::TrustDomain | Self::Block(_) | Self::Port)
    }

    /// What a key of `when` is about; none: nobody knows it.
    fn of_key(key: &str) -> Option<Self> {
        let header = |name: &str| match name.to_ascii_lowercase().as_str() {
            "host" => Rc::from(":authority"),
            lower => Rc::from(lower),
        };
        Some(match key {
            "source.ip" => Self::Block(Dimension::Peer),
            "remote.ip" => Self::Block(Dimension::Client),
            "source.namespace" => Self::Namespace,
            "source.serviceAccount" => Self::Account,
            "source.trustDomain" => Self::TrustDomain,
            "source.principal" => Self::Principal,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::Claim(vec!["aud".into()]),
            "request.auth.presenter" => Self::Claim(vec!["azp".into()]),
            "destination.ip" => Self::Block(Dimension::Destination),
            "destination.port" => Self::Port,
            "connection.sni" => Self::ServerName,
            _ => {
                if let Some(name) = key.strip_prefix("request.headers") {
                    return value::bracketed(name).map(|name| Self::Header(header(name)));
                }
                if let Some(names) = key.strip_prefix("request.auth.claims") {
                    return value::nested(names).map(Self::Claim);
                }
                let rest = key.strip_prefix("experimental.").filter(|rest| rest.starts_with("envoy.filters."))?;
                let (filter, name) = rest.split_once('[')?;
                let name = name.strip_suffix(']').filter(|name| !name.is_empty())?;
                Self::Metadata(vec![filter.into(), name.into()])
            }
        })
    }
}

impl<'a> RuleReader<'a> {
    /// For a rule at a path of its document.
    #[must_use]
    pub const fn new(path: &'a str, namespace: &'a Rc<str>, effect: Effect, compat: bool) -> Self {
        Self {
            path,
            namespace,
            effect,
            compat,
            one_token: true,
            any_case: false,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Says whether a request has one token at most, as it has for Istio.
    #[must_use]
    pub const fn with_tokens(mut self, one: bool) -> Self {
        self.one_token = one;
        self
    }

    /// Says whether letters of paths are compared in any case.
    #[must_use]
    pub const fn with_paths_in_any_case(mut self, any_case: bool) -> Self {
        self.any_case = any_case;
        self
    }

    /// The groups of the rule.
    pub fn groups(&mut self, rule: &Rule) -> Vec<Group> {
        let Rule { from, to, when } = rule;
        let mut groups = Vec::new();
        if let Some(from) = from {
            let sources = from.iter().enumerate();
            let group: Group = sources
                .map(|(index, from)| self.source(&format!("from[{index}].source"), from.source.as_ref()))
                .collect();
            self.group("from", group, &mut groups);
        }
        if let Some(to) = to {
            let operations = to.iter().enumerate();
            let group: Group = operations
                .map(|(index, to)| self.operation(&format!("to[{index}].operation"), to.operation.as_ref()))
                .collect();
            self.group("to", group, &mut groups);
        }
        for (index, condition) in when.iter().enumerate() {
            let terms = self.condition(&format!("when[{index}]"), condition);
            groups.push(vec![terms]);
        }
        groups
    }

    /// A list that is there and empty is not valid.
    fn group(&mut self, field: &str, group: Group, groups: &mut Vec<Group>) {
        if group.is_empty() {
            self.problem(field, "must not be empty: leave it out for anything");
        } else {
            groups.push(group);
        }
    }

    fn problem(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push((format!("{}.{field}", self.path), message.into()));
    }

    fn note(&mut self, field: &str, message: impl Into<String>) {
        self.notes.push((format!("{}.{field}", self.path), message.into()));
    }

    fn source(&mut self, path: &str, source: Option<&Source>) -> Alternative {
        let Source {
            principals,
            not_principals,
            request_principals,
            not_request_principals,
            namespaces,
            not_namespaces,
            service_accounts,
            not_service_accounts,
            trust_domains,
            not_trust_domains,
            ip_blocks,
            not_ip_blocks,
            remote_ip_blocks,
            not_remote_ip_blocks,
        } = &source.cloned().unwrap_or_default();
        let terms = self.terms(
            path,
            &[
                (Field::Principal, "principals", [principals, not_principals]),
                (Field::RequestPrincipal, "requestPrincipals", [request_principals, not_request_principals]),
                (Field::Namespace, "namespaces", [namespaces, not_namespaces]),
                (Field::Account, "serviceAccounts", [service_accounts, not_service_accounts]),
                (Field::TrustDomain, "trustDomains", [trust_domains, not_trust_domains]),
                (Field::Block(Dimension::Peer), "ipBlocks", [ip_blocks, not_ip_blocks]),
                (Field::Block(Dimension::Client), "remoteIpBlocks", [remote_ip_blocks, not_remote_ip_blocks]),
            ],
        );
        let accounts = !(service_accounts.is_empty() && not_service_accounts.is_empty());
        if accounts && [principals, not_principals, namespaces, not_namespaces].iter().any(|list| !list.is_empty()) {
            self.problem(path, "has `serviceAccounts` beside `principals` or `namespaces`: keep one of them");
        }
        self.given(path, terms)
    }

    fn operation(&mut self, path: &str, operation: Option<&Operation>) -> Alternative {
        let Operation { hosts, not_hosts, ports, not_ports, methods, not_methods, paths, not_paths } =
            &operation.cloned().unwrap_or_default();
        let terms = self.terms(
            path,
            &[
                (Field::Host, "hosts", [hosts, not_hosts]),
                (Field::Port, "ports", [ports, not_ports]),
                (Field::Method, "methods", [methods, not_methods]),
                (Field::Path, "paths", [paths, not_paths]),
            ],
        );
        self.given(path, terms)
    }

    /// What is there must say something.
    fn given(&mut self, path: &str, terms: Alternative) -> Alternative {
        if terms.is_empty() {
            self.problem(path, "must not be empty: leave out the whole list for anything");
        }
        terms
    }

    fn condition(&mut self, path: &str, condition: &Condition) -> Alternative {
        let Condition { key, values, not_values } = condition;
        let Some(field) = Field::of_key(key) else {
            self.problem(&format!("{path}.key"), format!("`{key}` is no attribute that is known"));
            return Vec::new();
        };
        if values.is_empty() && not_values.is_empty() {
            self.problem(path, "needs `values` or `notValues`");
        }
        self.terms(path, &[(field, "values", [values, not_values])])
    }

    /// Terms of lists by name, each with the one whose name begins with `not`.
    fn terms(&mut self, path: &str, lists: &[(Field, &str, [&Vec<String>; 2])]) -> Alternative {
        let mut terms = Vec::new();
        let allows = self.effect == Effect::Allow;
        for (field, name, [values, not_values]) in lists {
            if !values.is_empty() {
                let values = self.values(field, &format!("{path}.{name}"), values, allows);
                terms.push(Term::new(field.dimension(), values));
            }
            if !not_values.is_empty() {
                let (first, rest) = name.split_at_checked(1).unwrap_or_default();
                let name = format!("not{}{rest}", first.to_ascii_uppercase());
                let values = self.values(field, &format!("{path}.{name}"), not_values, !allows);
                terms.push(Term::not(field.dimension(), values));
            }
        }
        terms
    }

    /// `opens`: the more these values fit, the more callers are let in.
    fn values(&mut self, field: &Field, path: &str, values: &[String], opens: bool) -> Vec<Value> {
        if field.dimension() == Dimension::Jwt && !self.one_token {
            let message = "is about the one token that a request has for Istio, and `options.eastWest.jwtPayloadKeys` does \
                           not name one";
            self.problem(path, message);
        }
        let mut read = Vec::with_capacity(values.len());
        for (index, text) in values.iter().enumerate() {
            let path = format!("{path}[{index}]");
            read.push(match self.value(field, text, opens) {
                Ok(value) => {
                    self.remark(field, &path, text, opens, &value);
                    value
                }
                Err(message) => {
                    self.problem(&path, message);
                    Value::Invalid
                }
            });
        }
        read
    }

    fn value(&self, field: &Field, text: &str, opens: bool) -> Result<Value, String> {
        // What Istio takes for a fitting name is more than there should be, so it only ever closes.
        let loose = self.compat || !opens;
        if text.is_empty() {
            return Err("is empty, which fits nothing".to_owned());
        }
        Ok(match field {
            Field::Principal => value::principal(text),
            Field::Namespace => value::namespace(text, loose),
            Field::Account => value::account(text, self.namespace, loose)?,
            Field::TrustDomain => value::trust_domain(text)?,
            Field::RequestPrincipal => value::request_principal(text),
            Field::Claim(names) => value::claim(names, text),
            Field::Metadata(names) => value::metadata(names, text),
            Field::Block(_) => value::block(text)?,
            Field::Port => value::port(text)?,
            Field::Host => value::host(text, self.compat),
            Field::Method | Field::ServerName => Value::Text(value::pattern(text)),
            Field::Path if self.compat => Value::Verbatim(value::path(text)?),
            Field::Path if self.any_case => Value::Written(value::path(&text.to_ascii_lowercase())?),
            Field::Path => Value::Written(value::path(text)?),
            Field::Header(name) => match value::pattern(text) {
                Pattern::Any => Value::Header(Rc::clone(name), None),
                pattern if self.compat => Value::Line(Rc::clone(name), pattern),
                pattern => Value::Header(Rc::clone(name), Some(pattern)),
            },
        })
    }

    /// Says what is not as it looks.
    fn remark(&mut self, field: &Field, path: &str, text: &str, opens: bool, value: &Value) {
        let is_template =
            matches!(value, Value::Written(PathPattern::Template(_)) | Value::Verbatim(PathPattern::Template(_)));
        if !field.has_own_stars() && !is_template && value::has_inner_star(text) {
            self.note(
                path,
                "has a `*` that is not the one at its beginning or end, and stands for itself, as in Istio",
            );
        }
        match field {
            Field::Principal if text.starts_with("spiffe://") => {
                self.note(path, "fits nobody, as in Istio: principals are written without `spiffe://`");
            }
            Field::RequestPrincipal if !text.contains(['/', '*']) => {
                self.note(path, "has no `/`, so it fits tokens with an empty `sub` alone, as in Istio");
            }
            Field::Path if opens && !self.compat && !is_normal(value) => {
                self.note(path, "fits no request: paths are compared in their normal form too, of which it is not");
            }
            _ => {}
        }
    }
}

/// Whether a whole path is one that a request can have in each of its views.
fn is_normal(value: &Value) -> bool {
    let Value::Written(PathPattern::Exact(text)) = value else { return true };
    let reading = Reading { escaped_slash: EscapedSlash::Keep, case_insensitive: false };
    reading.views(text.as_bytes()).is_some_and(|views| views.raw == **text && views.stripped.is_none())
}
