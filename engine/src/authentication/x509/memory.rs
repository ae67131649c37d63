//! Certificates whose paths were verified already: checking signatures takes a hundred times as long as all the rest.

use std::cell::RefCell;
use std::rc::Rc;

use lru::LruCache;
use serde_json::Value;

use super::certificate::Validity;
use crate::time::Timestamp;

/// Digest of what was shown and of all that it was verified by.
pub type Fingerprint = [u8; 32];

/// Certificates that were verified, least recently used first to be forgotten.
#[derive(Debug)]
pub struct CertificateMemory {
    capacity: usize,
    certificates: RefCell<LruCache<Fingerprint, Known>>,
}

#[derive(Debug)]
struct Known {
    identity: Rc<Value>,
    /// Of all certificates of the path together.
    validity: Validity,
}

impl CertificateMemory {
    /// For so many certificates; 0 remembers none.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        // Unbounded, since a bounded one takes all of its memory at once.
        Self { capacity, certificates: RefCell::new(LruCache::unbounded()) }
    }

    /// The identity of a certificate that was verified, if its path is valid now.
    #[must_use]
    pub fn recall(&self, fingerprint: &Fingerprint, now: Timestamp) -> Option<Rc<Value>> {
        let mut certificates = self.certificates.borrow_mut();
        let known = certificates.get(fingerprint)?;
        if known.validity.check(now).is_ok() {
            return Some(Rc::clone(&known.identity));
        }
        certificates.pop(fingerprint);
        None
    }

    /// Remembers a certificate that was verified.
    pub fn remember(&self, fingerprint: Fingerprint, identity: Rc<Value>, validity: Validity) {
        let mut certificates = self.certificates.borrow_mut();
        certificates.put(fingerprint, Known { identity, validity });
        while certificates.len() > self.capacity {
            certificates.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn remember(memory: &CertificateMemory, id: u8) {
        memory.remember([id; 32], Rc::new(json!(id)), Validity { not_before: 10, not_after: 20 });
    }

    fn recall(memory: &CertificateMemory, id: u8, secs: u64) -> Option<Value> {
        memory.recall(&[id; 32], Timestamp::from_secs(secs)).map(|identity| Value::clone(&identity))
    }

    #[test]
    fn what_is_remembered_holds_while_the_path_is_valid() {
        let memory = CertificateMemory::new(10);
        for (secs, expected) in [(10, Some(json!(1))), (20, Some(json!(1))), (21, None), (9, None)] {
            remember(&memory, 1);
            assert_eq!(recall(&memory, 1, secs), expected, "{secs}");
        }
        assert_eq!(recall(&memory, 2, 15), None);
    }

    #[test]
    fn the_least_recently_used_is_forgotten() {
        let memory = CertificateMemory::new(2);
        remember(&memory, 1);
        remember(&memory, 2);
        assert!(recall(&memory, 1, 15).is_some());
        remember(&memory, 3);
        assert!(recall(&memory, 2, 15).is_none());
        assert!(recall(&memory, 1, 15).is_some() && recall(&memory, 3, 15).is_some());
        let none = CertificateMemory::new(0);
        remember(&none, 1);
        assert!(recall(&none, 1, 15).is_none());
    }
}
