//! Requests made up from what policies compare with, so that they often meet.

use serde_json::{Value, json};
use sidegate_engine::east_west::Chain;

use crate::golden::{Pair, loopback, named_ports};

/// Whose certificate is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// None is.
    Nobody,
    /// One with these URIs.
    Uris(Vec<String>),
    /// One with the name of a host alone.
    Host,
}

/// A request over a connection of its own.
#[derive(Debug, Clone)]
pub struct Call {
    pub who: Who,
    pub method: String,
    pub path: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    /// Payload of a token.
    pub token: Option<Value>,
    /// Metadata of another filter.
    pub metadata: Option<Value>,
    /// Address of ours.
    pub from: String,
    /// Address that a proxy before says.
    pub client: Option<String>,
    /// Address that is called.
    pub to: String,
    /// The port that is called, as the files have it.
    pub port: u16,
    pub server_name: Option<String>,
}

/// The port of requests to no special one.
pub const PORT: u16 = 8080;

/// Numbers that look random and are the same each time (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap_or(0)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())).cloned() }
    }

    /// One of what fits, three times of four; else one of what is usual.
    fn of(&mut self, fitting: &[String], usual: &[&str]) -> String {
        match self.pick(fitting).filter(|_| self.below(4) > 0) {
            Some(text) => text,
            None => self.pick(usual).unwrap_or_default().to_owned(),
        }
    }
}

/// What the policies of a pair compare with.
#[derive(Debug, Default)]
pub struct Words {
    who: Vec<Who>,
    methods: Vec<String>,
    paths: Vec<String>,
    hosts: Vec<String>,
    headers: Vec<(String, Vec<String>)>,
    tokens: Vec<Value>,
    metadata: Vec<Value>,
    peers: Vec<String>,
    clients: Vec<String>,
    pub destinations: Vec<String>,
    pub ports: Vec<u16>,
    pub server_names: Vec<String>,
    chain: Option<Chain>,
}

impl Words {
    pub fn of(pair: &Pair) -> Self {
        Self::of_policies(&pair.policies, pair.chain)
    }

    /// For each way in which a rule may fit, one of its `from` with one of its `to`, what is compared with there.
    pub fn ways(pair: &Pair) -> Vec<Self> {
        let mut ways = Vec::new();
        for rule in pair.policies.iter().filter_map(|policy| policy["spec"]["rules"].as_array()).flatten() {
            let each = |list: &str| match rule[list].as_array() {
                Some(items) => items.iter().map(|item| json!([item])).collect(),
                None => vec![Value::Null],
            };
            for from in each("from") {
                for to in each("to") {
                    let rule = json!({ "from": from, "to": to, "when": rule["when"] });
                    ways.push(Self::of_policies(&[json!({ "spec": { "rules": [rule] } })], pair.chain));
                }
            }
        }
        ways
    }

    fn of_policies(policies: &[Value], chain: Chain) -> Self {
        let ports = policies.iter().flat_map(named_ports).collect();
        let mut words = Self { ports, chain: Some(chain), ..Self::default() };
        words.ports.push(PORT);
        words.ports.sort_unstable();
        words.ports.dedup();
        for rule in policies.iter().filter_map(|policy| policy["spec"]["rules"].as_array()).flatten() {
            let lists = ["from", "to"].map(|list| rule[list].as_array().into_iter().flatten());
            for member in lists.into_iter().flatten().filter_map(|item| item.as_object()?.values().next()?.as_object())
            {
                for (name, values) in member {
                    let name = name.strip_prefix("not").unwrap_or(name).to_lowercase();
                    texts(values).iter().for_each(|value| words.add(&name, value));
                }
            }
            for condition in rule["when"].as_array().into_iter().flatten() {
                let key = condition["key"].as_str().unwrap_or_default();
                for value in [&condition["values"], &condition["notValues"]].into_iter().flat_map(texts) {
                    words.add(key, &value);
                }
            }
        }
        words
    }

