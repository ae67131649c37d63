//! JSON Web Tokens in compact form (RFC 7515 section 3.1, RFC 7519): what they say, and who signed them.
//!
//! Wordings of refusals are those of the library that Authorino uses, since clients and dashboards may know them.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::crypto::{Algorithm, Verifier};
use crate::error::StepError;
use crate::remote::{Key, KeySet};

pub mod grant;
mod memory;
pub mod times;

pub use memory::{Fingerprint, Known, Proof, TokenMemory};
pub use times::Times;

/// Longest token, in bytes.
const MAX_BYTES: usize = 16 << 10;

/// Most keys that a signature is tried with.
const MAX_TRIES: usize = 8;

/// Most characters of a token's own words that are repeated.
const MAX_QUOTE: usize = 128;

/// A token, nothing of which is to be believed before its signature is checked.
#[derive(Debug)]
pub struct Token<'a> {
    /// The payload. Of a claim that is there twice, the last counts (RFC 7519 section 4).
    pub claims: Map<String, Value>,
    /// When it holds.
    pub times: Times,
    header: &'a [u8],
    signature: &'a [u8],
    signed: &'a [u8],
}

/// The header and the signature of a token.
#[derive(Debug)]
pub struct Signed<'a> {
    /// `alg`.
    pub algorithm: Result<Algorithm, String>,
    /// `kid`.
    pub kid: Option<String>,
    message: &'a [u8],
    signature: Vec<u8>,
}

/// Whose signature it is.
#[derive(Debug)]
pub enum Signer<'k> {
    /// This key's, made so.
    Key(&'k Rc<Key>, Algorithm),
    /// Nobody's: the token names a key of the set, and it is not that key's.
    Nobody,
    /// A key's that is not in the set, if anybody's.
    Unknown,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(token: &'a [u8]) -> Result<Self, StepError> {
        if token.len() > MAX_BYTES {
            return Err(malformed(format!("malformed jwt, longer than {MAX_BYTES} bytes")));
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            let count = token.split(|byte| *byte == b'.').count();
            return Err(malformed(format!("malformed jwt, expected 3 parts got {count}")));
        };
        let signed = token.get(..header.len().saturating_add(1).saturating_add(payload.len())).unwrap_or_default();
        let payload = URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| malformed("malformed jwt payload: illegal base64 data".to_owned()))?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&payload).map_err(|_| claims_error("no JSON object"))?;
        let times = Times::of(&claims)?;
        check_shape(&claims)?;
        Ok(Self { claims, times, header, signature, signed })
    }

    /// Reads the header.
    ///
    /// # Errors
    /// It is none, or has a critical extension, of which we know none (RFC 7515 section 4.1.11).
    pub fn signed(&self) -> Result<Signed<'a>, StepError> {
        let broken = |what: &str| StepError::denied(format!("oidc: malformed jwt: {what}"));
        let header = URL_SAFE_NO_PAD.decode(self.header).map_err(|_| broken("illegal base64 data in the header"))?;
        let header = serde_json::from_slice(&header).map_err(|_| broken("the header is no JSON object with `alg`"))?;
        let Header { alg, kid, crit } = header;
        if crit.is_some() {
            return Err(broken("unsupported `crit` header"));
        }
        let signature =
            URL_SAFE_NO_PAD.decode(self.signature).map_err(|_| broken("illegal base64 data in the signature"))?;
        let algorithm = Algorithm::from_name(&alg).ok_or_else(|| quoted(&alg));
        Ok(Signed { algorithm, kid, message: self.signed, signature })
    }

    /// Whether `iss` is exactly this.
    ///
    /// # Errors
    /// It is not.
    pub fn check_issuer(&self, expected: &str) -> Result<(), StepError> {
        let issuer = self.claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if issuer == expected {
            return Ok(());
        }
        let got = quoted(issuer);
        Err(StepError::denied(format!(
            "oidc: id token issued by a different provider, expected {expected:?} got {got}"
        )))
    }

    /// Whether one of these is in `aud`.
    ///
    /// # Errors
    /// None is.
    pub fn check_audience(&self, expected: &[String]) -> Result<(), StepError> {
        let mut audiences = match self.claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter(),
            Some(audience) => std::slice::from_ref(audience).iter(),
            None => [].iter(),
        };
        let wanted = |audience: &Value| expected.iter().any(|expected| audience.as_str() == Some(expected));
        if audiences.any(wanted) {
            return Ok(());
        }
        let got = self.claims.get("aud").map(Value::to_string).unwrap_or_else(|| "[]".to_owned());
        let got: String = got.chars().take(MAX_QUOTE).collect();
        Err(StepError::denied(format!("oidc: expected audience {expected:?} got {got}")))
    }
}

