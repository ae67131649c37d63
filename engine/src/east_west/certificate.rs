//! The identity in a certificate: its one URI SAN.

use std::cell::RefCell;
use std::num::NonZeroUsize;

use lru::LruCache;
use percent_encoding::percent_decode;
use pki_types::CertificateDer;
use pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::spiffe::SpiffeId;

/// How many certificates are remembered: those of who calls now.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// What is in a certificate, whether or not it is valid.
pub type Read = Result<Option<SpiffeId>, &'static str>;

/// Reads identities out of certificates, and remembers them by the digest of all that is in the certificate.
#[derive(Debug)]
pub struct Certificates(RefCell<LruCache<Box<[u8]>, Read>>);

impl Default for Certificates {
    fn default() -> Self {
        // Unbounded, since a bounded one takes all of its memory at once.
        Self(RefCell::new(LruCache::unbounded()))
    }
}

impl Certificates {
    /// The identity in the certificate of this digest; none if that was not read.
    pub fn recall(&self, digest: &[u8]) -> Option<Read> {
        self.0.borrow_mut().get(digest).cloned()
    }

    /// The identity in a percent-encoded PEM certificate; none if it has no URI SAN. It is remembered if the digest is the
    /// certificate's own.
    ///
    /// # Errors
    /// It has more than one, or one that is no SPIFFE ID, or is no certificate at all.
    pub fn identity(&self, pem: &[u8], digest: Option<&[u8]>) -> Read {
        let pem: Vec<u8> = percent_decode(pem).collect();
        let der = CertificateDer::from_pem_slice(&pem).map_err(|_| UNREADABLE)?;
        let read = read(&der);
        if let Some(digest) = digest.filter(|digest| format!("{:x}", Sha256::digest(&der)).as_bytes() == *digest) {
            let mut remembered = self.0.borrow_mut();
            remembered.put(digest.into(), read.clone());
            while remembered.len() > REMEMBERED.get() {
                remembered.pop_lru();
            }
        }
        read
    }
}

const UNREADABLE: &str = "the certificate cannot be read";

fn read(der: &[u8]) -> Read {
    let certificate = Certificate::from_der(der).map_err(|_| UNREADABLE)?.tbs_certificate;
    let names = match certificate.get::<SubjectAltName>() {
        Ok(Some((_, SubjectAltName(names)))) => names,
        Ok(None) => return Ok(None),
        Err(_) => return Err(UNREADABLE),
    };
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (None, _) => Ok(None),
        (Some(uri), None) => SpiffeId::parse(uri).map(Some),
        (Some(_), Some(_)) => Err("the certificate has more than one URI SAN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::x509::testing::{Ca, pem};
    use rcgen::SanType;

    /// A certificate as Envoy has it: PEM, and its digest.
    fn certificate(uris: &[&str]) -> (String, String) {
        let peer = Ca::root_with("peer", |params| {
            params.subject_alt_names.push(SanType::DnsName("cluster.local".try_into().unwrap()));
            params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        });
        (pem(&[&peer.certificate]), format!("{:x}", Sha256::digest(&peer.certificate)))
    }

    fn identity(uris: &[&str]) -> Read {
        let (pem, digest) = certificate(uris);
        let certificates = Certificates::default();
        let first = certificates.identity(pem.as_bytes(), None);
        assert_eq!(certificates.recall(digest.as_bytes()), None, "nobody said its digest");
        let encoded = pem.replace('\n', "%0A").replace('+', "%2B").replace(' ', "%20");
        assert_eq!(certificates.identity(encoded.as_bytes(), Some(digest.as_bytes())), first);
        assert_eq!(certificates.recall(digest.as_bytes()), Some(first.clone()));
        first
    }

    #[test]
    fn all_names_of_the_certificate_count() {
        assert_eq!(identity(&[]), Ok(None));
        assert_eq!(identity(&["spiffe://td/a"]).unwrap().unwrap().as_str(), "spiffe://td/a");
        assert!(identity(&["spiffe://td/a", "spiffe://td/b"]).unwrap_err().contains("more than one"));
        assert!(identity(&["spiffe://td/a", "https://td/b"]).unwrap_err().contains("more than one"));
        assert!(identity(&["https://td/a"]).is_err());
        assert!(identity(&["spiffe://td"]).is_err());
        assert!(identity(&["spiffe://td/a,By=x;URI=spiffe://td/b"]).is_err());
    }

    #[test]
    fn nothing_is_remembered_by_a_digest_that_is_not_its_own() {
        let ((evil, _), (_, friend)) = (certificate(&["spiffe://td/evil"]), certificate(&["spiffe://td/friend"]));
        let certificates = Certificates::default();
        let upper = friend.to_uppercase();
        for digest in [friend.as_str(), &upper, "", "-", &friend[1..]] {
            let read = certificates.identity(evil.as_bytes(), Some(digest.as_bytes()));
            assert_eq!(read.unwrap().unwrap().as_str(), "spiffe://td/evil");
            assert_eq!(certificates.recall(digest.as_bytes()), None, "{digest}");
        }
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let certificates = Certificates::default();
        let (first, digest) = certificate(&["spiffe://td/first"]);
        drop(certificates.identity(first.as_bytes(), Some(digest.as_bytes())));
        for number in 0..2000 {
            // What is no certificate has a digest like any other bytes.
            let der = format!("no certificate {number}").into_bytes();
            let digest = format!("{:x}", Sha256::digest(&der));
            let pem = pem(&[&CertificateDer::from(der)]);
            assert!(certificates.identity(pem.as_bytes(), Some(digest.as_bytes())).is_err());
        }
        assert_eq!(certificates.0.borrow().len(), REMEMBERED.get());
        assert_eq!(certificates.recall(digest.as_bytes()), None);
    }

    #[test]
    fn what_is_no_certificate_is_no_absent_identity() {
        for pem in [&b"x"[..], b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Certificates::default().identity(pem, None).is_err());
        }
    }
}
