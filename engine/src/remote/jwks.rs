//! JSON Web Key Sets (RFC 7517) as servers publish them.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::crypto::{Algorithm, Curve, KeyError, PublicKey};

/// Largest document, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Most keys in a set.
const MAX_KEYS: usize = 256;

/// Most notes that are kept.
const MAX_NOTES: usize = 16;

/// Most characters of a name that came from a server and is repeated in a note.
const MAX_NAME: usize = 64;

/// A key of a set.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// `kid`.
    pub kid: Option<String>,
    /// The algorithms that it may be used with: those of its kind, or the one that `alg` pins.
    pub algorithms: Vec<Algorithm>,
    /// The key.
    pub public: PublicKey,
}

/// The usable keys of a document.
#[derive(Debug)]
pub struct Keys {
    /// In the order of the document, none twice.
    pub keys: Vec<Rc<Key>>,
    /// What was passed over, and why.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Parses a key set. Keys that are not for checking signatures, or that we cannot use, are passed over.
///
/// # Errors
/// It is no key set, too large, or has no usable key.
#[inline(never)]
pub fn parse(document: &[u8]) -> Result<Keys, String> {
    if document.len() > MAX_BYTES {
        return Err("the key set is larger than 1 MiB".to_owned());
    }
    let Document { keys: entries } =
        serde_json::from_slice(document).map_err(|_| "the answer is no JSON Web Key Set".to_owned())?;
    if entries.len() > MAX_KEYS {
        return Err(format!("the key set has more than {MAX_KEYS} keys"));
    }
    let mut keys: Vec<Rc<Key>> = Vec::new();
    let mut notes = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        match parse_key(entry) {
            Ok(key) if keys.iter().any(|known| **known == key) => {}
            Ok(key) => keys.push(Rc::new(key)),
            Err(note) if notes.len() < MAX_NOTES => notes.push(format!("key {index}: {note}")),
            Err(_) => {}
        }
    }
    if keys.is_empty() {
        let why = notes.first().map(|note| format!(" ({note})")).unwrap_or_default();
        return Err(format!("the key set has no usable key{why}"));
    }
    Ok(Keys { keys, notes })
}

fn parse_key(entry: Value) -> Result<Key, String> {
    let jwk: Jwk = serde_json::from_value(entry).map_err(|_| "is no JSON Web Key".to_owned())?;
    if let Some(purpose) = jwk.r#use.as_deref().filter(|purpose| *purpose != "sig") {
        return Err(format!("is for `{}`", short(purpose)));
    }
    if jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|operation| operation == "verify")) {
        return Err("is not for `verify`".to_owned());
    }
    let public = public_key(&jwk)?;
    let algorithms = match jwk.alg.as_deref() {
        None => public.algorithms().to_vec(),
        Some(name) => {
            let pinned = Algorithm::from_name(name).filter(|algorithm| public.algorithms().contains(algorithm));
            vec![pinned.ok_or_else(|| format!("is for the algorithm `{}`", short(name)))?]
        }
    };
    Ok(Key { kid: jwk.kid, algorithms, public })
}

fn public_key(jwk: &Jwk) -> Result<PublicKey, String> {
    let crv = jwk.crv.as_deref().unwrap_or_default();
    let key = match (jwk.kty.as_str(), crv) {
        ("RSA", _) => PublicKey::rsa(&bytes("n", jwk.n.as_ref())?, &bytes("e", jwk.e.as_ref())?),
        ("EC", "P-256") => ec(Curve::P256, jwk)?,
        ("EC", "P-384") => ec(Curve::P384, jwk)?,
        ("EC", "P-521") => ec(Curve::P521, jwk)?,
        ("OKP", "Ed25519") => PublicKey::ed25519(&bytes("x", jwk.x.as_ref())?),
        ("EC" | "OKP", curve) => return Err(format!("has the curve `{}`", short(curve))),
        (kind, _) => return Err(format!("has the type `{}`", short(kind))),
    };
    key.map_err(|KeyError(reason)| reason.to_owned())
}

fn ec(curve: Curve, jwk: &Jwk) -> Result<Result<PublicKey, KeyError>, String> {
    Ok(PublicKey::ec(curve, &bytes("x", jwk.x.as_ref())?, &bytes("y", jwk.y.as_ref())?))
}

fn bytes(member: &str, text: Option<&String>) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("has no `{member}`"))?;
    // Some servers pad, which RFC 7515 section 2 does not.
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| format!("`{member}` is not base64url"))
}

fn short(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(MAX_NAME).collect()
}
