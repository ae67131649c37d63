//! Keys and tokens for tests. The RSA key is that of RFC 7515 appendix A.2, public to the world; the others are made of
//! fixed bytes.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::{RandomizedSigner as _, Signer as _};
use rand_core::OsRng;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use sidegate_engine::crypto::Algorithm;

static RSA: LazyLock<RsaPrivateKey> = LazyLock::new(|| {
    let number = |text| BigUint::from_bytes_be(&decode(text));
    RsaPrivateKey::from_components(number(RSA_N), number("AQAB"), number(RSA_D), vec![number(RSA_P), number(RSA_Q)])
        .unwrap()
});

pub const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RSA_D: &str = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ";
const RSA_P: &str = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc";
const RSA_Q: &str = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc";

/// A key pair's number, so that there are several of each kind but RSA.
#[derive(Clone, Copy)]
pub struct Seed(pub u8);

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn ed25519(Seed(seed): Seed) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
}

fn p256_key(Seed(seed): Seed) -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn p384_key(Seed(seed): Seed) -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_slice(&[seed; 48]).unwrap()
}

fn p521_key(Seed(seed): Seed) -> p521::ecdsa::SigningKey {
    let mut scalar = [seed; 66];
    scalar[0] = 0;
    p521::ecdsa::SigningKey::from_slice(&scalar).unwrap()
}

/// The public key for an algorithm, without `kid` and `alg`.
pub fn jwk(algorithm: Algorithm, seed: Seed) -> Value {
    let ec = |curve: &str, point: &[u8]| {
        let (x, y) = point[1..].split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
    };
    match algorithm {
        Algorithm::Es256 => ec("P-256", p256_key(seed).verifying_key().to_encoded_point(false).as_bytes()),
        Algorithm::Es384 => ec("P-384", p384_key(seed).verifying_key().to_encoded_point(false).as_bytes()),
        Algorithm::Es512 => {
            let key = p521::ecdsa::VerifyingKey::from(&p521_key(seed));
            ec("P-521", key.to_encoded_point(false).as_bytes())
        }
        Algorithm::EdDsa => {
            json!({"kty": "OKP", "crv": "Ed25519", "x": encode(ed25519(seed).verifying_key().as_bytes())})
        }
        _ => json!({"kty": "RSA", "n": encode(RSA.n().to_bytes_be()), "e": "AQAB"}),
    }
}

pub fn with(mut object: Value, member: &str, value: impl Into<Value>) -> Value {
    object[member] = value.into();
    object
}

pub fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

pub fn sign(algorithm: Algorithm, seed: Seed, message: &[u8]) -> Vec<u8> {
    let (sha256, sha384, sha512) = (Sha256::digest(message), Sha384::digest(message), Sha512::digest(message));
    match algorithm {
        Algorithm::Rs256 => RSA.sign(Pkcs1v15Sign::new::<Sha256>(), &sha256).unwrap(),
        Algorithm::Rs384 => RSA.sign(Pkcs1v15Sign::new::<Sha384>(), &sha384).unwrap(),
        Algorithm::Rs512 => RSA.sign(Pkcs1v15Sign::new::<Sha512>(), &sha512).unwrap(),
        Algorithm::Ps256 => RSA.sign_with_rng(&mut OsRng, Pss::new::<Sha256>(), &sha256).unwrap(),
        Algorithm::Ps384 => RSA.sign_with_rng(&mut OsRng, Pss::new::<Sha384>(), &sha384).unwrap(),
        Algorithm::Ps512 => RSA.sign_with_rng(&mut OsRng, Pss::new::<Sha512>(), &sha512).unwrap(),
        Algorithm::Es256 => {
            let signature: p256::ecdsa::Signature = p256_key(seed).sign(message);
            signature.to_bytes().to_vec()
        }
        Algorithm::Es384 => {
            let signature: p384::ecdsa::Signature = p384_key(seed).sign(message);
            signature.to_bytes().to_vec()
        }
        Algorithm::Es512 => {
            let signature: p521::ecdsa::Signature = p521_key(seed).sign_with_rng(&mut OsRng, message);
            signature.to_bytes().to_vec()
        }
        Algorithm::EdDsa => ed25519(seed).sign(message).to_bytes().to_vec(),
    }
}

/// A token with any header, signed as told, which need not be what the header says.
pub fn token(header: &Value, claims: &Value, algorithm: Algorithm, seed: Seed) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = encode(sign(algorithm, seed, message.as_bytes()));
    format!("{message}.{signature}")
}
