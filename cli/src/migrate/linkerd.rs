//! Linkerd's policies as ours. A `Server` with all that lets somebody in there becomes one policy, which is never wider: what cannot
//! be carried over lets nobody in, and is told.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sidegate_engine::resources;

use super::note;
use crate::documents::label;
use crate::report::Finding;
use crate::workloads::Pods;
use crate::yaml::{Kind, Node};

const GROUP: &str = "policy.linkerd.io/";

/// Longest name of a rule.
const MAX_RULE_NAME: usize = 100;

/// Between a ServiceAccount and the control plane in the name of an identity.
const ACCOUNT: &str = ".serviceaccount.identity.";

/// All of Linkerd's documents, and the workloads that say which port has which name.
pub struct Linkerd<'a> {
    documents: Vec<&'a Node>,
    pods: Vec<Pods<'a>>,
}

/// What a document becomes.
pub enum Fate {
    /// Ours.
    Policy(Value),
    /// It is in the policies of the Servers that it is about.
    Within,
    /// Nothing of it could be carried over.
    Stays,
}

/// Who may call, as far as it can be said: one of these, all of each; none: anybody.
type Sources = Option<Vec<Vec<Value>>>;

impl<'a> Linkerd<'a> {
    pub fn of(documents: &[&'a Node]) -> Self {
        let own = documents.iter().copied().filter(|document| is_one(document)).collect();
        Self { documents: own, pods: Pods::of(documents.iter().copied()) }
    }

    fn all(&self, kind: &'static str) -> impl Iterator<Item = &'a Node> + '_ {
        self.documents.iter().copied().filter(move |document| document.text("kind") == Some(kind))
    }

    fn named(&self, kind: &'static str, namespace: &str, name: &str) -> Option<&'a Node> {
        self.all(kind)
            .find(|document| of_metadata(document, "namespace") == namespace && of_metadata(document, "name") == name)
    }

    /// What one of Linkerd's documents becomes.
    pub fn fate(&self, document: &Node, notes: &mut Vec<Finding>) -> Fate {
        let mut tell = |path: &str, message: &str| {
            notes.push(note(document.locate(path), label(document), path.to_owned(), message.to_owned()));
        };
        let namespace = of_metadata(document, "namespace");
        match document.text("kind") {
            Some("Server") => Fate::Policy(self.server(document, notes)),
            Some("ServerAuthorization") => {
                if self
                    .all("Server")
                    .any(|server| of_metadata(server, "namespace") == namespace && selects(document, server))
                {
                    return Fate::Within;
                }
                tell("spec.server", "is about no Server that is here, so it stays as it is");
                Fate::Stays
            }
            Some("AuthorizationPolicy") => match target(document) {
                Target::Server(name) if self.named("Server", &namespace, &name).is_some() => Fate::Within,
                Target::Namespace if self.all("Server").any(|server| of_metadata(server, "namespace") == namespace) => {
                    Fate::Within
                }
                Target::Route(kind) => {
                    let message = format!(
                        "is about an {kind}, whose paths and methods a person must write as `applicationAttributes`: it stays as \
                         it is, and lets nobody in here"
                    );
                    tell("spec.targetRef", &message);
                    Fate::Stays
                }
                _ => {
                    tell("spec.targetRef", "is about nothing that is here, so it stays as it is");
                    Fate::Stays
                }
            },
            Some("MeshTLSAuthentication" | "NetworkAuthentication") => Fate::Within,
            Some("HTTPRoute") => {
                tell("", "says which requests policies are about: it stays as it is, for a person to look at");
                Fate::Stays
            }
            _ => {
                tell("", "has no counterpart, and stays as it is");
                Fate::Stays
            }
        }
    }

    /// The policy of a Server.
    fn server(&self, server: &Node, notes: &mut Vec<Finding>) -> Value {
        let namespace = of_metadata(server, "namespace");
        let spec = server.member("spec");
        let mut cx = Context { document: server, notes };
        let selector = match spec.and_then(|spec| spec.member("podSelector")) {
            Some(selector) => cx.selector(selector),
            None => {
                cx.note("spec", "has no `podSelector`, so it is about no pod");
                json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["nothing-that-was-selected"] }] })
            }
        };
        let ports = self.ports(server, &namespace, &mut cx);
        cx.note("spec.port", "closes its port alone with Linkerd, and ours the whole workload: write policies for its other ports, and for probes");
        let mut mode = None;
        let mut rules: Vec<(String, Sources)> = Vec::new();
        match spec.and_then(|spec| spec.text("accessPolicy")) {
            None | Some("deny") => {}
            Some("all-unauthenticated") => rules.push(("accessPolicy".to_owned(), None)),
            Some("all-authenticated") => rules.push(("accessPolicy".to_owned(), Some(vec![vec![anybody_known()]]))),
            Some("audit") => mode = Some("Audit"),
            Some(other) => {
                let message = format!(
                    "`{other}` is about the networks of the cluster, which nobody here knows: it lets nobody in"
                );
                cx.note("spec.accessPolicy", &message);
            }
        }
        for policy in self.all("AuthorizationPolicy").filter(|policy| of_metadata(policy, "namespace") == namespace) {
            let fits = match target(policy) {
                Target::Server(name) => name == of_metadata(server, "name"),
                Target::Namespace => true,
                Target::Route(_) | Target::Other => false,
            };
            if fits {
                let mut cx = Context { document: policy, notes: cx.notes };
                rules.extend(
                    self.policy(policy, &namespace, &mut cx).map(|sources| (of_metadata(policy, "name"), sources)),
                );
            }
        }
        for policy in self.all("ServerAuthorization").filter(|policy| of_metadata(policy, "namespace") == namespace) {
            if selects(policy, server) {
                let mut cx = Context { document: policy, notes: cx.notes };
                rules.extend(
                    server_authorization(policy, &namespace, &mut cx)
                        .map(|sources| (of_metadata(policy, "name"), sources)),
                );
            }
        }
        let rules: Vec<Value> = match ports {
            // One that nobody can meet is none.
            Some(ports) => (rules.into_iter())
                .filter(|(_, sources)| sources.as_ref().is_none_or(|sources| !sources.is_empty()))
                .map(|(name, sources)| rule(&name, sources, &ports))
                .collect(),
            None => Vec::new(),
        };
        let mut spec = json!({
            "targetRefs": [{ "group": "", "kind": "Pod", "selector": selector }],
            "action": "ALLOW", "enforcementLevel": "Network", "rules": rules,
        });
        if let Some(mode) = mode {
            spec["mode"] = mode.into();
        }
        json!({
            "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
            "metadata": { "name": of_metadata(server, "name"), "namespace": namespace }, "spec": spec,
        })
    }

    /// The numbers of a Server's port; none if nobody knows.
    fn ports(&self, server: &Node, namespace: &str, cx: &mut Context<'_>) -> Option<Vec<u64>> {
        let port = server.member("spec").and_then(|spec| spec.member("port"));
        let name = match port.map(|port| &port.kind) {
            Some(Kind::Number(number)) => return number.as_u64().map(|number| vec![number]),
            Some(Kind::String(name)) => name.clone(),
            _ => return None,
        };
        if let Ok(number) = name.parse() {
            return Some(vec![number]);
        }
        let selector = server.member("spec").and_then(|spec| spec.member("podSelector"))?;
        let of = |pods: &&Pods<'_>| {
            pods.workload.namespace.as_deref() == Some(namespace) && fits(selector, &pods.workload.labels)
        };
        let mut numbers: Vec<u64> = self.pods.iter().filter(of).flat_map(|pods| pods.ports(&name)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            let message = format!(
                "`{name}` is the name of a port, and no workload here says which: its rules are left out, and nobody is let in; give its Deployment by `-f`, too"
            );
            cx.note("spec.port", &message);
        }
        (!numbers.is_empty()).then_some(numbers)
    }

    /// Whom an AuthorizationPolicy lets in: who meets all that it requires. None: that cannot be said.
    fn policy(&self, policy: &Node, namespace: &str, cx: &mut Context<'_>) -> Option<Sources> {
        let references = policy.member("spec").and_then(|spec| spec.member("requiredAuthenticationRefs"));
        let mut all: Sources = None;
        for (index, reference) in references.map(Node::items).unwrap_or_default().iter().enumerate() {
            let path = format!("spec.requiredAuthenticationRefs[{index}]");
            let of = reference.text("namespace").unwrap_or(namespace);
            let name = reference.text("name").unwrap_or_default();
            let alternatives = match reference.text("kind") {
                Some("ServiceAccount") => vec![vec![service_account(of, name)]],
                Some(kind @ ("MeshTLSAuthentication" | "NetworkAuthentication")) => {
                    let kind = if kind.starts_with('M') { "MeshTLSAuthentication" } else { "NetworkAuthentication" };
                    let Some(document) = self.named(kind, of, name) else {
                        cx.note(&path, "is not here, so whom it means is not known: the policy lets nobody in");
                        return None;
                    };
                    let mut cx = Context { document, notes: cx.notes };
                    let spec = document.member("spec");
                    match kind {
                        "MeshTLSAuthentication" => identities(spec, of, &mut cx),
                        _ => cx.networks(spec, "spec").into_iter().map(|network| vec![network]).collect(),
                    }
                }
                _ => {
                    cx.note(&path, "is of no kind that is known: the policy lets nobody in");
                    return None;
                }
            };
            all = Some(match all {
                None => alternatives,
                Some(before) => product(&before, &alternatives),
            });
        }
        Some(all)
    }
}

