//! Tokens whose signatures were checked already, a signature being the dearest thing that a request can ask for; and what was granted to
//! tokens and API keys.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::rc::{Rc, Weak};

use lru::LruCache;
use serde_json::Value;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::Times;
use super::grant::Grant;
use crate::crypto::Algorithm;
use crate::remote::{DocumentId, Key, KeySet, RemoteDocuments};
use crate::time::Timestamp;

/// Bytes of tokens that are remembered, for each that may be: as many shorter ones, fewer longer ones.
const MEAN_BYTES: usize = 2048;

/// Keyed digest of a token or an API key, and of everything that a rule checks in it: SipHash-2-4 with 128 bits.
///
/// Who wants a token of their own taken for one that was found good must find one with the same digest. SipHash is a
/// pseudo-random function: to those who have neither its key nor its results, each try succeeds with a chance of one in
/// 2^128 for each token remembered. The key is drawn anew for each policy in each VM, and neither it nor a digest ever leaves the
/// memory of tokens. A digest that anybody can compute, such as one of API keys in a configuration, is SHA-256.
pub type Fingerprint = u128;

/// A credential by which the memory may know somebody.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// A token: it is good until it expires or its key is withdrawn.
    Token(Fingerprint),
    /// An API key: it is good as long as the policy is in force.
    Key(Fingerprint),
}

/// Tokens that were found good and API keys that something was granted to, least recently used first to be forgotten.
#[derive(Debug)]
pub struct TokenMemory {
    capacity: usize,
    hasher: Keyed,
    inner: RefCell<Inner>,
}

#[derive(Clone, Copy)]
struct Keyed(SipHasher24);

impl fmt::Debug for Keyed {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
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
    /// Why it is good and whose it is; none: it is an API key.
    token: Option<(Proof, Rc<Value>)>,
    /// What was granted to it last.
    grant: Option<Rc<Grant>>,
    bytes: usize,
}

impl TokenMemory {
    /// For so many tokens; 0 remembers none.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        // Unbounded, since a bounded one takes all of its memory at once.
        // What hash maps are keyed with comes from the host's source of randomness; nobody can guess what it makes of two words.
        let [left, right] = [0_u64, 1].map(|half| RandomState::new().hash_one(half));
        let hasher = Keyed(SipHasher24::new_with_keys(left, right));
        Self { capacity, hasher, inner: RefCell::new(Inner { tokens: LruCache::unbounded(), bytes: 0 }) }
    }

    /// Digest of a token, and of what a rule checks in it.
    #[must_use]
    pub fn fingerprint(&self, checks: &[u8; 32], token: &[u8]) -> Fingerprint {
        let Keyed(mut hasher) = self.hasher;
        hasher.write(checks);
        hasher.write(token);
        hasher.finish128().as_u128()
    }

    /// The identity of a token that was found good, if it still is: it holds now, and the key that signed it is still in
    /// its set.
    #[must_use]
    pub fn recall(&self, fingerprint: &Fingerprint, documents: &RemoteDocuments, now: Timestamp) -> Option<Rc<Value>> {
        let mut inner = self.inner.borrow_mut();
        let (_, identity) = inner.find(fingerprint, documents, now)?.token.as_ref()?;
        Some(Rc::clone(identity))
    }

    /// What was granted last to a credential that was found good, if it still is.
    #[must_use]
    pub fn granted(&self, known: Known, documents: &RemoteDocuments, now: Timestamp) -> Option<Rc<Grant>> {
        let (Known::Token(fingerprint) | Known::Key(fingerprint)) = known;
        self.inner.borrow_mut().find(&fingerprint, documents, now)?.grant.clone()
    }

    /// Remembers what was granted to an API key, or to a token that is remembered; unless that would put the token itself out.
    pub fn grant(&self, known: Known, grant: Grant) {
        let mut inner = self.inner.borrow_mut();
        let most = most_bytes(self.capacity);
        let credential = match known {
            Known::Token(fingerprint) => inner.tokens.get_mut(&fingerprint),
            Known::Key(_) if grant.bytes() > most => None,
            Known::Key(fingerprint) => {
                let new = || Remembered { token: None, grant: None, bytes: 0 };
                Some(inner.tokens.get_or_insert_mut(fingerprint, new))
            }
        };
        let Some(credential) = credential else { return };
        let before = credential.grant.take().map_or(0, |grant| grant.bytes());
        let alone = credential.bytes.saturating_sub(before);
        let more = Some(grant.bytes()).filter(|more| alone.saturating_add(*more) <= most);
        credential.bytes = alone.saturating_add(more.unwrap_or(0));
        credential.grant = more.map(|_| Rc::new(grant));
        inner.bytes = inner.bytes.saturating_sub(before).saturating_add(more.unwrap_or(0));
        inner.trim(self.capacity);
    }

    /// Remembers a token that passed every check; `bytes` is its length.
    pub fn remember(&self, fingerprint: Fingerprint, identity: Rc<Value>, proof: Proof, bytes: usize) {
        if self.capacity == 0 {
            return;
        }
        let mut inner = self.inner.borrow_mut();
        inner.forget(&fingerprint);
        inner.bytes = inner.bytes.saturating_add(bytes);
        inner.tokens.put(fingerprint, Remembered { token: Some((proof, identity)), grant: None, bytes });
        inner.trim(self.capacity);
    }

    /// How many tokens and keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.borrow().tokens.len()
    }

    /// How many of them are remembered with what was granted to them.
    #[must_use]
    pub fn grants(&self) -> usize {
        self.inner.borrow().tokens.iter().filter(|(_, token)| token.grant.is_some()).count()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes of all tokens together.
const fn most_bytes(capacity: usize) -> usize {
    capacity.saturating_mul(MEAN_BYTES)
}

impl Inner {
    /// A credential that still holds; one that does not is forgotten.
    fn find(
        &mut self,
        fingerprint: &Fingerprint,
        documents: &RemoteDocuments,
        now: Timestamp,
    ) -> Option<&mut Remembered> {
        let token = self.tokens.get_mut(fingerprint)?.token.as_mut();
        if token.is_some_and(|(proof, _)| !proof.holds(documents, now)) {
            self.forget(fingerprint);
        }
        self.tokens.peek_mut(fingerprint)
    }

    fn trim(&mut self, capacity: usize) {
        while self.tokens.len() > capacity || self.bytes > most_bytes(capacity) {
            let Some((_, oldest)) = self.tokens.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_one_memory_of_one_rule_and_of_one_token() {
        let (memory, other) = (TokenMemory::new(1), TokenMemory::new(1));
        let fingerprint = memory.fingerprint(&[1; 32], b"token");
        assert_eq!(fingerprint, memory.fingerprint(&[1; 32], b"token"));
        for different in [
            memory.fingerprint(&[2; 32], b"token"),
            memory.fingerprint(&[1; 32], b"tokem"),
            memory.fingerprint(&[1; 32], b"token\0"),
            memory.fingerprint(&[1; 32], b""),
            other.fingerprint(&[1; 32], b"token"),
        ] {
            assert_ne!(fingerprint, different);
        }
    }
}
