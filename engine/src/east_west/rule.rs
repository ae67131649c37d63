//! From a rule of a document to groups of terms. What is not valid is told, and becomes a value that nobody knows.

use std::rc::Rc;

use sidegate_config::{
    ApplicationAttributes, CidrAddress, CidrSource, HeaderMatch, JwtSource, NetworkAttributes, PathMatch,
    PathMatchType, PolicyRule, PolicySource, ServiceAccountSource, SourceType,
};

use super::block::Block;
use super::object::{Alternative, Dimension, Group, Term, Token, Value, Who};
use super::path::Reading;
use super::pattern::{PathPattern, Pattern};
use super::spiffe::{self, SpiffeId};

/// Reads one rule.
#[derive(Debug)]
pub struct RuleReader<'a> {
    path: &'a str,
    /// Of the policy; none if it is cluster-wide.
    namespace: Option<&'a Rc<str>>,
    case_insensitive: bool,
    /// Paths, and what is wrong there.
    pub problems: Vec<(String, String)>,
}

impl<'a> RuleReader<'a> {
    /// For a rule at a path of its document.
    #[must_use]
    pub const fn new(path: &'a str, namespace: Option<&'a Rc<str>>, case_insensitive: bool) -> Self {
        Self { path, namespace, case_insensitive, problems: Vec::new() }
    }

    /// The groups of the rule.
    pub fn groups(&mut self, rule: &PolicyRule) -> Vec<Group> {
        let PolicyRule { name: _, sources, network_attributes, application_attributes } = rule;
        let mut groups = Vec::new();
        if let Some(sources) = sources {
            let alternatives = sources.iter().enumerate();
            groups.push(
                alternatives.map(|(index, source)| self.source(&format!("sources[{index}]"), source, true)).collect(),
            );
        }
        if let Some(NetworkAttributes { ports: Some(ports) }) = network_attributes {
            let values = self.values("networkAttributes.ports", ports, |port| match u16::try_from(*port) {
                Ok(port) if port > 0 => Ok(Value::Port(port)),
                _ => Err(format!("`{port}` is no port: they are from 1 to 65535")),
            });
            groups.push(vec![vec![Term::new(Dimension::Port, values)]]);
        }
        if let Some(attributes) = application_attributes {
            self.application(attributes, &mut groups);
        }
        groups
    }

    fn problem(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push((format!("{}.{field}", self.path), message.into()));
    }