/// Whether a document is one of Linkerd's.
pub fn is_one(document: &Node) -> bool {
    document.text("apiVersion").is_some_and(|version| version.starts_with(GROUP))
}

/// A document, and what is to be said of it.
struct Context<'a> {
    document: &'a Node,
    notes: &'a mut Vec<Finding>,
}

impl Context<'_> {
    fn note(&mut self, path: &str, message: &str) {
        let mark = self.document.locate(path);
        self.notes.push(note(mark, label(self.document), path.to_owned(), message.to_owned()));
    }

    fn selector(&mut self, selector: &Node) -> Value {
        let known = ["matchLabels", "matchExpressions"];
        let mut kept = Map::new();
        for member in selector.members() {
            match known.contains(&member.name.as_str()) {
                true => drop(kept.insert(member.name.clone(), member.value.to_value())),
                false => self.note("spec.podSelector", "has a field that is none of a selector"),
            }
        }
        kept.into()
    }

    /// `networks`, each by itself.
    fn networks(&mut self, spec: Option<&Node>, path: &str) -> Vec<Value> {
        let networks = spec.and_then(|spec| spec.member("networks")).map(Node::items).unwrap_or_default();
        if !networks.is_empty() {
            self.note(&format!("{path}.networks"), "needs `options.eastWest.peerAddress` for requests");
        }
        let one = |network: &Node| {
            let mut cidr = json!({ "address": "Peer", "blocks": [masked(network.text("cidr").unwrap_or_default())] });
            let except: Vec<String> = match network.member("except").map(|except| &except.kind) {
                Some(Kind::List(items)) => {
                    items.iter().filter_map(|item| item.to_value().as_str().map(masked)).collect()
                }
                Some(Kind::String(text)) => vec![masked(text)],
                _ => Vec::new(),
            };
            if !except.is_empty() {
                cidr["except"] = except.into();
            }
            json!({ "type": "CIDR", "cidr": cidr })
        };
        networks.iter().map(one).collect()
    }
}

