//! The fields of Linkerd's documents, so that others are told.

use crate::migrate::fields::Context;
use crate::yaml::Node;

/// Where objects are in a document of a kind (`[]` is after a list), and their fields.
type Objects = &'static [(&'static str, &'static [&'static str])];

const SERVER: Objects =
    &[("spec", &["podSelector", "externalWorkloadSelector", "port", "proxyProtocol", "accessPolicy"])];
const SERVER_AUTHORIZATION: Objects = &[
    ("spec", &["server", "client"]),
    ("spec.server", &["name", "selector"]),
    ("spec.client", &["networks", "unauthenticated", "meshTLS"]),
    ("spec.client.networks[]", &["cidr", "except"]),
    ("spec.client.meshTLS", &["unauthenticatedTLS", "identities", "serviceAccounts"]),
    ("spec.client.meshTLS.serviceAccounts[]", &["name", "namespace"]),
];
const AUTHORIZATION_POLICY: Objects = &[
    ("spec", &["targetRef", "requiredAuthenticationRefs"]),
    ("spec.targetRef", REFERENCE),
    ("spec.requiredAuthenticationRefs[]", REFERENCE),
];
const MESH_TLS: Objects = &[("spec", &["identities", "identityRefs"]), ("spec.identityRefs[]", REFERENCE)];
const NETWORK: Objects = &[("spec", &["networks"]), ("spec.networks[]", &["cidr", "except"])];

const DOCUMENT: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
const REFERENCE: &[&str] = &["group", "kind", "name", "namespace"];

/// Tells of the fields that a document does not have.
pub fn tell(cx: &mut Context<'_>) {
    let objects = match cx.document.text("kind") {
        Some("Server") => SERVER,
        Some("ServerAuthorization") => SERVER_AUTHORIZATION,
        Some("AuthorizationPolicy") => AUTHORIZATION_POLICY,
        Some("MeshTLSAuthentication") => MESH_TLS,
        Some("NetworkAuthentication") => NETWORK,
        _ => return,
    };
    for (pattern, fields) in [&("", DOCUMENT)].into_iter().chain(objects) {
        for (path, object) in found(cx.document, pattern) {
            for member in object.members().iter().filter(|member| !fields.contains(&&*member.name)) {
                let path = if path.is_empty() { member.name.clone() } else { format!("{path}.{}", member.name) };
                cx.note(&path, "is no field that is known, so what it was to say is lost");
            }
        }
    }
}

/// Each object that a pattern leads to, and its path.
fn found<'n>(document: &'n Node, pattern: &str) -> Vec<(String, &'n Node)> {
    let mut all = vec![(String::new(), document)];
    for part in pattern.split('.').filter(|part| !part.is_empty()) {
        let name = part.trim_end_matches("[]");
        let step = |(path, node): (String, &'n Node)| {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let Some(member) = node.member(name) else { return Vec::new() };
            match part.ends_with("[]") {
                true => (member.items().iter().enumerate())
                    .map(|(index, item)| (format!("{path}[{index}]"), item))
                    .collect(),
                false => vec![(path, member)],
            }
        };
        all = all.into_iter().flat_map(step).collect();
    }
    all
}
