//! What of a document that is written anew is where something was: comments go there, and it stands in the same order.

use std::collections::BTreeMap;

use crate::emit::Rank;
use crate::yaml::Node;

/// The order in which people write what stood nowhere before.
const USUAL: [&str; 40] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "spec",
    "items",
    "tier",
    "priority",
    "subject",
    "targetRefs",
    "group",
    "selector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "value",
    "values",
    "action",
    "enforcementLevel",
    "mode",
    "type",
    "hosts",
    "patterns",
    "when",
    "authentication",
    "authorization",
    "response",
    "success",
    "unauthenticated",
    "unauthorized",
    "callbacks",
    "rules",
    "sources",
    "networkAttributes",
    "applicationAttributes",
    "status",
];

/// Methods and fields of `v1beta1` that have another name.
const NAMES: [(&str, &str); 9] = [
    ("oidc", "jwt"),
    ("oauth2", "oauth2Introspection"),
    ("mtls", "x509"),
    ("json", "patternMatching"),
    ("authzed", "spicedb"),
    ("externalRegistry", "externalPolicy"),
    ("inlineRego", "rego"),
    ("tokenIntrospectionUrl", "endpoint"),
    ("extendedProperties", "overrides"),
];

/// How a document was written anew.
#[derive(Debug, Default)]
pub struct Turned {
    /// It is of another shape.
    pub is_anew: bool,
    /// Of Istio's rules which of ours.
    pub rules: Vec<usize>,
    /// Of the items of its lists: which each is now, and how; none if it is gone.
    pub items: BTreeMap<&'static str, Vec<Option<(usize, Turned)>>>,
}

/// Where things have come to.
pub struct Moved<'a> {
    document: &'a Node,
    turned: &'a Turned,
    /// New paths, and where what is there now began.
    places: BTreeMap<String, usize>,
}

impl<'a> Moved<'a> {
    pub fn of(document: &'a Node, turned: &'a Turned) -> Self {
        let (mut number, mut old) = (0, Vec::new());
        walk(document, "", &mut number, &mut old);
        let mut places = BTreeMap::new();
        for (place, path) in old {
            if let (path, Order::Old) = moved(document, turned, &path) {
                let earliest = places.entry(path).or_insert(place);
                *earliest = place.min(*earliest);
            }
        }
        Self { document, turned, places }
    }

    /// Members stand where they stood; others in their usual order.
    pub fn rank(&self, path: &str, name: &str) -> Rank {
        let usual = USUAL.iter().position(|known| *known == name).unwrap_or(USUAL.len());
        if matches!(path, "" | "metadata") {
            return (0, usual);
        }
        (self.places.get(&format!("{path}.{name}")).copied().unwrap_or(usize::MAX), usual)
    }

    /// The new path of what was at a path.
    pub fn path(&self, path: &str) -> String {
        moved(self.document, self.turned, path).0
    }
}

/// Whether what is at a new path stands in the order of the old text.
enum Order {
    Old,
    New,
}

/// The new path of what was at a path of a document.
fn moved(document: &Node, Turned { is_anew, rules, items }: &Turned, path: &str) -> (String, Order) {
    for (list, items) in items {
        let Some((number, rest)) = index(path, list) else { continue };
        // What was said of an item that is gone is said of the list.
        let Some(Some((new, turned))) = items.get(number) else { return ((*list).to_owned(), Order::New) };
        let item = document.member(list).and_then(|list| list.items().get(number));
        let (rest, order) = match (item, rest.strip_prefix('.')) {
            (Some(item), Some(rest)) => {
                let (rest, order) = moved(item, turned, rest);
                (format!(".{rest}"), order)
            }
            _ => (rest, Order::Old),
        };
        return (format!("{list}[{new}]{rest}"), order);
    }
    match (is_anew, document.text("kind")) {
        (false, _) => (path.to_owned(), Order::Old),
        (true, Some("AuthConfig")) => (of_auth_config(document, path), Order::Old),
        // In another kind of policy nothing stands in the order of the old one.
        (true, _) => (of_policy(rules, path), Order::New),
    }
}

/// In a policy of another mesh.
fn of_policy(rules: &[usize], path: &str) -> String {
    if let Some((index, rest)) = index(path, "spec.rules") {
        let last = rest.rsplit('.').next().unwrap_or_default();
        let kept = ["ports", "hosts", "methods", "paths"].iter().find(|name| last.starts_with(**name));
        let place = match kept {
            Some(name) if *name == "ports" => format!(".networkAttributes.{last}"),
            Some(_) => format!(".applicationAttributes.{last}"),
            None if rest.starts_with(".from") => ".sources".to_owned(),
            None => String::new(),
        };
        return format!("spec.rules[{}]{place}", rules.get(index).copied().unwrap_or(index));
    }
    if path.starts_with("spec.selector") || path.starts_with("spec.podSelector") {
        return "spec.targetRefs".to_owned();
    }
    path.to_owned()
}

/// In an AuthConfig of `v1beta1`.
fn of_auth_config(document: &Node, path: &str) -> String {
    for (list, object) in [
        ("identity", "authentication"),
        ("metadata", "metadata"),
        ("authorization", "authorization"),
        ("callbacks", "callbacks"),
        ("response", "response.success.headers"),
    ] {
        let Some((index, rest)) = index(path, &format!("spec.{list}")) else { continue };
        let rule = document.member("spec").and_then(|spec| spec.member(list)?.items().get(index));
        let name = rule.and_then(|rule| rule.text("name")).unwrap_or_default();
        let in_metadata = rule.and_then(|rule| rule.text("wrapper")) == Some("envoyDynamicMetadata");
        let object = if in_metadata { "response.success.dynamicMetadata" } else { object };
        return format!("spec.{object}.{name}{}", renamed(list, &rest));
    }
    for (list, object) in [("spec.identity", "spec.authentication"), ("spec.denyWith", "spec.response")] {
        if let Some(rest) = path.strip_prefix(list) {
            return format!("{object}{rest}");
        }
    }
    path.to_owned()
}

/// An item of a list, and what follows.
fn index(path: &str, list: &str) -> Option<(usize, String)> {
    let (index, rest) = path.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest.to_owned()))
}

/// What is within a rule of a list.
fn renamed(list: &str, rest: &str) -> String {
    let parts = rest.split('.').map(|part| match part {
        "json" if list == "response" => part,
        "kubernetes" if list == "identity" => "kubernetesTokenReview",
        "kubernetes" => "kubernetesSubjectAccessReview",
        "endpoint" if rest.starts_with(".oidc") => "issuerUrl",
        "endpoint" if list == "metadata" || list == "callbacks" => "url",
        part if list == "response" => part,
        part => NAMES.iter().find(|(old, _)| *old == part).map_or(part, |(_, new)| new),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// All members, in the order of the text.
fn walk(node: &Node, path: &str, number: &mut usize, places: &mut Vec<(usize, String)>) {
    for member in node.members() {
        let path = if path.is_empty() { member.name.clone() } else { format!("{path}.{}", member.name) };
        *number += 1;
        places.push((*number, path.clone()));
        walk(&member.value, &path, number, places);
    }
    for (index, item) in node.items().iter().enumerate() {
        let path = format!("{path}[{index}]");
        // Of an item that becomes a member.
        *number += 1;
        places.push((*number, path.clone()));
        walk(item, &path, number, places);
    }
}
