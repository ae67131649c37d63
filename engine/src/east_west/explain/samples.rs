//! Calls made up from the values that rules compare with: for each value one that has it, and one that has none of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value as Json, json};

use super::text;
use crate::east_west::object::{Dimension, Member, Rule, Term, Token, Value, Who};
use crate::east_west::pattern::{PathPattern, Pattern, Template};
use crate::east_west::{Facts, Http, Identity, SpiffeId, WorkloadPolicy};
use crate::request::Headers;

/// What stands for all that no rule names.
const OTHER: &str = "any-other";

/// An address for documentation, which no rule has reason to name.
const OTHER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The same of the other kind.
const OTHER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The ID, or in words.
    pub words: String,
    /// Of this kind.
    pub identity: Identity,
}

/// One way in which calls differ, and what it may be: first what no rule names.
#[derive(Debug, Clone)]
pub struct Part {
    /// What differs.
    pub name: &'static str,
    /// In words, and what it is.
    pub choices: Vec<(String, Choice)>,
}

/// What a call is like in one way.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// The method, host or path, by its pseudo-header.
    Line(&'static str, String),
    /// Headers.
    Headers(Vec<(String, String)>),
    /// A verified token.
    Token(Option<Json>),
    /// An address, by whose it is.
    Address(Dimension, IpAddr),
    /// The name that TLS asks for.
    ServerName(String),
    /// Dynamic metadata.
    Metadata(Json),
}

/// A call but for who makes it and to which port.
#[derive(Debug, Clone)]
pub struct Call {
    headers: Headers,
    tokens: Vec<Json>,
    addresses: [IpAddr; 3],
    server_name: String,
    metadata: Json,
}

impl Call {
    /// Of one choice of each part.
    pub fn of<'a>(choices: impl Iterator<Item = &'a Choice>) -> Self {
        let (mut lines, mut tokens, mut metadata) = (Vec::new(), Vec::new(), json!({}));
        let (mut addresses, mut server_name) = ([OTHER_ADDRESS; 3], String::new());
        for choice in choices {
            match choice {
                Choice::Line(name, value) => lines.push(((*name).to_owned(), value.clone())),
                Choice::Headers(headers) => {
                    // Policies of Istio's may look at pseudo-headers, too, of which there is one.
                    lines.retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
                    lines.extend(headers.iter().cloned());
                }
                Choice::Token(token) => tokens.extend(token.clone()),
                Choice::Address(Dimension::Peer, address) => addresses = [*address, addresses[1], addresses[2]],
                Choice::Address(Dimension::Client, address) => addresses = [addresses[0], *address, addresses[2]],
                Choice::Address(_, address) => addresses = [addresses[0], addresses[1], *address],
                Choice::ServerName(name) => server_name.clone_from(name),
                Choice::Metadata(all) => metadata = all.clone(),
            }
        }
        Self { headers: Headers::from_pairs(lines), tokens, addresses, server_name, metadata }
    }

    /// By somebody, to a port; a request or a connection.
    pub fn facts<'a>(&'a self, identity: &'a Identity, port: u16, is_request: bool) -> Facts<'a> {
        let [peer, client, destination] = self.addresses;
        Facts {
            identity,
            port: Some(port),
            peer: Some(peer),
            client: Some(client),
            destination: Some(destination),
            server_name: Some(&self.server_name),
            metadata: is_request.then_some(&self.metadata),
            http: is_request.then_some(Http { headers: &self.headers, tokens: Some(&self.tokens) }),
        }
    }
}

/// All terms of rules that look at one of some dimensions.
fn terms<'a>(rules: &[&'a Rule], dimension: Dimension) -> impl Iterator<Item = &'a Term> + use<'a> {
    let rules: Vec<&'a Rule> = rules.to_vec();
    let terms = rules.into_iter().flat_map(|rule| &rule.groups).flatten().flatten();
    terms.filter(move |term| term.dimension == dimension)
}

/// Ports that rules name, and one that none does.
pub fn ports(rules: &[&Rule]) -> (BTreeSet<u16>, u16) {
    let values = terms(rules, Dimension::Port).flat_map(|term| &term.values);
    let named: BTreeSet<u16> =
        values.filter_map(|value| if let Value::Port(port) = value { Some(*port) } else { None }).collect();
    let other = (1..=u16::MAX).rev().find(|port| !named.contains(port)).unwrap_or(u16::MAX);
    (named, other)
}

