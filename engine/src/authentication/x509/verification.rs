//! Paths from a client certificate to a trusted CA (RFC 5280 section 6). Revocation is not looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, VerifiedPath,
};
use x509_cert::der::DateTime;

use super::certificate::{self, Validity};
use super::roots::Roots;
use super::{signature, subject};
use crate::error::StepError;
use crate::time::Timestamp;

/// Certificates of a chain that are looked at, the client's own among them.
const MAX_CHAIN: usize = 8;

/// Verifies the first certificate of a chain, with the others as intermediates: its subject as JSON, and while that holds.
pub fn verify(chain: &[CertificateDer<'_>], roots: &Roots, now: Timestamp) -> Result<(Value, Validity), StepError> {
    let Some((leaf, others)) = chain.split_first() else { return Err(invalid()) };
    if chain.len() > MAX_CHAIN {
        return Err(StepError::denied(format!("x509: more than {MAX_CHAIN} certificates")));
    }
    let parsed = certificate::parse(leaf).ok_or_else(invalid)?;
    let subject = subject::to_json(&parsed.subject).ok_or_else(invalid)?;
    let end_entity = EndEntityCert::try_from(leaf).map_err(refused)?;
    let intermediates = intermediates(others);
    let path = end_entity
        .verify_for_usage(
            signature::ALL,
            roots.anchors(),
            &intermediates,
            certificate::unix_time(now.secs()),
            Client,
            None,
            Some(&|path| upper_validity(path, roots, now).map(drop)),
        )
        .map_err(refused)?;
    let upper = upper_validity(&path, roots, now).map_err(refused)?;
    Ok((subject, certificate::validity(&parsed).and(upper)))
}

/// The intermediates that may help. Of those with one name the first stands, since each further one multiplies the paths
/// to be tried, and whoever sends them chooses how many.
fn intermediates<'a>(certificates: &'a [CertificateDer<'a>]) -> Vec<CertificateDer<'a>> {
    let mut seen = BTreeSet::new();
    let new = |der: &&CertificateDer<'_>| {
        EndEntityCert::try_from(*der).is_ok_and(|certificate| seen.insert(certificate.subject().to_vec()))
    };
    certificates.iter().filter(new).map(|der| CertificateDer::from(der.as_ref())).collect()
}

/// While all of a path but the client's own certificate is valid. `webpki` has no eye on the validity of its anchors, nor
/// on key usage.
fn upper_validity(path: &VerifiedPath<'_>, roots: &Roots, now: Timestamp) -> Result<Validity, Error> {
    let mut validity = roots.validity(path.anchor(), now)?;
    for intermediate in path.intermediate_certificates() {
        let parsed = certificate::parse(&intermediate.der()).ok_or(Error::BadDer)?;
        if !certificate::may_sign(&parsed) {
            return Err(Error::EndEntityUsedAsCa);
        }
        validity = validity.and(certificate::validity(&parsed));
    }
    Ok(validity)
}

/// `clientAuth` and `anyExtendedKeyUsage` (RFC 5280 section 4.2.1.12).
const CLIENT: [KeyPurposeId<'static>; 2] =
    [KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]), KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0])];

/// Wants `clientAuth` of each certificate that restricts its use; "any purpose" will do.
struct Client;

impl ExtendedKeyUsageValidator for Client {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut restricted = false;
        for purpose in purposes {
            restricted = true;
            if CLIENT.contains(&purpose?) {
                return Ok(());
            }
        }
        if restricted {
            let context = RequiredEkuNotFoundContext { required: KeyUsage::client_auth(), present: Vec::new() };
            return Err(Error::RequiredEkuNotFoundContext(context));
        }
        Ok(())
    }
}

/// No certificate at all, as the reason of Authorino has it.
pub fn invalid() -> StepError {
    StepError::denied("invalid client certificate")
}

/// The reason, as Go's `crypto/x509` words it where it has one.
fn refused(error: Error) -> StepError {
    let reason = match &error {
        Error::CertExpired { time, not_after } => {
            format!(
                "certificate has expired or is not yet valid: current time {} is after {}",
                at(*time),
                at(*not_after)
            )
        }
        Error::CertNotValidYet { time, not_before } => {
            let (time, not_before) = (at(*time), at(*not_before));
            format!("certificate has expired or is not yet valid: current time {time} is before {not_before}")
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        Error::EndEntityUsedAsCa => "certificate is not authorized to sign other certificates".to_owned(),
        Error::PathLenConstraintViolated => "too many intermediates for path length constraint".to_owned(),
        Error::NameConstraintViolation => {
            "a root or intermediate certificate is not authorized to sign for this name".to_owned()
        }
        Error::UnsupportedCriticalExtension => "unhandled critical extension".to_owned(),
        Error::CaUsedAsEndEntity => "certificate is a CA's, not a client's".to_owned(),
        Error::UnsupportedCertVersion => "certificate is not of version 3".to_owned(),
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::MalformedExtensions => return invalid(),
        _ => "certificate signed by unknown authority".to_owned(),
    };
    let refused = StepError::denied(format!("x509: {reason}"));
    match detail(&error) {
        Some(detail) => refused.because(detail),
        None => refused,
    }
}

/// What else the log may say of a CA that does not count.
const fn detail(error: &Error) -> Option<&'static str> {
    match error {
        Error::UnknownIssuer => Some("no trusted CA has the name of the issuer"),
        Error::InvalidSignatureForPublicKey => Some("there is a CA of that name, but the signature is not by its key"),
        Error::SignatureAlgorithmMismatch
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Some("the signature is of a kind that is not accepted, such as SHA-1")
        }
        _ => None,
    }
}

fn at(time: UnixTime) -> String {
    DateTime::from_unix_duration(Duration::from_secs(time.as_secs()))
        .map_or_else(|_| "?".to_owned(), |it| it.to_string())
}
