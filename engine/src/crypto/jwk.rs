//! Public keys as JSON Web Keys (RFC 7517, RFC 7518 section 6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p521::elliptic_curve::sec1::ToEncodedPoint as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Map, Value};

use super::key::Parsed;
use super::large::LargeKey;
use super::{Curve, PublicKey};

impl PublicKey {
    /// The members that say what key it is: `kty` and what belongs to it.
    #[must_use]
    pub fn jwk(&self) -> Map<String, Value> {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members = match &self.parsed {
            Parsed::Rsa(key) => {
                vec![
                    ("kty", "RSA".into()),
                    ("n", base64(&key.n().to_bytes_be())),
                    ("e", base64(&key.e().to_bytes_be())),
                ]
            }
            Parsed::P256(key) => point(Curve::P256, key.to_encoded_point(false).as_bytes()),
            Parsed::Large(LargeKey::P384(key)) => point(Curve::P384, key.to_encoded_point(false).as_bytes()),
            Parsed::Large(LargeKey::P521(key)) => {
                point(Curve::P521, key.as_affine().to_encoded_point(false).as_bytes())
            }
            Parsed::Ed25519(key) => {
                vec![("kty", "OKP".into()), ("crv", "Ed25519".into()), ("x", base64(key.as_bytes()))]
            }
        };
        members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
    }
}

/// Of a point that is not compressed: the byte 4, then both coordinates.
fn point(curve: Curve, sec1: &[u8]) -> Vec<(&'static str, String)> {
    let (x, y) = sec1.get(1..).and_then(|both| both.split_at_checked(curve.field_size())).unwrap_or_default();
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    vec![("kty", "EC".to_owned()), ("crv", curve.name().to_owned()), ("x", base64(x)), ("y", base64(y))]
}
