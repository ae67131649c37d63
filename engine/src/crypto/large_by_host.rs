//! Keys of P-384 and P-521 in a build without the libraries of these curves: they are handed to the host, which alone can check
//! what they have signed.

use ed25519_dalek::pkcs8::spki::der::asn1::{AnyRef, BitStringRef, UintRef};
use ed25519_dalek::pkcs8::spki::der::{Encode as _, Tag};
use ed25519_dalek::pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::Curve;
use super::key::EC;

/// Of which of them it is.
#[derive(Clone)]
pub struct LargeKey(Curve);

impl LargeKey {
    /// Whether signatures under such keys can be checked without the host.
    pub const IS_CHECKED_HERE: bool = false;

    /// From a point that is not compressed (SEC 1 section 2.3.3), with it the DER of the `SubjectPublicKeyInfo`; none if it has
    /// another form, or the curve is neither of the two. Whether it is on the curve the host looks at whenever it uses it.
    pub fn read(curve: Curve, sec1: &[u8]) -> Option<(Vec<u8>, Self)> {
        let [4, coordinates @ ..] = sec1 else { return None };
        if curve == Curve::P256 || coordinates.len() != curve.field_size().saturating_mul(2) {
            return None;
        }
        let oid = curve.oid();
        let algorithm = AlgorithmIdentifierRef { oid: EC, parameters: Some(AnyRef::from(&oid)) };
        let subject_public_key = BitStringRef::from_bytes(sec1).ok()?;
        Some((SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().ok()?, Self(curve)))
    }

    /// Of which curve it is.
    pub const fn curve(&self) -> Curve {
        self.0
    }

    /// Never: see [`Self::IS_CHECKED_HERE`].
    pub const fn verify(&self, _digest: &[u8], _signature: &[u8]) -> bool {
        false
    }
}

/// DER of a signature that is r||s; whether these are within the curve's range the host looks at.
pub fn signature_to_der(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(curve.field_size())?;
    let both = [UintRef::new(r).ok()?.to_der().ok()?, UintRef::new(s).ok()?.to_der().ok()?].concat();
    AnyRef::new(Tag::Sequence, &both).ok()?.to_der().ok()
}

#[cfg(all(test, feature = "curves"))]
mod tests {
    use proptest::prelude::*;

    use super::super::large as whole;
    use super::*;

    fn points() -> [(Curve, Vec<u8>); 2] {
        let p384 = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap();
        let p521 = p521::ecdsa::SigningKey::from_slice(&[&[0], [7; 65].as_slice()].concat()).unwrap();
        let p521 = p521::ecdsa::VerifyingKey::from(&p521);
        [
            (Curve::P384, p384.verifying_key().to_encoded_point(false).as_bytes().to_vec()),
            (Curve::P521, p521.to_encoded_point(false).as_bytes().to_vec()),
        ]
    }

    #[test]
    fn a_key_is_written_as_the_libraries_write_it() {
        for (curve, point) in points() {
            let (spki, key) = LargeKey::read(curve, &point).unwrap();
            assert_eq!(spki, whole::LargeKey::read(curve, &point).unwrap().0);
            assert_eq!(key.curve(), curve);
            const { assert!(!LargeKey::IS_CHECKED_HERE) };
            assert!(!key.verify(&[0; 48], &[1; 96]));
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_point_is_none() {
        for (curve, point) in points() {
            let compressed = [&[2], &point[1..=curve.field_size()]].concat();
            for wrong in [&[], &point[..1], &point[1..], &point[..point.len() - 1], &compressed] {
                assert!(LargeKey::read(curve, wrong).is_none());
            }
        }
    }

    proptest! {
        #[test]
        fn a_signature_is_written_as_the_libraries_write_it(seed: [u8; 48], zeros in 0..48_usize) {
            for (curve, highest) in [(Curve::P384, 0x7f), (Curve::P521, 1)] {
                let part = |shift: usize| -> Vec<u8> {
                    let byte = |at: usize| if at < zeros { 0 } else { seed[(at + shift) % 48] | 1 };
                    (0..curve.field_size()).map(|at| if at == 0 { byte(at) & highest } else { byte(at) }).collect()
                };
                let signature = [part(0), part(5)].concat();
                let expected = whole::signature_to_der(curve, &signature);
                prop_assert!(expected.is_some());
                prop_assert_eq!(signature_to_der(curve, &signature), expected);
            }
        }
    }
}
