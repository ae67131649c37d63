//! Signatures of certificates. SHA-1, and RSA keys that are too small, are not among them.

use pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{Encode as _, Tag};

use crate::crypto::{Algorithm, Curve, Hash, PublicKey, RustCrypto, Verifier as _, ecdsa_from_der, verify_ecdsa};

/// All that are accepted, common ones first. In certificates, unlike in tokens, each curve goes with each hash.
pub static ALL: &[&dyn SignatureVerificationAlgorithm] = &[
    &rsa(alg_id::RSA_PKCS1_SHA256, Algorithm::Rs256),
    &ecdsa(Curve::P256, Hash::Sha256),
    &ecdsa(Curve::P256, Hash::Sha384),
    &ecdsa(Curve::P256, Hash::Sha512),
    &ecdsa(Curve::P384, Hash::Sha256),
    &ecdsa(Curve::P384, Hash::Sha384),
    &ecdsa(Curve::P384, Hash::Sha512),
    &ecdsa(Curve::P521, Hash::Sha256),
    &ecdsa(Curve::P521, Hash::Sha384),
    &ecdsa(Curve::P521, Hash::Sha512),
    &Signature { key: alg_id::ED25519, signature: alg_id::ED25519, scheme: Scheme::Jws(Algorithm::EdDsa) },
    &rsa(alg_id::RSA_PKCS1_SHA384, Algorithm::Rs384),
    &rsa(alg_id::RSA_PKCS1_SHA512, Algorithm::Rs512),
    &rsa(alg_id::RSA_PSS_SHA256, Algorithm::Ps256),
    &rsa(alg_id::RSA_PSS_SHA384, Algorithm::Ps384),
    &rsa(alg_id::RSA_PSS_SHA512, Algorithm::Ps512),
];

#[derive(Debug)]
struct Signature {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    scheme: Scheme,
}

#[derive(Debug)]
enum Scheme {
    /// As JWS has it, apart from ECDSA.
    Jws(Algorithm),
    /// ECDSA; in certificates the signature is DER (RFC 3279 section 2.2.3).
    Ecdsa(Curve, Hash),
}

const fn rsa(signature: AlgorithmIdentifier, algorithm: Algorithm) -> Signature {
    Signature { key: alg_id::RSA_ENCRYPTION, signature, scheme: Scheme::Jws(algorithm) }
}

const fn ecdsa(curve: Curve, hash: Hash) -> Signature {
    let key = match curve {
        Curve::P256 => alg_id::ECDSA_P256,
        Curve::P384 => alg_id::ECDSA_P384,
        Curve::P521 => alg_id::ECDSA_P521,
    };
    let signature = match hash {
        Hash::Sha256 => alg_id::ECDSA_SHA256,
        Hash::Sha384 => alg_id::ECDSA_SHA384,
        Hash::Sha512 => alg_id::ECDSA_SHA512,
    };
    Signature { key, signature, scheme: Scheme::Ecdsa(curve, hash) }
}

impl SignatureVerificationAlgorithm for Signature {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }

    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let spki = spki(&self.key, key).map_err(|_| InvalidSignature)?;
        let key = PublicKey::from_spki(&spki).map_err(|_| InvalidSignature)?;
        let right = match self.scheme {
            Scheme::Jws(algorithm) => RustCrypto.verify(algorithm, &key, message, signature),
            Scheme::Ecdsa(curve, hash) => {
                ecdsa_from_der(curve, signature).is_some_and(|signature| verify_ecdsa(hash, &key, message, &signature))
            }
        };
        if right { Ok(()) } else { Err(InvalidSignature) }
    }
}

/// The `SubjectPublicKeyInfo` that a key was taken out of.
fn spki(algorithm: &[u8], key: &[u8]) -> x509_cert::der::Result<Vec<u8>> {
    let mut fields = AnyRef::new(Tag::Sequence, algorithm)?.to_der()?;
    BitStringRef::from_bytes(key)?.encode_to_vec(&mut fields)?;
    AnyRef::new(Tag::Sequence, &fields)?.to_der()
}
