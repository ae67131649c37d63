//! Who calls: `from`, and what `when` says of it.

use serde_json::{Value, json};
use sidegate_config::istio::{Condition, Rule, Source};
use sidegate_engine::east_west::{Block, SpiffeId};

use super::Reader;
use crate::args::Assumption;

/// One of these, all of each.
pub type Sources = Vec<Vec<Value>>;

/// What a key of `when` is, as a field of `source`.
const KEYS: [(&str, &str); 7] = [
    ("source.principal", "principals"),
    ("source.namespace", "namespaces"),
    ("source.serviceAccount", "serviceAccounts"),
    ("source.trustDomain", "trustDomains"),
    ("source.ip", "ipBlocks"),
    ("remote.ip", "remoteIpBlocks"),
    ("request.auth.principal", "requestPrincipals"),
];

impl Reader<'_> {
    /// Who may be meant; none: anybody.
    pub fn sources(&mut self, path: &str, rule: &Rule) -> Option<Sources> {
        let mut all: Option<Sources> = None;
        if let Some(from) = &rule.from {
            let mut sources = Sources::new();
            for (index, from) in from.iter().enumerate() {
                let path = format!("{path}.from[{index}].source");
                sources.extend(from.source.as_ref().map(|source| self.source(&path, source)).unwrap_or_default());
            }
            all = Some(sources);
        }
        for (index, Condition { key, values, not_values }) in rule.when.iter().enumerate() {
            let Some((_, field)) = KEYS.iter().find(|(known, _)| known == key) else { continue };
            let path = format!("{path}.when[{index}]");
            let alternatives = self.field(&path, field, values, not_values);
            all = Some(product(all.unwrap_or_else(|| vec![Vec::new()]), &alternatives));
        }
        all
    }

    fn source(&mut self, path: &str, source: &Source) -> Sources {
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
        let mut all = vec![Vec::new()];
        for (field, values, not_values) in [
            ("principals", principals, not_principals),
            ("namespaces", namespaces, not_namespaces),
            ("serviceAccounts", service_accounts, not_service_accounts),
            ("trustDomains", trust_domains, not_trust_domains),
            ("ipBlocks", ip_blocks, not_ip_blocks),
            ("remoteIpBlocks", remote_ip_blocks, not_remote_ip_blocks),
            ("requestPrincipals", request_principals, not_request_principals),
        ] {
            if !values.is_empty() || !not_values.is_empty() {
                let alternatives = self.field(&format!("{path}.{field}"), field, values, not_values);
                all = product(all, &alternatives);
            }
        }
        all
    }

    /// Alternatives of one field.
    fn field(&mut self, path: &str, field: &str, values: &[String], not_values: &[String]) -> Vec<Value> {
        if let "ipBlocks" | "remoteIpBlocks" = field {
            return vec![self.blocks(path, field, values, not_values)];
        }
        let nobody = field == "principals" && values.is_empty() && not_values == ["*"];
        if nobody {
            return vec![json!({ "type": "Unauthenticated" })];
        }
        if !not_values.is_empty() {
            self.stays(path, "ours say who is meant, not who is not");
        }
        let mut alternatives = Vec::new();
        for (index, text) in values.iter().enumerate() {
            let path = format!("{path}[{index}]");
            alternatives.extend(match field {
                "principals" => self.principal(&path, text),
                "namespaces" => self.namespace(&path, text),
                "serviceAccounts" => self.account(&path, text),
                "trustDomains" => vec![json!({ "type": "TrustDomain", "trustDomain": text })],
                _ => self.token(&path, text),
            });
        }
        alternatives
    }

    fn blocks(&mut self, path: &str, field: &str, values: &[String], not_values: &[String]) -> Value {
        // What is beyond its length does not count to Istio, and is an error to us.
        let read = |texts: &[String]| -> Vec<String> {
            texts.iter().filter_map(|text| Block::parse_masked(text).ok()).map(|block| block.to_string()).collect()
        };
        let address = if field == "ipBlocks" { "Peer" } else { "Client" };
        let everywhere = || vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
        let blocks = if values.is_empty() { everywhere() } else { read(values) };
        let mut cidr = json!({ "address": address, "blocks": blocks });
        if !not_values.is_empty() {
            cidr["except"] = read(not_values).into();
        }
        if address == "Peer" {
            self.note(path, "needs `options.eastWest.peerAddress` for requests");
        }
        json!({ "type": "CIDR", "cidr": cidr })
    }

    fn principal(&mut self, path: &str, text: &str) -> Vec<Value> {
        if text == "*" {
            return vec![json!({ "type": "TrustDomain", "trustDomain": "*" })];
        }
        let spiffe = |id: &str| vec![json!({ "type": "SPIFFE", "spiffe": format!("spiffe://{id}") })];
        let id = SpiffeId::parse(&format!("spiffe://{}", text.trim_end_matches('*'))).ok();
        let account = id.as_ref().and_then(|id| Some((id.trust_domain(), id.service_account()?)));
        match (text.strip_prefix('*'), text.strip_suffix('*'), account) {
            // Istio's name for the workload's own trust domain, whatever that is.
            (None, None, Some(("cluster.local", (namespace, name)))) => vec![service_account(namespace, name)],
            (None, None, Some(_)) => spiffe(text),
            (None, Some(below), _) if below.ends_with('/') => self.below(path, below),
            (None, None, None) if id.is_some() && !text.starts_with("cluster.local/") => {
                self.aliases(path);
                spiffe(text)
            }
            (Some(end), None, _) => self.anywhere(path, end),
            _ => {
                self.stays(path, format!("`{text}` is no SPIFFE ID, and no path with `/*` at its end"));
                Vec::new()
            }
        }
    }

    /// All below a path.
    fn below(&mut self, path: &str, below: &str) -> Vec<Value> {
        let account = below.strip_suffix("/sa/").and_then(|rest| rest.split_once("/ns/"));
        match account {
            Some(("cluster.local", namespace)) if self.allows() || self.mesh.assumes(Assumption::OneTrustDomain) => {
                vec![service_account(namespace, "*")]
            }
            Some(("cluster.local", _)) => {
                let message = "keeps out what is below a path of the workload's own trust domain, which need not be \
                               `cluster.local`: see `--assume one-trust-domain`";
                self.stays(path, message);
                Vec::new()
            }
            Some(_) => vec![json!({ "type": "SPIFFE", "spiffe": format!("spiffe://{below}*") })],
            None => {
                self.aliases(path);
                vec![json!({ "type": "SPIFFE", "spiffe": format!("spiffe://{below}*") })]
            }
        }
    }

    /// To Istio this is of one trust domain, and to us of all its names.
    fn aliases(&mut self, path: &str) {
        if self.mesh.aliases && self.allows() {
            self.stays(path, "is of one trust domain to Istio, and of its aliases too to ours");
        } else {
            self.note(path, "is of one trust domain to Istio; with `trustDomainAliases` ours would be of them, too");
        }
    }

    /// `*/ns/NAMESPACE/sa/NAME`.
    fn anywhere(&mut self, path: &str, end: &str) -> Vec<Value> {
        let account = end.strip_prefix("/ns/").and_then(|rest| rest.split_once("/sa/"));
        match account.filter(|(namespace, name)| !namespace.contains('/') && !name.contains(['/', '*'])) {
            Some((namespace, name)) if self.own_alone(path) => vec![service_account(namespace, name)],
            Some(_) => Vec::new(),
            None => {
                self.stays(path, format!("`*{end}` is the end of an ID, which ours cannot say"));
                Vec::new()
            }
        }
    }

    /// Whether it may be said of the workload's own trust domain alone.
    fn own_alone(&mut self, path: &str) -> bool {
        if self.mesh.assumes(Assumption::OneTrustDomain) {
            return true;
        }
        if self.allows() {
            self.note(path, "is of any trust domain to Istio, and of the workload's own alone to ours");
            return true;
        }
        self.stays(path, "keeps out callers of any trust domain, and ours of the workload's own alone: see `--assume one-trust-domain`");
        false
    }

    fn namespace(&mut self, path: &str, text: &str) -> Vec<Value> {
        if text.trim_end_matches('*').trim_start_matches('*').contains('*') || text.matches('*').count() > 1 {
            self.stays(path, format!("`{text}` has more than one `*`, or one in the middle"));
            return Vec::new();
        }
        match self.own_alone(path) {
            true => vec![json!({ "type": "Namespace", "namespace": text })],
            false => Vec::new(),
        }
    }

    fn account(&mut self, path: &str, text: &str) -> Vec<Value> {
        let own = self.policy.metadata.namespace.clone();
        let (namespace, name) = text.split_once('/').unwrap_or((&own, text));
        match self.own_alone(path) {
            true => vec![service_account(namespace, name)],
            false => Vec::new(),
        }
    }

    fn token(&mut self, path: &str, text: &str) -> Vec<Value> {
        match text.rsplit_once('/') {
            Some((issuer, subject)) if !text.contains('*') && !issuer.is_empty() && !subject.is_empty() => {
                vec![json!({ "type": "JWT", "jwt": { "issuer": issuer, "subject": subject } })]
            }
            _ => {
                self.stays(path, format!("`{text}` is not one issuer and one subject"));
                Vec::new()
            }
        }
    }
}

fn service_account(namespace: &str, name: &str) -> Value {
    json!({ "type": "ServiceAccount", "serviceAccount": { "namespace": namespace, "name": name } })
}

/// Each of these with each of those.
fn product(sources: Sources, alternatives: &[Value]) -> Sources {
    let with = |source: Vec<Value>| {
        alternatives.iter().map(move |alternative| [source.clone(), vec![alternative.clone()]].concat())
    };
    // What comes to too many is not carried over.
    sources.into_iter().flat_map(with).take(super::MOST_SOURCES + 1).collect()
}

/// Whether a key of `when` is about who calls.
pub fn is_source(key: &str) -> bool {
    KEYS.iter().any(|(known, _)| *known == key)
}
