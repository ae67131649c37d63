//! Rules of Istio's policies, as `docs/istio.md` tells them.

use std::net::IpAddr;

use serde_json::Value;
use sidegate_config::istio::{Action, AuthorizationPolicy, Condition, Operation, Rule, Source};
use sidegate_config::{EnforcementLevel, IstioCustom, IstioMode, PolicyAction, PolicyMode};
use sidegate_engine::east_west::{Chain, Http, SpiffeId};

use super::Case;
use super::rules::{if_known, in_block, template_fits, text_fits};
use crate::tree::{NO, Read, Tree, UNKNOWN, YES, exactly, in_views, leaf, not_leaf};

/// How far some values fit together.
type Fits<'f> = Box<dyn Fn(&[String], bool) -> Vec<Read> + 'f>;

/// What a field or a key is about, and whether that is HTTP alone.
struct Field<'f> {
    name: &'static str,
    http: bool,
    /// How far its values fit together.
    fits: Fits<'f>,
}

/// A policy and what it does.
#[derive(Clone, Copy)]
struct Of<'a> {
    case: Case<'a>,
    namespace: &'a str,
    allows: bool,
    compat: bool,
}

impl<'a> Case<'a> {
    /// Whether a policy is about the workload, and of an action and level.
    pub fn istio_is_about(
        self,
        policy: &AuthorizationPolicy,
        action: PolicyAction,
        level: Option<EnforcementLevel>,
    ) -> bool {
        let AuthorizationPolicy { metadata, spec, .. } = policy;
        let labels = &self.world.workload.labels;
        let references: Vec<_> = spec.target_refs.iter().chain(&spec.target_ref).collect();
        let about = if references.is_empty() {
            let selector = spec.selector.iter().flat_map(|selector| &selector.match_labels);
            let root = self.world.options.istio.root_namespace.as_deref().unwrap_or("istio-system");
            let namespaces = [root, &self.world.workload.namespace];
            namespaces.contains(&metadata.namespace.as_str())
                && selector.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        } else {
            let gateway = labels.get("gateway.networking.k8s.io/gateway-name");
            let is = |kind: &str, name: &String| kind == "Gateway" && Some(name) == gateway;
            metadata.namespace == self.world.workload.namespace
                && references.iter().any(|reference| is(&reference.kind, &reference.name))
        };
        let of = match spec.action {
            Action::Allow => PolicyAction::Allow,
            Action::Audit => PolicyAction::Audit,
            Action::Deny => PolicyAction::Deny,
            Action::Custom if self.world.options.istio.custom == IstioCustom::Deny => PolicyAction::Deny,
            Action::Custom => return false,
        };
        let own_level = match self.world.chain {
            Chain::Http => EnforcementLevel::Application,
            Chain::Tcp => EnforcementLevel::Network,
        };
        let tried = metadata.annotations.get("istio.io/dry-run").is_some_and(|it| it == "true");
        let mode = if tried { PolicyMode::Audit } else { PolicyMode::Enforce };
        about && of == action && level.is_none_or(|level| level == own_level) && self.in_force(mode)
    }

    pub fn istio_rule(self, policy: &AuthorizationPolicy, rule: &Rule) -> Tree {
        let of = Of {
            case: self,
            namespace: &policy.metadata.namespace,
            allows: policy.spec.action == Action::Allow,
            compat: self.world.options.istio.mode == IstioMode::Compat,
        };
        let (mut http, mut all) = (false, Vec::new());
        if let Some(from) = &rule.from {
            let sources = from.iter().map(|from| of.source(from.source.as_ref().unwrap(), &mut http));
            all.push(one_of(sources.collect()));
        }
        if let Some(to) = &rule.to {
            let operations = to.iter().map(|to| of.operation(to.operation.as_ref().unwrap(), &mut http));
            all.push(one_of(operations.collect()));
        }
        all.extend(rule.when.iter().map(|condition| of.condition(condition, &mut http)));
        // One alternative of HTTP is enough for Istio to drop all of the rule.
        if http && of.allows && self.world.chain == Chain::Tcp {
            all.push(leaf("HTTP of a connection", [Some(NO)]));
        }
        Tree::All(all)
    }
}