/// Callers that rules name, or who stand for all that they name; then who has no identity, and others.
pub fn callers(rules: &[&Rule], policies: [&WorkloadPolicy; 2]) -> Vec<Caller> {
    let mut own: Vec<String> = Vec::new();
    for policy in policies {
        own.push(policy.workload().trust_domain.clone());
        own.extend(policy.options().trust_domain_aliases.iter().cloned());
    }
    own.dedup();
    let foreign = format!("{OTHER}.example");
    let mut ids: Vec<(String, String)> = Vec::new();
    for value in terms(rules, Dimension::Identity).flat_map(|term| &term.values) {
        let Value::Who(who) = value else { continue };
        let said = text::value(Dimension::Identity, value);
        let is_one = matches!(who, Who::Exact(_) | Who::ServiceAccount(..) | Who::AnyAccount(..));
        for id in self::ids(who, &own, &foreign) {
            let words = if is_one { id.clone() } else { format!("{said}, such as {id}") };
            ids.push((id, words));
        }
    }
    let account = |domain: &str| format!("spiffe://{domain}/ns/{OTHER}/sa/{OTHER}");
    let domain = own.first().map_or("", String::as_str);
    ids.push((account(domain), format!("anybody else of {domain}")));
    ids.push((account(&foreign), "anybody else of another trust domain".to_owned()));
    // Of those that are both named and stand for others, the name.
    ids.sort_by(|a, b| (&a.0, a.0 != a.1).cmp(&(&b.0, b.0 != b.1)));
    ids.dedup_by(|a, b| a.0 == b.0);
    let known = ids
        .into_iter()
        .filter_map(|(id, words)| Some(Caller { words, identity: Identity::Known(SpiffeId::parse(&id).ok()?) }));
    known.chain([Caller { words: "who has no identity".to_owned(), identity: Identity::Absent }]).collect()
}

/// IDs of who is meant.
fn ids(who: &Who, own: &[String], foreign: &str) -> Vec<String> {
    let domains = || own.iter().map(String::as_str);
    let all = || domains().chain([foreign]);
    let account = |domain: &str, namespace: &str, name: &str| format!("spiffe://{domain}/ns/{namespace}/sa/{name}");
    let odd = |domain: &str, namespace: &str, name: &str| format!("spiffe://{domain}/x/ns/{namespace}/y/sa/{name}");
    match who {
        Who::Exact(id) => {
            let local = own.iter().any(|domain| domain == id.trust_domain());
            let aliases = domains().filter(|_| local).map(|domain| format!("spiffe://{domain}{}", id.path()));
            aliases.chain([id.to_string()]).collect()
        }
        Who::ServiceAccount(namespace, name) => domains().map(|domain| account(domain, namespace, name)).collect(),
        Who::AnyAccount(namespace, name) => all().map(|domain| account(domain, namespace, name)).collect(),
        Who::LooseAccount(namespace, name) => {
            all().flat_map(|domain| [account(domain, namespace, name), odd(domain, namespace, name)]).collect()
        }
        Who::Below(domain, path) => vec![format!("spiffe://{domain}{path}{OTHER}")],
        Who::Namespace(pattern) => domains().map(|domain| account(domain, &sample(pattern), OTHER)).collect(),
        Who::AnyNamespace(glob) => {
            all().map(|domain| account(domain, &glob.as_str().replace('*', OTHER), OTHER)).collect()
        }
        Who::LooseNamespace(glob) => {
            let namespace = glob.as_str().replace('*', OTHER);
            all().flat_map(|domain| [account(domain, &namespace, OTHER), odd(domain, &namespace, OTHER)]).collect()
        }
        Who::TrustDomain(pattern) => vec![account(&sample(pattern), OTHER, OTHER)],
        Who::Nobody => Vec::new(),
        Who::Name(Pattern::Exact(name)) => vec![format!("spiffe://{name}")],
        Who::Name(Pattern::Prefix(name)) => {
            let ends = [OTHER.to_owned(), format!("/ns/{OTHER}/sa/{OTHER}"), format!("sa/{OTHER}")];
            ends.iter().map(|end| format!("spiffe://{name}{end}")).collect()
        }
        Who::Name(Pattern::Suffix(name)) => {
            let starts = [format!("ns/{OTHER}"), format!("ns/{OTHER}/sa/{OTHER}"), String::new()];
            let starts = all().flat_map(|domain| starts.iter().map(move |start| format!("spiffe://{domain}/{start}")));
            starts.map(|start| format!("{}{name}", start.trim_end_matches('/'))).collect()
        }
        Who::Name(Pattern::Any) => vec![account(foreign, OTHER, OTHER)],
    }
}

