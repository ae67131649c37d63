//! Public keys: parsed once, when a key set or a certificate is loaded.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::{Decode as _, asn1::ObjectIdentifier};
use ed25519_dalek::pkcs8::spki::{EncodePublicKey as _, SubjectPublicKeyInfoRef};
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey};

use super::Algorithm;
use super::large::LargeKey;

/// Smallest and largest RSA modulus, in bits. Below, signatures can be forged; above, each check costs too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The largest modulus with a zero in front, in bytes.
const RSA_BYTES: usize = 1025;

pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A public key that is fit to check signatures with. Without the feature `curves`, whether one of P-384 or P-521 is a point of
/// its curve is left to the host, which alone uses it.
#[derive(Clone)]
pub struct PublicKey {
    spki: Box<[u8]>,
    pub(super) parsed: Parsed,
}

/// The same, ready for use.
#[derive(Clone)]
pub(super) enum Parsed {
    Rsa(Box<RsaPublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Large(LargeKey),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

/// Elliptic curves for ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256 (secp256r1).
    P256,
    /// NIST P-384 (secp384r1).
    P384,
    /// NIST P-521 (secp521r1).
    P521,
}

/// Why bytes are no usable key; lower-case, no secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyError(pub &'static str);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl PublicKey {
    /// From the DER of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1), as a certificate has it.
    ///
    /// # Errors
    /// It is not well-formed, of a kind that no [`Algorithm`] uses, or too weak.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let info =
            SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError("the key is no SubjectPublicKeyInfo"))?;
        let bits = info.subject_public_key.as_bytes().ok_or(KeyError("the key has a broken octet"))?;
        match info.algorithm.oid {
            RSA => {
                let key = RsaPublicKey::from_public_key_der(der).map_err(|_| KeyError("the RSA key is malformed"))?;
                Self::from_rsa(key)
            }
            EC => {
                let curve = info.algorithm.parameters_oid().ok().and_then(Curve::from_oid);
                Self::from_point(curve.ok_or(KeyError("the curve is none of P-256, P-384 and P-521"))?, bits)
            }
            ED25519 => Self::ed25519(bits),
            _ => Err(KeyError("the key is neither RSA, nor EC, nor Ed25519")),
        }
    }

    /// An RSA key from its modulus and public exponent, big-endian.
    ///
    /// # Errors
    /// The modulus is not of 2048 to 8192 bits, or one of them is even or the exponent out of bounds.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        // A bound before the conversion, whose cost grows with the length.
        if modulus.len().max(exponent.len()) > RSA_BYTES {
            return Err(KeyError("the RSA key is longer than 8192 bits"));
        }
        let (n, e) = (BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent));
        Self::from_rsa(RsaPublicKey::new_unchecked(n, e))
    }

    /// An EC key from its affine coordinates, big-endian, each of the field's full size (RFC 7518 section 6.2.1.2).
    ///
    /// # Errors
    /// A coordinate has another size, or the point is not on the curve.
    pub fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if x.len() != curve.field_size() || y.len() != curve.field_size() {
            return Err(KeyError("a coordinate has not the size of the curve's field"));
        }
        Self::from_point(curve, &[&[4], x, y].concat())
    }

    /// An Ed25519 key from its 32 bytes.
    ///
    /// # Errors
    /// It is no point, or one of those of small order, under which one signature fits many messages.
    pub fn ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.try_into().map_err(|_| KeyError("the Ed25519 key is not 32 bytes long"))?;
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError("the Ed25519 key is no point"))?;
        if key.is_weak() {
            return Err(KeyError("the Ed25519 key is of small order"));
        }
        Self::new(key.to_public_key_der(), Parsed::Ed25519(Box::new(key)))
    }

    /// DER of the `SubjectPublicKeyInfo`, for a host that checks signatures.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The algorithms that this kind of key is for.
    #[must_use]
    pub const fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self.parsed {
            Parsed::Rsa(_) => &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
            Parsed::P256(_) => &[Es256],
            Parsed::Large(ref key) => match key.curve() {
                Curve::P256 => &[Es256],
                Curve::P384 => &[Es384],
                Curve::P521 => &[Es512],
            },
            Parsed::Ed25519(_) => &[EdDsa],
        }
    }

    pub(super) fn from_rsa(key: RsaPublicKey) -> Result<Self, KeyError> {
        if !RSA_BITS.contains(&key.n().bits()) {
            return Err(KeyError("the RSA key is not of 2048 to 8192 bits"));
        }
        let odd = |number: &BigUint| number.to_bytes_le().first().is_some_and(|low| low & 1 == 1);
        let key = RsaPublicKey::new_with_max_size(key.n().clone(), key.e().clone(), *RSA_BITS.end());
        let key = key.ok().filter(|key| odd(key.n()) && odd(key.e()));
        let key = key.ok_or(KeyError("the RSA key's modulus or exponent is none"))?;
        Self::new(key.to_public_key_der(), Parsed::Rsa(Box::new(key)))
    }

    pub(super) fn from_point(curve: Curve, sec1: &[u8]) -> Result<Self, KeyError> {
        const NO_POINT: KeyError = KeyError("the key is no point of its curve");
        match curve {
            Curve::P256 => {
                let key = p256::PublicKey::from_sec1_bytes(sec1).map_err(|_| NO_POINT)?;
                Self::new(key.to_public_key_der(), Parsed::P256(Box::new(key.into())))
            }
            Curve::P384 | Curve::P521 => {
                let (spki, key) = LargeKey::read(curve, sec1).ok_or(NO_POINT)?;
                Ok(Self { spki: spki.into(), parsed: Parsed::Large(key) })
            }
        }
    }

    fn new<E>(spki: Result<rsa::pkcs8::Document, E>, parsed: Parsed) -> Result<Self, KeyError> {
        let spki = spki.map_err(|_| KeyError("the key cannot be written as SubjectPublicKeyInfo"))?;
        Ok(Self { spki: spki.into_vec().into(), parsed })
    }
}

impl Curve {
    pub(super) const fn field_size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The name in `crv` (RFC 7518 section 6.2.1.1).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    pub(super) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => const { ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7") },
            Self::P384 => const { ObjectIdentifier::new_unwrap("1.3.132.0.34") },
            Self::P521 => const { ObjectIdentifier::new_unwrap("1.3.132.0.35") },
        }
    }

    pub(super) fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| curve.oid() == oid)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.parsed {
            Parsed::Rsa(_) => "RSA",
            Parsed::P256(_) => Curve::P256.name(),
            Parsed::Large(key) => key.curve().name(),
            Parsed::Ed25519(_) => "Ed25519",
        };
        write!(f, "PublicKey({kind})")
    }
}
