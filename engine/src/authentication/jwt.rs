//! `jwt`: JSON Web Tokens.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sidegate_config::JwtSpec;

use super::Issuer;
use crate::call::CallError;
use crate::compile::Compiler;
use crate::credentials::Credentials;
use crate::error::StepError;
use crate::remote::{DocumentId, KeySet, Location, Source, Wanted};
use crate::session::Cx;
use crate::token::{Fingerprint, Proof, Signer, Token};
use crate::url::shown;

/// Default of `timeout`, and what 0 means: Envoy would wait for ever.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a token may ask for newer keys: again if the answer was what another worker had fetched earlier.
const MAX_QUESTIONS: usize = 2;

/// Verifies a token by the issuer's keys.
#[derive(Debug)]
pub struct Jwt {
    credentials: Credentials,
    key_set: DocumentId,
    /// The issuer or the URL of the key set, as configured.
    source: String,
    by_discovery: bool,
    timeout: Duration,
    issuer: Option<String>,
    /// Whose tokens they are, as far as that is known: by `issuer`, or by the discovery document.
    issued_by: Option<Rc<str>>,
    audiences: Vec<String>,
    /// Digest of everything that is checked, so that rules which check the same know the same tokens.
    checks: [u8; 32],
}

impl Jwt {
    pub(super) fn compile(spec: &JwtSpec, credentials: Credentials, compiler: &mut Compiler<'_>) -> Self {
        let JwtSpec { issuer_url, jwks_url, issuer, audiences, ttl, timeout } = spec;
        let timeout = timeout.filter(|timeout| *timeout > 0).map_or(TIMEOUT, Duration::from_millis);
        let ttl = u64::try_from(*ttl).ok().filter(|ttl| *ttl > 0).map(Duration::from_secs);
        if issuer.as_ref().is_some_and(String::is_empty) {
            compiler.at("issuer", |compiler| compiler.problem("the issuer is empty: leave it out to accept any"));
        }
        if audiences.iter().any(String::is_empty) {
            compiler.at("audiences", |compiler| compiler.problem("an audience is empty: leave it out"));
        }
        let (field, url, location) = match (issuer_url, jwks_url) {
            (Some(url), None) => ("issuerUrl", url.clone(), Location::Issuer(url.clone())),
            (None, Some(url)) => ("jwksUrl", url.clone(), Location::Jwks(url.clone())),
            _ => {
                compiler.problem("exactly one of `issuerUrl` and `jwksUrl` is needed");
                ("", String::new(), Location::Jwks("https://none.invalid".to_owned()))
            }
        };
        let key_set = compiler.shared.remote.add(Source { location, ttl, timeout }).unwrap_or_else(|reason| {
            compiler.at(field, |compiler| compiler.problem(format!("`{}` {reason}", shown(&url))));
            DocumentId(u32::MAX)
        });
        Self {
            credentials,
            checks: digest(key_set, issuer.as_ref(), audiences),
            key_set,
            source: url,
            by_discovery: field == "issuerUrl",
            timeout,
            issuer: issuer.clone(),
            issued_by: issuer.as_deref().or(issuer_url.as_deref()).map(Rc::from),
            audiences: audiences.clone(),
        }
    }

    pub(super) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whose tokens they are, as far as that is known.
    pub(super) const fn issued_by(&self) -> Option<&Rc<str>> {
        self.issued_by.as_ref()
    }

    /// The issuer whose discovery document says where the keys are.
    pub(super) fn issuer(&self) -> Option<Issuer> {
        self.by_discovery.then(|| Issuer { name: self.source.clone(), document: self.key_set })
    }

    pub(super) fn challenge(&self) -> &str {
        self.credentials.challenge()
    }

