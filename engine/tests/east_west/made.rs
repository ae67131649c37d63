//! Policies and calls made up from few words, so that they often meet.

use std::collections::BTreeMap;

use sidegate_config::{
    AuthorizationPolicy, AuthorizationPolicySpec, ClusterAction, ClusterAuthorizationPolicy,
    ClusterAuthorizationPolicySpec, ClusterPolicyRule, DefaultDecision, Document, EastWestOptions, EnforcementLevel,
    EscapedSlash, InvalidIdentity, IstioCustom, IstioMode, IstioOptions, LabelOperator, LabelSelector,
    LabelSelectorRequirement, Namespace, ObjectMeta, PeerAddress, PolicyAction, PolicyMode, PolicyRule, PolicySubject,
    PolicyTarget, PolicyTier,
};
use sidegate_engine::east_west::{Chain, Workload};

use crate::plain::World;
pub use calls::Call;

mod calls;
mod istio;
mod rules;

const NAMESPACES: [&str; 5] = ["foo", "bar", "foobar", "prod", "team-a"];
const ACCOUNTS: [&str; 3] = ["sleep", "web", "sleep2"];
const DOMAINS: [&str; 4] = ["cluster.local", "new.example", "partner.example", "a.partner.example"];
const PORTS: [u16; 4] = [80, 8080, 9090, 15000];
const ISSUERS: [&str; 3] = ["https://idp/x", "https://evil/x", "idp"];
const AUDIENCES: [&str; 2] = ["api", "shop"];
const ADDRESSES: [&str; 6] = ["10.1.2.3", "10.1.9.5", "10.2.0.9", "192.168.1.1", "fd00::1", "2001:db8::1"];
const BLOCKS: [&str; 7] =
    ["10.1.0.0/16", "10.1.9.0/24", "10.0.0.0/8", "192.168.1.1/32", "fd00::/8", "0.0.0.0/0", "::/0"];
const PATHS: [&str; 22] = [
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
    "/orders/\"/lines",
    "/api/v1/items?x=/admin",
    "/admin/..;/api",
    "/api//../admin",
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
                case_insensitive_paths: Some(self.one_in(4)),
                peer_address: Some(PeerAddress { source_address: Some(true), filter_state: None }),
                ..EastWestOptions::default()
            },
            policies: (0..policies).map(|number| self.policy(number)).collect(),
            cluster: (0..cluster).map(|number| self.cluster_policy(number)).collect(),
            istio: Vec::new(),
            chain: Chain::Http,
            workload: Workload {
                namespace: "prod".to_owned(),
                labels,
                namespace_labels,
                trust_domain: "cluster.local".to_owned(),
                service_account: None,
            },
        }
    }

    /// The same with policies of Istio's, for requests or for connections.
    pub fn world_with_istio(&mut self) -> World {
        let (policies, cluster) = (self.below(4), self.below(3));
        let world = self.world_of(policies, cluster);
        let mut options = world.options;
        options.istio = IstioOptions {
            root_namespace: None,
            mode: self.pick(&[IstioMode::Strict, IstioMode::Compat]),
            custom: self.pick(&[IstioCustom::Deny, IstioCustom::Delegated]),
        };
        options.jwt_payload_keys = self.one_in(10).then(|| vec!["payload".to_owned(), "other".to_owned()]);
        let mut workload = world.workload;
        workload.labels.insert("gateway.networking.k8s.io/gateway-name".to_owned(), "gate".to_owned());
        workload.trust_domain = self.text(&["cluster.local", "td.example"]);
        let istio = (0..self.below(9)).map(|number| self.istio_policy(number)).collect();
        World { options, istio, workload, chain: self.pick(&[Chain::Http, Chain::Http, Chain::Tcp]), ..world }
    }

    fn mode(&mut self) -> PolicyMode {
        if self.one_in(6) { PolicyMode::Audit } else { PolicyMode::Enforce }
    }

    fn selector(&mut self, key: &str, values: &[&str]) -> LabelSelector {
        let mut selector = LabelSelector::default();
        if self.one_in(3) {
            selector.match_labels.insert(key.to_owned(), self.text(values));
        } else if self.one_in(4) {
            use LabelOperator::{DoesNotExist, Exists, In, NotIn};
            let operator = self.pick(&[In, NotIn, Exists, DoesNotExist]);
            let values = if matches!(operator, In | NotIn) { vec![self.text(values)] } else { Vec::new() };
            selector.match_expressions.push(LabelSelectorRequirement { key: key.to_owned(), operator, values });
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
                action: {
                    use PolicyAction::{Allow, Audit, Deny};
                    self.pick(&[Allow, Allow, Allow, Deny, Deny, Audit])
                },
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
