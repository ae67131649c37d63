//! What verification itself does not tell of a certificate: how long it is valid, and whether it may sign others.

use pki_types::{CertificateDer, UnixTime};
use webpki::Error;
use x509_cert::certificate::Version;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::{Certificate, TbsCertificate};

use crate::time::Timestamp;

/// OIDs of the purposes that allow a certificate to prove a client (RFC 5280 section 4.2.1.12): `clientAuth` and any.
const CLIENT: [&str; 2] = ["1.3.6.1.5.5.7.3.2", "2.5.29.37.0"];

/// A time that certificates are valid in: seconds since the Unix epoch, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: u64,
    /// Last second.
    pub not_after: u64,
}

impl Validity {
    /// The time in which both are valid.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { not_before: self.not_before.max(other.not_before), not_after: self.not_after.min(other.not_after) }
    }

    /// Whether it is valid now.
    pub fn check(self, now: Timestamp) -> Result<(), Error> {
        let Self { not_before, not_after } = self;
        let time = unix_time(now.secs());
        if now.secs() < not_before {
            Err(Error::CertNotValidYet { time, not_before: unix_time(not_before) })
        } else if now.secs() > not_after {
            Err(Error::CertExpired { time, not_after: unix_time(not_after) })
        } else {
            Ok(())
        }
    }
}

/// Seconds since the Unix epoch as `webpki` has them.
pub fn unix_time(secs: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs))
}

/// Parses a certificate.
pub fn parse(der: &CertificateDer<'_>) -> Option<TbsCertificate> {
    Certificate::from_der(der).ok().map(|certificate| certificate.tbs_certificate)
}

/// When a certificate is valid.
pub fn validity(certificate: &TbsCertificate) -> Validity {
    let x509_cert::time::Validity { not_before, not_after } = certificate.validity;
    Validity { not_before: not_before.to_unix_duration().as_secs(), not_after: not_after.to_unix_duration().as_secs() }
}

/// Whether a certificate may sign others: a CA by its basic constraints, and not kept from it by its key usage. One of
/// version 1 has neither, and is a CA if it was configured as one.
pub fn may_sign(certificate: &TbsCertificate) -> bool {
    let ca = match certificate.get::<BasicConstraints>() {
        Ok(Some((_, constraints))) => constraints.ca,
        Ok(None) => certificate.version == Version::V1,
        Err(_) => false,
    };
    let usage = match certificate.get::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    ca && usage
}

/// Whether a certificate may be on a path to a client's: its extended key usage says so, or it has none.
pub fn for_clients(certificate: &TbsCertificate) -> bool {
    match certificate.get::<ExtendedKeyUsage>() {
        Ok(Some((_, ExtendedKeyUsage(purposes)))) => {
            purposes.iter().any(|purpose| CLIENT.contains(&purpose.to_string().as_str()))
        }
        Ok(None) => true,
        Err(_) => false,
    }
}
