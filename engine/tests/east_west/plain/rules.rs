//! Rules of Gateway API's policies, with all that was added to them.

use std::net::IpAddr;

use serde_json::Value;
use sidegate_config::{
    ApplicationAttributes, CidrAddress, CidrSource, EastWestOptions, HeaderMatch, JwtSource, PathMatch, PathMatchType,
    PolicySource, SourceType,
};
use sidegate_engine::Headers;
use sidegate_engine::east_west::path::{Reading, Views};
use sidegate_engine::east_west::{Http, Identity, SpiffeId, host};

use super::Case;
use crate::tree::{Fit, LOOSELY, NO, Read, Tree, UNKNOWN, YES, exactly, in_views, leaf, not_leaf};

impl<'a> Case<'a> {
    pub fn rule(
        self,
        namespace: Option<&str>,
        sources: Option<&[PolicySource]>,
        ports: Option<&[i64]>,
        application: Option<&ApplicationAttributes>,
    ) -> Tree {
        let mut all = Vec::new();
        if let Some(sources) = sources {
            all.push(Tree::Any(sources.iter().map(|source| self.source(namespace, source)).collect()));
        }
        if let Some(ports) = ports {
            let port = |wanted: &i64| {
                let port = self.facts.port.map(i64::from);
                (1..=65535).contains(wanted).then(|| if_known(port, |port| port == *wanted))
            };
            all.push(leaf("ports", ports.iter().map(port)));
        }
        let Some(ApplicationAttributes { methods, hosts, paths, headers }) = application else {
            return Tree::All(all);
        };
        if let Some(methods) = methods {
            let method = self.line(":method");
            all.push(leaf("methods", methods.iter().map(|it| Some(if_known(method.as_ref(), |method| method == it)))));
        }
        if let Some(hosts) = hosts {
            let host = self.host();
            let fits = |it: &String| if_known(host.as_ref(), |host| text_fits(it.trim_matches(['[', ']']), host));
            all.push(leaf("hosts", hosts.iter().map(|it| Some(fits(it)))));
        }
        if let Some(paths) = paths {
            all.push(self.paths(paths));
        }
        if let Some(headers) = headers {
            all.extend(headers.iter().map(|header| self.header(header)));
            if headers.is_empty() {
                all.push(leaf("header values", []));
            }
        }
        Tree::All(all)
    }

    /// A header that is there once.
    pub fn line(self, name: &str) -> Option<String> {
        one(self.facts.http?.headers, name)
    }

    /// The host, without port and dot.
    pub fn host(self) -> Option<String> {
        Some(host::bare(&self.line(":authority")?)?.into_owned())
    }

