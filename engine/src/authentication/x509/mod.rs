//! `x509`: client certificates.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sidegate_config::X509Spec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::session::Cx;
use crate::time::Timestamp;

mod certificate;
mod roots;
mod signature;
mod source;
mod subject;
#[cfg(test)]
mod testing;
mod verification;
mod xfcc;

/// Verified certificates that a rule remembers; one is about 1 kB.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1000).expect("is not zero");

/// Verifies a client certificate by trusted CAs. What a verified one proves is its subject.
#[derive(Debug)]
pub struct X509 {
    source: source::Source,
    roots: roots::Roots,
    /// By SHA-256 of what was shown: checking a signature takes a thousand times as long as looking here.
    remembered: RefCell<LruCache<[u8; 32], Known>>,
}

/// A certificate that was verified, and while that holds.
#[derive(Debug)]
struct Known {
    identity: Rc<Value>,
    validity: certificate::Validity,
}

impl X509 {
    pub(super) fn compile(spec: &X509Spec, compiler: &mut Compiler<'_>) -> Self {
        let X509Spec { selector, all_namespaces, source } = spec;
        let namespace = (!all_namespaces).then_some(compiler.namespace);
        Self {
            source: compiler.at("source", |compiler| source::Source::compile(source.as_ref(), compiler)),
            roots: compiler.at("selector", |compiler| roots::Roots::compile(namespace, selector, compiler)),
            remembered: RefCell::new(LruCache::new(REMEMBERED)),
        }
    }

    pub(super) const fn challenge(&self) -> &'static str {
        "Certificate"
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let shown = self.source.find(cx)?;
        let digest: [u8; 32] = Sha256::digest(&shown).into();
        if let Some(identity) = self.recall(&digest, cx.time) {
            return Ok(identity);
        }
        let chain = self.source.decode(&shown)?;
        let (subject, validity) = verification::verify(&chain, &self.roots, cx.time)?;
        let identity = Rc::new(subject);
        self.remembered.borrow_mut().put(digest, Known { identity: Rc::clone(&identity), validity });
        Ok(identity)
    }

    fn recall(&self, digest: &[u8; 32], now: Timestamp) -> Option<Rc<Value>> {
        let mut remembered = self.remembered.borrow_mut();
        let known = remembered.get(digest)?;
        if known.validity.check(now).is_ok() {
            return Some(Rc::clone(&known.identity));
        }
        remembered.pop(digest);
        None
    }
}
