//! Private keys, and signatures made with them.

use std::fmt;

use p256::ecdsa::signature::hazmat::{PrehashSigner as _, RandomizedPrehashSigner as _};
use pki_types::PrivateKeyDer;
use pki_types::pem::PemObject as _;
use rfc6979::HmacDrbg;
use rsa::pkcs8::der::Decode as _;
use rsa::pkcs8::{EncodePrivateKey as _, PrivateKeyInfo, SecretDocument};
use rsa::rand_core::{CryptoRng, Error as RngError, RngCore};
use rsa::traits::PrivateKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey, pkcs1};
use sec1::EcPrivateKey;
use sha2::{Sha256, Sha384, Sha512};

use super::key::{EC, RSA};
use super::{Algorithm, Curve, KeyError, PublicKey, RustCrypto};

/// Longest key in DER: RSA of 4096 bits has less than 2500 bytes.
const MAX_DER: usize = 4096;

/// Largest RSA modulus, in bits: above, a signature takes the better part of a second.
const MAX_RSA_BITS: usize = 4096;

/// Makes signatures. Who implements it may be faster than [`RustCrypto`]; what it returns is right.
pub trait Signer: fmt::Debug {
    /// The signature over `message`, as JWS has it (ECDSA as r||s); none if the algorithm is not one of
    /// [`SigningKey::algorithms`], or it cannot be made.
    fn sign(&self, algorithm: Algorithm, key: &SigningKey, message: &[u8]) -> Option<Vec<u8>>;
}

/// A private key that is fit to sign with.
pub struct SigningKey {
    private: Private,
    public: PublicKey,
}

enum Private {
    Rsa { key: Box<RsaPrivateKey>, pkcs8: SecretDocument },
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
    P521(Box<p521::ecdsa::SigningKey>),
}

