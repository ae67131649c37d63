//! Tokens whose signatures were checked already: a signature is the dearest thing that a request can ask for.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use lru::LruCache;
use serde_json::Value;

use super::Times;
use crate::crypto::Algorithm;
use crate::remote::{DocumentId, Key, KeySet, RemoteDocuments};
use crate::time::Timestamp;

/// Bytes of tokens that are remembered, for each that may be: as many shorter ones, fewer longer ones.
const MEAN_BYTES: usize = 2048;

/// Digest of a token and of everything that a rule checks in it.
pub type Fingerprint = [u8; 32];

/// Tokens that were found good, least recently used first to be forgotten.
#[derive(Debug)]
pub struct TokenMemory {
    capacity: usize,
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    tokens: LruCache<Fingerprint, Remembered>,
    bytes: usize,
}

/// Why a token was found good.
#[derive(Debug)]
pub struct Proof {
    /// The key set that the rule trusts.
    pub key_set: DocumentId,
    /// The state of the set that the key was found in.
    pub keys: Weak<KeySet>,
    /// The key that signed.
    pub key: Rc<Key>,
    /// How it signed.
    pub algorithm: Algorithm,
    /// When the token holds.
    pub times: Times,
}

#[derive(Debug)]
struct Remembered {
    proof: Proof,
    identity: Rc<Value>,
    bytes: usize,
}

impl TokenMemory {
    /// For so many tokens; 0 remembers none.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        // Unbounded, since a bounded one takes all of its memory at once.
        Self { capacity, inner: RefCell::new(Inner { tokens: LruCache::unbounded(), bytes: 0 }) }
    }

    /// The identity of a token that was found good, if it still is: it holds now, and the key that signed it is still in
    /// its set.
    #[must_use]
    pub fn recall(&self, fingerprint: &Fingerprint, documents: &RemoteDocuments, now: Timestamp) -> Option<Rc<Value>> {
        let mut inner = self.inner.borrow_mut();
        let token = inner.tokens.get_mut(fingerprint)?;
        if token.proof.holds(documents, now) {
            return Some(Rc::clone(&token.identity));
        }
        inner.forget(fingerprint);
        None
    }

    /// Remembers a token that passed every check; `bytes` is its length.
    pub fn remember(&self, fingerprint: Fingerprint, identity: Rc<Value>, proof: Proof, bytes: usize) {
        if self.capacity == 0 {
            return;
        }
        let mut inner = self.inner.borrow_mut();
        inner.forget(&fingerprint);
        inner.bytes = inner.bytes.saturating_add(bytes);
        inner.tokens.put(fingerprint, Remembered { proof, identity, bytes });
        while inner.tokens.len() > self.capacity || inner.bytes > self.capacity.saturating_mul(MEAN_BYTES) {
            let Some((_, oldest)) = inner.tokens.pop_lru() else { break };
            inner.bytes = inner.bytes.saturating_sub(oldest.bytes);
        }
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.borrow().tokens.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn forget(&mut self, fingerprint: &Fingerprint) {
        if let Some(token) = self.tokens.pop(fingerprint) {
            self.bytes = self.bytes.saturating_sub(token.bytes);
        }
    }
}

impl Proof {
    fn holds(&mut self, documents: &RemoteDocuments, now: Timestamp) -> bool {
        let Some(current) = documents.key_set(self.key_set) else { return false };
        if !std::ptr::eq(self.keys.as_ptr(), Rc::as_ptr(&current)) {
            if !current.has(self.algorithm, &self.key) {
                return false;
            }
            self.keys = Rc::downgrade(&current);
        }
        self.times.check(now).is_ok()
    }
}
