//! `wristband`: a JSON Web Token of our own, by which services behind know who was let in (Festival Wristband).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sidegate_config::{CacheSpec, SigningAlgorithm, SigningKeyRef, WristbandSpec};

use crate::cache;
use crate::compile::Compiler;
use crate::crypto::{Algorithm, PublicKey, SigningKey};
use crate::error::StepError;
use crate::expression::{Dynamic, text};
use crate::session::Cx;

/// Default of `tokenDuration`.
const DURATION: u64 = 300;

/// Entry of the Secret that has the key.
const ENTRY: &str = "key.pem";

/// Issues tokens.
#[derive(Debug)]
pub struct Wristband {
    issuer: String,
    claims: Vec<(String, Dynamic)>,
    /// Seconds.
    duration: u64,
    /// The first one signs.
    keys: Vec<Key>,
}

/// A key and what it is used for.
#[derive(Debug)]
struct Key {
    id: String,
    algorithm: Algorithm,
    key: SigningKey,
}

impl Wristband {
    pub(super) fn compile(spec: &WristbandSpec, compiler: &mut Compiler<'_>) -> Self {
        let WristbandSpec { issuer, signing_key_refs, custom_claims, token_duration } = spec;
        if issuer.is_empty() {
            compiler.at("issuer", |compiler| compiler.problem("must not be empty"));
        }
        let duration = match token_duration.map_or(Ok(DURATION), u64::try_from) {
            Ok(seconds @ 1..) => seconds,
            _ => {
                compiler.at("tokenDuration", |compiler| compiler.problem("must be at least 1 second"));
                DURATION
            }
        };
        let keys = compiler.at("signingKeyRefs", |compiler| {
            if signing_key_refs.is_empty() {
                compiler.problem("at least one key is needed");
            }
            let refs = signing_key_refs.iter().enumerate();
            refs.filter_map(|(at, source)| compiler.at(format!("[{at}]"), |compiler| Key::compile(source, compiler)))
                .collect()
        });
        Self {
            issuer: issuer.clone(),
            claims: compiler.at("customClaims", |compiler| Dynamic::compile_map(custom_claims, compiler)),
            duration,
            keys,
        }
    }

    /// Says if tokens would be kept for longer than they hold.
    pub(super) fn check_cache(&self, cache: &CacheSpec, compiler: &mut Compiler<'_>) {
        let expires_otherwise = self.claims.iter().any(|(name, _)| name == "exp");
        if !expires_otherwise && cache::ttl(cache).is_some_and(|ttl| ttl.as_secs() > self.duration) {
            let message = format!("is more than `tokenDuration`, {} seconds: tokens would be expired", self.duration);
            compiler.at("cache", |compiler| compiler.at("ttl", |compiler| compiler.problem(message)));
        }
    }

    /// The token; null if the identity already came with one of this issuer, which is then the one to be used.
    pub(super) fn evaluate(&self, cx: &Cx) -> Result<Value, StepError> {
        let view = cx.view();
        if view.auth.issuer.as_deref() == Some(&*self.issuer) {
            return Ok(Value::Null);
        }
        let key = self.keys.first().ok_or_else(|| StepError::failed("there is no signing key"))?;
        let issued = cx.time.secs();
        let usual = json!({
            "iss": self.issuer, "sub": subject(cx), "iat": issued, "exp": issued.saturating_add(self.duration),
        });
        let Value::Object(mut claims) = usual else { return Err(StepError::failed("there are no claims")) };
        for (name, value) in &self.claims {
            claims.insert(name.clone(), value.value(&view)?);
        }
        key.token(claims, cx).ok_or_else(|| StepError::failed("the wristband cannot be signed"))
    }

    /// Who a token is for, so that one that is kept is nobody else's.
    pub(super) fn holder(&self, cx: &Cx) -> Cow<'static, [u8]> {
        let from_issuer = cx.view().auth.issuer.as_deref() == Some(&*self.issuer);
        let mut holder = subject(cx).into_bytes();
        holder.push(from_issuer.into());
        Cow::Owned(holder)
    }

    /// OpenID Connect Discovery 1.0 section 3, as far as one who verifies tokens needs it.
    pub(super) fn discovery(&self) -> Value {
        let certs = format!("{}/.well-known/openid-connect/certs", self.issuer);
        let algorithms = ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512"];
        json!({"issuer": self.issuer, "jwks_uri": certs, "id_token_signing_alg_values_supported": algorithms})
    }

    /// The public halves of all keys (RFC 7517 section 5).
    pub(super) fn key_set(&self) -> Value {
        let jwk = |Key { id, algorithm, key }: &Key| {
            let mut members = PublicKey::jwk(key.public());
            for (name, value) in [("use", "sig"), ("kid", id), ("alg", algorithm.name())] {
                members.insert(name.to_owned(), value.into());
            }
            Value::Object(members)
        };
        json!({"keys": self.keys.iter().map(jwk).collect::<Vec<_>>()})
    }
}

impl Key {
    fn compile(source: &SigningKeyRef, compiler: &mut Compiler<'_>) -> Option<Self> {
        let SigningKeyRef { name, algorithm, namespace } = source;
        let algorithm = match algorithm {
            SigningAlgorithm::Es256 => Algorithm::Es256,
            SigningAlgorithm::Es384 => Algorithm::Es384,
            SigningAlgorithm::Es512 => Algorithm::Es512,
            SigningAlgorithm::Rs256 => Algorithm::Rs256,
            SigningAlgorithm::Rs384 => Algorithm::Rs384,
            SigningAlgorithm::Rs512 => Algorithm::Rs512,
        };
        let pem = compiler.at("name", |compiler| compiler.secret_entry(namespace.as_deref(), name, ENTRY))?;
        let namespace = namespace.as_deref().unwrap_or(compiler.namespace);
        match SigningKey::from_pem(pem) {
            Ok(key) if key.algorithms().contains(&algorithm) => Some(Self { id: name.clone(), algorithm, key }),
            Ok(key) => {
                let fitting = key.algorithms().iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
                let message = format!(
                    "`{}` does not fit the key in entry `{ENTRY}` of Secret `{namespace}/{name}`, which is for {fitting}",
                    algorithm.name()
                );
                compiler.at("algorithm", |compiler| compiler.problem(message));
                None
            }
            Err(reason) => {
                let message = format!("entry `{ENTRY}` of Secret `{namespace}/{name}` {reason}");
                compiler.at("name", |compiler| compiler.problem(message));
                None
            }
        }
    }

    /// A JSON Web Signature in compact form (RFC 7515 section 7.1).
    fn token(&self, claims: Map<String, Value>, cx: &Cx) -> Option<Value> {
        let Self { id, algorithm, key } = self;
        let header = json!({"alg": algorithm.name(), "kid": id, "typ": "JWT"});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(text::to_json(value));
        let signed = format!("{}.{}", encode(&header), encode(&Value::Object(claims)));
        let signature = cx.policy.signer().sign(*algorithm, key, signed.as_bytes())?;
        Some(Value::String(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

/// `sub`: the digest of the whole identity, in hexadecimal.
fn subject(cx: &Cx) -> String {
    let identity = cx.view().auth.identity.clone();
    let json = text::to_json(identity.as_deref().unwrap_or(&Value::Null));
    Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()
}