    fn add(&mut self, name: &str, value: &str) {
        let id = |text: String| Who::Uris(vec![text]);
        match name {
            "principals" | "source.principal" => {
                for text in fitting(value) {
                    let whole = if text.contains('/') { text } else { format!("{text}/x") };
                    self.who.extend([id(format!("spiffe://{whole}")), id(format!("spiffe://{whole}x"))]);
                }
            }
            "namespaces" | "source.namespace" => {
                for text in fitting(value) {
                    self.who.push(id(format!("spiffe://cluster.local/ns/{text}/sa/x")));
                    self.who.push(id(format!("spiffe://other/ns/{text}/sa/x")));
                    self.who.push(id(format!("spiffe://cluster.local/x/ns/{text}/y")));
                    self.who.push(id(format!("spiffe://cluster.local/x/ns/{text}")));
                }
            }
            "serviceaccounts" | "source.serviceAccount" => {
                let (namespace, account) = value.split_once('/').unwrap_or(("foo", value));
                for text in [
                    format!("spiffe://cluster.local/ns/{namespace}/sa/{account}"),
                    format!("spiffe://other/ns/{namespace}/sa/{account}"),
                    format!("spiffe://cluster.local/k/v/ns/{namespace}/k/v/sa/{account}/z"),
                    format!("spiffe://cluster.local/ns/{namespace}/sa/{account}2"),
                    format!("spiffe://cluster.local/ns/{namespace}2/sa/{account}"),
                ] {
                    self.who.push(id(text));
                }
            }
            "trustdomains" | "source.trustDomain" => {
                self.who.extend(fitting(value).into_iter().map(|text| id(format!("spiffe://{text}/w"))));
            }
            "methods" => self.methods.extend(fitting(value)),
            "paths" => self.paths.extend(paths(value)),
            "hosts" => {
                for text in fitting(value).into_iter().filter(|text| text != "any" && !text.is_empty()) {
                    self.hosts.extend([text.to_uppercase(), format!("{text}:8080"), format!("{text}."), text]);
                }
            }
            "ipblocks" | "source.ip" => self.peers.extend(within(value)),
            "remoteipblocks" | "remote.ip" => self.clients.extend(within(value)),
            "destination.ip" => self.destinations.extend(within(value)),
            "connection.sni" => self
                .server_names
                .extend(fitting(value).into_iter().filter(|text| !text.starts_with('.') && !text.ends_with('.'))),
            "requestprincipals" | "request.auth.principal" => self.tokens.extend(principals(value)),
            "request.auth.audiences" => self.claim(&["aud"], value),
            "request.auth.presenter" => self.claim(&["azp"], value),
            "request.auth.claims[iss]" => self.claim(&["iss"], value),
            "request.auth.claims[nested1][nested2]" => self.claim(&["nested1", "nested2"], value),
            "experimental.envoy.filters.a.b[c]" => {
                for text in fitting(value) {
                    self.metadata.extend([json!(text), json!([text])]);
                }
            }
            "ports" | "destination.port" => {}
            _ => match name.strip_prefix("request.headers[").and_then(|name| name.strip_suffix(']')) {
                Some(header) => self.headers.push((header.to_owned(), fitting(value))),
                None => panic!("no request is made for `{name}`"),
            },
        }
    }

    fn claim(&mut self, path: &[&str], value: &str) {
        for text in fitting(value) {
            for claim in [json!(text), json!(["other", text]), json!(7)] {
                let token = path.iter().rev().fold(claim, |value, name| json!({ *name: value }));
                self.tokens.push(token);
            }
        }
    }