    /// Values of a list that must not be empty.
    fn values<T>(&mut self, field: &str, values: &[T], read: impl Fn(&T) -> Result<Value, String>) -> Vec<Value> {
        if values.is_empty() {
            self.problem(field, "an empty list fits nothing: leave the field out for anything");
            return vec![Value::Invalid];
        }
        let mut read_values = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            read_values.push(read(value).unwrap_or_else(|message| {
                self.problem(&format!("{field}[{index}]"), message);
                Value::Invalid
            }));
        }
        read_values
    }

    fn application(&mut self, attributes: &ApplicationAttributes, groups: &mut Vec<Group>) {
        let ApplicationAttributes { methods, hosts, paths, headers } = attributes;
        let mut group = |dimension, values| groups.push(vec![vec![Term::new(dimension, values)]]);
        if let Some(methods) = methods {
            let read = |method: &String| match method.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*') {
                true if !method.is_empty() => Ok(Value::Text(Pattern::Exact(method.as_str().into()))),
                _ => Err(format!("`{method}` is no method")),
            };
            group(Dimension::Method, self.values("applicationAttributes.methods", methods, read));
        }
        if let Some(hosts) = hosts {
            group(Dimension::Host, self.values("applicationAttributes.hosts", hosts, |host| self::host(host)));
        }
        if let Some(paths) = paths {
            let case_insensitive = self.case_insensitive;
            let read = |path: &PathMatch| self::path(path, case_insensitive);
            group(Dimension::Path, self.values("applicationAttributes.paths", paths, read));
        }
        for (index, header) in headers.iter().flatten().enumerate() {
            let term = self.header(&format!("applicationAttributes.headers[{index}]"), header);
            groups.push(vec![vec![term]]);
        }
        if headers.as_ref().is_some_and(Vec::is_empty) {
            let none: [u8; 0] = [];
            let values = self.values("applicationAttributes.headers", &none, |_| Ok(Value::Invalid));
            groups.push(vec![vec![Term::new(Dimension::Header, values)]]);
        }
    }

    fn header(&mut self, field: &str, header: &HeaderMatch) -> Term {
        let HeaderMatch { name, values, present, absent } = header;
        let lower: Rc<str> = name.to_ascii_lowercase().into();
        let invalid = || Term::new(Dimension::Header, vec![Value::Invalid]);
        if let Err(message) = header_name(&lower) {
            self.problem(&format!("{field}.name"), format!("`{name}` {message}"));
            return invalid();
        }
        let any = || vec![Value::Header(Rc::clone(&lower), None)];
        match (values, present, absent) {
            (Some(values), None, None) => {
                let read = |value: &String| match value.trim() == value && !value.is_empty() {
                    true => Ok(Value::Header(Rc::clone(&lower), Some(Pattern::Exact(value.as_str().into())))),
                    false => Err("is empty, or has white space around it".to_owned()),
                };
                Term::new(Dimension::Header, self.values(&format!("{field}.values"), values, read))
            }
            (None, Some(true), None) => Term::new(Dimension::Header, any()),
            (None, None, Some(true)) => Term::not(Dimension::Header, any()),
            _ => {
                self.problem(field, "exactly one of `values`, `present: true` and `absent: true` is needed");
                invalid()
            }
        }
    }

    /// The terms of a source; `outer` may be an `AllOf`.
    fn source(&mut self, field: &str, source: &PolicySource, outer: bool) -> Alternative {
        let PolicySource { kind, service_account, spiffe, namespace, trust_domain, cidr, jwt, all_of } = source;
        let who = |who| vec![Term::new(Dimension::Identity, vec![Value::Who(who)])];
        let missing = |field: &str| Err((String::new(), format!("`{field}` is required but missing")));
        let read = match kind {
            SourceType::ServiceAccount => match service_account {
                Some(account) => self.service_account(account).map(who),
                None => missing("serviceAccount"),
            },
            SourceType::Spiffe => match spiffe {
                Some(text) => self::spiffe(text).map(who).map_err(|message| (".spiffe".to_owned(), message)),
                None => missing("spiffe"),
            },
            SourceType::Namespace => match namespace {
                Some(text) => {
                    pattern(text).map(|it| who(Who::Namespace(it))).map_err(|it| (".namespace".to_owned(), it))
                }
                None => missing("namespace"),
            },
            SourceType::TrustDomain => match trust_domain {
                Some(text) => self::trust_domain(text)
                    .map(|it| who(Who::TrustDomain(it)))
                    .map_err(|it| (".trustDomain".to_owned(), it)),
                None => missing("trustDomain"),
            },
            SourceType::Cidr => match cidr {
                Some(cidr) => return self.cidr(&format!("{field}.cidr"), cidr),
                None => missing("cidr"),
            },
            SourceType::Jwt => match jwt {
                Some(jwt) => self::jwt(jwt).map_err(|(path, message)| (format!(".jwt{path}"), message)),
                None => missing("jwt"),
            },
            SourceType::Unauthenticated => Ok(who(Who::Nobody)),
            SourceType::AllOf => match all_of {
                Some(sources) if outer && !sources.is_empty() => {
                    let sources = sources.iter().enumerate();
                    return sources
                        .flat_map(|(index, source)| self.source(&format!("{field}.allOf[{index}]"), source, false))
                        .collect();
                }
                Some(_) if outer => Err((".allOf".to_owned(), "an empty list fits nobody".to_owned())),
                Some(_) => Err((String::new(), "an `AllOf` cannot be within another".to_owned())),
                None => missing("allOf"),
            },
        };
        read.unwrap_or_else(|(path, message)| {
            self.problem(&format!("{field}{path}"), message);
            vec![Term::new(Dimension::Identity, vec![Value::Invalid])]
        })
    }

    fn service_account(&self, account: &ServiceAccountSource) -> Result<Who, (String, String)> {
        let ServiceAccountSource { namespace, name } = account;
        let namespace = match (namespace, self.namespace) {
            (Some(namespace), _) => namespace.as_str(),
            (None, Some(namespace)) => namespace,
            (None, None) => {
                let message = "is required in a cluster-wide policy".to_owned();
                return Err((".serviceAccount.namespace".to_owned(), message));
            }
        };
        let literal = |text: &str| SpiffeId::parse(&format!("spiffe://x/{text}")).is_ok() && !text.contains('/');
        if !literal(namespace) {
            return Err((".serviceAccount.namespace".to_owned(), format!("`{namespace}` is no name of a namespace")));
        }
        match name.as_str() {
            "*" => Ok(Who::Namespace(Pattern::Exact(namespace.into()))),
            name if literal(name) => Ok(Who::ServiceAccount(namespace.into(), name.into())),
            "" => Err((".serviceAccount.name".to_owned(), "is empty: write `*` for all of the namespace".to_owned())),
            name => Err((".serviceAccount.name".to_owned(), format!("`{name}` is no name of a ServiceAccount"))),
        }
    }

    fn cidr(&mut self, field: &str, cidr: &CidrSource) -> Alternative {
        let CidrSource { address, blocks, except } = cidr;
        let dimension = match address {
            CidrAddress::Peer => Dimension::Peer,
            CidrAddress::Client => Dimension::Client,
        };
        let before = self.problems.len();
        let read = |text: &String| Block::parse(text).map(Value::Block).map_err(|reason| format!("`{text}` {reason}"));
        let mut terms = vec![Term::new(dimension, self.values(&format!("{field}.blocks"), blocks, read))];
        if !except.is_empty() {
            terms.push(Term::not(dimension, self.values(&format!("{field}.except"), except, read)));
        }
        if self.problems.len() > before {
            return vec![Term::new(dimension, vec![Value::Invalid])];
        }
        terms
    }
}

