//! Signatures checked by Envoy, whose native code is many times faster than ours in the VM.
//!
//! Envoy offers `verify_signature` beyond the ABI, so each algorithm is tried with known answers before it is used.

use prost::Message;
use sidegate_engine::crypto::{Algorithm, PublicKey, RustCrypto, Verifier, ecdsa_to_der};

use crate::host;

/// Has Envoy check the signatures of the algorithms that it was seen to check right, and [`RustCrypto`] the others.
#[derive(Debug, Clone)]
pub struct HostVerifier {
    algorithms: Vec<Algorithm>,
}

/// Arguments of `verify_signature`.
#[derive(Message)]
struct Arguments {
    #[prost(string, tag = "1")]
    hash: String,
    /// DER of a `SubjectPublicKeyInfo`.
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    /// PKCS #1 v1.5, or DER of an ECDSA signature.
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    message: Vec<u8>,
}

/// What `verify_signature` answers.
#[derive(Message)]
struct Answer {
    #[prost(bool, tag = "1")]
    good: bool,
}

impl HostVerifier {
    /// Finds out what Envoy can check.
    #[must_use]
    pub fn probe() -> Self {
        let known = KNOWN.iter().filter(|(algorithm, key, signature)| {
            ask(*algorithm, key, MESSAGE, signature) && !ask(*algorithm, key, OTHER_MESSAGE, signature)
        });
        Self { algorithms: known.map(|(algorithm, ..)| *algorithm).collect() }
    }
}

impl Verifier for HostVerifier {
    fn verify(&self, algorithm: Algorithm, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        if !self.algorithms.contains(&algorithm) {
            return RustCrypto.verify(algorithm, key, message, signature);
        }
        // Envoy goes by the kind of the key, whatever the token says.
        if !key.algorithms().contains(&algorithm) {
            return false;
        }
        match algorithm {
            Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => {
                let signature = key.curve().and_then(|curve| ecdsa_to_der(curve, signature));
                signature.is_some_and(|signature| ask(algorithm, key.spki(), message, &signature))
            }
            _ => ask(algorithm, key.spki(), message, signature),
        }
    }

    fn checks(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm) || RustCrypto.checks(algorithm)
    }
}

fn ask(algorithm: Algorithm, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Some(hash) = algorithm.hash() else { return false };
    let arguments = Arguments {
        hash: hash.name().to_owned(),
        key: key.to_vec(),
        signature: signature.to_vec(),
        message: message.to_vec(),
    };
    let answer = host::call_foreign_function("verify_signature", &arguments.encode_to_vec());
    answer.ok().and_then(|bytes| Answer::decode(bytes.as_slice()).ok()).is_some_and(|answer| answer.good)
}

const MESSAGE: &[u8] = b"Sidegate asks whether signatures are checked here.";
const OTHER_MESSAGE: &[u8] = b"Sidegate asks whether signatures are checked there.";
const RSA: &[u8] = include_bytes!("verify/rsa.spki");

/// Keys and signatures over [`MESSAGE`], made once with OpenSSL; the private keys are gone.
const KNOWN: [(Algorithm, &[u8], &[u8]); 6] = [
    (Algorithm::Rs256, RSA, include_bytes!("verify/rs256.sig")),
    (Algorithm::Rs384, RSA, include_bytes!("verify/rs384.sig")),
    (Algorithm::Rs512, RSA, include_bytes!("verify/rs512.sig")),
    (Algorithm::Es256, include_bytes!("verify/es256.spki"), include_bytes!("verify/es256.sig")),
    (Algorithm::Es384, include_bytes!("verify/es384.spki"), include_bytes!("verify/es384.sig")),
    (Algorithm::Es512, include_bytes!("verify/es512.spki"), include_bytes!("verify/es512.sig")),
];
