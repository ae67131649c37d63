//! Policies and calls made up from few words, so that they often meet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};
use sidegate_config::{
    ApplicationAttributes, AuthorizationPolicy, AuthorizationPolicySpec, CidrAddress, CidrSource, ClusterAction,
    ClusterAuthorizationPolicy, ClusterAuthorizationPolicySpec, ClusterPolicyRule, DefaultDecision, Document,
    EastWestOptions, EnforcementLevel, EscapedSlash, HeaderMatch, InvalidIdentity, JwtSource, LabelSelector, Namespace,
    NetworkAttributes, ObjectMeta, PathMatch, PathMatchType, PeerAddress, PolicyAction, PolicyMode, PolicyRule,
    PolicySource, PolicySubject, PolicyTarget, PolicyTier, ServiceAccountSource, SourceType,
};
use sidegate_engine::Headers;
use sidegate_engine::east_west::{Facts, Http, Identity, SpiffeId, Workload};

use crate::plain::World;

const NAMESPACES: [&str; 5] = ["foo", "bar", "foobar", "prod", "team-a"];
const ACCOUNTS: [&str; 3] = ["sleep", "web", "sleep2"];
const DOMAINS: [&str; 4] = ["cluster.local", "new.example", "partner.example", "a.partner.example"];
const PORTS: [u16; 4] = [80, 8080, 9090, 15000];
const ISSUERS: [&str; 2] = ["https://idp/x", "https://evil/x"];
const ADDRESSES: [&str; 6] = ["10.1.2.3", "10.1.9.5", "10.2.0.9", "192.168.1.1", "fd00::1", "2001:db8::1"];
const BLOCKS: [&str; 7] =
    ["10.1.0.0/16", "10.1.9.0/24", "10.0.0.0/8", "192.168.1.1/32", "fd00::/8", "0.0.0.0/0", "::/0"];
const PATHS: [&str; 18] = [
    "/",
    "/api",
    "/api/v1/items",
    "/apiv2",
    "/admin",
    "/admin/x",
    "/admin;x=1",
    "/api;v=1/items",
    "/x/../admin",
    "//admin",
    "/a%2fb",
    "/admin%3bx",
    "/orders/7/lines",
    "/orders/7/8/lines",
    "/files/a/b.txt",
    "/files",
    "/API",
    "/api/",
];

