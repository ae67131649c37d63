//! The policies as their documentation tells them: every one of them is looked at, in order, for every call. Nothing here is
//! shared with the engine but how a path, a host and a SPIFFE ID are read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sidegate_config::{
    ApplicationAttributes, AuthorizationPolicy, CidrAddress, ClusterAction, ClusterAuthorizationPolicy,
    DefaultDecision, EastWestOptions, EnforcementLevel, HeaderMatch, InvalidIdentity, LabelOperator, LabelSelector,
    PathMatch, PathMatchType, PolicyAction, PolicyMode, PolicySource, PolicyTier, SourceType,
};
use sidegate_engine::Headers;
use sidegate_engine::east_west::path::{Reading, Views};
use sidegate_engine::east_west::{Facts, Http, Identity, SpiffeId, Workload, host};

/// All that decides.
#[derive(Debug, Default)]
pub struct World {
    pub options: EastWestOptions,
    pub policies: Vec<AuthorizationPolicy>,
    pub cluster: Vec<ClusterAuthorizationPolicy>,
    pub workload: Workload,
}

/// How far something fits: for sure, as far as can be seen, or as far as cannot be ruled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fit {
    sure: bool,
    seen: bool,
    possible: bool,
}

const YES: Fit = Fit { sure: true, seen: true, possible: true };
const NO: Fit = Fit { sure: false, seen: false, possible: false };
const UNKNOWN: Fit = Fit { sure: false, seen: false, possible: true };
const LOOSELY: Fit = Fit { sure: false, seen: true, possible: true };

fn exactly(fits: bool) -> Fit {
    if fits { YES } else { NO }
}

impl Fit {
    fn and(self, other: Self) -> Self {
        let Self { sure, seen, possible } = other;
        Self { sure: self.sure && sure, seen: self.seen && seen, possible: self.possible && possible }
    }

    fn or(self, other: Self) -> Self {
        let Self { sure, seen, possible } = other;
        Self { sure: self.sure || sure, seen: self.seen || seen, possible: self.possible || possible }
    }

    fn not(self) -> Self {
        match self {
            YES => NO,
            NO => YES,
            other => other,
        }
    }
}

/// What comes of a call: `ALLOW prod/a#0`.
pub fn decide(world: &World, facts: &Facts<'_>, with_audits: bool) -> String {
    if matches!(facts.identity, Identity::Invalid(_)) && world.options.on_invalid_identity == InvalidIdentity::Deny {
        return "DENY identity-invalid".to_owned();
    }
    let in_force = |mode: PolicyMode| with_audits || mode == PolicyMode::Enforce;
    if let Some(said) = tier(world, facts, PolicyTier::Admin, &in_force) {
        return said;
    }
    let mut selected: Vec<_> = world
        .policies
        .iter()
        .filter(|policy| policy.metadata.namespace == world.workload.namespace && in_force(policy.spec.mode))
        .filter(|policy| labels_fit(policy.spec.target_refs[0].selector.as_ref().unwrap(), &world.workload.labels))
        .collect();
    selected.sort_by_key(|policy| policy.metadata.name.clone());
    let rules = |action: PolicyAction, level: Option<EnforcementLevel>| {
        let policies: Vec<_> = selected
            .iter()
            .filter(|policy| {
                policy.spec.action == action && level.is_none_or(|level| policy.spec.enforcement_level == level)
            })
            .collect();
        let rules: Vec<_> = policies
            .iter()
            .flat_map(|policy| {
                policy.spec.rules.iter().enumerate().map(|(index, rule)| {
                    let id = format!("{}/{}#{index}", policy.metadata.namespace, policy.metadata.name);
                    let namespace = Some(policy.metadata.namespace.as_str());
                    let (network, application) = (&rule.network_attributes, &rule.application_attributes);
                    let ports = network.as_ref().and_then(|network| network.ports.as_deref());
                    (id, fit(world, facts, namespace, rule.sources.as_deref(), ports, application.as_ref()))
                })
            })
            .collect();
        (policies.len(), rules)
    };
    for (id, fit) in rules(PolicyAction::Deny, None).1 {
        if fit.possible {
            return format!("DENY {id}{}", if fit.seen { "" } else { "(unavailable)" });
        }
    }
    let mut allowing = Vec::new();
    for level in [EnforcementLevel::Network, EnforcementLevel::Application] {
        let (closing, rules) = rules(PolicyAction::Allow, Some(level));
        if closing > 0 {
            match rules.into_iter().find(|(_, fit)| fit.sure) {
                Some((id, _)) => allowing.push(id),
                None => return format!("DENY implicit({level:?})"),
            }
        }
    }
    // By name, of which none in the test is the beginning of another.
    if let Some(id) = allowing.into_iter().min() {
        return format!("ALLOW {id}");
    }
    tier(world, facts, PolicyTier::Baseline, &in_force).unwrap_or_else(|| match world.options.default {
        DefaultDecision::Allow => "ALLOW default".to_owned(),
        DefaultDecision::Deny => "DENY default".to_owned(),
    })
}

