//! `x509`: client certificates.

use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sidegate_config::X509Spec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::session::Cx;

mod certificate;
mod memory;
mod roots;
mod signature;
mod source;
mod subject;
#[cfg(test)]
mod testing;
mod verification;
mod xfcc;

pub use memory::CertificateMemory;
use memory::Fingerprint;

/// Verifies a client certificate by trusted CAs. What a verified one proves is its subject.
#[derive(Debug)]
pub struct X509 {
    source: source::Source,
    roots: roots::Roots,
    /// Digest begun with everything that a certificate is verified by, so that rules with the same know the same ones.
    checks: Sha256,
}

impl X509 {
    pub(super) fn compile(spec: &X509Spec, compiler: &mut Compiler<'_>) -> Self {
        let X509Spec { selector, all_namespaces, source } = spec;
        let namespace = (!all_namespaces).then_some(compiler.namespace);
        let source = compiler.at("source", |compiler| source::Source::compile(source.as_ref(), compiler));
        let roots = compiler.at("selector", |compiler| roots::Roots::compile(namespace, selector, compiler));
        let checks = Sha256::new().chain_update(source.form()).chain_update(roots.digest());
        Self { source, roots, checks }
    }

    pub(super) const fn challenge(&self) -> &'static str {
        "Certificate"
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let shown = self.source.find(cx)?;
        let fingerprint: Fingerprint = self.checks.clone().chain_update(&shown).finalize().into();
        let certificates = cx.policy.certificates();
        if let Some(identity) = certificates.recall(&fingerprint, cx.time) {
            return Ok(identity);
        }
        let chain = self.source.decode(&shown)?;
        let (subject, validity) = verification::verify(&chain, &self.roots, cx.time)?;
        let identity = Rc::new(subject);
        certificates.remember(fingerprint, Rc::clone(&identity), validity);
        Ok(identity)
    }
}
