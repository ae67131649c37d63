//! What the keys of a set are used for.

use std::rc::Rc;

use super::jwks::Key;
use crate::crypto::Algorithm;

/// The keys of a set at one time. The same keys are the same set (by [`Rc::ptr_eq`]), however often they were fetched.
#[derive(Debug, PartialEq, Eq)]
pub struct KeySet {
    pub(super) keys: Vec<Rc<Key>>,
    pub(super) algorithms: Vec<Algorithm>,
}

impl KeySet {
    /// Whether tokens may be signed so.
    #[must_use]
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// The algorithms that tokens may be signed with.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Whether a key has this id.
    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The keys that a signature may be of: those with the id (none given: all) that are for the algorithm.
    pub fn candidates(&self, algorithm: Algorithm, kid: Option<&str>) -> impl Iterator<Item = &Rc<Key>> {
        let fits = move |key: &&Rc<Key>| kid.is_none() || key.kid.as_deref() == kid;
        let allowed = self.allows(algorithm);
        self.keys.iter().filter(fits).filter(move |key| allowed && key.algorithms.contains(&algorithm))
    }

    /// Whether a signature by this key still counts.
    #[must_use]
    pub fn has(&self, algorithm: Algorithm, key: &Key) -> bool {
        self.allows(algorithm) && self.keys.iter().any(|known| **known == *key)
    }
}