fn tier(world: &World, facts: &Facts<'_>, tier: PolicyTier, in_force: &impl Fn(PolicyMode) -> bool) -> Option<String> {
    let Workload { labels, namespace_labels, .. } = &world.workload;
    let mut policies: Vec<_> = world
        .cluster
        .iter()
        .filter(|policy| policy.spec.tier == tier && in_force(policy.spec.mode))
        .filter(|policy| labels_fit(&policy.spec.subject.namespace_selector, namespace_labels))
        .filter(|policy| labels_fit(&policy.spec.subject.pod_selector, labels))
        .collect();
    policies.sort_by_key(|policy| (policy.spec.priority, policy.metadata.name.clone()));
    for policy in policies {
        for (index, rule) in policy.spec.rules.iter().enumerate() {
            let ports = rule.network_attributes.as_ref().and_then(|network| network.ports.as_deref());
            let fit = fit(world, facts, None, rule.sources.as_deref(), ports, rule.application_attributes.as_ref());
            let id =
                format!("{tier:?}/{}#{index}{}", policy.metadata.name, if fit.seen { "" } else { "(unavailable)" });
            match rule.action {
                ClusterAction::Allow if fit.sure => return Some(format!("ALLOW {id}")),
                ClusterAction::Pass if fit.sure => return None,
                ClusterAction::Deny | ClusterAction::Pass if fit.possible => return Some(format!("DENY {id}")),
                _ => {}
            }
        }
    }
    None
}

fn labels_fit(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let among = value.is_some_and(|value| requirement.values.contains(value));
            match requirement.operator {
                LabelOperator::In => among,
                LabelOperator::NotIn => !among,
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        })
}

/// None: it is not valid.
type Read = Option<Fit>;

fn fit(
    world: &World,
    facts: &Facts<'_>,
    namespace: Option<&str>,
    sources: Option<&[PolicySource]>,
    ports: Option<&[i64]>,
    application: Option<&ApplicationAttributes>,
) -> Fit {
    let mut valid = true;
    let mut all = YES;
    let mut also = |read: Vec<Read>, any: bool| {
        valid &= read.iter().all(Option::is_some);
        let read = read.into_iter().map(|read| read.unwrap_or(UNKNOWN));
        all = all.and(if any { read.fold(NO, Fit::or) } else { read.fold(YES, Fit::and) });
    };
    if let Some(sources) = sources {
        also(sources.iter().map(|source| self::source(world, facts, namespace, source)).collect(), true);
    }
    if let Some(ports) = ports {
        also(
            listed(ports, |wanted| {
                (1..=65535)
                    .contains(wanted)
                    .then(|| facts.port.map_or(UNKNOWN, |port| exactly(i64::from(port) == *wanted)))
            }),
            true,
        );
    }
    if let Some(ApplicationAttributes { methods, hosts, paths, headers }) = application {
        if let Some(methods) = methods {
            let method = facts.http.and_then(|http| one(http.headers, ":method"));
            also(
                listed(methods, |wanted| Some(method.as_ref().map_or(UNKNOWN, |method| exactly(method == wanted)))),
                true,
            );
        }
        if let Some(hosts) = hosts {
            let host = facts.http.and_then(|http| Some(host::bare(&one(http.headers, ":authority")?)?.into_owned()));
            also(
                listed(hosts, |wanted| {
                    Some(
                        host.as_ref().map_or(UNKNOWN, |host| exactly(text_fits(wanted.trim_matches(['[', ']']), host))),
                    )
                }),
                true,
            );
        }
        if let Some(paths) = paths {
            also(path_fit(world, facts, paths), true);
        }
        if let Some(headers) = headers {
            also(headers.iter().map(|header| header_fit(facts, header)).collect(), false);
        }
    }
    // What is not valid in part lets nobody in.
    if valid { all } else { all.and(UNKNOWN) }
}