impl<'a> Of<'a> {
    fn source(self, source: &'a Source, http: &mut bool) -> Tree {
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
        } = source;
        let mut all = self.fields(
            &[
                (self.principal("principals"), principals, not_principals),
                (self.request_principal("requestPrincipals"), request_principals, not_request_principals),
                (self.namespace("namespaces"), namespaces, not_namespaces),
                (self.account("serviceAccounts"), service_accounts, not_service_accounts),
                (self.trust_domain("trustDomains"), trust_domains, not_trust_domains),
                (block("ipBlocks", self.case.facts.peer), ip_blocks, not_ip_blocks),
                (block("remoteIpBlocks", self.case.facts.client), remote_ip_blocks, not_remote_ip_blocks),
            ],
            http,
        );
        if all.is_empty() {
            return Tree::All(vec![fits_but_is_not_valid()]);
        }
        let accounts = !service_accounts.is_empty() || !not_service_accounts.is_empty();
        let names = [principals, not_principals, namespaces, not_namespaces];
        if accounts && names.iter().any(|names| !names.is_empty()) {
            all.push(fits_but_is_not_valid());
        }
        Tree::All(all)
    }

    fn operation(self, operation: &'a Operation, http: &mut bool) -> Tree {
        let Operation { hosts, not_hosts, ports, not_ports, methods, not_methods, paths, not_paths } = operation;
        let method = self.case.line(":method");
        let all = self.fields(
            &[
                (self.host("hosts (Istio)"), hosts, not_hosts),
                (self.port("ports (Istio)"), ports, not_ports),
                (text("methods (Istio)", true, method), methods, not_methods),
                (self.path("paths (Istio)"), paths, not_paths),
            ],
            http,
        );
        if all.is_empty() { Tree::All(vec![fits_but_is_not_valid()]) } else { Tree::All(all) }
    }

    fn condition(self, Condition { key, values, not_values }: &'a Condition, http: &mut bool) -> Tree {
        let facts = self.case.facts;
        let field = match key.as_str() {
            "source.ip" => block("source.ip", facts.peer),
            "remote.ip" => block("remote.ip", facts.client),
            "source.namespace" => self.namespace("source.namespace"),
            "source.serviceAccount" => self.account("source.serviceAccount"),
            "source.trustDomain" => self.trust_domain("source.trustDomain"),
            "source.principal" => self.principal("source.principal"),
            "request.auth.principal" => self.request_principal("request.auth.principal"),
            "request.auth.audiences" => self.claim("request.auth.audiences", &["aud"]),
            "request.auth.presenter" => self.claim("request.auth.presenter", &["azp"]),
            "request.auth.claims[groups]" => self.claim("request.auth.claims", &["groups"]),
            "request.auth.claims[a][b]" => self.claim("request.auth.claims[][]", &["a", "b"]),
            "destination.ip" => block("destination.ip", facts.destination),
            "destination.port" => self.port("destination.port"),
            "connection.sni" => text("connection.sni", false, facts.server_name.map(str::to_owned)),
            "request.headers[X-Role]" => self.header("request.headers", "x-role"),
            "request.headers[:method]" => self.header("request.headers[:method]", ":method"),
            "experimental.envoy.filters.a[k]" => metadata(facts.metadata),
            _ => return Tree::All(vec![fits_but_is_not_valid()]),
        };
        let mut all = self.fields(&[(field, values, not_values)], http);
        if all.is_empty() {
            all.push(fits_but_is_not_valid());
        }
        Tree::All(all)
    }

    /// Of each field one of the values, and none of the others.
    fn fields(self, fields: &[(Field<'a>, &'a Vec<String>, &'a Vec<String>)], http: &mut bool) -> Vec<Tree> {
        let mut all = Vec::new();
        let one_token = self.case.world.options.jwt_payload_keys.as_ref().is_none_or(|keys| keys.len() == 1);
        for (field, values, not_values) in fields {
            let is_there = !(values.is_empty() && not_values.is_empty());
            // Where there may be several tokens, nothing that Istio says of one is valid.
            if is_there && field.name.starts_with("request") && !field.name.starts_with("request.headers") && !one_token
            {
                all.push(fits_but_is_not_valid());
            }
            *http |= field.http && is_there;
            // Of a value that is empty nothing is known.
            let reads = |values: &[String], opens| {
                let valid: Vec<String> = values.iter().filter(|value| !value.is_empty()).cloned().collect();
                let mut reads = (field.fits)(&valid, opens);
                reads.extend(values.iter().filter(|value| value.is_empty()).map(|_| None));
                reads
            };
            if !values.is_empty() {
                all.push(leaf(self.kind(field.name, self.allows), reads(values, self.allows)));
            }
            if !not_values.is_empty() {
                all.push(not_leaf(self.kind(field.name, !self.allows), reads(not_values, !self.allows)));
            }
        }
        all
    }

    /// What is compared otherwise counts on its own.
    fn kind(self, name: &'static str, opens: bool) -> &'static str {
        match name {
            "namespaces" | "source.namespace" if self.compat || !opens => "namespace wherever",
            "serviceAccounts" | "source.serviceAccount" if self.compat || !opens => "account wherever",
            "hosts (Istio)" if self.compat => "hosts (Istio), as Istio",
            "paths (Istio)" if self.compat => "paths (Istio), as Istio",
            "request.headers" if self.compat => "request.headers, as Istio",
            _ => name,
        }
    }

    fn principal(self, name: &'static str) -> Field<'a> {
        let own = self.case.domains();
        each(name, false, move |wanted, _| {
            let names = names(wanted, &own);
            Some(self.case.by_id(|id| {
                let id = id.to_string();
                names.iter().any(|name| text_fits(name, id.strip_prefix("spiffe://").unwrap()))
            }))
        })
    }

    fn namespace(self, name: &'static str) -> Field<'a> {
        each(name, false, move |wanted, opens| {
            Some(self.case.by_id(|id| match self.compat || !opens {
                true => glob(&format!("*/ns/{wanted}/*"), &id.to_string()),
                false => account(id).is_some_and(|(namespace, _)| glob(wanted, &namespace)),
            }))
        })
    }

    fn account(self, name: &'static str) -> Field<'a> {
        each(name, false, move |wanted, opens| {
            if wanted.contains('*') || wanted.matches('/').count() > 1 {
                return None;
            }
            let (namespace, name) = wanted.split_once('/').unwrap_or((self.namespace, wanted));
            if namespace.is_empty() || name.is_empty() {
                return None;
            }
            Some(self.case.by_id(|id| match self.compat || !opens {
                false => account(id).is_some_and(|it| it == (namespace.to_owned(), name.to_owned())),
                true => {
                    let id = id.to_string();
                    let parts: Vec<&str> = id.strip_prefix("spiffe://").unwrap().split('/').collect();
                    (1..parts.len()).any(|at| {
                        parts[at..].starts_with(&["ns", namespace])
                            && (at + 2..parts.len()).any(|at| parts[at..].starts_with(&["sa", name]))
                    })
                }
            }))
        })
    }

    fn trust_domain(self, name: &'static str) -> Field<'a> {
        let own = self.case.domains();
        each(name, false, move |wanted, _| {
            if wanted.strip_prefix('*').or(wanted.strip_suffix('*')).unwrap_or(wanted).contains('*') {
                return None;
            }
            let same = |domain: &str| own.contains(&domain) && own.contains(&wanted);
            Some(self.case.by_id(|id| same(id.trust_domain()) || text_fits(wanted, id.trust_domain())))
        })
    }

    fn of_token(self, name: &'static str, fits: impl Fn(&Value, &str) -> bool + 'a) -> Field<'a> {
        each(name, true, move |wanted, _| match self.case.facts.http {
            Some(Http { tokens: Some(tokens), .. }) => Some(exactly(tokens.iter().any(|token| fits(token, wanted)))),
            _ => Some(UNKNOWN),
        })
    }

    fn request_principal(self, name: &'static str) -> Field<'a> {
        self.of_token(name, |token, wanted| {
            let (Some(issuer), Some(subject)) = (token["iss"].as_str(), token["sub"].as_str()) else { return false };
            match wanted.rsplit_once('/') {
                _ if wanted == "*" => !issuer.is_empty() && !subject.is_empty(),
                None => match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
                    (Some(end), _) => !issuer.is_empty() && subject.ends_with(end),
                    (None, Some(beginning)) => issuer.starts_with(beginning) && !subject.is_empty(),
                    (None, None) => issuer == wanted && subject.is_empty(),
                },
                Some((of, name)) if of.starts_with('*') => text_fits(of, issuer) && subject == name,
                Some((of, name)) => issuer == of && text_fits(name, subject),
            }
        })
    }

    fn claim(self, name: &'static str, path: &'static [&'static str]) -> Field<'a> {
        self.of_token(name, move |token, wanted| {
            let claim = path.iter().fold(token, |value, name| &value[*name]);
            let fits = |value: &Value| value.as_str().is_some_and(|text| text_fits(wanted, text));
            fits(claim) || claim.as_array().is_some_and(|items| items.iter().any(fits))
        })
    }

    fn port(self, name: &'static str) -> Field<'a> {
        each(name, false, move |wanted, _| {
            let wanted: u16 = wanted.parse().ok()?;
            Some(if_known(self.case.facts.port, |port| port == wanted))
        })
    }

    fn host(self, name: &'static str) -> Field<'a> {
        let (came, bare) = (self.case.line(":authority").map(|it| it.to_lowercase()), self.case.host());
        each(name, true, move |wanted, _| {
            let wanted = wanted.to_lowercase();
            let has_port_or_dot = wanted == "*" || wanted.contains([':', '[']) || wanted.ends_with('.');
            let host = if self.compat || has_port_or_dot { &came } else { &bare };
            Some(if_known(host.as_ref(), |host| text_fits(&wanted, host)))
        })
    }

    /// The list as a whole, in each way of reading the path.
    fn path(self, name: &'static str) -> Field<'a> {
        let lower = self.case.world.options.case_insensitive_paths == Some(true) && !self.compat;
        let path = self.case.line(":path");
        let came = path.map(|path| path.split(['?', '#']).next().unwrap_or_default().to_owned());
        let views = self.case.views();
        let fits = move |values: &[String], _| {
            let (mut reads, mut wanted) = (Vec::new(), Vec::new());
            for value in values {
                let literal = value.replace("{*}", "").replace("{**}", "");
                if literal.contains(['{', '}']) { reads.push(None) } else { wanted.push(value) }
            }
            let one = |path: &str, wanted: &str| {
                let wanted = if lower { wanted.to_lowercase() } else { wanted.to_owned() };
                let fits = if wanted.contains('{') { template_fits } else { text_fits };
                fits(&wanted, path)
            };
            let any = |path: &str| wanted.iter().any(|wanted| one(path, wanted));
            let any_came = |path: &str| {
                wanted.iter().any(|it| one(path, it) && !(it.contains('{') && path.contains(not_of_paths)))
            };
            if wanted.is_empty() {
                return reads;
            }
            let fit = match (&came, &views) {
                (None, _) if self.compat => NO,
                (Some(came), _) if self.compat => exactly(any_came(came)),
                (Some(came), Some(views)) => {
                    let came = if lower { came.to_lowercase() } else { came.clone() };
                    in_views(views.iter().map(|view| any(view)).chain([any_came(&came)]))
                }
                _ => UNKNOWN,
            };
            let no_http = self.case.facts.http.is_none();
            reads.push(Some(if no_http { UNKNOWN } else { fit }));
            reads
        };
        Field { name, http: true, fits: Box::new(fits) }
    }

    fn header(self, name: &'static str, header: &'static str) -> Field<'a> {
        let fits = move |values: &[String], _: bool| {
            let Some(lines) = self.case.lines(header) else { return vec![Some(UNKNOWN)] };
            if values.iter().any(|value| value == "*") && !lines.is_empty() {
                return vec![Some(YES)];
            }
            let others: Vec<_> = values.iter().filter(|value| *value != "*").collect();
            let wanted = |text: &str| others.iter().any(|value| text_fits(value, text));
            vec![Some(match self.compat {
                true => exactly(lines.iter().any(|line| wanted(line))),
                false => self.case.header_fit(header, wanted),
            })]
        };
        Field { name, http: true, fits: Box::new(fits) }
    }
}

/// An empty list is not valid; the rest of the rule says whom it fits.
fn one_of(alternatives: Vec<Tree>) -> Tree {
    if alternatives.is_empty() { fits_but_is_not_valid() } else { Tree::Any(alternatives) }
}

/// It fits, but for that it is not valid.
fn fits_but_is_not_valid() -> Tree {
    Tree::Leaf(("not valid", false), YES, false)
}

fn each<'f>(name: &'static str, http: bool, fits: impl Fn(&str, bool) -> Read + 'f) -> Field<'f> {
    Field { name, http, fits: Box::new(move |values, opens| values.iter().map(|it| fits(it, opens)).collect()) }
}

fn text<'f>(name: &'static str, http: bool, text: Option<String>) -> Field<'f> {
    each(name, http, move |wanted, _| Some(if_known(text.as_ref(), |text| text_fits(wanted, text))))
}

fn block<'f>(name: &'static str, address: Option<IpAddr>) -> Field<'f> {
    each(name, false, move |wanted, _| {
        wanted.split('/').next()?.parse::<IpAddr>().ok()?;
        Some(if_known(address, |address| in_block(address, wanted)))
    })
}

fn metadata(all: Option<&Value>) -> Field<'_> {
    each("experimental", false, move |wanted, _| {
        let Some(all) = all else { return Some(UNKNOWN) };
        let value = &all["envoy.filters.a"]["k"];
        let fits = |value: &Value, wanted: &str| value.as_str().is_some_and(|text| text_fits(wanted, text));
        Some(exactly(match wanted.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            Some(item) => value.as_array().is_some_and(|items| items.iter().any(|value| fits(value, item))),
            None => fits(value, wanted),
        }))
    })
}

/// The names of who is meant, in each of the own trust domains if it is of one of them.
fn names(wanted: &str, own: &[&str]) -> Vec<String> {
    let parts: Vec<&str> = wanted.split('/').collect();
    let domain = parts[0];
    let end = domain.strip_prefix('*');
    let is_own =
        domain == "cluster.local" || own.iter().any(|own| *own == domain || end.is_some_and(|end| own.ends_with(end)));
    if parts.len() != 5 || domain == "*" || !is_own {
        return vec![wanted.to_owned()];
    }
    let of = |own: &&str| match end {
        Some(end) if own.ends_with(end) => wanted.to_owned(),
        _ => format!("{own}/{}", parts[1..].join("/")),
    };
    own.iter().map(of).collect()
}

/// Namespace and name, whatever the trust domain.
fn account(id: &SpiffeId) -> Option<(String, String)> {
    match id.path().split('/').collect::<Vec<_>>()[..] {
        ["", "ns", namespace, "sa", name] => Some((namespace.to_owned(), name.to_owned())),
        _ => None,
    }
}

/// Whether a text fits, where each star is any text.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            let rest = text.strip_prefix(before);
            rest.is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && glob(after, &rest[at..])))
        }
    }
}

/// What RFC 3986 does not give to paths; to Envoy no template fits that.
fn not_of_paths(c: char) -> bool {
    !c.is_ascii_alphanumeric() && !"-._~%!$&'()+,;:@=/".contains(c)
}
