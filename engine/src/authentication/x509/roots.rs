//! CAs that are trusted, from Secrets.

use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, TrustAnchor};
use sidegate_config::{LabelSelector, ObjectMeta};
use webpki::{Error, anchor_from_trusted_cert};

use super::certificate::{self, Validity};
use crate::compile::Compiler;
use crate::time::Timestamp;

/// CAs that are trusted.
#[derive(Debug, Default)]
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// Of each anchor.
    validities: Vec<Validity>,
}

impl Roots {
    /// From the Secrets that a selector selects: all certificates of `tls.crt`, else of `ca.crt`. Secrets with neither
    /// are passed over.
    pub fn compile(namespace: Option<&str>, selector: &LabelSelector, compiler: &mut Compiler<'_>) -> Self {
        let resources = compiler.resources;
        let mut roots = Self::default();
        for secret in resources.secrets(namespace, selector) {
            let found = ["tls.crt", "ca.crt"].into_iter().find_map(|key| Some((key, secret.entry(key)?)));
            let Some((key, pem)) = found else { continue };
            if let Err(message) = roots.add(pem) {
                let ObjectMeta { namespace, name, .. } = &secret.document.metadata;
                compiler.problem(format!("Secret `{namespace}/{name}`: `{key}` {message}"));
            }
        }
        roots
    }

    /// Trusts all certificates of a bundle.
    fn add(&mut self, pem: &[u8]) -> Result<(), String> {
        let mut number = 0_usize;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            number = number.saturating_add(1);
            let (anchor, validity) = certificate
                .map_err(|_| "is no PEM")
                .and_then(|certificate| root(&certificate))
                .map_err(|reason| format!("{reason} (certificate {number} of the bundle)"))?;
            self.anchors.push(anchor);
            self.validities.push(validity);
        }
        if number == 0 { Err("has no certificate: a CA certificate in PEM is needed".to_owned()) } else { Ok(()) }
    }

    /// The keys that signatures are checked by.
    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// When a CA is valid. Of those that share name and key, such as a renewed one beside the old, the one that is valid
    /// now counts.
    pub fn validity(&self, anchor: &TrustAnchor<'_>, now: Timestamp) -> Result<Validity, Error> {
        let same = self.anchors.iter().zip(&self.validities).filter(|(other, _)| *other == anchor);
        same.map(|(_, validity)| validity.check(now).map(|()| *validity))
            .reduce(|earlier, later| earlier.or(later))
            .unwrap_or(Err(Error::UnknownIssuer))
    }
}

fn root(der: &CertificateDer<'_>) -> Result<(TrustAnchor<'static>, Validity), &'static str> {
    const NONE: &str = "has something that is no X.509 certificate";
    let certificate = certificate::parse(der).ok_or(NONE)?;
    let anchor = anchor_from_trusted_cert(der).map_err(|_| NONE)?.to_owned();
    if !certificate::may_sign(&certificate) {
        return Err("has a certificate that may not sign others (basic constraints, key usage): keep CAs only");
    }
    if !certificate::for_clients(&certificate) {
        return Err("has a CA that may not sign certificates of clients (extended key usage)");
    }
    Ok((anchor, certificate::validity(&certificate)))
}
