//! Istio's policies.

use std::collections::BTreeMap;

use sidegate_config::ObjectMeta;
use sidegate_config::istio::{
    Action, AuthorizationPolicy, Condition, From, Operation, Rule, Source, Spec, TargetReference, To, WorkloadSelector,
};

use super::{ACCOUNTS, AUDIENCES, BLOCKS, DOMAINS, Dice, NAMESPACES};

/// What `when` may be about; the last one is not known.
const KEYS: [&str; 18] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims[groups]",
    "request.auth.claims[a][b]",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "request.headers[X-Role]",
    "request.headers[:method]",
    "experimental.envoy.filters.a[k]",
    "destination.labels[app]",
];

impl Dice {
    pub fn istio_policy(&mut self, number: usize) -> AuthorizationPolicy {
        let name = format!("{}-istio-{number}", self.pick(&['a', 'b', 'c']));
        let namespace = self.text(&["prod", "prod", "prod", "prod", "istio-system", "istio-system", "other"]);
        let tried = self.one_in(8).then(|| ("istio.io/dry-run".to_owned(), self.text(&["true", "true", "false"])));
        let mut spec = Spec {
            action: {
                use Action::{Allow, Audit, Custom, Deny};
                self.pick(&[Allow, Allow, Allow, Allow, Deny, Deny, Deny, Audit, Custom])
            },
            rules: self.some(3, Self::istio_rule),
            ..Spec::default()
        };
        match self.below(8) {
            0 => spec.target_refs = self.some(2, Self::reference),
            1 => spec.target_ref = Some(self.reference()),
            2 | 3 => {
                let label = ("app".to_owned(), self.text(&["api", "api", "web"]));
                spec.selector = Some(WorkloadSelector { match_labels: BTreeMap::from([label]) });
            }
            _ => {}
        }
        let annotations = tried.into_iter().collect();
        AuthorizationPolicy {
            api_version: String::new(),
            kind: String::new(),
            metadata: ObjectMeta { name, namespace, annotations, ..ObjectMeta::default() },
            spec,
        }
    }

    fn reference(&mut self) -> TargetReference {
        let kind = self.text(&["Gateway", "Gateway", "Gateway", "Service"]);
        let group = if kind == "Gateway" { "gateway.networking.k8s.io" } else { "" }.to_owned();
        TargetReference { group, kind, name: self.text(&["gate", "gate", "fence"]), namespace: String::new() }
    }

    fn istio_rule(&mut self) -> Rule {
        let from = self.one_in(2).then(|| self.some(3, |dice| From { source: Some(dice.istio_source()) }));
        let to = self.one_in(2).then(|| self.some(3, |dice| To { operation: Some(dice.operation()) }));
        // Empty lists are not valid, and would be too many.
        let (from, to) = (from.filter(|all| !all.is_empty() || self.one_in(20)), to.filter(|all| !all.is_empty()));
        Rule { from, to, when: self.some(2, Self::condition) }
    }

    /// One field, or two; seldom none.
    fn fields(&mut self) -> usize {
        if self.one_in(60) { 0 } else { self.pick(&[1, 1, 1, 2, 2]) }
    }

    fn istio_source(&mut self) -> Source {
        let mut source = Source::default();
        for _ in 0..self.fields() {
            // Accounts hit seldom, and are looked at in two ways.
            let field = if self.one_in(4) { self.pick(&[6, 7]) } else { self.below(14) };
            let of = match field / 2 {
                0 => "source.principal",
                1 => "request.auth.principal",
                2 => "source.namespace",
                3 => "source.serviceAccount",
                4 => "source.trustDomain",
                5 => "source.ip",
                _ => "remote.ip",
            };
            let values = self.istio_values(of);
            *[
                &mut source.principals,
                &mut source.not_principals,
                &mut source.request_principals,
                &mut source.not_request_principals,
                &mut source.namespaces,
                &mut source.not_namespaces,
                &mut source.service_accounts,
                &mut source.not_service_accounts,
                &mut source.trust_domains,
                &mut source.not_trust_domains,
                &mut source.ip_blocks,
                &mut source.not_ip_blocks,
                &mut source.remote_ip_blocks,
                &mut source.not_remote_ip_blocks,
            ][field] = values;
        }
        source
    }

    fn operation(&mut self) -> Operation {
        let mut operation = Operation::default();
        for _ in 0..self.fields() {
            let field = self.below(8);
            let of = match field / 2 {
                0 => "hosts",
                1 => "destination.port",
                2 => "request.headers[:method]",
                _ => "paths",
            };
            let values = self.istio_values(of);
            *[
                &mut operation.hosts,
                &mut operation.not_hosts,
                &mut operation.ports,
                &mut operation.not_ports,
                &mut operation.methods,
                &mut operation.not_methods,
                &mut operation.paths,
                &mut operation.not_paths,
            ][field] = values;
        }
        operation
    }