    /// The trust domains that are the workload's own.
    pub fn domains(self) -> Vec<&'a str> {
        let aliases = self.world.options.trust_domain_aliases.iter().map(String::as_str);
        std::iter::once(self.world.workload.trust_domain.as_str()).chain(aliases).collect()
    }

    /// Who has no identity has none that fits.
    pub fn by_id(self, fits: impl Fn(&SpiffeId) -> bool) -> Fit {
        match self.facts.identity {
            Identity::Known(id) => exactly(fits(id)),
            Identity::Absent => NO,
            Identity::Invalid(_) => UNKNOWN,
        }
    }

    fn source(self, namespace: Option<&str>, source: &PolicySource) -> Tree {
        let leaf = |kind, read: Read| leaf(kind, [read]);
        match source.kind {
            SourceType::ServiceAccount => {
                let any = source.service_account.as_ref().is_some_and(|account| account.name == "*");
                let kind = if any { "ServiceAccount *" } else { "ServiceAccount" };
                leaf(kind, self.service_account(namespace, source))
            }
            SourceType::Spiffe => {
                let below = source.spiffe.as_ref().is_some_and(|id| id.ends_with('*'));
                leaf(if below { "SPIFFE /*" } else { "SPIFFE" }, self.spiffe(source))
            }
            SourceType::Namespace => leaf("Namespace", {
                let wanted = source.namespace.as_deref().filter(|wanted| !wanted.is_empty());
                let fits = |wanted: &str, id: &SpiffeId| {
                    self.account(id).is_some_and(|(namespace, _)| text_fits(wanted, namespace))
                };
                wanted.map(|wanted| self.by_id(|id| fits(wanted, id)))
            }),
            SourceType::TrustDomain => leaf("TrustDomain", {
                let wanted = source.trust_domain.as_deref().filter(|wanted| !wanted.is_empty());
                let fits = |wanted: &str, domain: &str| self.same_domain(domain, wanted) || text_fits(wanted, domain);
                wanted.map(|wanted| self.by_id(|id| fits(wanted, id.trust_domain())))
            }),
            SourceType::Cidr => self.cidr(source.cidr.as_ref()),
            SourceType::Jwt => leaf("JWT", self.jwt(source.jwt.as_ref())),
            SourceType::Unauthenticated => leaf(
                "Unauthenticated",
                Some(match self.facts.identity {
                    Identity::Absent => YES,
                    Identity::Known(_) => NO,
                    Identity::Invalid(_) => UNKNOWN,
                }),
            ),
            SourceType::AllOf => match source.all_of.as_deref() {
                None | Some([]) => leaf("AllOf", None),
                Some(parts) => Tree::All(parts.iter().map(|part| self.source(namespace, part)).collect()),
            },
        }
    }

    fn same_domain(self, a: &str, b: &str) -> bool {
        let own = self.domains();
        a == b || (own.contains(&a) && own.contains(&b))
    }

    /// Namespace and name of a ServiceAccount of an own trust domain.
    fn account(self, id: &SpiffeId) -> Option<(&str, &str)> {
        let parts: Vec<_> = id.path().split('/').collect();
        let own = self.domains().contains(&id.trust_domain());
        match parts[..] {
            ["", "ns", namespace, "sa", name] if own => Some((namespace, name)),
            _ => None,
        }
    }

    fn service_account(self, namespace: Option<&str>, source: &PolicySource) -> Read {
        let wanted = source.service_account.as_ref()?;
        let namespace = wanted.namespace.as_deref().or(namespace)?;
        if namespace.is_empty() || wanted.name.is_empty() {
            return None;
        }
        let fits = |(of, name): (&str, &str)| of == namespace && (wanted.name == "*" || wanted.name == name);
        Some(self.by_id(|id| self.account(id).is_some_and(fits)))
    }

    fn spiffe(self, source: &PolicySource) -> Read {
        let wanted = source.spiffe.as_deref()?;
        if let Some(below) = wanted.strip_suffix('*') {
            let whole = SpiffeId::parse(&format!("{below}x")).ok().filter(|_| below.ends_with('/'))?;
            let path = whole.path().strip_suffix('x')?;
            let same = |id: &SpiffeId| self.same_domain(id.trust_domain(), whole.trust_domain());
            return Some(self.by_id(|id| same(id) && id.path().starts_with(path)));
        }
        let wanted = SpiffeId::parse(wanted).ok()?;
        let same = |id: &SpiffeId| self.same_domain(id.trust_domain(), wanted.trust_domain());
        Some(self.by_id(|id| same(id) && id.path() == wanted.path()))
    }

    fn cidr(self, cidr: Option<&CidrSource>) -> Tree {
        let Some(CidrSource { address, blocks, except }) = cidr else { return leaf("CIDR Peer", []) };
        let (kind, address) = match address {
            CidrAddress::Peer => ("CIDR Peer", self.facts.peer),
            CidrAddress::Client => ("CIDR Client", self.facts.client),
        };
        let within = |block: &String| Some(if_known(address, |address| in_block(address, block)));
        let inside = leaf(kind, blocks.iter().map(within));
        if except.is_empty() || blocks.is_empty() {
            return inside;
        }
        Tree::All(vec![inside, not_leaf(kind, except.iter().map(within))])
    }

    fn jwt(self, jwt: Option<&JwtSource>) -> Read {
        let JwtSource { issuer, subject, audiences, claims } = jwt.filter(|jwt| !jwt.issuer.is_empty())?;
        let Some(Http { tokens: Some(tokens), .. }) = self.facts.http else { return Some(UNKNOWN) };
        let has = |claim: &Value, wanted: &String| {
            claim == wanted || claim.as_array().is_some_and(|items| items.iter().any(|item| item == wanted))
        };
        let fits = |token: &Value| {
            token["iss"] == *issuer
                && subject.as_ref().is_none_or(|subject| token["sub"] == *subject)
                && audiences.as_ref().is_none_or(|all| all.iter().any(|audience| has(&token["aud"], audience)))
                && claims.iter().all(|(name, values)| values.iter().any(|value| has(&token[name], value)))
        };
        Some(exactly(tokens.iter().any(fits)))
    }

    /// A path with and without path parameters, and as others resolve it; none if it has no form.
    pub fn views(self) -> Option<Vec<String>> {
        let EastWestOptions { escaped_slash, case_insensitive_paths, .. } = self.world.options;
        let reading = Reading { escaped_slash, case_insensitive: case_insensitive_paths.unwrap_or(false) };
        if self.line(":method").as_deref() == Some("CONNECT") {
            return None;
        }
        let Views { raw, stripped, otherwise } = reading.views(self.line(":path")?.as_bytes())?;
        Some([Some(raw), stripped, otherwise].into_iter().flatten().collect())
    }

    fn paths(self, paths: &[PathMatch]) -> Tree {
        let kind = match paths {
            [PathMatch { kind, .. }] => match kind {
                PathMatchType::Exact => "paths Exact",
                PathMatchType::PathPrefix => "paths PathPrefix",
                PathMatchType::StringPrefix => "paths StringPrefix",
                PathMatchType::Suffix => "paths Suffix",
                PathMatchType::Template => "paths Template",
            },
            _ => "paths",
        };
        if paths.is_empty() {
            return leaf(kind, []);
        }
        let Some(views) = self.views() else { return leaf(kind, [Some(UNKNOWN)]) };
        let in_any_case = self.world.options.case_insensitive_paths == Some(true);
        // The list as a whole fits in each view, or in one.
        let fits = views.iter().map(|view| {
            paths.iter().any(|path| {
                let lower = || path.value.to_ascii_lowercase();
                let value = if in_any_case { lower() } else { path.value.clone() };
                path_fits(path.kind, &value, view)
            })
        });
        leaf(kind, [Some(in_views(fits))])
    }

    fn header(self, header: &HeaderMatch) -> Tree {
        let HeaderMatch { name, values, present, absent } = header;
        let name = name.to_lowercase();
        let there = self.facts.http.map(|http| http.headers.all(&name).next().is_some());
        match (values, present, absent) {
            (Some(values), None, None) if values.is_empty() => leaf("header values", []),
            (Some(values), None, None) => {
                leaf("header values", [Some(self.header_fit(&name, |text| values.iter().any(|value| value == text)))])
            }
            (None, Some(true), None) => leaf("header present", [Some(if_known(there, |there| there))]),
            (None, None, Some(true)) => not_leaf("header present", [Some(if_known(there, |there| there))]),
            _ => leaf("header values", []),
        }
    }

    /// For sure if the header is there once and as a whole, loosely by any line or item of a list, white space apart.
    pub fn header_fit(self, name: &str, wanted: impl Fn(&str) -> bool) -> Fit {
        let Some(lines) = self.lines(name) else { return UNKNOWN };
        let loosely = |text: &str| wanted(text) || wanted(text.trim());
        match &lines[..] {
            [line] if wanted(line) => YES,
            lines
                if lines.iter().any(|line| {
                    loosely(line) || (line.contains(',') && line.split(',').any(|item| wanted(item.trim())))
                }) =>
            {
                LOOSELY
            }
            _ => NO,
        }
    }

    pub fn lines(self, name: &str) -> Option<Vec<String>> {
        let all = self.facts.http?.headers.all(name);
        Some(all.map(|value| String::from_utf8_lossy(value).into_owned()).collect())
    }
}

