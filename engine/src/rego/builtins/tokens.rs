//! Digests, and JSON Web Tokens.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use regorus::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

use super::{Call, Outcome, Stop, list};
use crate::crypto::{Algorithm, PublicKey, RustCrypto, Verifier as _};
use crate::rego::machine::Fault;
use crate::rego::{from_json, text};
use crate::remote::jwks;

/// Units of work that it is to check one signature.
const SIGNATURE: u64 = 100_000;
/// Keys that a signature is tried with.
const KEYS: usize = 8;

fn hex(bytes: &[u8]) -> Value {
    text(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

pub fn sha256(call: &mut Call<'_>) -> Outcome {
    let whole = call.text(0)?;
    call.fuel.spend_text(whole.len().saturating_mul(16))?;
    Ok(hex(&Sha256::digest(whole)))
}

pub fn hmac_sha256(call: &mut Call<'_>) -> Outcome {
    mac(call, |key, message| {
        Some(Hmac::<Sha256>::new_from_slice(key).ok()?.chain_update(message).finalize().into_bytes().to_vec())
    })
}

pub fn hmac_sha512(call: &mut Call<'_>) -> Outcome {
    mac(call, |key, message| {
        Some(Hmac::<Sha512>::new_from_slice(key).ok()?.chain_update(message).finalize().into_bytes().to_vec())
    })
}

fn mac(call: &mut Call<'_>, mac: fn(&[u8], &[u8]) -> Option<Vec<u8>>) -> Outcome {
    let (message, key) = (call.text(0)?, call.text(1)?);
    call.fuel.spend_text(message.len().saturating_add(key.len()).saturating_mul(16))?;
    mac(key.as_bytes(), message.as_bytes()).map(|mac| hex(&mac)).ok_or(Stop::Undefined)
}

pub fn hmac_equal(call: &mut Call<'_>) -> Outcome {
    Ok(Value::Bool(call.text(0)?.as_bytes().ct_eq(call.text(1)?.as_bytes()).into()))
}

/// The parts of a token: header, payload, signature.
fn parts(token: &str) -> Result<[&str; 3], Stop> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Ok([header, payload, signature]),
        _ => Err(Stop::Undefined),
    }
}

fn bytes(encoded: &str) -> Result<Vec<u8>, Stop> {
    URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).map_err(|_| Stop::Undefined)
}

fn object(encoded: &str) -> Result<serde_json::Value, Stop> {
    let json: serde_json::Value = serde_json::from_slice(&bytes(encoded)?).map_err(|_| Stop::Undefined)?;
    if json.is_object() { Ok(json) } else { Err(Stop::Undefined) }
}

/// Takes a token apart, without a look at its signature.
pub fn decode(call: &mut Call<'_>) -> Outcome {
    let [header, payload, signature] = parts(call.text(0)?)?;
    Ok(list([from_json(&object(header)?), from_json(&object(payload)?), hex(&bytes(signature)?)]))
}

/// The message that is signed, the signature, and what the header says of both.
fn signed(token: &str) -> Result<(&str, Vec<u8>, serde_json::Value), Stop> {
    let [header, payload, signature] = parts(token)?;
    let length = header.len().saturating_add(1).saturating_add(payload.len());
    Ok((token.get(..length).unwrap_or_default(), bytes(signature)?, object(header)?))
}

fn shared(call: &mut Call<'_>, mac: fn(&[u8], &[u8]) -> Option<Vec<u8>>) -> Outcome {
    let (token, key) = (call.text(0)?, call.text(1)?);
    let (message, signature, _) = signed(token)?;
    call.fuel.spend_text(message.len().saturating_add(key.len()).saturating_mul(16))?;
    let expected = mac(key.as_bytes(), message.as_bytes()).ok_or(Stop::Undefined)?;
    Ok(Value::Bool(expected.ct_eq(&signature).into()))
}

pub fn verify_hs256(call: &mut Call<'_>) -> Outcome {
    shared(call, |key, message| {
        Some(Hmac::<Sha256>::new_from_slice(key).ok()?.chain_update(message).finalize().into_bytes().to_vec())
    })
}

pub fn verify_hs384(call: &mut Call<'_>) -> Outcome {
    shared(call, |key, message| {
        Some(Hmac::<Sha384>::new_from_slice(key).ok()?.chain_update(message).finalize().into_bytes().to_vec())
    })
}

pub fn verify_hs512(call: &mut Call<'_>) -> Outcome {
    shared(call, |key, message| {
        Some(Hmac::<Sha512>::new_from_slice(key).ok()?.chain_update(message).finalize().into_bytes().to_vec())
    })
}

/// The first part of a PEM, if it is of this kind.
fn pem(source: &str, kind: &str) -> Option<Vec<u8>> {
    let inside = source.trim().strip_prefix(format!("-----BEGIN {kind}-----").as_str())?;
    STANDARD.decode(inside.split("-----END").next()?.split_whitespace().collect::<String>()).ok()
}

#[cfg(feature = "x509")]
fn of_certificate(der: &[u8]) -> Option<PublicKey> {
    use x509_cert::der::{Decode as _, Encode as _};
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    PublicKey::from_spki(&certificate.tbs_certificate.subject_public_key_info.to_der().ok()?).ok()
}

#[cfg(not(feature = "x509"))]
fn of_certificate(_der: &[u8]) -> Option<PublicKey> {
    None
}

/// Keys out of a key set, one key of it, or a PEM.
fn keys(source: &str, algorithm: Algorithm, kid: Option<&str>) -> Result<Vec<PublicKey>, Stop> {
    let unfit = || Stop::Fault(Fault::Failed("the key is no JSON Web Key (Set), and no PEM that is known".to_owned()));
    if let Some(der) = pem(source, "PUBLIC KEY") {
        return PublicKey::from_spki(&der).map(|key| vec![key]).map_err(|_| unfit());
    }
    if let Some(der) = pem(source, "CERTIFICATE") {
        return of_certificate(&der).map(|key| vec![key]).ok_or_else(unfit);
    }
    let json: serde_json::Value = serde_json::from_str(source).map_err(|_| unfit())?;
    let set = if json.get("keys").is_some() { json } else { serde_json::json!({"keys": [json]}) };
    let set = jwks::parse(set.to_string().as_bytes()).map_err(|_| unfit())?;
    let fits = |key: &&std::rc::Rc<jwks::Key>| {
        key.algorithms.contains(&algorithm) && (kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
    };
    Ok(set.keys.iter().filter(fits).map(|key| key.public.clone()).collect())
}

fn public(call: &mut Call<'_>, algorithm: Algorithm) -> Outcome {
    let (token, source) = (call.text(0)?, call.text(1)?);
    let (message, signature, header) = signed(token)?;
    // To read keys is work as well.
    call.fuel.spend_text(source.len().saturating_mul(64))?;
    let kid = header.get("kid").and_then(serde_json::Value::as_str);
    for key in keys(source, algorithm, kid)?.into_iter().take(KEYS) {
        call.fuel.spend(SIGNATURE)?;
        if key.algorithms().contains(&algorithm) && RustCrypto.verify(algorithm, &key, message.as_bytes(), &signature) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

macro_rules! verifiers {
    ($($name:ident $algorithm:ident),*) => {
        $(pub fn $name(call: &mut Call<'_>) -> Outcome {
            public(call, Algorithm::$algorithm)
        })*
    };
}

verifiers!(verify_es256 Es256, verify_es384 Es384, verify_es512 Es512, verify_ps256 Ps256, verify_ps384 Ps384,
    verify_ps512 Ps512, verify_rs256 Rs256, verify_rs384 Rs384, verify_rs512 Rs512);
