//! Denials by what only HTTP has, on ports that may be none of HTTP: there they keep out everybody.

use sidegate_config::{
    ApplicationAttributes, ClusterAction, Document, Documents, NetworkAttributes, PolicyAction, PolicySource, Problem,
    SourceType,
};

use super::Warnings;

/// Ports of servers that do not speak HTTP, as everybody knows them.
const NOT_HTTP: [i64; 13] = [22, 25, 53, 389, 1433, 1521, 3306, 5432, 5672, 6379, 9042, 9092, 27017];

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for document in &documents.resources {
        match document {
            Document::AuthorizationPolicy(policy) if policy.spec.action == PolicyAction::Deny => {
                let label = format!("AuthorizationPolicy {}/{}", policy.metadata.namespace, policy.metadata.name);
                for (index, rule) in policy.spec.rules.iter().enumerate() {
                    let looks = looks_at_http(rule.sources.as_deref(), rule.application_attributes.as_ref());
                    warn(&label, index, looks, rule.network_attributes.as_ref(), warnings);
                }
            }
            Document::ClusterAuthorizationPolicy(policy) => {
                let label = format!("ClusterAuthorizationPolicy {}", policy.metadata.name);
                for (index, rule) in policy.spec.rules.iter().enumerate() {
                    // What cannot be read makes a denial of a `Pass`, too.
                    let denies = rule.action != ClusterAction::Allow;
                    let looks = looks_at_http(rule.sources.as_deref(), rule.application_attributes.as_ref());
                    warn(&label, index, denies && looks, rule.network_attributes.as_ref(), warnings);
                }
            }
            _ => {}
        }
    }
}

fn looks_at_http(sources: Option<&[PolicySource]>, attributes: Option<&ApplicationAttributes>) -> bool {
    let has = |attributes: &ApplicationAttributes| {
        let ApplicationAttributes { methods, hosts, paths, headers } = attributes;
        methods.is_some() || hosts.is_some() || paths.is_some() || headers.is_some()
    };
    let mut all =
        sources.into_iter().flatten().flat_map(|source| std::iter::once(source).chain(source.all_of.iter().flatten()));
    attributes.is_some_and(has) || all.any(|source| source.kind == SourceType::Jwt)
}

fn warn(label: &str, index: usize, looks: bool, network: Option<&NetworkAttributes>, warnings: &mut Warnings) {
    let ports = network.and_then(|network| network.ports.as_deref());
    let odd = ports.and_then(|ports| ports.iter().find(|port| NOT_HTTP.contains(port)));
    let (path, message) = match (ports, odd) {
        (None, _) => (
            String::new(),
            "looks at HTTP and names no ports: of connections that are no HTTP it keeps out everybody, at every port; name the \
             ports of HTTP"
                .to_owned(),
        ),
        (Some(_), Some(port)) => (
            ".networkAttributes.ports".to_owned(),
            format!("looks at HTTP at port {port}, which is hardly one of HTTP: there it keeps out everybody; leave the port out"),
        ),
        (Some(_), None) => return,
    };
    if looks {
        warnings.0.push(Problem { document: label.to_owned(), path: format!("spec.rules[{index}]{path}"), message });
    }
}