/// What is not known may fit.
pub fn if_known<T>(value: Option<T>, fits: impl Fn(T) -> bool) -> Fit {
    value.map_or(UNKNOWN, |value| exactly(fits(value)))
}

fn one(headers: &Headers, name: &str) -> Option<String> {
    let all: Vec<_> = headers.all(name).collect();
    match all[..] {
        [value] => String::from_utf8(value.to_vec()).ok(),
        _ => None,
    }
}

/// Exact, or with a star at one end.
pub fn text_fits(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        _ if pattern == "*" => !text.is_empty(),
        (Some(end), _) => text.ends_with(end),
        (None, Some(beginning)) => text.starts_with(beginning),
        (None, None) => pattern == text,
    }
}

/// The first bits are the same.
pub fn in_block(address: IpAddr, block: &str) -> bool {
    let (network, length) = block.split_once('/').map_or((block, None), |(network, length)| (network, Some(length)));
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let ((whole, network), (width, address)) = (bits(network.parse().unwrap()), bits(address));
    let rest = length.map_or(0, |length| whole - length.parse::<u32>().unwrap());
    let beginning = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
    whole == width && beginning(network) == beginning(address)
}

fn path_fits(kind: PathMatchType, value: &str, path: &str) -> bool {
    match kind {
        PathMatchType::Exact => path == value,
        PathMatchType::StringPrefix => path.starts_with(value),
        PathMatchType::Suffix => path.ends_with(value),
        PathMatchType::PathPrefix => {
            let value = value.trim_end_matches('/');
            path == value || path.starts_with(&format!("{value}/"))
        }
        PathMatchType::Template => template_fits(value, path),
    }
}

pub fn template_fits(template: &str, path: &str) -> bool {
    if let Some(rest) = template.strip_prefix("{**}") {
        (0..=path.len()).any(|end| path.is_char_boundary(end) && template_fits(rest, &path[end..]))
    } else if let Some(rest) = template.strip_prefix("{*}") {
        let longest = path.find('/').unwrap_or(path.len());
        (1..=longest).any(|end| path.is_char_boundary(end) && template_fits(rest, &path[end..]))
    } else {
        match (template.chars().next(), path.chars().next()) {
            (None, None) => true,
            (Some(a), Some(b)) if a == b => template_fits(&template[a.len_utf8()..], &path[b.len_utf8()..]),
            _ => false,
        }
    }
}
