//! Keys of P-384 and P-521, for which each curve has a large library.

use p384::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs8::EncodePublicKey as _;

use super::Curve;

/// A point of one of them, ready for use.
#[derive(Clone)]
pub enum LargeKey {
    /// Of P-384.
    P384(Box<p384::ecdsa::VerifyingKey>),
    /// Of P-521.
    P521(Box<p521::ecdsa::VerifyingKey>),
}

impl LargeKey {
    /// Whether signatures under such keys can be checked without the host.
    pub const IS_CHECKED_HERE: bool = true;

    /// From a point (SEC 1 section 2.3.3), with it the DER of the `SubjectPublicKeyInfo`; none if it is no point of the curve, or this
    /// is neither of the two.
    pub fn read(curve: Curve, sec1: &[u8]) -> Option<(Vec<u8>, Self)> {
        match curve {
            Curve::P256 => None,
            Curve::P384 => {
                let key = p384::PublicKey::from_sec1_bytes(sec1).ok()?;
                Some((key.to_public_key_der().ok()?.into_vec(), Self::P384(Box::new(key.into()))))
            }
            Curve::P521 => {
                let key = p521::PublicKey::from_sec1_bytes(sec1).ok()?;
                let verifying = p521::ecdsa::VerifyingKey::from_affine(*key.as_affine()).ok()?;
                Some((key.to_public_key_der().ok()?.into_vec(), Self::P521(Box::new(verifying))))
            }
        }
    }

    /// Of which curve it is.
    pub const fn curve(&self) -> Curve {
        match self {
            Self::P384(_) => Curve::P384,
            Self::P521(_) => Curve::P521,
        }
    }

    /// Whether `signature` (r||s) is the key's over what has this digest.
    pub fn verify(&self, digest: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            // The crate refuses digests below half of the field's size, thus SHA-256, which is OpenSSL's default for
            // certificates of any curve; a digest counts as a number, so zeros in front change nothing.
            Self::P521(key) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&[&[0; 2], digest].concat(), &signature).is_ok()),
        }
    }
}

/// DER of a signature that is r||s; none if r or s is out of the curve's range.
pub fn signature_to_der(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    match curve {
        Curve::P256 => None,
        Curve::P384 => p384::ecdsa::Signature::from_slice(signature).ok().map(|it| it.to_der().as_bytes().to_vec()),
        Curve::P521 => p521::ecdsa::Signature::from_slice(signature).ok().map(|it| it.to_der().as_bytes().to_vec()),
    }
}