/// A text that a pattern fits.
fn sample(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(text) => text.to_string(),
        Pattern::Prefix(text) => format!("{text}{OTHER}"),
        Pattern::Suffix(text) => format!("{OTHER}{text}"),
        Pattern::Any => OTHER.to_owned(),
    }
}

fn paths(pattern: &PathPattern) -> Vec<String> {
    match pattern {
        PathPattern::Exact(text) => vec![text.to_string()],
        PathPattern::Segments(text) if text.is_empty() => vec!["/".to_owned()],
        PathPattern::Segments(text) => vec![text.to_string(), format!("{text}/{OTHER}")],
        PathPattern::Prefix(text) => vec![text.to_string(), format!("{text}{OTHER}")],
        PathPattern::Suffix(text) => vec![format!("/{OTHER}{text}")],
        PathPattern::Any => vec![format!("/{OTHER}")],
        PathPattern::Template(Template { segments, end }) => {
            let segments = segments.iter().map(|segment| format!("/{}", segment.as_deref().unwrap_or(OTHER)));
            let end = end.as_ref().map(|end| format!("/{OTHER}{end}"));
            vec![segments.chain(end).collect()]
        }
    }
}

/// All ways in which calls differ for rules; those in which they do not are left out.
pub fn parts(rules: &[&Rule]) -> Vec<Part> {
    let mut parts = vec![
        lines("path", ":path", &format!("/{OTHER}-path"), Dimension::Path, rules),
        lines("method", ":method", "ANY-OTHER", Dimension::Method, rules),
        lines("host", ":authority", &format!("{OTHER}.example"), Dimension::Host, rules),
        together("header", "none of the headers", Choice::Headers(Vec::new()), rules, headers_of),
        together("token", "no token", Choice::Token(None), rules, token_of),
    ];
    for dimension in [Dimension::Peer, Dimension::Client, Dimension::Destination] {
        parts.push(addresses(dimension, rules));
    }
    let mut names = vec![("another server name".to_owned(), Choice::ServerName(String::new()))];
    for value in terms(rules, Dimension::ServerName).flat_map(|term| &term.values) {
        if let Value::Text(pattern) = value {
            names.push((format!("server name {pattern}"), Choice::ServerName(sample(pattern))));
        }
    }
    parts.push(Part { name: "serverName", choices: names });
    parts.push(together("metadata", "other metadata", Choice::Metadata(json!({})), rules, metadata_of));
    for part in &mut parts {
        let mut seen: Vec<Choice> = Vec::new();
        part.choices.retain(|(_, choice)| {
            let new = !seen.contains(choice);
            seen.push(choice.clone());
            new
        });
    }
    // Without a pseudo-header a request is none.
    parts.retain(|part| part.choices.len() > 1 || matches!(part.choices.first(), Some((_, Choice::Line(..)))));
    parts
}

fn lines(name: &'static str, line: &'static str, other: &str, dimension: Dimension, rules: &[&Rule]) -> Part {
    let mut choices = vec![(format!("another {name}"), Choice::Line(line, other.to_owned()))];
    for value in terms(rules, dimension).flat_map(|term| &term.values) {
        let samples = match value {
            Value::Text(pattern) | Value::Authority(pattern) => vec![sample(pattern)],
            Value::Path(pattern) | Value::Written(pattern) | Value::Verbatim(pattern) => paths(pattern),
            _ => Vec::new(),
        };
        choices.extend(samples.into_iter().map(|sample| (sample.clone(), Choice::Line(line, sample))));
    }
    if dimension == Dimension::Path && choices.len() > 1 {
        choices.push(("that is ambiguous".to_owned(), Choice::Line(line, "/%2f%00".to_owned())));
    }
    Part { name, choices }
}

fn addresses(dimension: Dimension, rules: &[&Rule]) -> Part {
    let name = match dimension {
        Dimension::Peer => "peer",
        Dimension::Client => "client",
        _ => "destination",
    };
    let mut choices = vec![(format!("another {dimension}"), Choice::Address(dimension, OTHER_ADDRESS))];
    for value in terms(rules, dimension).flat_map(|term| &term.values) {
        if let Value::Block(block) = value {
            let ends = block.ends().into_iter();
            choices.extend(ends.map(|end| (format!("{dimension} {end}"), Choice::Address(dimension, end))));
        }
    }
    if choices.len() > 1 {
        choices.push((format!("another {dimension} of IPv6"), Choice::Address(dimension, OTHER_V6)));
    }
    Part { name, choices }
}

