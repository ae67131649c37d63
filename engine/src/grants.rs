//! Which namespaces let AuthConfigs of others refer to what they have: Gateway API's `ReferenceGrant`.

use sidegate_config::{GrantFrom, GrantTo, ReferenceGrant, ReferenceGrantSpec};

/// The ReferenceGrants of a configuration.
#[derive(Debug, Default)]
pub struct Grants(Vec<ReferenceGrant>);

/// What an AuthConfig may refer to in another namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referent {
    /// A Secret.
    Secret,
    /// An AuthConfig, to be imported.
    AuthConfig,
}

impl Referent {
    /// API group and kind.
    const fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Secret => ("", "Secret"),
            Self::AuthConfig => ("authorino.kuadrant.io", "AuthConfig"),
        }
    }
}

impl Grants {
    /// All of them.
    #[must_use]
    pub const fn new(grants: Vec<ReferenceGrant>) -> Self {
        Self(grants)
    }

    /// Whether AuthConfigs of a namespace may refer to a document of another; those of its own need no grant.
    #[must_use]
    pub fn permit(&self, from: &str, referent: Referent, namespace: &str, name: &str) -> bool {
        from == namespace
            || self.0.iter().any(
                |ReferenceGrant { metadata, spec: ReferenceGrantSpec { from: givers, to }, .. }| {
                    metadata.namespace == namespace
                        && givers.iter().any(|giver| is_from(giver, from))
                        && to.iter().any(|to| is_to(to, referent, name))
                },
            )
    }
}

fn is_from(GrantFrom { group, kind, namespace }: &GrantFrom, from: &str) -> bool {
    (group.as_str(), kind.as_str()) == Referent::AuthConfig.kind() && namespace == from
}

fn is_to(GrantTo { group, kind, name }: &GrantTo, referent: Referent, wanted: &str) -> bool {
    // Kubernetes has no empty names, so that an empty one is none.
    let any = name.as_ref().is_none_or(String::is_empty);
    (group.as_str(), kind.as_str()) == referent.kind() && (any || name.as_deref() == Some(wanted))
}
