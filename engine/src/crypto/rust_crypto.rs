//! Signatures checked in pure Rust.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::key::Parsed;
use super::large::LargeKey;
use super::{Algorithm, Hash, PublicKey, Verifier};

/// Checks and makes signatures in pure Rust, with the RustCrypto crates.
#[derive(Debug, Clone, Copy)]
pub struct RustCrypto;

impl Verifier for RustCrypto {
    fn verify(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        if !key.algorithms().contains(&algorithm) {
            return false;
        }
        let digest = algorithm.hash().map(|hash| hash.digest(message)).unwrap_or_default();
        match &key.parsed {
            Parsed::Rsa(key) => verify_rsa(algorithm, key, &digest, signature),
            Parsed::P256(_) | Parsed::Large(_) => verify_prehashed(key, &digest, signature),
            Parsed::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature);
                signature.is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
            }
        }
    }

    fn checks(&self, algorithm: Algorithm) -> bool {
        LargeKey::IS_CHECKED_HERE || !matches!(algorithm, Algorithm::Es384 | Algorithm::Es512)
    }
}

#[inline(never)]
fn verify_rsa(algorithm: Algorithm, key: &RsaPublicKey, digest: &[u8], signature: &[u8]) -> bool {
    let pkcs1 = |padding: Pkcs1v15Sign| key.verify(padding, digest, signature).is_ok();
    let pss = |padding: Pss| key.verify(padding, digest, signature).is_ok();
    match algorithm {
        Algorithm::Rs256 => pkcs1(Pkcs1v15Sign::new::<Sha256>()),
        Algorithm::Rs384 => pkcs1(Pkcs1v15Sign::new::<Sha384>()),
        Algorithm::Rs512 => pkcs1(Pkcs1v15Sign::new::<Sha512>()),
        Algorithm::Ps256 => pss(Pss::new::<Sha256>()),
        Algorithm::Ps384 => pss(Pss::new::<Sha384>()),
        Algorithm::Ps512 => pss(Pss::new::<Sha512>()),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => false,
    }
}

/// Whether `signature` (r||s, see [`super::ecdsa_from_der`]) is `key`'s over `message`, with a digest that need not be
/// the one that JWS ties to the curve: certificates may be signed so (RFC 5758 section 3.2).
#[must_use]
pub fn verify_ecdsa(hash: Hash, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    verify_prehashed(key, &hash.digest(message), signature)
}

fn verify_prehashed(key: &PublicKey, digest: &[u8], signature: &[u8]) -> bool {
    match &key.parsed {
        Parsed::P256(key) => p256::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
        Parsed::Large(key) => key.verify(digest, signature),
        Parsed::Rsa(_) | Parsed::Ed25519(_) => false,
    }
}

impl Hash {
    pub(super) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}