fn listed<T>(values: &[T], fit: impl Fn(&T) -> Read) -> Vec<Read> {
    if values.is_empty() { vec![None] } else { values.iter().map(fit).collect() }
}

fn one(headers: &Headers, name: &str) -> Option<String> {
    let all: Vec<_> = headers.all(name).collect();
    match all[..] {
        [value] => String::from_utf8(value.to_vec()).ok(),
        _ => None,
    }
}

/// Exact, or with a star at one end.
fn text_fits(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        _ if pattern == "*" => !text.is_empty(),
        (Some(end), _) => text.ends_with(end),
        (None, Some(beginning)) => text.starts_with(beginning),
        (None, None) => pattern == text,
    }
}

fn domains(world: &World) -> Vec<&str> {
    let aliases = world.options.trust_domain_aliases.iter().map(String::as_str);
    std::iter::once(world.workload.trust_domain.as_str()).chain(aliases).collect()
}

fn source(world: &World, facts: &Facts<'_>, namespace: Option<&str>, source: &PolicySource) -> Read {
    let own = domains(world);
    let by_id = |fits: &dyn Fn(&SpiffeId) -> bool| match facts.identity {
        Identity::Known(id) => exactly(fits(id)),
        Identity::Absent => NO,
        Identity::Invalid(_) => UNKNOWN,
    };
    let same_domain = |a: &str, b: &str| a == b || (own.contains(&a) && own.contains(&b));
    // Of an ID of a ServiceAccount: namespace and name.
    let account = |id: &SpiffeId| {
        let parts: Vec<_> = id.path().split('/').map(str::to_owned).collect();
        let is = own.contains(&id.trust_domain()) && parts.len() == 5 && parts[1] == "ns" && parts[3] == "sa";
        is.then(|| (parts[2].clone(), parts[4].clone()))
    };
    match source.kind {
        SourceType::ServiceAccount => {
            let wanted = source.service_account.as_ref()?;
            let namespace = wanted.namespace.as_deref().or(namespace)?;
            if namespace.is_empty() || wanted.name.is_empty() {
                return None;
            }
            Some(by_id(&|id| {
                account(id).is_some_and(|(ns, name)| ns == namespace && (wanted.name == "*" || wanted.name == name))
            }))
        }
        SourceType::Spiffe => {
            let wanted = source.spiffe.as_deref()?;
            if let Some(below) = wanted.strip_suffix('*') {
                let whole = SpiffeId::parse(&format!("{below}x")).ok().filter(|_| below.ends_with('/'))?;
                let path = whole.path().strip_suffix('x')?;
                return Some(by_id(&|id| {
                    same_domain(id.trust_domain(), whole.trust_domain()) && id.path().starts_with(path)
                }));
            }
            let wanted = SpiffeId::parse(wanted).ok()?;
            Some(by_id(&|id| same_domain(id.trust_domain(), wanted.trust_domain()) && id.path() == wanted.path()))
        }
        SourceType::Namespace => {
            let wanted = source.namespace.as_deref().filter(|wanted| !wanted.is_empty())?;
            Some(by_id(&|id| account(id).is_some_and(|(namespace, _)| text_fits(wanted, &namespace))))
        }
        SourceType::TrustDomain => {
            let wanted = source.trust_domain.as_deref().filter(|wanted| !wanted.is_empty())?;
            Some(by_id(&|id| same_domain(id.trust_domain(), wanted) || text_fits(wanted, id.trust_domain())))
        }
        SourceType::Cidr => {
            let cidr = source.cidr.as_ref()?;
            let address = if cidr.address == CidrAddress::Peer { facts.peer } else { facts.client };
            let within = |blocks: &[String]| -> Read {
                let mut any = NO;
                for block in blocks {
                    any = any.or(address.map_or(UNKNOWN, |address| exactly(in_block(address, block))));
                }
                Some(any)
            };
            let inside = if cidr.blocks.is_empty() { None } else { within(&cidr.blocks) };
            let except = if cidr.except.is_empty() { NO } else { within(&cidr.except)? };
            inside.map(|inside| inside.and(except.not()))
        }
        SourceType::Jwt => {
            let jwt = source.jwt.as_ref().filter(|jwt| !jwt.issuer.is_empty())?;
            let Some(Http { tokens: Some(tokens), .. }) = facts.http else { return Some(UNKNOWN) };
            let fits = tokens.iter().any(|token| {
                token["iss"] == jwt.issuer
                    && jwt.subject.as_ref().is_none_or(|subject| token["sub"] == *subject)
                    && jwt.claims.iter().all(|(name, values)| {
                        values.iter().any(|value| {
                            token[name] == *value
                                || token[name].as_array().is_some_and(|items| items.iter().any(|item| item == value))
                        })
                    })
            });
            Some(exactly(fits))
        }
        SourceType::Unauthenticated => Some(match facts.identity {
            Identity::Absent => YES,
            Identity::Known(_) => NO,
            Identity::Invalid(_) => UNKNOWN,
        }),
        SourceType::AllOf => {
            let mut all = YES;
            for part in source.all_of.as_ref()? {
                all = all.and(self::source(world, facts, namespace, part)?);
            }
            Some(all)
        }
    }
}