/// Numbers that look random and are the same each time (SplitMix64).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }

    /// One time of so many.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn text(&mut self, from: &[&str]) -> String {
        self.pick(from).to_owned()
    }

    fn some<T>(&mut self, most: usize, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    pub fn world(&mut self) -> World {
        let (policies, cluster) = (self.below(7), self.below(5));
        self.world_of(policies, cluster)
    }

    pub fn world_of(&mut self, policies: usize, cluster: usize) -> World {
        let labels = BTreeMap::from([("app".to_owned(), "api".to_owned())]);
        let namespace_labels = BTreeMap::from([
            ("env".to_owned(), "prod".to_owned()),
            ("kubernetes.io/metadata.name".to_owned(), "prod".to_owned()),
        ]);
        World {
            options: EastWestOptions {
                lenient: true,
                default: self.pick(&[DefaultDecision::Allow, DefaultDecision::Deny]),
                trust_domain_aliases: if self.one_in(2) { vec!["new.example".to_owned()] } else { Vec::new() },
                on_invalid_identity: self.pick(&[InvalidIdentity::Deny, InvalidIdentity::Unreadable]),
                escaped_slash: self.pick(&[EscapedSlash::Ambiguous, EscapedSlash::Keep, EscapedSlash::Decode]),
                case_insensitive_paths: self.one_in(4),
                peer_address: Some(PeerAddress { source_address: Some(true), filter_state: None }),
                ..EastWestOptions::default()
            },
            policies: (0..policies).map(|number| self.policy(number)).collect(),
            cluster: (0..cluster).map(|number| self.cluster_policy(number)).collect(),
            workload: Workload {
                namespace: "prod".to_owned(),
                labels,
                namespace_labels,
                trust_domain: "cluster.local".to_owned(),
                service_account: None,
            },
        }
    }

    fn mode(&mut self) -> PolicyMode {
        if self.one_in(6) { PolicyMode::Audit } else { PolicyMode::Enforce }
    }

    fn selector(&mut self, key: &str, values: &[&str]) -> LabelSelector {
        let mut selector = LabelSelector::default();
        if self.one_in(3) {
            selector.match_labels.insert(key.to_owned(), self.text(values));
        }
        selector
    }

    fn policy(&mut self, number: usize) -> AuthorizationPolicy {
        let enforcement_level = self.pick(&[EnforcementLevel::Network, EnforcementLevel::Application]);
        let name = format!("{}{number:03}", self.pick(&['a', 'b', 'c']));
        let namespace = if self.one_in(12) { "other" } else { "prod" }.to_owned();
        AuthorizationPolicy {
            api_version: String::new(),
            kind: String::new(),
            metadata: ObjectMeta { name, namespace, ..ObjectMeta::default() },
            spec: AuthorizationPolicySpec {
                target_refs: vec![PolicyTarget {
                    kind: "Pod".to_owned(),
                    selector: Some(self.selector("app", &["api", "api", "web"])),
                    ..PolicyTarget::default()
                }],
                action: self.pick(&[PolicyAction::Allow, PolicyAction::Allow, PolicyAction::Deny]),
                enforcement_level,
                mode: self.mode(),
                rules: self.some(4, |dice| dice.rule(enforcement_level)),
            },
        }
    }

    fn cluster_policy(&mut self, number: usize) -> ClusterAuthorizationPolicy {
        let rules = self.some(3, |dice| {
            let PolicyRule { name, sources, network_attributes, application_attributes } =
                dice.rule(EnforcementLevel::Application);
            let action = dice.pick(&[ClusterAction::Allow, ClusterAction::Deny, ClusterAction::Pass]);
            ClusterPolicyRule { name, action, sources, network_attributes, application_attributes }
        });
        ClusterAuthorizationPolicy {
            api_version: String::new(),
            kind: String::new(),
            metadata: ObjectMeta { name: format!("c{number:03}"), ..ObjectMeta::default() },
            spec: ClusterAuthorizationPolicySpec {
                tier: self.pick(&[PolicyTier::Admin, PolicyTier::Baseline]),
                priority: self.pick(&[0, 1, 2]),
                subject: PolicySubject {
                    namespace_selector: self.selector("env", &["prod", "dev"]),
                    pod_selector: self.selector("app", &["api", "web"]),
                },
                mode: self.mode(),
                rules,
            },
        }
    }

    fn rule(&mut self, level: EnforcementLevel) -> PolicyRule {
        let application = level == EnforcementLevel::Application;
        PolicyRule {
            name: None,
            sources: (!self.one_in(4)).then(|| self.some(9, |dice| dice.source(application, true))),
            network_attributes: self.one_in(3).then(|| NetworkAttributes {
                ports: (!self.one_in(8)).then(|| self.some(3, |dice| i64::from(dice.pick(&PORTS)))),
            }),
            application_attributes: (application && self.one_in(2)).then(|| self.attributes()),
        }
    }

    fn attributes(&mut self) -> ApplicationAttributes {
        ApplicationAttributes {
            methods: self.one_in(3).then(|| self.some(2, |dice| dice.text(&["GET", "POST", "CONNECT"]))),
            hosts: self
                .one_in(4)
                .then(|| self.some(3, |dice| dice.text(&["api.prod", "*.prod", "*", "[::1]", "other"]))),
            paths: self.one_in(2).then(|| self.some(3, Self::path)),
            headers: self.one_in(3).then(|| {
                let mut headers = self.some(2, Self::header);
                headers.push(self.header());
                headers
            }),
        }
    }

    fn path(&mut self) -> PathMatch {
        use PathMatchType::{Exact, PathPrefix, StringPrefix, Suffix, Template};
        let (kind, value) = self.pick(&[
            (Exact, "/admin"),
            (Exact, "/api/v1/items"),
            (Exact, "/files"),
            (PathPrefix, "/api"),
            (PathPrefix, "/admin/"),
            (PathPrefix, "/"),
            (StringPrefix, "/api"),
            (StringPrefix, "/admin;"),
            (Suffix, ".txt"),
            (Suffix, "/items"),
            (Template, "/orders/{*}/lines"),
            (Template, "/files/{**}"),
            (Template, "/{*}/{*}"),
            (Template, "/{**}/lines"),
            (Template, "/files/{**}.txt"),
        ]);
        PathMatch { kind, value: value.to_owned() }
    }

    fn header(&mut self) -> HeaderMatch {
        let name = self.text(&["X-Role", "x-env"]);
        match self.below(5) {
            0 => HeaderMatch { name, present: Some(true), ..HeaderMatch::default() },
            1 => HeaderMatch { name, absent: Some(true), ..HeaderMatch::default() },
            _ => {
                let values = Some(self.some(2, |dice| dice.text(&["admin", "user", "a,b"])));
                HeaderMatch { name, values, ..HeaderMatch::default() }
            }
        }
    }

    fn spiffe(&mut self) -> String {
        let domain = self.pick(&DOMAINS);
        match self.below(4) {
            0 => format!("spiffe://{domain}/payments/{}", self.pick(&ACCOUNTS)),
            1 => format!("spiffe://{domain}/x/ns/{}/sa/{}", self.pick(&NAMESPACES), self.pick(&ACCOUNTS)),
            _ => format!("spiffe://{domain}/ns/{}/sa/{}", self.pick(&NAMESPACES), self.pick(&ACCOUNTS)),
        }
    }

    /// `outer`: what is not valid, and lists, only there.
    fn source(&mut self, application: bool, outer: bool) -> PolicySource {
        let mut source = PolicySource {
            kind: SourceType::Unauthenticated,
            service_account: None,
            spiffe: None,
            namespace: None,
            trust_domain: None,
            cidr: None,
            jwt: None,
            all_of: None,
        };
        let kinds = [
            SourceType::ServiceAccount,
            SourceType::ServiceAccount,
            SourceType::Spiffe,
            SourceType::Spiffe,
            SourceType::Namespace,
            SourceType::TrustDomain,
            SourceType::Cidr,
            SourceType::Jwt,
            SourceType::Unauthenticated,
            SourceType::AllOf,
        ];
        source.kind = match self.pick(&kinds) {
            SourceType::Jwt if !application => SourceType::Cidr,
            SourceType::AllOf if !outer => SourceType::Namespace,
            kind => kind,
        };
        match source.kind {
            SourceType::ServiceAccount => {
                let bad = outer && self.one_in(40);
                let name = if bad { String::new() } else { self.text(&["sleep", "web", "sleep2", "*"]) };
                source.service_account = Some(ServiceAccountSource { namespace: Some(self.text(&NAMESPACES)), name });
            }
            SourceType::Spiffe => {
                let below = self.pick(&[
                    "spiffe://partner.example/payments/*",
                    "spiffe://new.example/ns/*",
                    "spiffe://cluster.local/*",
                ]);
                source.spiffe = match self.below(6) {
                    0 if outer && self.one_in(6) => None,
                    0 => Some(below.to_owned()),
                    _ => Some(self.spiffe()),
                };
            }
            SourceType::Namespace => {
                source.namespace = Some(self.text(&["foo", "bar", "prod", "foo*", "*bar", "team-*", "*"]));
            }
            SourceType::TrustDomain => {
                source.trust_domain = Some(self.text(&[
                    "cluster.local",
                    "new.example",
                    "*.partner.example",
                    "*partner.example",
                    "a*",
                    "*",
                ]));
            }
            SourceType::Cidr => {
                let mut blocks = self.some(2, |dice| dice.text(&BLOCKS));
                if !outer || !self.one_in(20) {
                    blocks.push(self.text(&BLOCKS));
                }
                source.cidr = Some(CidrSource {
                    address: self.pick(&[CidrAddress::Peer, CidrAddress::Client]),
                    blocks,
                    except: self.some(1, |dice| dice.text(&BLOCKS)),
                });
            }
            SourceType::Jwt => {
                let mut claims = BTreeMap::new();
                if self.one_in(2) {
                    claims.insert("groups".to_owned(), vec![self.text(&["admin", "user"])]);
                }
                source.jwt = Some(JwtSource {
                    issuer: self.text(&ISSUERS),
                    subject: self.one_in(3).then(|| self.text(&["a", "b"])),
                    audiences: None,
                    claims,
                });
            }
            SourceType::Unauthenticated => {}
            SourceType::AllOf => {
                let mut parts = self.some(1, |dice| dice.source(application, false));
                parts.push(self.source(application, false));
                source.all_of = Some(parts);
            }
        }
        source
    }

    pub fn call(&mut self) -> Call {
        let identity = match self.below(8) {
            0 => Identity::Absent,
            1 if self.one_in(2) => Identity::Invalid("it has two names"),
            _ => Identity::Known(SpiffeId::parse(&self.spiffe()).unwrap()),
        };
        let http = !self.one_in(4);
        let tokens = self.some(1, |dice| {
            let groups = dice.pick(&[json!(["user", "admin"]), json!("admin"), json!(["user"]), json!(7), Value::Null]);
            json!({ "iss": dice.pick(&ISSUERS), "sub": dice.pick(&["a", "b"]), "groups": groups })
        });
        let tokens = (!self.one_in(10)).then_some(tokens);
        let mut headers = vec![
            (":method".to_owned(), self.text(&["GET", "GET", "POST", "CONNECT"])),
            (":path".to_owned(), self.text(&PATHS)),
            (":authority".to_owned(), self.text(&["api.prod", "API.prod.:80", "prod", "[::1]:1", "other", "a@b"])),
        ];
        headers.extend(self.some(2, |dice| {
            let value = dice.text(&["admin", "user", "user, admin", "user,admin", "a,b", "", "x"]);
            (dice.text(&["x-role", "x-env"]), value)
        }));
        let address = |dice: &mut Self| (!dice.one_in(10)).then(|| dice.pick(&ADDRESSES).parse().unwrap());
        Call {
            identity,
            port: (!self.one_in(20)).then(|| self.pick(&PORTS)),
            peer: address(self),
            client: address(self),
            http: http.then(|| (Headers::from_pairs(headers), tokens)),
        }
    }
}

