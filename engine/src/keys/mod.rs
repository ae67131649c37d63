//! JSON Web Key Sets: fetched by the root context, shared by all requests.

use sidegate_config::Upstream;

/// Tells the key sets of one policy apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySetId(pub u32);

/// Collects the key sets that rules ask for.
#[derive(Debug)]
pub struct KeySetsBuilder {}

impl KeySetsBuilder {
    /// Empty.
    pub fn new(_upstreams: &[Upstream]) -> Self {
        Self {}
    }

    /// All of them.
    pub fn build(self) -> KeySets {
        KeySets {}
    }
}

/// The key sets of a policy.
#[derive(Debug)]
pub struct KeySets {}
