//! What of a document that is written anew is where something was: comments go there, and it stands in the same order.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{istio, linkerd};
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

/// Where things have come to.
pub struct Moved<'a> {
    document: &'a Node,
    /// Of Istio's rules which of ours.
    rules: &'a [usize],
    /// New paths, and where what is there now began.
    places: BTreeMap<String, usize>,
}

impl<'a> Moved<'a> {
    pub fn of(document: &'a Node, value: &Value, rules: &'a [usize]) -> Self {
        let mut moved = Self { document, rules, places: BTreeMap::new() };
        // In another kind of policy nothing stands in the order of the old one.
        let is_kept = |node: &Node| !istio::is_one(node) && !linkerd::is_one(node);
        if !is_kept(document) {
            return moved;
        }
        let (mut number, mut old) = (0, Vec::new());
        walk(document, "", &mut number, &mut old);
        for (place, path) in old {
            // Where a document of a list is gone, those behind it have other numbers.
            let is_known = item(document, &path).is_none_or(|(list, items, number, _)| {
                let all_are_there = value[list].as_array().is_some_and(|new| new.len() == items.len());
                all_are_there && items.get(number).is_some_and(is_kept)
            });
            if is_known {
                let earliest = moved.places.entry(moved.path(&path)).or_insert(place);
                *earliest = place.min(*earliest);
            }
        }
        moved
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
        let Self { document, rules, .. } = self;
        if let Some((list, items, number, rest)) = item(document, path)
            && let (Some(item), Some(rest)) = (items.get(number), rest.strip_prefix('.'))
        {
            let within = Self { document: item, rules: &[], places: BTreeMap::new() };
            return format!("{list}[{number}].{}", within.path(rest));
        }
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
}

/// The document of a list in which a path begins: the list, its items, the number of this one, and what follows.
fn item<'a>(document: &'a Node, path: &str) -> Option<(&'static str, &'a [Node], usize, String)> {
    ["items", "resources"].into_iter().find_map(|list| {
        let (number, rest) = index(path, list)?;
        Some((list, document.member(list)?.items(), number, rest))
    })
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