fn spiffe(text: &str) -> Result<Who, String> {
    if text.ends_with('*') {
        let (domain, path) = spiffe::parse_prefix(text).map_err(|reason| format!("`{text}`: {reason}"))?;
        return Ok(Who::Below(domain.into(), path.into()));
    }
    SpiffeId::parse(text).map(Who::Exact).map_err(|reason| format!("`{text}`: {reason}"))
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|reason| format!("`{text}` {reason}"))
}

fn trust_domain(text: &str) -> Result<Pattern, String> {
    let pattern = pattern(text)?;
    if let Pattern::Exact(part) | Pattern::Prefix(part) | Pattern::Suffix(part) = &pattern {
        spiffe::check_trust_domain(part).map_err(|reason| format!("`{text}`: {reason}"))?;
    }
    Ok(pattern)
}

fn jwt(jwt: &JwtSource) -> Result<Alternative, (String, String)> {
    let JwtSource { issuer, subject, audiences, claims } = jwt;
    if issuer.is_empty() {
        return Err((".issuer".to_owned(), "is required: claims mean nothing without who says so".to_owned()));
    }
    let empty = "an empty list fits nothing: leave the field out for anything".to_owned();
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        return Err((".audiences".to_owned(), empty));
    }
    if let Some((name, _)) = claims.iter().find(|(_, values)| values.is_empty()) {
        return Err((format!(".claims.{name}"), empty));
    }
    let token = Token {
        issuer: issuer.clone(),
        subject: subject.clone(),
        audiences: audiences.clone(),
        claims: claims.iter().map(|(name, values)| (name.clone(), values.clone())).collect(),
    };
    Ok(vec![Term::new(Dimension::Jwt, vec![Value::Token(Rc::new(token))])])
}

fn host(text: &str) -> Result<Value, String> {
    let pattern = pattern(text)?;
    let bad = || format!("`{text}` is no host: write it without port, as `host` or `*.suffix`");
    Ok(Value::Text(match pattern {
        Pattern::Exact(host) if !host.contains(':') || (host.starts_with('[') && host.ends_with(']')) => {
            Pattern::Exact(super::host::bare(&host).ok_or_else(bad)?.into())
        }
        Pattern::Suffix(suffix) if suffix.starts_with('.') => {
            let bare = suffix
                .strip_prefix('.')
                .and_then(super::host::bare)
                .filter(|_| !suffix.contains(':'))
                .ok_or_else(bad)?;
            Pattern::Suffix(format!(".{bare}").into())
        }
        Pattern::Any => Pattern::Any,
        Pattern::Exact(_) | Pattern::Suffix(_) | Pattern::Prefix(_) => return Err(bad()),
    }))
}

fn path(path: &PathMatch, case_insensitive: bool) -> Result<Value, String> {
    let PathMatch { kind, value } = path;
    let pattern = PathPattern::parse(*kind, value, case_insensitive).map_err(|reason| format!("`{value}` {reason}"))?;
    // Requests are compared in their normal form, so what is not in it would never fit.
    if matches!(kind, PathMatchType::Exact | PathMatchType::PathPrefix) {
        let reading = Reading { escaped_slash: sidegate_config::EscapedSlash::Keep, case_insensitive: false };
        match reading.views(value.as_bytes()) {
            Some(views) if views.raw == *value => {}
            Some(views) => return Err(format!("`{value}` is never the path of a request: write `{}`", views.raw)),
            None => return Err(format!("`{value}` is never the path of a request")),
        }
    }
    Ok(Value::Path(pattern))
}

fn header_name(lower: &str) -> Result<(), &'static str> {
    if lower == "host" {
        return Err("is the host of the request: see `hosts`");
    }
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if lower.is_empty() || !lower.bytes().all(token) { Err("is no name of a header") } else { Ok(()) }
}
