//! Signs the tokens of a case, and writes the key sets that they are verified by.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use p521::ecdsa::signature::Signer as _;
use p521::pkcs8::DecodePrivateKey as _;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::case::{Tamper, Token};
use crate::fixtures;

/// A fixture key, ready to sign.
enum Key {
    Rsa(Box<RsaKeyPair>),
    /// Too short for ring.
    WeakRsa(Box<RsaPrivateKey>),
    Ec256(EcdsaKeyPair),
    Ec384(EcdsaKeyPair),
    Ec521(Box<p521::ecdsa::SigningKey>),
    Ed25519(Ed25519KeyPair),
}

/// The compact form of a token.
///
/// # Errors
/// There is no such key, or it cannot do this algorithm.
pub fn sign(token: &Token, now: i64) -> Result<String, String> {
    let Token { key, alg, header, claims, payload, tamper } = token;
    let loaded = key.as_deref().map(Key::load).transpose()?;
    let alg = alg.as_deref().or(loaded.as_ref().map(Key::usual_algorithm)).unwrap_or("none");
    let mut jose = Map::from_iter([("alg".to_owned(), alg.into()), ("typ".to_owned(), "JWT".into())]);
    jose.extend(key.iter().map(|key| ("kid".to_owned(), key.as_str().into())));
    for (name, value) in header {
        match value {
            Value::Null => drop(jose.remove(name)),
            value => drop(jose.insert(name.clone(), value.clone())),
        }
    }
    let payload = payload.clone().unwrap_or_else(|| self::claims(claims, now).to_string());
    let signed = format!("{}.{}", base64(Value::Object(jose).to_string()), base64(&payload));
    let signature = match (alg, &loaded) {
        ("none", _) | (_, None) => Vec::new(),
        ("HS256", Some(_)) => hmac_by_public_key(key.as_deref().unwrap_or_default(), &signed)?,
        (alg, Some(key)) => key.sign(alg, signed.as_bytes())?,
    };
    if *tamper == Some(Tamper::LongSignature) && !matches!(loaded, Some(Key::Ec256(_) | Key::Ec384(_))) {
        return Err("`longSignature` is of P-256 and P-384 alone".to_owned());
    }
    Ok(finish(&signed, &payload, signature, *tamper))
}

/// The key set of some fixture keys.
///
/// # Errors
/// There is no such key.
pub fn key_set(names: &[String]) -> Result<Value, String> {
    let keys = names.iter().map(|name| {
        let mut jwk = Key::load(name)?.public();
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), name.as_str().into());
            members.insert("use".to_owned(), "sig".into());
        }
        Ok(jwk)
    });
    Ok(json!({ "keys": keys.collect::<Result<Vec<_>, String>>()? }))
}

