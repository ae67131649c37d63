//! Linkerd's policies as ours. A `Server` with all that lets somebody in there becomes one policy, which is never wider: what cannot
//! be carried over lets nobody in, or stays with its Server, and is told.

mod callers;
mod known;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sidegate_config::LabelSelector;
use sidegate_engine::resources;

use super::fields::Context;
use crate::report::Finding;
use crate::workloads::Pods;
use crate::yaml::{Kind, Node};
use callers::{Authentication, Sources};

const GROUP_NAME: &str = "policy.linkerd.io";

/// What decides of ports without a Server.
const DEFAULT: &str = "config.linkerd.io/default-inbound-policy";

/// Longest name of a rule.
const MAX_RULE_NAME: usize = 100;

/// All of Linkerd's documents, and others that say what they mean.
pub struct Linkerd<'a> {
    documents: Vec<&'a Node>,
    /// Of any group: what says which requests Servers answer.
    routes: Vec<&'a Node>,
    /// Those with a default policy of their own, and the path of it.
    defaults: Vec<(&'a Node, String)>,
    /// Workloads, which say which port has which name.
    pods: Vec<Pods<'a>>,
}

/// What a document becomes.
pub enum Fate {
    /// Ours.
    Policy(Value),
    /// It is in the policies of the Servers that it is about.
    Within,
    /// Nothing of it could be carried over, or others that stay need it.
    Stays,
}