/// A block without bits of a host, which Linkerd passes over.
fn masked(text: &str) -> String {
    sidegate_engine::east_west::Block::parse_masked(text).map_or_else(|_| text.to_owned(), |block| block.to_string())
}

/// Whom a ServerAuthorization lets in; none: that cannot be said.
fn server_authorization(policy: &Node, namespace: &str, cx: &mut Context<'_>) -> Option<Sources> {
    let client = policy.member("spec").and_then(|spec| spec.member("client"));
    let is_true = |node: Option<&Node>, name: &str| {
        node.and_then(|node| node.member(name)).is_some_and(|node| matches!(node.kind, Kind::Bool(true)))
    };
    let networks: Vec<Vec<Value>> =
        cx.networks(client, "spec.client").into_iter().map(|network| vec![network]).collect();
    let tls = client.and_then(|client| client.member("meshTLS"));
    let who = if is_true(client, "unauthenticated") {
        None
    } else if is_true(tls, "unauthenticatedTLS") {
        cx.note(
            "spec.client.meshTLS.unauthenticatedTLS",
            "lets in TLS without an identity, which ours do not: who has one is let in",
        );
        Some(vec![vec![anybody_known()]])
    } else if tls.is_some() {
        Some(identities(tls, namespace, cx))
    } else {
        cx.note("spec.client", "says of nobody that he is let in");
        return None;
    };
    Some(match (who, networks.is_empty()) {
        (who, true) => who,
        (None, false) => Some(networks),
        (Some(who), false) => Some(product(&who, &networks)),
    })
}

/// Callers by `identities`, `identityRefs` and `serviceAccounts`.
fn identities(spec: Option<&Node>, namespace: &str, cx: &mut Context<'_>) -> Vec<Vec<Value>> {
    let list = |name: &str| spec.and_then(|spec| spec.member(name)).map(Node::items).unwrap_or_default();
    let mut all = Vec::new();
    let prefix = if spec.is_some_and(|spec| spec.member("serviceAccounts").is_some())
        || cx.document.text("kind") == Some("ServerAuthorization")
    {
        "spec.client.meshTLS"
    } else {
        "spec"
    };
    for (index, identity) in list("identities").iter().enumerate() {
        let Kind::String(text) = &identity.kind else { continue };
        match named(text) {
            Some(source) => all.push(vec![source]),
            None => {
                let message = format!(
                    "`{text}` is no ServiceAccount by its name, and ours know identities by SPIFFE IDs: left out"
                );
                cx.note(&format!("{prefix}.identities[{index}]"), &message);
            }
        }
    }
    for (index, reference) in list("identityRefs").iter().enumerate() {
        let (kind, name) = (reference.text("kind"), reference.text("name").unwrap_or_default());
        match kind {
            Some("ServiceAccount") => {
                all.push(vec![service_account(reference.text("namespace").unwrap_or(namespace), name)])
            }
            Some("Namespace") => all.push(vec![service_account(name, "*")]),
            _ => cx.note(&format!("{prefix}.identityRefs[{index}]"), "is of no kind that is known: left out"),
        }
    }
    for account in list("serviceAccounts") {
        let (of, name) = (account.text("namespace").unwrap_or(namespace), account.text("name").unwrap_or_default());
        all.push(vec![service_account(of, name)]);
    }
    all
}

