//! What the documents of servers are, once they are read.

use std::rc::Rc;

use super::discovery::Discovery;
use super::key_set::KeySet;
use super::{Location, jwks, rego, uma};
use crate::crypto::Algorithm;

/// A document that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A JSON Web Key Set, and what its keys are used for.
    Keys(Rc<KeySet>),
    /// What a UMA 2.0 server says of itself.
    Uma(Rc<uma::Configuration>),
    /// The text of a policy in Rego.
    Rego(Rc<str>),
}

impl Document {
    /// Reads what the server of a location sent, or what another worker published; with it what was passed over.
    ///
    /// # Errors
    /// It is no such document.
    pub fn read(
        location: &Location,
        discovery: Option<&Discovery>,
        content: &[u8],
    ) -> Result<(Self, Vec<String>), String> {
        match location {
            Location::Issuer(_) | Location::Jwks(_) => {
                let jwks::Keys { keys, notes } = jwks::parse(content)?;
                let algorithms = discovery.map(|discovery| discovery.algorithms.clone());
                let algorithms = algorithms.unwrap_or_else(|| Algorithm::ALL.to_vec());
                Ok((Self::Keys(Rc::new(KeySet { keys, algorithms })), notes))
            }
            Location::Uma(issuer) => Ok((Self::Uma(Rc::new(uma::parse(content, issuer)?)), Vec::new())),
            Location::Rego(place) => Ok((Self::Rego(rego::parse(content, place)?), Vec::new())),
        }
    }
}