fn claims(claims: &std::collections::BTreeMap<String, Value>, now: i64) -> Value {
    let mut all = Map::from_iter([("exp".to_owned(), json!(now + 300))]);
    for (name, value) in claims {
        let relative = value.as_str().filter(|_| ["exp", "nbf", "iat"].contains(&name.as_str()));
        let relative = relative.filter(|text| text.starts_with(['+', '-'])).and_then(|text| text.parse::<i64>().ok());
        match (value, relative) {
            (Value::Null, _) => drop(all.remove(name)),
            (_, Some(seconds)) => drop(all.insert(name.clone(), json!(now + seconds))),
            (value, None) => drop(all.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(all)
}

fn finish(signed: &str, payload: &str, mut signature: Vec<u8>, tamper: Option<Tamper>) -> String {
    let (header, body) = signed.split_once('.').unwrap_or_default();
    match tamper {
        None => format!("{signed}.{}", base64(signature)),
        Some(Tamper::Signature) => {
            if let Some(byte) = signature.get_mut(10) {
                *byte ^= 1;
            }
            format!("{signed}.{}", base64(signature))
        }
        Some(Tamper::Payload) => {
            let body = base64(payload.replacen('{', r#"{"admin":true,"#, 1));
            format!("{header}.{body}.{}", base64(signature))
        }
        Some(Tamper::ZeroSignature) => format!("{signed}.{}", base64(vec![0; signature.len()])),
        Some(Tamper::LongSignature) => {
            let (r, s) = signature.split_at(signature.len() / 2);
            let zeros = vec![0; if r.len() == 32 { 48 - 32 } else { 66 - 48 }];
            format!("{signed}.{}", base64([&zeros, r, &zeros, s].concat()))
        }
        Some(Tamper::NoSignature) => format!("{signed}."),
        Some(Tamper::TwoParts) => signed.to_owned(),
        Some(Tamper::FourParts) => format!("{signed}.{}.AAAA", base64(signature)),
        Some(Tamper::Padding) => {
            let padded = |part: &str| URL_SAFE.encode(URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
            format!("{}.{}.{}", padded(header), padded(body), URL_SAFE.encode(signature))
        }
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What somebody signs who hopes that the verifier takes the public key for a shared secret.
fn hmac_by_public_key(name: &str, signed: &str) -> Result<Vec<u8>, String> {
    let Key::Rsa(pair) = Key::load(name)? else { return Err(format!("HS256 wants an RSA key, not `{name}`")) };
    // The RSAPublicKey within a SubjectPublicKeyInfo; the PEM is what such an attacker has.
    let inner = pair.public_key().as_ref();
    let mut spki = vec![0x30, 0x82, 0, 0];
    spki.extend([0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]);
    let bits = u16::try_from(inner.len() + 1).map_err(|error| error.to_string())?;
    spki.extend([0x03, 0x82]);
    spki.extend(bits.to_be_bytes());
    spki.push(0);
    spki.extend(inner);
    let length = u16::try_from(spki.len() - 4).map_err(|error| error.to_string())?;
    spki[2..4].copy_from_slice(&length.to_be_bytes());
    let text = STANDARD.encode(spki);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes());
    Ok(hmac::sign(&key, signed.as_bytes()).as_ref().to_vec())
}

impl Key {
    fn load(name: &str) -> Result<Self, String> {
        let der = fixtures::der(&format!("keys/{name}.pem"))?;
        let bad = |error: ring::error::KeyRejected| format!("key `{name}`: {error}");
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(algorithm, &der, &SystemRandom::new()).map_err(bad)
        };
        match name {
            "rsa-1024" => {
                let key = RsaPrivateKey::from_pkcs8_der(&der).map_err(|error| format!("key `{name}`: {error}"))?;
                Ok(Self::WeakRsa(Box::new(key)))
            }
            name if name.starts_with("rsa-") => {
                RsaKeyPair::from_pkcs8(&der).map(|key| Self::Rsa(Box::new(key))).map_err(bad)
            }
            name if name.starts_with("ec-256") => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::Ec256),
            name if name.starts_with("ec-384") => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Self::Ec384),
            name if name.starts_with("ec-521") => {
                let secret = p521::SecretKey::from_pkcs8_der(&der).map_err(|error| format!("key `{name}`: {error}"))?;
                let key = p521::ecdsa::SigningKey::from_slice(&secret.to_bytes());
                key.map(|key| Self::Ec521(Box::new(key))).map_err(|error| format!("key `{name}`: {error}"))
            }
            "ed25519" => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Self::Ed25519).map_err(bad),
            _ => Err(format!("`{name}` is no name of a key that signs")),
        }
    }

    const fn usual_algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) | Self::WeakRsa(_) => "RS256",
            Self::Ec256(_) => "ES256",
            Self::Ec384(_) => "ES384",
            Self::Ec521(_) => "ES512",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, alg: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        match (self, alg) {
            (Self::Rsa(key), _) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let signed = key.sign(rsa_encoding(alg)?, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|error| error.to_string())
            }
            (Self::WeakRsa(key), "RS256") => {
                let digest = Sha256::digest(message);
                key.sign(Pkcs1v15Sign::new::<Sha256>(), &digest).map_err(|error| error.to_string())
            }
            (Self::Ec256(key), "ES256") | (Self::Ec384(key), "ES384") => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|error| error.to_string()),
            (Self::Ec521(key), "ES512") => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                Ok(signature.to_bytes().to_vec())
            }
            (Self::Ed25519(key), "EdDSA" | "Ed25519") => Ok(key.sign(message).as_ref().to_vec()),
            // What the header says is up to the case; the signature is as good as this key can make it.
            (key, alg) if alg != key.usual_algorithm() => key.sign(key.usual_algorithm(), message),
            _ => Err(format!("the key cannot do `{alg}`")),
        }
    }

    fn public(&self) -> Value {
        let point = |curve: &str, point: &[u8]| {
            let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
            json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) })
        };
        match self {
            Self::Rsa(key) => {
                let parts = signature::RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": base64(parts.n), "e": base64(parts.e) })
            }
            Self::WeakRsa(key) => {
                json!({ "kty": "RSA", "n": base64(key.n().to_bytes_be()), "e": base64(key.e().to_bytes_be()) })
            }
            Self::Ec256(key) => point("P-256", key.public_key().as_ref()),
            Self::Ec384(key) => point("P-384", key.public_key().as_ref()),
            Self::Ec521(key) => {
                let verifying = p521::ecdsa::VerifyingKey::from(key.as_ref());
                point("P-521", verifying.to_encoded_point(false).as_bytes())
            }
            Self::Ed25519(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(key.public_key().as_ref()) }),
        }
    }
}

fn rsa_encoding(alg: &str) -> Result<&'static dyn RsaEncoding, String> {
    Ok(match alg {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        "PS512" => &signature::RSA_PSS_SHA512,
        alg => return Err(format!("an RSA key cannot do `{alg}`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_signs_and_has_a_public_half() {
        for name in ["rsa-1", "rsa-2", "rsa-4096", "rsa-1024", "ec-256", "ec-256-2", "ec-384", "ec-521", "ed25519"] {
            let token = Token { key: Some(name.to_owned()), ..Token::default() };
            assert_eq!(sign(&token, 1000).unwrap().matches('.').count(), 2, "{name}");
            assert_eq!(key_set(&[name.to_owned()]).unwrap()["keys"][0]["kid"], name);
        }
    }

    #[test]
    fn times_are_relative_and_null_takes_out() {
        let given = [("exp", json!("-5")), ("nbf", json!("+7")), ("iat", json!(3)), ("sub", json!("+1"))];
        let given = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(claims(&given, 1000), json!({ "exp": 995, "nbf": 1007, "iat": 3, "sub": "+1" }));
        assert_eq!(claims(&[("exp".to_owned(), Value::Null)].into(), 1000), json!({}));
    }
}
