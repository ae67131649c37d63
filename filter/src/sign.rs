//! Signatures made by Envoy, where a private RSA operation takes 1 ms instead of 14 in the VM.
//!
//! Envoy offers `sign` beyond the ABI. What it answers is checked by the public key each time: this shows whether there is
//! such a function at all, and no faulty signature, which may give the key away, ever gets out.

use prost::Message;
use sidegate_engine::crypto::{Algorithm, RustCrypto, Signer, SigningKey, Verifier as _};

use crate::host;
use crate::verify::HostVerifier;

/// Has Envoy make the signatures of RSA, and [`RustCrypto`] the others: those of ECDSA are quick, and their nonces are
/// derived as RFC 6979 says, which Envoy's are not.
#[derive(Debug)]
pub struct HostSigner {
    verifier: HostVerifier,
}

/// Arguments of `sign`.
#[derive(Message)]
struct Arguments {
    #[prost(string, tag = "1")]
    hash: String,
    /// DER of a PKCS #8.
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    message: Vec<u8>,
}

/// What `sign` answers.
#[derive(Message)]
struct Answer {
    #[prost(bool, tag = "1")]
    good: bool,
    /// PKCS #1 v1.5.
    #[prost(bytes = "vec", tag = "2")]
    signature: Vec<u8>,
}

impl HostSigner {
    /// `verifier` checks what Envoy signs.
    #[must_use]
    pub const fn new(verifier: HostVerifier) -> Self {
        Self { verifier }
    }

    fn ask(&self, algorithm: Algorithm, key: &SigningKey, message: &[u8]) -> Option<Vec<u8>> {
        let arguments = Arguments {
            hash: algorithm.hash()?.name().to_owned(),
            key: key.rsa_pkcs8()?.to_vec(),
            message: message.to_vec(),
        };
        let answer = host::call_foreign_function("sign", &arguments.encode_to_vec()).ok()?;
        let Answer { good, signature } = Answer::decode(answer.as_slice()).ok()?;
        (good && self.verifier.verify(algorithm, key.public(), message, &signature)).then_some(signature)
    }
}

impl Signer for HostSigner {
    fn sign(&self, algorithm: Algorithm, key: &SigningKey, message: &[u8]) -> Option<Vec<u8>> {
        let fits = key.algorithms().contains(&algorithm);
        let signature = fits.then(|| self.ask(algorithm, key, message)).flatten();
        signature.or_else(|| RustCrypto.sign(algorithm, key, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::envoy::host;

    #[test]
    fn envoy_signs_with_rsa_and_what_it_signs_wrong_is_signed_again() {
        let signer = HostSigner::new(HostVerifier::probe());
        let key = SigningKey::from_pem(include_bytes!("../../tests/fixtures/keys/rsa-1.pem")).unwrap();
        let right = RustCrypto.sign(Algorithm::Rs384, &key, b"message").unwrap();
        let answer = |good, signature: &[u8]| Answer { good, signature: signature.to_vec() }.encode_to_vec();
        for answer in [
            None,
            Some(answer(true, &right)),
            Some(answer(true, &right[1..])),
            Some(answer(true, b"")),
            Some(answer(false, &right)),
            Some(b"\xff".to_vec()),
        ] {
            host(|host| host.sign = answer.clone());
            assert_eq!(signer.sign(Algorithm::Rs384, &key, b"message"), Some(right.clone()), "{answer:?}");
        }
        let asked = host(|host| std::mem::take(&mut host.asked_to_sign));
        assert_eq!(asked.len(), 5);
        let Arguments { hash, key: der, message } = Arguments::decode(asked[0].as_slice()).unwrap();
        assert_eq!(
            (hash.as_str(), der.as_slice(), message.as_slice()),
            ("sha384", key.rsa_pkcs8().unwrap(), &b"message"[..])
        );
    }

    #[test]
    fn envoy_is_not_asked_for_what_it_is_not_to_sign() {
        let signer = HostSigner::new(HostVerifier::probe());
        let rsa = SigningKey::from_pem(include_bytes!("../../tests/fixtures/keys/rsa-1.pem")).unwrap();
        let ec = SigningKey::from_pem(include_bytes!("../../tests/fixtures/keys/ec-256.pem")).unwrap();
        host(|host| host.sign = Some(vec![8, 1]));
        assert_eq!(signer.sign(Algorithm::Es256, &rsa, b"message"), None);
        assert_eq!(signer.sign(Algorithm::Ps256, &rsa, b"message"), None);
        assert!(signer.sign(Algorithm::Es256, &ec, b"message").is_some());
        assert!(host(|host| host.asked_to_sign.is_empty()));
    }
}
