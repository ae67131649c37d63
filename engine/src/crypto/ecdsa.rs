//! The two ways to write an ECDSA signature: r||s as JWS has it, and DER as X.509 and TLS have it.

use super::key::Parsed;
use super::large::signature_to_der;
use super::{Curve, PublicKey};

/// DER (RFC 3279 section 2.2.3) of a signature that is r||s; none if it has not the length that the curve asks for (RFC 7518
/// section 3.4), or r or s is out of range. Without the feature `curves`, the range of P-384 and P-521 is left to the host.
#[must_use]
pub fn ecdsa_to_der(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    match curve {
        _ if signature.len() != curve.field_size().saturating_mul(2) => None,
        Curve::P256 => p256::ecdsa::Signature::from_slice(signature).ok().map(|it| it.to_der().as_bytes().to_vec()),
        Curve::P384 | Curve::P521 => signature_to_der(curve, signature),
    }
}

/// r||s of a DER signature; none if it is malformed, or r or s is out of the curve's range.
#[cfg(feature = "x509")]
#[must_use]
pub fn ecdsa_from_der(curve: Curve, der: &[u8]) -> Option<Vec<u8>> {
    match curve {
        Curve::P256 => p256::ecdsa::Signature::from_der(der).ok().map(|it| it.to_bytes().to_vec()),
        Curve::P384 => p384::ecdsa::Signature::from_der(der).ok().map(|it| it.to_bytes().to_vec()),
        Curve::P521 => p521::ecdsa::Signature::from_der(der).ok().map(|it| it.to_bytes().to_vec()),
    }
}

impl PublicKey {
    /// The curve of an ECDSA key; none for other kinds.
    #[must_use]
    pub const fn curve(&self) -> Option<Curve> {
        match self.parsed {
            Parsed::P256(_) => Some(Curve::P256),
            Parsed::Large(ref key) => Some(key.curve()),
            Parsed::Rsa(_) | Parsed::Ed25519(_) => None,
        }
    }
}
