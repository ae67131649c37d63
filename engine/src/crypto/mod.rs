//! Signatures: which algorithms there are, and who checks them.

/// Signature algorithms of JSON Web Algorithms (RFC 7518 section 3.1, RFC 8037) that rest on a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
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

/// Checks signatures. Who implements it may be faster than [`RustCrypto`], but never more lenient.
pub trait Verifier: std::fmt::Debug {
    /// Whether `signature` (as JWS has it: ECDSA as r||s) is `key`'s over `message`.
    fn verify(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool;
}

/// A public key: its DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// DER of the `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
}

/// Checks signatures in pure Rust, with the RustCrypto crates.
#[derive(Debug, Clone, Copy)]
pub struct RustCrypto;

impl Verifier for RustCrypto {
    fn verify(&self, _algorithm: Algorithm, _key: &PublicKey, _message: &[u8], _signature: &[u8]) -> bool {
        todo!()
    }
}
