//! Rules of Gateway API's policies, with all that was added to them.

use std::collections::BTreeMap;

use sidegate_config::{
    ApplicationAttributes, CidrAddress, CidrSource, EnforcementLevel, HeaderMatch, JwtSource, NetworkAttributes,
    PathMatch, PathMatchType, PolicyRule, PolicySource, ServiceAccountSource, SourceType,
};

use super::{ACCOUNTS, AUDIENCES, BLOCKS, DOMAINS, Dice, ISSUERS, NAMESPACES, PORTS};

impl Dice {
    pub fn rule(&mut self, level: EnforcementLevel) -> PolicyRule {
        let application = level == EnforcementLevel::Application;
        PolicyRule {
            name: self.one_in(8).then(|| "n".to_owned()),
            sources: (!self.one_in(4)).then(|| self.some(9, |dice| dice.source(application, true))),
            network_attributes: self.one_in(3).then(|| NetworkAttributes {
                ports: (!self.one_in(8))
                    .then(|| self.some(3, |dice| if dice.one_in(40) { 65536 } else { i64::from(dice.pick(&PORTS)) })),
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
            paths: self.one_in(2).then(|| match self.below(3) {
                0 => self.some(3, Self::path),
                _ => vec![self.path()],
            }),
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

    pub fn spiffe(&mut self) -> String {
        let domain = self.pick(&DOMAINS);
        match self.below(12) {
            0 => format!("spiffe://{domain}/ns/{}", self.pick(&NAMESPACES)),
            1 => format!("spiffe://{domain}/ns/{}/x/sa/{}", self.pick(&NAMESPACES), self.pick(&ACCOUNTS)),
            2 => format!("spiffe://{domain}/payments/{}", self.pick(&ACCOUNTS)),
            3 => format!("spiffe://{domain}/x/ns/{}/sa/{}", self.pick(&NAMESPACES), self.pick(&ACCOUNTS)),
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
                source.service_account = Some(ServiceAccountSource {
                    // In a cluster-wide policy that is not valid.
                    namespace: (!self.one_in(6)).then(|| self.text(&NAMESPACES)),
                    name,
                });
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
                    audiences: self.one_in(4).then(|| vec![self.text(&AUDIENCES)]),
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
}
