//! The identity in a certificate: its one URI SAN.

use std::cell::RefCell;
use std::num::NonZeroUsize;

use lru::LruCache;
use percent_encoding::percent_decode;
use pki_types::CertificateDer;
use pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::spiffe::SpiffeId;

/// How many certificates are remembered: those of who calls now.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Longer ones are read each time.
const MAX_BYTES: usize = 16 << 10;

type Read = Result<Option<SpiffeId>, &'static str>;

/// Reads identities out of certificates that Envoy has validated, and remembers them by all of their bytes.
#[derive(Debug)]
pub struct Certificates(RefCell<LruCache<Box<[u8]>, Read>>);

impl Default for Certificates {
    fn default() -> Self {
        Self(RefCell::new(LruCache::new(REMEMBERED)))
    }
}

impl Certificates {
    /// The identity in a percent-encoded PEM certificate; none if it has no URI SAN.
    ///
    /// # Errors
    /// It has more than one, or one that is no SPIFFE ID, or is no certificate at all.
    pub fn identity(&self, pem: &[u8]) -> Read {
        if let Some(known) = self.0.borrow_mut().get(pem) {
            return known.clone();
        }
        let read = read(pem);
        if pem.len() <= MAX_BYTES {
            self.0.borrow_mut().put(pem.into(), read.clone());
        }
        read
    }
}

fn read(pem: &[u8]) -> Read {
    const UNREADABLE: &str = "the certificate cannot be read";
    let pem: Vec<u8> = percent_decode(pem).collect();
    let der = CertificateDer::from_pem_slice(&pem).map_err(|_| UNREADABLE)?;
    let certificate = Certificate::from_der(&der).map_err(|_| UNREADABLE)?.tbs_certificate;
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

    fn identity(uris: &[&str]) -> Read {
        let peer = Ca::root_with("peer", |params| {
            params.subject_alt_names.push(SanType::DnsName("cluster.local".try_into().unwrap()));
            params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        });
        let pem = pem(&[&peer.certificate]);
        let certificates = Certificates::default();
        let first = certificates.identity(pem.as_bytes());
        assert_eq!(certificates.identity(pem.as_bytes()), first);
        let encoded = pem.replace('\n', "%0A").replace('+', "%2B").replace(' ', "%20");
        assert_eq!(certificates.identity(encoded.as_bytes()), first);
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
    fn what_is_no_certificate_is_no_absent_identity() {
        for pem in [&b"x"[..], b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Certificates::default().identity(pem).is_err());
        }
    }
}
