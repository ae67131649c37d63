//! From bytes to documents, with every problem and its path.

use crate::{AuthConfig, Problem, Secret, Settings};

/// One resource.
#[derive(Debug, Clone)]
pub enum Document {
    /// An AuthConfig.
    AuthConfig(Box<AuthConfig>),
    /// A Kubernetes Secret.
    Secret(Box<Secret>),
}

/// A whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// All resources, in the order given.
    pub resources: Vec<Document>,
    /// Everything that is no resource.
    pub settings: Settings,
}

/// Decodes a plugin configuration: one AuthConfig, a Kubernetes `List`, or a `PluginConfig`.
///
/// # Errors
/// Every problem found: bytes that are no JSON, kinds and versions that are not known, fields that no type knows,
/// values of the wrong type, required fields that are missing.
pub fn decode(_bytes: &[u8]) -> Result<Documents, Vec<Problem>> {
    todo!()
}
