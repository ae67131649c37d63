//! CAs that are trusted, from Secrets.

use pki_types::pem::PemObject as _;
use pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest as _, Sha256};
use sidegate_config::{LabelSelector, ObjectMeta};
use webpki::{Error, anchor_from_trusted_cert};

use super::certificate::{self, Validity};
use crate::compile::Compiler;
use crate::resources::{Scope, check_selector};
use crate::time::Timestamp;

/// CAs that are trusted.
#[derive(Debug, Default)]
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// Of each anchor.
    validities: Vec<Validity>,
    /// Of all certificates, in order.
    digest: Sha256,
}

impl Roots {
    /// From the Secrets that a selector selects: all certificates of `tls.crt`, else of `ca.crt`. Secrets with neither
    /// are passed over.
    pub fn compile(scope: &Scope, selector: &LabelSelector, compiler: &mut Compiler<'_>) -> Self {
        check_selector(selector, compiler);
        let resources = compiler.resources;
        let mut roots = Self::default();
        for secret in resources.secrets(scope, selector) {
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
    pub(super) fn add(&mut self, pem: &[u8]) -> Result<(), String> {
        let mut number = 0_usize;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            number = number.saturating_add(1);
            let (anchor, validity) = certificate
                .map_err(|_| "is no PEM")
                .and_then(|certificate| {
                    self.digest.update(&certificate);
                    root(&certificate)
                })
                .map_err(|reason| format!("{reason} (certificate {number} of the bundle)"))?;
            self.anchors.push(anchor);
            self.validities.push(validity);
        }
        if number == 0 { Err("has no certificate: a CA certificate in PEM is needed".to_owned()) } else { Ok(()) }
    }

    /// Tells different sets of CAs apart.
    pub fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::x509::testing::{Ca, compiled, everything, pem};
    use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};

    fn roots(secrets: &[(&str, &str, &str)]) -> (usize, Vec<String>) {
        let (roots, problems) = compiled(&[], secrets, |compiler| Roots::compile(&Scope::All, &everything(), compiler));
        (roots.anchors.len(), problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn secrets_give_all_certificates_of_the_first_entry_they_have() {
        let (one, two) = (Ca::root("one"), Ca::root("two"));
        let bundle = pem(&[&one.certificate, &two.certificate]);
        let v1 = include_str!("../../../testdata/x509/version1.pem");
        assert_eq!(roots(&[("a", "tls.crt", &bundle), ("b", "ca.crt", &bundle)]), (4, vec![]));
        assert_eq!(roots(&[("a", "tls.crt", v1)]), (1, vec![]));
        assert_eq!(roots(&[("a", "api_key", "k"), ("b", "tls.crt", "")]), (0, vec![]));
    }

    #[test]
    fn what_is_no_ca_is_a_problem_that_names_secret_and_entry() {
        let ca = Ca::root("ca");
        let client = ca.client("alice");
        let signer = Ca::root_with("ca", |ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign]);
        let servers = Ca::root_with("ca", |ca| ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        let damaged = pem(&[&ca.certificate]).replace("M", "!");
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, reason) in [
            ("s3cret", "has no certificate: a CA certificate in PEM is needed"),
            (&damaged, "is no PEM (certificate 1 of the bundle)"),
            (no_certificate, "has something that is no X.509 certificate (certificate 1 of the bundle)"),
            (
                &pem(&[&ca.certificate, &client]),
                "has a certificate that may not sign others (basic constraints, key usage): keep CAs only \
                 (certificate 2 of the bundle)",
            ),
            (
                &pem(&[&signer.certificate]),
                "has a certificate that may not sign others (basic constraints, key usage): keep CAs only \
                 (certificate 1 of the bundle)",
            ),
            (
                &pem(&[&servers.certificate]),
                "has a CA that may not sign certificates of clients (extended key usage) (certificate 1 of the bundle)",
            ),
        ] {
            let (_, problems) = roots(&[("my-ca", "ca.crt", text)]);
            assert_eq!(problems, [format!("Secret `ns/my-ca`: `ca.crt` {reason}")]);
        }
    }
}