impl SigningKey {
    /// From the first private key of a PEM: `EC PRIVATE KEY` (RFC 5915), `RSA PRIVATE KEY` (PKCS #1) or `PRIVATE KEY`
    /// (PKCS #8).
    ///
    /// # Errors
    /// There is none, it is encrypted or damaged, of a kind that [`SigningKey::algorithms`] does not know, or too weak.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        const NO_PEM: KeyError =
            KeyError("is no PEM of an `EC PRIVATE KEY`, `RSA PRIVATE KEY` or `PRIVATE KEY` without a password");
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| NO_PEM)?;
        if der.secret_der().len() > MAX_DER {
            return Err(KeyError("is larger than any key that is used here"));
        }
        match &der {
            PrivateKeyDer::Pkcs1(key) => Self::from_pkcs1(key.secret_pkcs1_der()),
            PrivateKeyDer::Sec1(key) => Self::from_sec1(key.secret_sec1_der(), None),
            PrivateKeyDer::Pkcs8(key) => {
                let info = PrivateKeyInfo::from_der(key.secret_pkcs8_der()).map_err(|_| KeyError("is damaged"))?;
                match info.algorithm.oid {
                    RSA => Self::from_pkcs1(info.private_key),
                    EC => Self::from_sec1(info.private_key, info.algorithm.parameters_oid().ok()),
                    _ => Err(KeyError("is neither an RSA nor an EC key")),
                }
            }
            _ => Err(NO_PEM),
        }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The algorithms that this kind of key signs with.
    #[must_use]
    pub const fn algorithms(&self) -> &'static [Algorithm] {
        match self.private {
            Private::Rsa { .. } => &[Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512],
            Private::P256(_) => &[Algorithm::Es256],
            Private::P384(_) => &[Algorithm::Es384],
            Private::P521(_) => &[Algorithm::Es512],
        }
    }

    /// DER of the PKCS #8 of an RSA key, for a host that signs; none for other kinds.
    #[must_use]
    pub fn rsa_pkcs8(&self) -> Option<&[u8]> {
        match &self.private {
            Private::Rsa { pkcs8, .. } => Some(pkcs8.as_bytes()),
            Private::P256(_) | Private::P384(_) | Private::P521(_) => None,
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let parts = pkcs1::RsaPrivateKey::from_der(der).map_err(|_| KeyError("is a damaged RSA key"))?;
        let number = |part: pkcs1::UintRef<'_>| BigUint::from_bytes_be(part.as_bytes());
        let (n, e) = (number(parts.modulus), number(parts.public_exponent));
        if n.bits() > MAX_RSA_BITS {
            return Err(KeyError("is an RSA key of more than 4096 bits"));
        }
        // The public half first: it sees to it that the modulus is neither small nor even.
        let public = PublicKey::from_rsa(rsa::RsaPublicKey::new_unchecked(n.clone(), e.clone()))
            .map_err(|_| KeyError("is an RSA key of less than 2048 bits, or none"))?;
        let primes = vec![number(parts.prime1), number(parts.prime2)];
        let key = RsaPrivateKey::from_components(n, e, number(parts.private_exponent), primes)
            .map_err(|_| KeyError("is an RSA key whose numbers do not fit together"))?;
        let pkcs8 = key.to_pkcs8_der().map_err(|_| KeyError("is an RSA key that cannot be written as PKCS #8"))?;
        Ok(Self { private: Private::Rsa { key: Box::new(key), pkcs8 }, public })
    }

    /// `named` is the curve that stands outside, in PKCS #8; a key that stands alone names it itself.
    fn from_sec1(der: &[u8], named: Option<rsa::pkcs8::ObjectIdentifier>) -> Result<Self, KeyError> {
        const DAMAGED: KeyError = KeyError("is a damaged EC key");
        let key = EcPrivateKey::from_der(der).map_err(|_| DAMAGED)?;
        let own = key.parameters.and_then(sec1::EcParameters::named_curve);
        let curve = named.or(own).and_then(Curve::from_oid);
        let curve = curve.ok_or(KeyError("is an EC key of another curve than P-256, P-384 and P-521"))?;
        if own.is_some_and(|own| Curve::from_oid(own) != Some(curve)) {
            return Err(DAMAGED);
        }
        let (private, point) = match curve {
            Curve::P256 => {
                let key = p256::SecretKey::try_from(key).map_err(|_| DAMAGED)?;
                let signing = p256::ecdsa::SigningKey::from(&key);
                let point = signing.verifying_key().to_encoded_point(false).to_bytes();
                (Private::P256(Box::new(signing)), point)
            }
            Curve::P384 => {
                let key = p384::SecretKey::try_from(key).map_err(|_| DAMAGED)?;
                let signing = p384::ecdsa::SigningKey::from(&key);
                let point = signing.verifying_key().to_encoded_point(false).to_bytes();
                (Private::P384(Box::new(signing)), point)
            }
            Curve::P521 => {
                let key = p521::SecretKey::try_from(key).map_err(|_| DAMAGED)?;
                let signing = p521::ecdsa::SigningKey::from_bytes(&key.to_bytes()).map_err(|_| DAMAGED)?;
                let point = p521::ecdsa::VerifyingKey::from(&signing).to_encoded_point(false).to_bytes();
                (Private::P521(Box::new(signing)), point)
            }
        };
        Ok(Self { private, public: PublicKey::from_point(curve, &point)? })
    }
}