    /// The identity of a token that was found good before, or that there is no token.
    pub(super) fn recall(&self, cx: &Cx) -> Option<Result<Rc<Value>, StepError>> {
        let credential = match self.credentials.find(&cx.request) {
            Ok(credential) => credential,
            Err(error) => return Some(Err(error)),
        };
        let tokens = cx.policy.tokens();
        let fingerprint = tokens.fingerprint(&self.checks, &credential);
        tokens.recall(&fingerprint, cx.policy.remote_documents(), cx.time).map(Ok)
    }

    /// The fingerprint of the token that the request has, if it has one.
    pub(super) fn fingerprint(&self, cx: &Cx) -> Option<Fingerprint> {
        let credential = self.credentials.find(&cx.request).ok()?;
        Some(cx.policy.tokens().fingerprint(&self.checks, &credential))
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let credential = self.credentials.find(&cx.request)?;
        let token = Token::parse(&credential)?;
        token.times.check(cx.time)?;
        let proof = self.verify(&token, cx).await?;
        if let Some(issuer) = &self.issuer {
            token.check_issuer(issuer)?;
        }
        if !self.audiences.is_empty() {
            token.check_audience(&self.audiences)?;
        }
        let identity = Rc::new(Value::Object(token.claims));
        let tokens = cx.policy.tokens();
        let fingerprint = tokens.fingerprint(&self.checks, &credential);
        tokens.remember(fingerprint, Rc::clone(&identity), proof, credential.len());
        Ok(identity)
    }

    /// Finds the key that signed the token; if it may be one that we do not have yet, asks for newer keys. A bad
    /// signature under a known `kid` does not, since anybody can make one.
    async fn verify(&self, token: &Token<'_>, cx: &Cx) -> Result<Proof, StepError> {
        let signed = token.signed()?;
        let mut asked = Ok(());
        for _ in 0..=MAX_QUESTIONS {
            let keys = self.keys(cx)?;
            match signed.signer(&keys, cx.policy.verifier())? {
                Signer::Key(key, algorithm) => {
                    let (keys, key) = (Rc::downgrade(&keys), Rc::clone(key));
                    return Ok(Proof { key_set: self.key_set, keys, key, algorithm, times: token.times });
                }
                Signer::Nobody => return Err(unsigned()),
                Signer::Unknown => {}
            }
            if asked.is_err() || cx.policy.remote_documents().want(self.key_set, cx.time) == Wanted::TooSoon {
                break;
            }
            asked = cx.refresh_keys(self.key_set, self.timeout).await;
        }
        let unknown = format!("no key for `kid` {} in keys fetched a moment ago", signed.kid_for_people());
        match asked {
            Ok(()) => Err(unsigned().because(unknown)),
            Err(CallError::Timeout) => Err(no_refresh("no answer in time")),
            Err(CallError::Failed(why)) => Err(no_refresh(&why)),
            Err(CallError::Overrun(why)) => Err(StepError::unavailable(why)),
            Err(CallError::TooLong | CallError::TooMuch) => Err(no_refresh("the answer is too long")),
        }
    }

    fn keys(&self, cx: &Cx) -> Result<Rc<KeySet>, StepError> {
        let documents = cx.policy.remote_documents();
        documents.key_set(self.key_set).ok_or_else(|| {
            // The query of a key set's URL may have secrets.
            let source = self.source.split('?').next().unwrap_or_default();
            let error = StepError::unavailable(format!("the keys of issuer `{source}` are not available yet"));
            match documents.status(self.key_set).and_then(|status| status.failure) {
                Some(failure) => error.because(failure),
                None => error.because("the first fetch is not done"),
            }
        })
    }
}

fn digest(DocumentId(key_set): DocumentId, issuer: Option<&String>, audiences: &[String]) -> [u8; 32] {
    // As JSON, in which no two lists look the same.
    let checks = serde_json::json!([key_set, issuer, audiences]).to_string();
    Sha256::digest(checks).into()
}

fn unsigned() -> StepError {
    StepError::denied("failed to verify signature: failed to verify id token signature")
}

fn no_refresh(why: &str) -> StepError {
    StepError::denied("failed to verify signature: fetching keys oidc: get keys failed").because(why)
}
