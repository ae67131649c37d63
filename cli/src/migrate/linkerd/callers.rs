//! Whom Linkerd's policies let in, as sources of ours. What cannot be said lets nobody in, and is told.

use serde_json::{Value, json};
use sidegate_engine::east_west::{Block, SpiffeId};

use super::{GROUP_NAME, Linkerd, of_metadata};
use crate::migrate::fields::Context;
use crate::yaml::{Kind, Node};

/// Between a ServiceAccount and the control plane in the name of an identity.
const ACCOUNT: &str = ".serviceaccount.identity.";

/// Who may call, as far as it can be said: one of these, all of each; none: anybody.
pub type Sources = Option<Vec<Vec<Value>>>;

/// What may be required of a caller, each at most once.
const REQUIRED: &str = "spec.requiredAuthenticationRefs";

/// Whom an AuthorizationPolicy lets in: who meets all that it requires. None: that cannot be said.
pub fn policy(policy: &Node, all: &Linkerd<'_>, cx: &mut Context<'_>) -> Option<Sources> {
    let references = policy.member("spec").and_then(|spec| spec.member("requiredAuthenticationRefs"));
    let Some(Kind::List(references)) = references.map(|references| &references.kind) else {
        cx.note(REQUIRED, "is no list, and only a written `[]` means anybody: the policy lets nobody in");
        return None;
    };
    let (mut identity, mut network) = (None, None);
    for (index, reference) in references.iter().enumerate() {
        let path = format!("{REQUIRED}[{index}]");
        let (place, alternatives) = match Authentication::of(policy, reference) {
            Some(Authentication::Account(account)) => (&mut identity, vec![vec![account]]),
            Some(Authentication::Document { kind, namespace, name }) => {
                let Some(document) = all.named(kind, &namespace, &name) else {
                    cx.note(
                        &path,
                        "is not here, or more than once, so whom it means is not known: the policy lets nobody in",
                    );
                    return None;
                };
                let mut cx = Context { document, notes: cx.notes };
                let spec = document.member("spec");
                match kind {
                    "MeshTLSAuthentication" => (&mut identity, identities(spec, "spec", &namespace, &mut cx)),
                    _ => (&mut network, networks(spec, "spec", &mut cx)),
                }
            }
            None => {
                cx.note(&path, "is nothing that is known: the policy lets nobody in");
                return None;
            }
        };
        if place.replace(alternatives).is_some() {
            cx.note(
                &path,
                "is one too many, since Linkerd takes one of identities and one of networks: the policy lets nobody in",
            );
            return None;
        }
    }
    Some(match (identity, network) {
        (Some(these), Some(those)) => Some(product(&these, &those)),
        (these, those) => these.or(those),
    })
}

/// What an AuthorizationPolicy requires.
pub enum Authentication {
    Account(Value),
    Document { kind: &'static str, namespace: String, name: String },
}

impl Authentication {
    /// By a reference of a policy; none: it is to nothing that is known.
    pub fn of(policy: &Node, reference: &Node) -> Option<Self> {
        let group = reference.text("group").unwrap_or_default();
        let name = reference.text("name")?.to_owned();
        let namespace = match reference.member("namespace") {
            Some(_) => reference.text("namespace")?.to_owned(),
            None => of_metadata(policy, "namespace"),
        };
        let kind = match (group, reference.text("kind")?) {
            ("" | "core", "ServiceAccount") => return service_account(&namespace, &name).map(Self::Account),
            (GROUP_NAME, "MeshTLSAuthentication") => "MeshTLSAuthentication",
            (GROUP_NAME, "NetworkAuthentication") => "NetworkAuthentication",
            _ => return None,
        };
        Some(Self::Document { kind, namespace, name })
    }
}

/// Whom a ServerAuthorization lets in; none: that cannot be said.
pub fn server_authorization(policy: &Node, namespace: &str, cx: &mut Context<'_>) -> Option<Sources> {
    let client = policy.member("spec").and_then(|spec| spec.member("client"));
    let is_true = |node: Option<&Node>, name: &str| {
        node.and_then(|node| node.member(name)).is_some_and(|node| matches!(node.kind, Kind::Bool(true)))
    };
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
        Some(identities(tls, "spec.client.meshTLS", namespace, cx))
    } else {
        cx.note("spec.client", "says of nobody that he is let in");
        return None;
    };
    if client.and_then(|client| client.member("networks")).is_none_or(|networks| networks.items().is_empty()) {
        cx.note(
            "spec.client.networks",
            "is not there, which means the networks of the cluster, and nobody here knows these: nobody is let in; write them, and migrate again",
        );
        return None;
    }
    let networks = networks(client, "spec.client", cx);
    Some(Some(match who {
        None => networks,
        Some(who) => product(&who, &networks),
    }))
}

/// `networks`, each by itself. One that cannot be read is left out.
fn networks(spec: Option<&Node>, path: &str, cx: &mut Context<'_>) -> Vec<Vec<Value>> {
    let path = format!("{path}.networks");
    let mut all = Vec::new();
    for (index, item) in spec.and_then(|spec| spec.member("networks")).map_or(&[][..], Node::items).iter().enumerate() {
        match network(item) {
            Ok(network) => all.push(vec![network]),
            Err(reason) => cx.note(&format!("{path}[{index}]"), format!("{reason}: left out")),
        }
    }
    match all.is_empty() {
        true => cx.note(&path, "says no network: nobody is let in"),
        false => cx.note(&path, "needs `options.eastWest.peerAddress` for requests"),
    }
    all
}

