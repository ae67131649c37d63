//! Signatures: which algorithms there are, what a key is, who checks, and who makes them.

mod ecdsa;
#[cfg(feature = "wristband")]
mod jwk;
mod key;
#[cfg(feature = "curves")]
mod large;
#[cfg(not(feature = "curves"))]
#[path = "large_by_host.rs"]
mod large;
#[cfg(all(test, feature = "curves"))]
mod large_by_host;
mod rust_crypto;
#[cfg(feature = "wristband")]
mod signing;

#[cfg(feature = "x509")]
pub use ecdsa::ecdsa_from_der;
pub use ecdsa::ecdsa_to_der;
pub use key::{Curve, KeyError, PublicKey};
pub use rust_crypto::{RustCrypto, verify_ecdsa};
#[cfg(feature = "wristband")]
pub use signing::{Signer, SigningKey};

/// Signature algorithms of JSON Web Algorithms (RFC 7518 section 3.1, RFC 8037) that rest on a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256; the salt is as long as the digest.
    Ps256,
    /// RSASSA-PSS with SHA-384; the salt is as long as the digest.
    Ps384,
    /// RSASSA-PSS with SHA-512; the salt is as long as the digest.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// ECDSA with P-521 and SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

/// Digests that signatures rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Checks signatures. Who implements it may be faster than [`RustCrypto`], but never more lenient: an algorithm that
/// is not among [`PublicKey::algorithms`] is never right.
pub trait Verifier: std::fmt::Debug {
    /// Whether `signature` (as JWS has it: ECDSA as r||s, see [`ecdsa_to_der`]) is `key`'s over `message`.
    fn verify(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool;

    /// Whether it can check signatures of this algorithm at all. Without the feature `curves`, [`RustCrypto`] cannot check those
    /// of P-384 and P-521.
    fn checks(&self, algorithm: Algorithm) -> bool;
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The name in `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// By the name in `alg`; `none`, the HS family and everything else we do not have is nothing.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The digest of the message that is signed; none for Ed25519, which signs the message itself.
    #[must_use]
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => Some(Hash::Sha256),
            Self::Rs384 | Self::Ps384 | Self::Es384 => Some(Hash::Sha384),
            Self::Rs512 | Self::Ps512 | Self::Es512 => Some(Hash::Sha512),
            Self::EdDsa => None,
        }
    }
}

impl Hash {
    /// Lower-case name without a dash, as Envoy's `verify_signature` wants it: `sha256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}