/// Makes one choice of values of terms.
type Together = fn(&[(&Term, &Value)]) -> Option<(String, Choice)>;

/// What a rule demands together, once with each of its values.
fn together(name: &'static str, words: &str, other: Choice, rules: &[&Rule], of: Together) -> Part {
    let mut choices = vec![(words.to_owned(), other)];
    for rule in rules {
        for dimension in [Dimension::Header, Dimension::Jwt, Dimension::Metadata] {
            let terms: Vec<&Term> = terms(&[rule], dimension).collect();
            let positive = terms.iter().copied().filter(|term| !term.negated);
            let all: Vec<(&Term, &Value)> = positive.filter_map(|term| Some((term, term.values.first()?))).collect();
            choices.extend(of(&all));
            for term in &terms {
                for value in &term.values {
                    let others = all.iter().filter(|(other, _)| !std::ptr::eq(*other, *term)).copied();
                    choices.extend(of(&others.chain([(*term, value)]).collect::<Vec<_>>()));
                    choices.extend(of(&[(*term, value)]));
                }
            }
        }
    }
    Part { name, choices }
}

fn headers_of(values: &[(&Term, &Value)]) -> Option<(String, Choice)> {
    let headers = values.iter().filter_map(|(_, value)| match value {
        Value::Header(name, pattern) => {
            Some((name.to_string(), pattern.as_ref().map_or_else(|| OTHER.to_owned(), sample)))
        }
        Value::Line(name, pattern) => Some((name.to_string(), sample(pattern))),
        _ => None,
    });
    let headers: Vec<(String, String)> = headers.collect();
    let words: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    (!headers.is_empty()).then(|| (words.join(", "), Choice::Headers(headers)))
}

fn token_of(values: &[(&Term, &Value)]) -> Option<(String, Choice)> {
    let mut payload = Map::from_iter([("iss".to_owned(), json!(OTHER)), ("sub".to_owned(), json!(OTHER))]);
    let mut words = Vec::new();
    for (term, value) in values.iter().filter(|(term, _)| term.dimension == Dimension::Jwt) {
        match value {
            Value::Token(token) => {
                let Token { issuer, subject, audiences, claims } = &**token;
                payload.insert("iss".to_owned(), json!(issuer));
                payload.extend(subject.iter().map(|subject| ("sub".to_owned(), json!(subject))));
                payload.extend(audiences.iter().map(|all| ("aud".to_owned(), json!(all.first()))));
                payload.extend(claims.iter().map(|(name, values)| (name.clone(), json!(values.first()))));
            }
            Value::Principal(principal) => {
                payload.insert("iss".to_owned(), json!(sample(&principal.issuer)));
                payload.insert("sub".to_owned(), json!(sample(&principal.subject)));
            }
            Value::Member(member) => put(&mut payload, member),
            _ => continue,
        }
        words.push(text::value(term.dimension, value));
    }
    (!words.is_empty()).then(|| (words.join(" and "), Choice::Token(Some(payload.into()))))
}

fn metadata_of(values: &[(&Term, &Value)]) -> Option<(String, Choice)> {
    let (mut metadata, mut words) = (Map::new(), Vec::new());
    for (term, value) in values.iter().filter(|(term, _)| term.dimension == Dimension::Metadata) {
        if let Value::Member(member) = value {
            put(&mut metadata, member);
            words.push(text::value(term.dimension, value));
        }
    }
    (!words.is_empty()).then(|| (words.join(" and "), Choice::Metadata(metadata.into())))
}

/// A list with the text, which fits either form but a text alone.
fn put(object: &mut Map<String, Json>, Member { path, form, pattern }: &Member) {
    let value = match form {
        crate::east_west::object::Form::Text => json!(sample(pattern)),
        _ => json!([sample(pattern)]),
    };
    let Some((last, outer)) = path.split_last() else { return };
    let mut within = object;
    for name in outer {
        let next = within.entry(&**name).or_insert_with(|| json!({}));
        if !next.is_object() {
            *next = json!({});
        }
        let Some(object) = next.as_object_mut() else { return };
        within = object;
    }
    within.insert(last.to_string(), value);
}