    pub fn call(&self, dice: &mut Dice) -> Call {
        let sleep = || Who::Uris(vec!["spiffe://cluster.local/ns/foo/sa/sleep".to_owned()]);
        let who = match (dice.below(12), dice.pick(&self.who)) {
            (0, _) => Who::Nobody,
            (1, _) => Who::Host,
            (2, Some(Who::Uris(mut uris))) => {
                uris.insert(0, "spiffe://cluster.local/ns/evil/sa/x".to_owned());
                Who::Uris(uris)
            }
            (3, _) => Who::Uris(vec!["spiffe://cluster.local".to_owned()]),
            (_, Some(who)) => who,
            (_, None) => sleep(),
        };
        let mut headers = Vec::new();
        if let Some((name, values)) = dice.pick(&self.headers) {
            let (value, other) = (dice.of(&values, &["x", ""]), dice.of(&values, &["x"]));
            match dice.below(5) {
                0 => {}
                1 => headers.extend([(name.clone(), value), (name, other)]),
                2 => headers.push((name, format!("{value},{other}"))),
                _ => headers.push((name, value)),
            }
        }
        let to = dice.pick(&self.destinations).filter(|_| dice.below(4) > 0);
        let port = if to.is_some() { PORT } else { dice.pick(&self.ports).unwrap_or(PORT) };
        let call = Call {
            who,
            method: dice.of(&self.methods, &["GET", "POST", "get"]),
            path: dice.of(&self.paths, &["/", "/other", "/a%2fb", "/x;y=1", "/a/../b"]),
            host: dice.of(&self.hosts, &["other.test", "other.test:80"]),
            headers,
            token: dice.pick(&self.tokens).filter(|_| dice.below(5) > 0),
            metadata: dice.pick(&self.metadata).filter(|_| dice.below(5) > 0),
            from: dice.of(&self.peers, &["127.0.0.1", "127.9.9.9"]),
            client: Some(dice.of(&self.clients, &["", "127.9.9.8"])).filter(|client| !client.is_empty()),
            to: to.unwrap_or_else(|| "127.0.0.1".to_owned()),
            port,
            server_name: dice.pick(&self.server_names).filter(|_| dice.below(5) > 0),
        };
        if self.chain != Some(Chain::Tcp) {
            return call;
        }
        // There is one address, and nothing of HTTP.
        let from = if dice.below(2) == 0 { call.client.clone() } else { None };
        Call { from: from.unwrap_or(call.from), client: None, headers: Vec::new(), token: None, metadata: None, ..call }
    }
}

fn texts(values: &Value) -> Vec<String> {
    values.as_array().into_iter().flatten().filter_map(|value| value.as_str().map(ToOwned::to_owned)).collect()
}

/// Texts that fit a pattern, and some that nearly do.
fn fitting(pattern: &str) -> Vec<String> {
    let mut texts = match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => vec!["any".to_owned()],
        (Some(end), _) => vec![format!("some{end}"), end.to_owned(), format!("{end}x")],
        (None, Some(start)) => vec![format!("{start}some"), start.to_owned(), format!("x{start}")],
        (None, None) => vec![pattern.to_owned(), format!("{pattern}x")],
    };
    texts.retain(|text| !text.ends_with('-') && !text.starts_with('-') || text.contains("some"));
    texts
}

fn paths(pattern: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let plain = if pattern.contains('{') {
        let one = pattern.replace("{**}", "a/b").replace("{*}", "seg");
        vec![
            one.clone(),
            pattern.replace("/{**}", "").replace("/{*}", "/"),
            pattern.replace("{**}", "").replace("{*}", "a|b"),
            one + "/",
        ]
    } else {
        fitting(pattern)
    };
    for path in plain {
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        paths.extend([
            path.clone(),
            path.clone(),
            format!("{path}?x=1"),
            format!("/{path}"),
            format!("/x/..{path}"),
            format!("{path};v=1"),
            format!("{path}%2fx"),
            path.to_uppercase(),
        ]);
    }
    paths
}

/// Addresses within a block, and one that is not.
fn within(block: &str) -> Vec<String> {
    let (address, length) = block.split_once('/').unwrap_or((block, "32"));
    let address = loopback(address);
    let (start, _) = address.rsplit_once('.').unwrap_or_default();
    let inside = if length == "32" { address.clone() } else { format!("{start}.77") };
    let outside = format!("{start}.78");
    vec![inside, address, outside]
}

fn principals(pattern: &str) -> Vec<Value> {
    let mut tokens =
        vec![json!({ "iss": "any", "sub": "any" }), json!({ "iss": "any" }), json!({ "iss": "any", "sub": "" })];
    for text in fitting(pattern) {
        let (issuer, subject) = text.rsplit_once('/').unwrap_or((&text, ""));
        tokens.extend([
            json!({ "iss": issuer, "sub": subject }),
            json!({ "iss": issuer, "sub": "any" }),
            json!({ "iss": "any", "sub": text }),
            json!({ "iss": text, "sub": "any" }),
            json!({ "iss": [text], "sub": [text] }),
        ]);
    }
    tokens
}
