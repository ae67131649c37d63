//! `apiKey`: keys kept in Secrets, looked up by their digest.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sidegate_config::{self as config, ApiKeySpec, LabelSelector, Secret};
use subtle::ConstantTimeEq as _;

use crate::compile::Compiler;
use crate::credentials::Credentials;
use crate::error::StepError;
use crate::resources::{DecodedSecret, Scope, check_selector};
use crate::session::Cx;
use crate::token::Fingerprint;

/// The keys of the Secrets that a selector selects.
#[derive(Debug)]
pub struct ApiKey {
    credentials: Credentials,
    identities: Rc<Identities>,
    /// Digest of where the rule is written: others may let in other keys.
    checks: [u8; 32],
}

/// Identities by SHA-256 of their key, so that the time of a look-up tells nothing of any key.
pub type Identities = HashMap<[u8; 32], Rc<Value>>;

/// The keys of each selector in use; rules with the same one share them.
pub type Shared = BTreeMap<(Scope, LabelSelector), Rc<Identities>>;

impl ApiKey {
    pub(super) fn compile(spec: &ApiKeySpec, credentials: Credentials, compiler: &mut Compiler<'_>) -> Self {
        let ApiKeySpec { selector, all_namespaces, namespaces } = spec;
        compiler.at("selector", |compiler| check_selector(selector, compiler));
        let shared = (Scope::compile(*all_namespaces, namespaces, compiler), selector.clone());
        let identities = match compiler.shared.api_keys.get(&shared) {
            Some(identities) => Rc::clone(identities),
            None => {
                let identities = Rc::new(identities(&shared.0, selector, compiler));
                compiler.shared.api_keys.insert(shared, Rc::clone(&identities));
                identities
            }
        };
        // As JSON, in which no two lists look the same; those of tokens begin with a number.
        let checks = json!(["apiKey", compiler.namespace, compiler.name]).to_string();
        Self { credentials, identities, checks: Sha256::digest(checks).into() }
    }

    pub(super) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn challenge(&self) -> &str {
        self.credentials.challenge()
    }

    /// The fingerprint of the key that the request has, if it has one.
    pub(super) fn fingerprint(&self, cx: &Cx) -> Option<Fingerprint> {
        let credential = self.credentials.find(&cx.request).ok()?;
        Some(cx.policy.tokens().fingerprint(&self.checks, &credential))
    }

    pub(super) fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let key = self.credentials.find(&cx.request)?;
        let shown: [u8; 32] = Sha256::digest(&key).into();
        match self.identities.get_key_value(&shown) {
            Some((known, identity)) if bool::from(known.ct_eq(&shown)) => Ok(Rc::clone(identity)),
            _ => Err(StepError::denied("the API Key provided is invalid".to_owned())),
        }
    }
}

fn identities(scope: &Scope, selector: &LabelSelector, compiler: &mut Compiler<'_>) -> Identities {
    let resources = compiler.resources;
    let mut identities = Identities::new();
    for secret in resources.secrets(scope, selector) {
        match digest(secret) {
            Some(Ok(digest)) => drop(identities.insert(digest, Rc::new(identity(&secret.document)))),
            Some(Err(message)) => {
                let config::ObjectMeta { namespace, name, .. } = &secret.document.metadata;
                compiler.problem(format!("Secret `{namespace}/{name}`: {message}"));
            }
            None => {}
        }
    }
    identities
}

/// The digest of a Secret's key, given as the key itself or in hex; none if the Secret has neither.
fn digest(secret: &DecodedSecret) -> Option<Result<[u8; 32], &'static str>> {
    if let Some(key) = secret.entry("api_key") {
        return Some(Ok(Sha256::digest(key).into()));
    }
    let text = secret.entry("api_key_sha256")?.trim_ascii();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut digest = [0; 32];
    let pairs = text.chunks_exact(2);
    let well_formed = text.len() == 64
        && digest.iter_mut().zip(pairs).all(|(byte, pair)| match pair {
            [high, low] => digit(high).zip(digit(low)).is_some_and(|(high, low)| {
                *byte = high << 4 | low;
                true
            }),
            _ => false,
        });
    Some(match digest {
        _ if !well_formed => Err("`api_key_sha256` must be the 64 hex digits of the key's SHA-256"),
        digest if digest == <[u8; 32]>::from(Sha256::digest([])) => {
            Err("`api_key_sha256` is the SHA-256 of nothing: was the key unset where it was made?")
        }
        digest => Ok(digest),
    })
}

/// The identity of a key: its Secret's metadata, without the data.
pub(super) fn identity(secret: &Secret) -> Value {
    json!({ "metadata": secret.metadata })
}