    fn condition(&mut self) -> Condition {
        let unknown = self.one_in(60);
        let key = match unknown {
            true => KEYS[17].to_owned(),
            false if self.one_in(10) => "source.serviceAccount".to_owned(),
            false => self.text(&KEYS[..17]),
        };
        let (mut values, mut not_values) = (Vec::new(), Vec::new());
        match self.below(6) {
            0 | 1 => values = self.istio_values(&key),
            2 | 3 => not_values = self.istio_values(&key),
            4 => (values, not_values) = (self.istio_values(&key), self.istio_values(&key)),
            _ if self.one_in(10) => {}
            _ => values = self.istio_values(&key),
        }
        Condition { key, values, not_values }
    }

    fn istio_values(&mut self, key: &str) -> Vec<String> {
        // One of few callers is one of so many accounts.
        let most = if key == "source.serviceAccount" { 12 } else { 2 };
        let mut values = self.some(most, |dice| dice.istio_value(key));
        values.push(self.istio_value(key));
        values
    }

    /// One in so many is not valid.
    fn istio_value(&mut self, key: &str) -> String {
        let bad = self.one_in(150);
        match key {
            _ if bad && self.one_in(2) => String::new(),
            "source.principal" => match self.below(10) {
                0 => "*".to_owned(),
                1 => format!("*/sa/{}", self.pick(&ACCOUNTS)),
                2 => format!("{}/ns/{}/*", self.pick(&DOMAINS), self.pick(&NAMESPACES)),
                3 => format!("*local/ns/{}/sa/{}", self.pick(&NAMESPACES), self.pick(&ACCOUNTS)),
                4 => "partner*".to_owned(),
                _ => format!("{}/ns/{}/sa/{}", self.pick(&DOMAINS), self.pick(&NAMESPACES), self.pick(&ACCOUNTS)),
            },
            "request.auth.principal" => self.text(&[
                "*",
                "https://idp/x/a",
                "https://idp/x/*",
                "https://evil/x/b*",
                "*/a",
                "*x/b",
                "id*",
                "*b",
                "idp/a",
                "idp",
            ]),
            "source.namespace" => self.text(&["foo", "bar", "prod", "foo*", "*bar", "team-*", "f*r", "*"]),
            "source.serviceAccount" if bad => "*".to_owned(),
            "source.serviceAccount" if self.one_in(6) => self.text(&ACCOUNTS),
            "source.serviceAccount" => format!("{}/{}", self.pick(&NAMESPACES), self.pick(&ACCOUNTS)),
            "source.trustDomain" if bad => "a*b".to_owned(),
            "source.trustDomain" => {
                self.text(&["cluster.local", "new.example", "td.example", "*partner.example", "a*", "*"])
            }
            "source.ip" | "remote.ip" | "destination.ip" if bad => "10.1.2".to_owned(),
            "source.ip" | "remote.ip" | "destination.ip" => match self.below(4) {
                // What is beyond the length does not count.
                0 => self.text(&["10.1.2.3", "10.1.2.3/16", "fd00::1", "2001:db8::7/32"]),
                _ => self.text(&BLOCKS),
            },
            "hosts" => {
                self.text(&["api.prod", "*.prod", "API*", "*", "api.prod.:80", "*:1", "other", "[::1]:1", "a@b"])
            }
            "destination.port" if bad => "http".to_owned(),
            "destination.port" => self.text(&["80", "8080", "9090", "15000"]),
            "request.headers[:method]" => self.text(&["GET", "P*", "*T", "*", "CONNECT", "POST"]),
            "paths" if bad => "/{x}".to_owned(),
            "paths" => self.text(&[
                "/admin",
                "/api*",
                "*.txt",
                "*",
                "/orders/{*}/lines",
                "/files/{**}",
                "/api/v1/items",
                "/admin;x=1",
                "//admin",
                "/API",
                "/{**}/lines",
                "*/items",
                "/a%2fb",
            ]),
            "request.auth.audiences" | "request.auth.presenter" => match self.below(3) {
                0 => self.text(&["a*", "*p", "*"]),
                _ => self.text(&AUDIENCES),
            },
            "request.auth.claims[groups]" => self.text(&["admin", "us*", "*min", "*"]),
            "request.auth.claims[a][b]" => self.text(&["c", "d", "*"]),
            "connection.sni" => self.text(&["api.prod", "*.prod", "o*", "*"]),
            "request.headers[X-Role]" => self.text(&["admin", "us*", "*b", "*", "a,b", "x"]),
            "experimental.envoy.filters.a[k]" => self.text(&["v", "[v]", "[w*]", "*", "[*]", "w"]),
            _ => "api".to_owned(),
        }
    }
}