fn in_block(address: IpAddr, block: &str) -> bool {
    let (network, length) = block.split_once('/').unwrap();
    let (network, length): (IpAddr, u32) = (network.parse().unwrap(), length.parse().unwrap());
    let bits = |address: IpAddr| -> String {
        match address {
            IpAddr::V4(address) => address.octets().iter().map(|byte| format!("{byte:08b}")).collect(),
            IpAddr::V6(address) => address.octets().iter().map(|byte| format!("{byte:08b}")).collect(),
        }
    };
    address.is_ipv4() == network.is_ipv4() && bits(address)[..length as usize] == bits(network)[..length as usize]
}

fn path_fit(world: &World, facts: &Facts<'_>, paths: &[PathMatch]) -> Vec<Read> {
    let EastWestOptions { escaped_slash, case_insensitive_paths, .. } = world.options;
    let reading = Reading { escaped_slash, case_insensitive: case_insensitive_paths };
    let views = facts.http.and_then(|http| {
        if one(http.headers, ":method").as_deref() == Some("CONNECT") {
            return None;
        }
        let Views { raw, stripped } = reading.views(one(http.headers, ":path")?.as_bytes())?;
        let stripped = stripped.unwrap_or_else(|| raw.clone());
        Some([raw, stripped])
    });
    if paths.is_empty() {
        return vec![None];
    }
    let Some(views) = views else { return vec![Some(UNKNOWN)] };
    // The list as a whole fits in each view, or in one.
    let fits = views.map(|view| {
        paths.iter().any(|path| {
            let value = if case_insensitive_paths { path.value.to_ascii_lowercase() } else { path.value.clone() };
            one_path_fits(path.kind, &value, &view)
        })
    });
    vec![Some(match fits {
        [true, true] => YES,
        [false, false] => NO,
        _ => LOOSELY,
    })]
}

fn one_path_fits(kind: PathMatchType, value: &str, path: &str) -> bool {
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

fn template_fits(template: &str, path: &str) -> bool {
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

fn header_fit(facts: &Facts<'_>, header: &HeaderMatch) -> Read {
    let HeaderMatch { name, values, present, absent } = header;
    if usize::from(values.is_some()) + usize::from(present.is_some()) + usize::from(absent.is_some()) != 1 {
        return None;
    }
    if values.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let Some(Http { headers, .. }) = facts.http else { return Some(UNKNOWN) };
    let name = name.to_lowercase();
    let lines: Vec<_> = headers.all(&name).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    let Some(values) = values else { return Some(exactly(present.is_some() != lines.is_empty())) };
    let wanted = |text: &str| values.iter().any(|value| value == text.trim());
    Some(match &lines[..] {
        [line] if wanted(line) => YES,
        lines if lines.iter().any(|line| wanted(line) || line.split(',').any(wanted)) => LOOSELY,
        _ => NO,
    })
}