impl Signed<'_> {
    /// Finds the key that signed. A token with a `kid` is only ever of a key with this `kid`.
    ///
    /// # Errors
    /// The algorithm is none that tokens of this issuer are signed with, or nobody here can check it.
    pub fn signer<'k>(&self, keys: &'k KeySet, verifier: &dyn Verifier) -> Result<Signer<'k>, StepError> {
        let unsupported = |got: String| {
            let names: Vec<_> = keys.algorithms().iter().map(|algorithm| algorithm.name()).collect();
            let expected = format!("oidc: id token signed with unsupported algorithm, expected {names:?} got {got}");
            StepError::denied(expected)
        };
        let algorithm = self.algorithm.clone().map_err(unsupported)?;
        if !keys.allows(algorithm) {
            return Err(unsupported(format!("{:?}", algorithm.name())));
        }
        if !verifier.checks(algorithm) && keys.candidates(algorithm, self.kid.as_deref()).next().is_some() {
            let why = "this build of Sidegate leaves it to Envoy, which was not seen to check it: use `sidegate.wasm`";
            let reason = format!("signatures of {} cannot be checked here", algorithm.name());
            return Err(StepError::unavailable(reason).because(why));
        }
        let signed_by = |key: &&Rc<Key>| verifier.verify(algorithm, &key.public, self.message, &self.signature);
        let kid = self.kid.as_deref();
        Ok(match keys.candidates(algorithm, kid).take(MAX_TRIES).find(signed_by) {
            Some(key) => Signer::Key(key, algorithm),
            None if kid.is_some_and(|kid| keys.knows(kid)) => Signer::Nobody,
            None => Signer::Unknown,
        })
    }

    /// `kid` as logs may show it.
    #[must_use]
    pub fn kid_for_people(&self) -> String {
        self.kid.as_deref().map_or_else(|| "(none)".to_owned(), quoted)
    }
}

/// What the library that Authorino uses asks of claims, beyond times.
fn check_shape(claims: &Map<String, Value>) -> Result<(), StepError> {
    match claims.get("aud") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(Value::Array(audiences)) if audiences.iter().all(Value::is_string) => {}
        Some(_) => return Err(claims_error("`aud` is neither a string nor a list of strings")),
    }
    // Distributed claims (OpenID Connect Core section 5.6.2) must have their sources.
    let Some(names) = claims.get("_claim_names").filter(|names| !names.is_null()) else { return Ok(()) };
    let names = names.as_object().ok_or_else(|| claims_error("`_claim_names` is no object"))?;
    let sources = claims.get("_claim_sources").and_then(Value::as_object);
    let there = |name: &Value| name.as_str().is_some_and(|name| sources.is_some_and(|all| all.contains_key(name)));
    if names.values().all(there) { Ok(()) } else { Err(StepError::denied("oidc: source does not exist")) }
}

fn malformed(what: String) -> StepError {
    StepError::denied(format!("oidc: malformed jwt: oidc: {what}"))
}

fn claims_error(what: &str) -> StepError {
    StepError::denied(format!("oidc: failed to unmarshal claims: {what}"))
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(MAX_QUOTE).collect::<String>())
}