impl fmt::Debug for SigningKey {
    /// The public half alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

impl Signer for RustCrypto {
    fn sign(&self, algorithm: Algorithm, key: &SigningKey, message: &[u8]) -> Option<Vec<u8>> {
        if !key.algorithms().contains(&algorithm) {
            return None;
        }
        let digest = algorithm.hash()?.digest(message);
        match &key.private {
            Private::Rsa { key, .. } => {
                let padding = match algorithm {
                    Algorithm::Rs256 => Pkcs1v15Sign::new::<Sha256>(),
                    Algorithm::Rs384 => Pkcs1v15Sign::new::<Sha384>(),
                    _ => Pkcs1v15Sign::new::<Sha512>(),
                };
                // Blinded, since the crate's arithmetic takes a time that depends on the numbers (RUSTSEC-2023-0071).
                let mut blinding = Derived::new(&key.d().to_bytes_be(), &digest, 0);
                key.sign_with_rng(&mut blinding, padding, &digest).ok()
            }
            // These two crates derive the nonce by RFC 6979 themselves.
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).ok()?;
                Some(signature.to_bytes().to_vec())
            }
            Private::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(&digest).ok()?;
                Some(signature.to_bytes().to_vec())
            }
            Private::P521(key) => {
                // RFC 6979 section 3.2 with qlen 521: of 66 bytes 7 bits are too many.
                let padded = [[0; 2].as_slice(), &digest].concat();
                let mut nonce = Derived::new(&key.to_bytes(), &padded, 7);
                let signature: p521::ecdsa::Signature = key.sign_prehash_with_rng(&mut nonce, &digest).ok()?;
                Some(signature.to_bytes().to_vec())
            }
        }
    }
}

/// Numbers that nobody can foretell who does not know the key, and that are others for each message: RFC 6979's way to
/// do without a source of randomness, which a filter may not have.
struct Derived {
    drbg: HmacDrbg<Sha512>,
    /// Bits by which what is asked for at once is made smaller.
    shift: u32,
}

impl Derived {
    fn new(key: &[u8], digest: &[u8], shift: u32) -> Self {
        Self { drbg: HmacDrbg::new(key, digest, &[]), shift }
    }
}