#[derive(Debug)]
pub struct Call {
    identity: Identity,
    port: Option<u16>,
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
    http: Option<(Headers, Option<Vec<Value>>)>,
}

impl Call {
    /// Whether all that rules may look at is known.
    pub fn is_readable(&self) -> bool {
        let Self { identity, port, peer, client, http } = self;
        let known = !matches!(identity, Identity::Invalid(_)) && port.is_some() && peer.is_some() && client.is_some();
        let is_connect = |headers: &Headers| headers.all(":method").any(|method| method == b"CONNECT");
        known && http.as_ref().is_some_and(|(headers, tokens)| tokens.is_some() && !is_connect(headers))
    }

    pub fn facts(&self) -> Facts<'_> {
        let Self { identity, port, peer, client, http } = self;
        let http = http.as_ref().map(|(headers, tokens)| Http { headers, tokens: tokens.as_deref() });
        Facts { port: *port, peer: *peer, client: *client, http, ..Facts::of(identity) }
    }
}

pub fn namespace(name: &str, labels: &BTreeMap<String, String>) -> Document {
    Document::Namespace(Box::new(Namespace {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        metadata: ObjectMeta { name: name.to_owned(), labels: labels.clone(), ..ObjectMeta::default() },
        spec: BTreeMap::new(),
    }))
}

/// A world in few words.
pub fn shown(world: &World) -> String {
    let mut text = format!("{world:?}");
    for field in [
        "name",
        "sources",
        "network_attributes",
        "application_attributes",
        "service_account",
        "spiffe",
        "namespace",
        "trust_domain",
        "cidr",
        "jwt",
        "all_of",
        "ports",
        "methods",
        "hosts",
        "paths",
        "headers",
        "values",
        "present",
        "absent",
        "subject",
        "audiences",
    ] {
        text = text.replace(&format!(", {field}: None"), "").replace(&format!("{field}: None, "), "");
    }
    text
}

/// What came of a call, without names.
pub fn kind(said: &str) -> String {
    let (decision, by) = said.split_once(' ').unwrap();
    let mark = if by.ends_with("(unavailable)") { "(unavailable)" } else { "" };
    let by = match by.split_once('/') {
        Some(("prod", _)) => "rule",
        Some((tier, _)) => tier,
        None => by,
    };
    format!("{decision} {by}{mark}")
}