fn network(network: &Node) -> Result<Value, &'static str> {
    if network.members().iter().any(|member| !["cidr", "except"].contains(&&*member.name)) {
        return Err("has a field that is not known");
    }
    let block = |text: Option<&str>| Some(Block::parse_masked(text?).ok()?.to_string());
    let blocks = [block(network.text("cidr")).ok_or("`cidr` is no block of addresses")?];
    let mut cidr = json!({ "address": "Peer", "blocks": blocks });
    if let Some(except) = network.member("except") {
        let Kind::List(items) = &except.kind else { return Err("`except` is no list") };
        let text = |item: &Node| match &item.kind {
            Kind::String(text) => block(Some(text)),
            _ => None,
        };
        let except: Option<Vec<String>> = items.iter().map(text).collect();
        match except.ok_or("`except` has what is no block of addresses")? {
            none if none.is_empty() => {}
            except => cidr["except"] = except.into(),
        }
    }
    Ok(json!({ "type": "CIDR", "cidr": cidr }))
}

/// Callers by `identities`, `identityRefs` and `serviceAccounts`.
fn identities(spec: Option<&Node>, path: &str, namespace: &str, cx: &mut Context<'_>) -> Vec<Vec<Value>> {
    let list = |name: &str| spec.and_then(|spec| spec.member(name)).map_or(&[][..], Node::items).iter().enumerate();
    let mut all = Vec::new();
    for (index, identity) in list("identities") {
        let text = if let Kind::String(text) = &identity.kind { text } else { "" };
        match named(text) {
            Some(source) => all.push(vec![source]),
            None => {
                let message = format!(
                    "`{text}` is no ServiceAccount by its name, and ours know identities by SPIFFE IDs: left out"
                );
                cx.note(&format!("{path}.identities[{index}]"), message);
            }
        }
    }
    let accounts = list("serviceAccounts").map(|(index, item)| ("serviceAccounts", index, item));
    for (name, index, item) in list("identityRefs").map(|(index, item)| ("identityRefs", index, item)).chain(accounts) {
        match referenced(item, name == "serviceAccounts", namespace) {
            Some(source) => all.push(vec![source]),
            None => cx.note(&format!("{path}.{name}[{index}]"), "is nobody that is known: left out"),
        }
    }
    if all.is_empty() {
        cx.note(path, "says no identity that is known: nobody is let in");
    }
    all
}

/// A ServiceAccount, or all of a namespace, by reference.
fn referenced(item: &Node, is_account: bool, namespace: &str) -> Option<Value> {
    let name = item.text("name")?;
    let namespace = match item.member("namespace") {
        Some(_) => item.text("namespace")?,
        None => namespace,
    };
    match (item.text("group").unwrap_or_default(), item.text("kind")) {
        (_, None) if is_account => service_account(namespace, name),
        ("" | "core", Some("ServiceAccount")) => service_account(namespace, name),
        ("" | "core", Some("Namespace")) => accounts(name),
        _ => None,
    }
}

/// An identity as Linkerd writes it; none: it stands for nobody whom ours can name. Of stars Linkerd knows `*` and `*.suffix` alone.
fn named(text: &str) -> Option<Value> {
    if text == "*" {
        return Some(anybody_known());
    }
    if text.starts_with("spiffe://") {
        let is_exact = !text.contains('*') && SpiffeId::parse(text).is_ok();
        return is_exact.then(|| json!({ "type": "SPIFFE", "spiffe": text }));
    }
    let (who, plane) = text.split_once(ACCOUNT)?;
    let (_, domain) = plane.split_once('.').filter(|(namespace, _)| is_label(namespace))?;
    let (name, namespace) = who.split_once('.')?;
    match (domain, name) {
        ("cluster.local", "*") => accounts(namespace),
        ("cluster.local", name) => service_account(namespace, name),
        _ if !domain.split('.').all(is_label) || !is_label(namespace) => None,
        (domain, "*") => Some(json!({ "type": "SPIFFE", "spiffe": format!("spiffe://{domain}/ns/{namespace}/sa/*") })),
        (domain, name) => is_label(name)
            .then(|| json!({ "type": "SPIFFE", "spiffe": format!("spiffe://{domain}/ns/{namespace}/sa/{name}") })),
    }
}

/// Whoever has an identity.
pub fn anybody_known() -> Value {
    json!({ "type": "TrustDomain", "trustDomain": "*" })
}

/// A ServiceAccount. None if its name is none, such as one with a star.
fn service_account(namespace: &str, name: &str) -> Option<Value> {
    let is_name = is_label(namespace) && name.split('.').all(is_label);
    is_name.then(|| json!({ "type": "ServiceAccount", "serviceAccount": { "namespace": namespace, "name": name } }))
}

/// All ServiceAccounts of a namespace.
fn accounts(namespace: &str) -> Option<Value> {
    is_label(namespace)
        .then(|| json!({ "type": "ServiceAccount", "serviceAccount": { "namespace": namespace, "name": "*" } }))
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn product(these: &[Vec<Value>], those: &[Vec<Value>]) -> Vec<Vec<Value>> {
    these.iter().flat_map(|one| those.iter().map(move |other| [one.clone(), other.clone()].concat())).collect()
}