impl RngCore for Derived {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.drbg.fill_bytes(bytes);
        let mut above = 0u8;
        for byte in bytes.iter_mut().filter(|_| self.shift > 0) {
            let low = byte.wrapping_shl(8_u32.wrapping_sub(self.shift));
            let shifted = byte.wrapping_shr(self.shift) | above;
            (*byte, above) = (shifted, low);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Derived {}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::Verifier as _;

    const KEYS: [(&str, &str); 4] = [
        ("PRIVATE KEY", include_str!("../../../tests/fixtures/keys/rsa-1.pem")),
        ("RSA PRIVATE KEY", include_str!("../../../tests/fixtures/keys/rsa-1-pkcs1.pem")),
        ("PRIVATE KEY", include_str!("../../../tests/fixtures/keys/ec-384.pem")),
        ("EC PRIVATE KEY", include_str!("../../../tests/fixtures/keys/ec-521-sec1.pem")),
    ];

    fn der(pem: &str) -> Vec<u8> {
        STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    /// Signs with all that a damaged key may still be taken for.
    fn use_up(pem: &[u8]) {
        let Ok(key) = SigningKey::from_pem(pem) else { return };
        for algorithm in key.algorithms() {
            if let Some(signature) = RustCrypto.sign(*algorithm, &key, b"message") {
                assert!(RustCrypto.verify(*algorithm, key.public(), b"message", &signature));
            }
        }
    }

    #[test]
    fn a_key_signs_with_what_fits_it_alone() {
        for (label, text) in KEYS {
            let key = SigningKey::from_pem(pem(label, &der(text)).as_bytes()).unwrap();
            for algorithm in Algorithm::ALL {
                let signature = RustCrypto.sign(algorithm, &key, b"message");
                assert_eq!(signature.is_some(), key.algorithms().contains(&algorithm), "{label} {algorithm:?}");
                if let Some(signature) = signature {
                    assert!(RustCrypto.verify(algorithm, key.public(), b"message", &signature));
                    assert_eq!(
                        RustCrypto.sign(algorithm, &key, b"message"),
                        Some(signature),
                        "it is the same each time"
                    );
                }
            }
            assert!(!format!("{key:?}").contains("rivate"));
        }
    }

    /// The curve in PKCS #8 is that of the key, and a public key that is there belongs to it.
    #[test]
    fn keys_that_contradict_themselves_are_refused() {
        let p256 = der(include_str!("../../../tests/fixtures/keys/ec-256-sec1.pem"));
        let oid = der("BggqhkjOPQMBBw==");
        let at = p256.windows(oid.len()).position(|part| part == oid).unwrap();
        let mut other = p256.clone();
        other[at + oid.len() - 1] = 8;
        let refused = |der: &[u8]| SigningKey::from_pem(pem("EC PRIVATE KEY", der).as_bytes()).unwrap_err();
        assert_eq!(refused(&other).0, "is an EC key of another curve than P-256, P-384 and P-521");
        let mut other = p256.clone();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(refused(&other).0, "is a damaged EC key");
        assert_eq!(
            SigningKey::from_pem(pem("PRIVATE KEY", &[0; 5000]).as_bytes()).unwrap_err().0,
            "is larger than any key that is used here"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn no_damage_to_a_key_does_harm(which in 0..KEYS.len(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let (label, text) = KEYS[which];
            let mut bytes = der(text);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            use_up(pem(label, &bytes).as_bytes());
            use_up(pem(label, &bytes[..at]).as_bytes());
        }

        #[test]
        fn no_bytes_are_harmful_as_a_key(bytes in prop::collection::vec(any::<u8>(), 0..200), which in 0..KEYS.len()) {
            use_up(&bytes);
            use_up(pem(KEYS[which].0, &bytes).as_bytes());
        }
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// RFC 6979 sections A.2.5 to A.2.7: key, and signature over `sample` with the curve's own digest.
    #[test]
    fn ecdsa_is_deterministic_as_rfc_6979_says() {
        let p256 = p256::ecdsa::SigningKey::from_slice(&unhex(
            "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
        ));
        let p384 = p384::ecdsa::SigningKey::from_slice(&unhex(
            "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
        ));
        let p521 = p521::ecdsa::SigningKey::from_slice(&unhex(
            "00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75CAA896EB32F1F47C70855836A6D16FCC1466F6D8FB\
             EC67DB89EC0C08B0E996B83538",
        ));
        for (algorithm, private, signature) in [
            (
                Algorithm::Es256,
                Private::P256(Box::new(p256.unwrap())),
                "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716\
                 F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
            ),
            (
                Algorithm::Es384,
                Private::P384(Box::new(p384.unwrap())),
                "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46\
                 99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
            ),
            (
                Algorithm::Es512,
                Private::P521(Box::new(p521.unwrap())),
                "00C328FAFCBD79DD77850370C46325D987CB525569FB63C5D3BC53950E6D4C5F174E25A1EE9017B5D450606ADD152B534931\
                 D7D4E8455CC91F9B15BF05EC36E377FA\
                 00617CCE7CF5064806C467F678D3B4080D6F1CC50AF26CA209417308281B68AF282623EAA63E5B5C0723D8B8C37FF0777B1A\
                 20F8CCB1DCCC43997F1EE0E44DA4A67A",
            ),
        ] {
            let point = match &private {
                Private::P256(key) => key.verifying_key().to_encoded_point(false).to_bytes(),
                Private::P384(key) => key.verifying_key().to_encoded_point(false).to_bytes(),
                Private::P521(key) => p521::ecdsa::VerifyingKey::from(&**key).to_encoded_point(false).to_bytes(),
                Private::Rsa { .. } => unreachable!(),
            };
            let curve = match algorithm {
                Algorithm::Es256 => Curve::P256,
                Algorithm::Es384 => Curve::P384,
                _ => Curve::P521,
            };
            let key = SigningKey { private, public: PublicKey::from_point(curve, &point).unwrap() };
            let signed = RustCrypto.sign(algorithm, &key, b"sample").unwrap();
            assert_eq!(signed, unhex(signature), "{algorithm:?}");
            assert!(RustCrypto.verify(algorithm, key.public(), b"sample", &signed));
        }
    }
}