/// An identity as Linkerd writes it; none: it stands for nobody whom ours can name.
fn named(text: &str) -> Option<Value> {
    if text == "*" {
        return Some(anybody_known());
    }
    if text.starts_with("spiffe://") {
        return Some(json!({ "type": "SPIFFE", "spiffe": text }));
    }
    let (who, plane) = text.split_once(ACCOUNT)?;
    let domain = plane.split_once('.')?.1;
    let (name, namespace) = who.split_once('.')?;
    if namespace.contains(['.', '*']) || (name.contains('*') && name != "*") {
        return None;
    }
    match (domain, name) {
        ("cluster.local", _) => Some(service_account(namespace, name)),
        (domain, name) => {
            Some(json!({ "type": "SPIFFE", "spiffe": format!("spiffe://{domain}/ns/{namespace}/sa/{name}") }))
        }
    }
}

fn anybody_known() -> Value {
    json!({ "type": "TrustDomain", "trustDomain": "*" })
}

fn service_account(namespace: &str, name: &str) -> Value {
    json!({ "type": "ServiceAccount", "serviceAccount": { "namespace": namespace, "name": name } })
}

fn product(these: &[Vec<Value>], those: &[Vec<Value>]) -> Vec<Vec<Value>> {
    these.iter().flat_map(|one| those.iter().map(move |other| [one.clone(), other.clone()].concat())).collect()
}

fn rule(name: &str, sources: Sources, ports: &[u64]) -> Value {
    let name: String = name.chars().take(MAX_RULE_NAME).collect();
    let mut rule = json!({ "name": name, "networkAttributes": { "ports": ports } });
    if let Some(sources) = sources {
        let one = |mut all: Vec<Value>| match all.len() {
            1 => all.remove(0),
            _ => json!({ "type": "AllOf", "allOf": all }),
        };
        rule["sources"] = sources.into_iter().map(one).collect();
    }
    rule
}

/// What an AuthorizationPolicy is about.
enum Target {
    Server(String),
    Namespace,
    Route(String),
    Other,
}

fn target(policy: &Node) -> Target {
    let reference = policy.member("spec").and_then(|spec| spec.member("targetRef"));
    let text = |name: &str| reference.and_then(|reference| reference.text(name)).unwrap_or_default();
    match text("kind") {
        "Server" => Target::Server(text("name").to_owned()),
        "Namespace" if text("name") == of_metadata(policy, "namespace") => Target::Namespace,
        kind @ ("HTTPRoute" | "GRPCRoute") => Target::Route(kind.to_owned()),
        _ => Target::Other,
    }
}

/// Whether a ServerAuthorization is about a Server.
fn selects(policy: &Node, server: &Node) -> bool {
    let Some(of) = policy.member("spec").and_then(|spec| spec.member("server")) else { return false };
    match (of.text("name"), of.member("selector")) {
        (Some(name), _) => name == of_metadata(server, "name"),
        (None, Some(selector)) => {
            let labels = server.member("metadata").and_then(|metadata| metadata.member("labels")).map(Node::to_value);
            fits(selector, &labels.and_then(|labels| serde_json::from_value(labels).ok()).unwrap_or_default())
        }
        (None, None) => true,
    }
}

/// Whether labels fit a selector. One that cannot be read fits nothing.
fn fits(selector: &Node, labels: &BTreeMap<String, String>) -> bool {
    let known = ["matchLabels", "matchExpressions"];
    if selector.members().iter().any(|member| !known.contains(&member.name.as_str())) {
        return false;
    }
    serde_json::from_value(selector.to_value()).is_ok_and(|selector| resources::selects(&selector, labels))
}

fn of_metadata(document: &Node, name: &str) -> String {
    let text = document.member("metadata").and_then(|metadata| metadata.text(name)).unwrap_or_default();
    if text.is_empty() && name == "namespace" { "default".to_owned() } else { text.to_owned() }
}