/// Why a document stays: the path of it, and what is to be said.
type Reason = (&'static str, String);

impl<'a> Linkerd<'a> {
    pub fn of(documents: &[&'a Node]) -> Self {
        let of = |is: fn(&Node) -> bool| documents.iter().copied().filter(|document| is(document)).collect();
        Self {
            documents: of(|document| is_one(document) && !repeats(document)),
            routes: of(|document| document.text("kind").is_some_and(|kind| kind.ends_with("Route"))),
            defaults: documents.iter().filter_map(|document| Some((*document, default_path(document)?))).collect(),
            pods: Pods::each(documents.iter().copied()),
        }
    }

    fn all(&self, kind: &'static str) -> impl Iterator<Item = &'a Node> + '_ {
        self.documents.iter().copied().filter(move |document| document.text("kind") == Some(kind))
    }

    /// The one of a name.
    fn named(&self, kind: &'static str, namespace: &str, name: &str) -> Option<&'a Node> {
        let is =
            |document: &&Node| of_metadata(document, "namespace") == namespace && of_metadata(document, "name") == name;
        let mut all = self.all(kind).filter(is);
        all.next().filter(|_| all.next().is_none())
    }

    /// Says of Linkerd's default policy that it is lost, and where there is one.
    pub fn tell_of_defaults(&self, notes: &mut Vec<Finding>) {
        if let Some(document) = self.documents.first() {
            let message = format!(
                "Linkerd's default policy (`{DEFAULT}` of a pod, a namespace or the installation) decides of ports without a \
                 Server, and is not carried over: without `options.eastWest.default: Deny`, or a policy of tier `Baseline`, \
                 workloads without a policy let in everybody"
            );
            Context { document, notes }.note("", message);
        }
        for (document, path) in &self.defaults {
            let message = "is not carried over: write `options.eastWest.default: Deny`, or a policy of tier `Baseline`";
            Context { document, notes }.note(path, message);
        }
    }

    /// What one of Linkerd's documents becomes.
    pub fn fate(&self, document: &Node, notes: &mut Vec<Finding>) -> Fate {
        let mut cx = Context { document, notes };
        known::tell(&mut cx);
        if repeats(document) {
            cx.note(
                "",
                "says something twice, so which of it counts is not known: it stays as it is, and lets nobody in here",
            );
            return Fate::Stays;
        }
        let reason = match document.text("kind") {
            Some("Server") => match self.server_stays(document) {
                None => return Fate::Policy(self.server(document, cx.notes)),
                reason => reason,
            },
            Some("ServerAuthorization" | "AuthorizationPolicy") => self.policy_stays(document),
            Some("MeshTLSAuthentication" | "NetworkAuthentication") => self.authentication_stays(document),
            Some("HTTPRoute" | "GRPCRoute") => {
                let message = match self.all("Server").any(|server| is_parent(server, document)) {
                    true => {
                        "says which requests its Server answers, which ours cannot: it stays, and so does its Server"
                    }
                    false => "says which requests policies are about: it stays as it is, for a person to look at",
                };
                Some(("", message.to_owned()))
            }
            _ => Some(("", "has no counterpart, and stays as it is".to_owned())),
        };
        let Some((path, message)) = reason else { return Fate::Within };
        cx.note(path, message);
        Fate::Stays
    }

    /// Why a Server stays, with all policies about it.
    fn server_stays(&self, server: &Node) -> Option<Reason> {
        const SO: &str = "it and its policies stay Linkerd's, which alone closes its port";
        if let Err((path, message)) = selector(server) {
            return Some((path, format!("{message}: {SO}")));
        }
        let route = self.routes.iter().find(|route| is_parent(server, route))?;
        let message = format!(
            "has the {} `{}`, and answers 404 to what fits no route, while a rule of ours would let all of it in: {SO}",
            route.text("kind").unwrap_or_default(),
            of_metadata(route, "name"),
        );
        Some(("", message))
    }

    /// Why a policy stays, though it may be in those of some Servers.
    fn policy_stays(&self, policy: &Node) -> Option<Reason> {
        let path = if policy.text("kind") == Some("ServerAuthorization") { "spec.server" } else { "spec.targetRef" };
        if let (Target::Route(kind), "spec.targetRef") = (target(policy), path) {
            let message = format!(
                "is about an {kind}, whose paths and methods a person must write as `applicationAttributes`: it stays as it \
                 is, and lets nobody in here"
            );
            return Some((path, message));
        }
        let servers: Vec<&Node> = self.all("Server").filter(|server| is_about(policy, server)).collect();
        if servers.is_empty() {
            return Some((path, "is about no Server that is here, so it stays as it is".to_owned()));
        }
        let kept = servers.into_iter().find(|server| self.server_stays(server).is_some())?;
        Some((path, format!("is about the Server `{}`, which stays, and so does this", of_metadata(kept, "name"))))
    }

    /// Why an authentication stays.
    fn authentication_stays(&self, document: &Node) -> Option<Reason> {
        let mut users = self.all("AuthorizationPolicy").filter(|policy| requires(policy, document)).peekable();
        if users.peek().is_none() {
            return Some(("", "is required by no policy that is here, so it stays as it is".to_owned()));
        }
        let policy = users.find(|policy| self.policy_stays(policy).is_some())?;
        Some(("", format!("is required by `{}`, which stays, and so does this", of_metadata(policy, "name"))))
    }

    /// The policy of a Server.
    fn server(&self, server: &Node, notes: &mut Vec<Finding>) -> Value {
        let namespace = of_metadata(server, "namespace");
        let mut cx = Context { document: server, notes };
        let ports = self.ports(server, &namespace, &mut cx);
        let (mut rules, mode) = access(server, &mut cx);
        for policy in self.all("AuthorizationPolicy").filter(|policy| is_about(policy, server)) {
            let mut cx = Context { document: policy, notes: cx.notes };
            let sources = callers::policy(policy, self, &mut cx);
            rules.extend(sources.map(|sources| (of_metadata(policy, "name"), sources)));
        }
        for policy in self.all("ServerAuthorization").filter(|policy| is_about(policy, server)) {
            let mut cx = Context { document: policy, notes: cx.notes };
            let sources = callers::server_authorization(policy, &namespace, &mut cx);
            rules.extend(sources.map(|sources| (of_metadata(policy, "name"), sources)));
        }
        // One that nobody can meet is none.
        rules.retain(|(_, sources)| sources.as_ref().is_none_or(|sources| !sources.is_empty()));
        let rules: Vec<Value> = match ports {
            Some(ports) => rules.into_iter().map(|(name, sources)| rule(&name, sources, &ports)).collect(),
            None => Vec::new(),
        };
        let mut spec = json!({
            "targetRefs": [{ "group": "", "kind": "Pod", "selector": selector(server).unwrap_or_default() }],
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
        const SO: &str = "its rules are left out, and nobody is let in";
        let port = server.member("spec").and_then(|spec| spec.member("port"));
        let name = match port.map(|port| &port.kind) {
            Some(Kind::Number(number)) => number.to_string(),
            Some(Kind::String(name)) => name.clone(),
            _ => String::new(),
        };
        if let Some(number) = name.parse().ok().filter(|number| (1..=65_535).contains(number)) {
            return Some(vec![number]);
        }
        let selector = server.member("spec").and_then(|spec| spec.member("podSelector"))?;
        let of = |pods: &&Pods<'_>| {
            pods.workload.namespace.as_deref() == Some(namespace) && fits(selector, &pods.workload.labels)
        };
        // Workloads of one name for several numbers would have each other's ports opened.
        let numbers: BTreeSet<BTreeSet<u64>> =
            self.pods.iter().filter(of).map(|pods| pods.ports(&name).into_iter().collect()).collect();
        let mut numbers = numbers.into_iter();
        match (numbers.next(), numbers.next()) {
            (Some(same), None) if !same.is_empty() => return Some(same.into_iter().collect()),
            (_, Some(_)) => {
                let message = format!("`{name}` is not the same port of all workloads that are selected: {SO}");
                cx.note("spec.port", message);
            }
            _ => {
                let message = format!(
                    "`{name}` is the name of a port, and no workload here says which: {SO}; give its Deployment by `-f`, too"
                );
                cx.note("spec.port", message);
            }
        }
        None
    }
}

/// Whether a document is one of Linkerd's.
pub fn is_one(document: &Node) -> bool {
    document
        .text("apiVersion")
        .is_some_and(|version| version.split_once('/').is_some_and(|(group, _)| group == GROUP_NAME))
}

/// Whether an object in it has a member more than once.
fn repeats(node: &Node) -> bool {
    let members = node.members();
    let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    names.len() < members.len()
        || members.iter().any(|member| repeats(&member.value))
        || node.items().iter().any(repeats)
}

/// Whom a Server lets in by itself, and its mode.
fn access(server: &Node, cx: &mut Context<'_>) -> (Vec<(String, Sources)>, Option<&'static str>) {
    let spec = server.member("spec");
    let one = |sources| (vec![("accessPolicy".to_owned(), sources)], None);
    let access = match spec.and_then(|spec| spec.text("accessPolicy")) {
        None | Some("deny") => (Vec::new(), None),
        Some("all-unauthenticated") => one(None),
        Some("all-authenticated") => one(Some(vec![vec![callers::anybody_known()]])),
        Some("audit") => (Vec::new(), Some("Audit")),
        Some(other) => {
            let message = match other.starts_with("cluster-") {
                true => format!(
                    "`{other}` is about the networks of the cluster, which nobody here knows: it lets nobody in"
                ),
                false => format!("`{other}` is none that is known: it lets nobody in"),
            };
            cx.note("spec.accessPolicy", message);
            (Vec::new(), None)
        }
    };
    match access.1 {
        Some(_) => cx.note("spec.accessPolicy", "closes nothing, with Linkerd as with ours: all are let in, and told of"),
        None => cx.note(
            "spec.port",
            "closes its port alone with Linkerd, and ours the whole workload: write policies for its other ports, and for probes",
        ),
    }
    access
}

/// The selector of a Server's pods, if ours can say it.
fn selector(server: &Node) -> Result<Value, Reason> {
    let selector = server.member("spec").and_then(|spec| spec.member("podSelector"));
    let selector = selector.ok_or_else(|| ("spec", "has no `podSelector`, so it is about no pods".to_owned()))?;
    match read(selector) {
        Some(_) => Ok(selector.to_value()),
        None => Err(("spec.podSelector", "is no selector that ours could have".to_owned())),
    }
}

/// A selector; none: it cannot be read.
fn read(selector: &Node) -> Option<LabelSelector> {
    let known = ["matchLabels", "matchExpressions"];
    let is_known = selector.members().iter().all(|member| known.contains(&&*member.name));
    (is_known && matches!(selector.kind, Kind::Object(_)))
        .then(|| serde_json::from_value(selector.to_value()).ok())
        .flatten()
}

/// Whether labels fit a selector. One that cannot be read fits nothing.
fn fits(selector: &Node, labels: &BTreeMap<String, String>) -> bool {
    read(selector).is_some_and(|selector| resources::selects(&selector, labels))
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
    let namespace = of_metadata(policy, "namespace");
    if !["", &namespace].contains(&text("namespace")) {
        return Target::Other;
    }
    match (text("group"), text("kind")) {
        (GROUP_NAME, "Server") => Target::Server(text("name").to_owned()),
        ("" | "core", "Namespace") if text("name") == namespace => Target::Namespace,
        (_, kind @ ("HTTPRoute" | "GRPCRoute")) => Target::Route(kind.to_owned()),
        _ => Target::Other,
    }
}

/// Whether a policy is about a Server.
fn is_about(policy: &Node, server: &Node) -> bool {
    if of_metadata(policy, "namespace") != of_metadata(server, "namespace") {
        return false;
    }
    if policy.text("kind") == Some("AuthorizationPolicy") {
        return match target(policy) {
            Target::Server(name) => name == of_metadata(server, "name"),
            Target::Namespace => true,
            Target::Route(_) | Target::Other => false,
        };
    }
    let Some(of) = policy.member("spec").and_then(|spec| spec.member("server")) else { return false };
    match (of.member("name"), of.member("selector")) {
        (Some(_), None) => of.text("name") == Some(&of_metadata(server, "name")),
        (None, Some(selector)) => {
            let labels = server.member("metadata").and_then(|metadata| metadata.member("labels")).map(Node::to_value);
            let labels = labels.map_or_else(|| Ok(BTreeMap::new()), serde_json::from_value);
            labels.is_ok_and(|labels| fits(selector, &labels))
        }
        _ => false,
    }
}

/// Whether a policy requires an authentication.
fn requires(policy: &Node, document: &Node) -> bool {
    let references = policy.member("spec").and_then(|spec| spec.member("requiredAuthenticationRefs"));
    references.map(Node::items).unwrap_or_default().iter().any(|reference| {
        match Authentication::of(policy, reference) {
            Some(Authentication::Document { kind, namespace, name }) => {
                document.text("kind") == Some(kind)
                    && of_metadata(document, "namespace") == namespace
                    && of_metadata(document, "name") == name
            }
            Some(Authentication::Account(_)) | None => false,
        }
    })
}

/// Whether a route is one of a Server.
fn is_parent(server: &Node, route: &Node) -> bool {
    let parents = route.member("spec").and_then(|spec| spec.member("parentRefs")).map(Node::items).unwrap_or_default();
    parents.iter().any(|parent| {
        let namespace = parent.text("namespace").map_or_else(|| of_metadata(route, "namespace"), str::to_owned);
        parent.text("kind") == Some("Server")
            && parent.text("name") == Some(&of_metadata(server, "name"))
            && namespace == of_metadata(server, "namespace")
    })
}

/// Where a document says which default policy it has, or its pods have.
fn default_path(document: &Node) -> Option<String> {
    let metadata = ["metadata", "spec.template.metadata", "spec.jobTemplate.spec.template.metadata"];
    let has = |path: &&str| {
        let at = path.split('.').try_fold(document, |node, name| node.member(name));
        at.and_then(|metadata| metadata.member("annotations")?.member(DEFAULT)).is_some()
    };
    metadata.iter().find(|path| has(path)).map(|path| format!("{path}.annotations.{DEFAULT}"))
}

fn of_metadata(document: &Node, name: &str) -> String {
    let text = document.member("metadata").and_then(|metadata| metadata.text(name)).unwrap_or_default();
    if text.is_empty() && name == "namespace" { "default".to_owned() } else { text.to_owned() }
}
