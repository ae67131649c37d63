//! `userInfo`: what an OpenID Connect issuer says of who shows an access token (OpenID Connect Core 1.0 section 5.3).

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use sidegate_config::UserInfoSpec;

use super::http;
use crate::authentication::{Issuer, Proof};
use crate::compile::Compiler;
use crate::error::StepError;
use crate::outbound::{self, Endpoint};
use crate::response::header;
use crate::session::Cx;

/// What the server is, in logs.
const SERVER: &str = "UserInfo endpoint";

/// Asks with the credential of the request.
#[derive(Debug)]
pub struct UserInfo {
    source: Source,
    timeout: Duration,
}

#[derive(Debug)]
enum Source {
    /// The issuer of a rule of authentication.
    Issuer(Issuer),
    /// A URL.
    Url(Endpoint),
    /// The configuration is refused.
    None,
}

impl UserInfo {
    pub(super) fn compile(spec: &UserInfoSpec, compiler: &mut Compiler<'_>) -> Self {
        let UserInfoSpec { identity_source, user_info_url, timeout } = spec;
        let source = match (identity_source, user_info_url) {
            (Some(rule), None) => compiler.at("identitySource", |compiler| issuer(rule, compiler)).map(Source::Issuer),
            (None, Some(url)) => compiler
                .at("userInfoUrl", |compiler| Endpoint::compile(SERVER, url, *timeout, compiler))
                .map(Source::Url),
            _ => {
                compiler.problem("exactly one of `identitySource` and `userInfoUrl` is needed");
                None
            }
        };
        Self { source: source.unwrap_or(Source::None), timeout: outbound::timeout(*timeout) }
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let endpoint = self.endpoint(cx)?;
        let token = self.credential(cx)?;
        let token = str::from_utf8(&token).ok().filter(|token| header::is_value(token));
        let token = token.ok_or_else(|| StepError::failed("the credential cannot be sent in a header"))?;
        let mut request = endpoint.request("GET");
        request.set_header("authorization", format!("Bearer {token}"));
        request.set_header("accept", "application/json");
        let reply = endpoint.ask(request, cx).await?;
        http::check_redirect(&endpoint, &reply)?;
        match serde_json::from_slice(&reply.body) {
            Ok(claims @ Value::Object(_)) => Ok(Rc::new(claims)),
            _ => Err(endpoint.unfit("the answer is no JSON object")),
        }
    }

    fn endpoint(&self, cx: &Cx) -> Result<Cow<'_, Endpoint>, StepError> {
        let issuer = match &self.source {
            Source::Url(endpoint) => return Ok(Cow::Borrowed(endpoint)),
            Source::Issuer(issuer) => issuer,
            Source::None => return Err(StepError::failed("there is no UserInfo endpoint")),
        };
        let name = &issuer.name;
        if self.proof(cx).is_none() {
            // The credential is for somebody else, who may be anybody.
            return Err(StepError::failed(format!("the identity is not of issuer `{name}`")));
        }
        let url = cx.policy.remote_documents().user_info_endpoint(issuer.document).ok_or_else(|| {
            StepError::unavailable(format!("issuer `{name}` does not say where its UserInfo endpoint is, or not yet"))
        })?;
        Ok(Cow::Owned(Endpoint::new(SERVER, url, cx.policy.upstreams(), self.timeout)))
    }
}

impl UserInfo {
    /// What the client proved its identity by.
    pub(super) fn credential<'c>(&self, cx: &'c Cx) -> Result<Cow<'c, [u8]>, StepError> {
        match self.proof(cx).and_then(|proof| proof.credentials.clone()) {
            Some(credentials) => credentials.find(&cx.request).map_err(|error| StepError::failed(error.reason)),
            None => Err(StepError::failed("the identity was proved without a credential that could be sent")),
        }
    }

    /// The proof that the server knows: that of the issuer if it is one, else the first with a credential.
    fn proof(&self, cx: &Cx) -> Option<Rc<Proof>> {
        cx.proofs().into_iter().find(|proof| match &self.source {
            Source::Issuer(issuer) => proof.issuer.as_ref().is_some_and(|other| other.name == issuer.name),
            Source::Url(_) | Source::None => proof.credentials.is_some(),
        })
    }
}

fn issuer(rule: &str, compiler: &mut Compiler<'_>) -> Option<Issuer> {
    let issuer = compiler.proofs.get(rule).map(|proof| proof.issuer.clone());
    match &issuer {
        None => compiler.problem(format!("there is no rule `{rule}` in `authentication`")),
        Some(None) => compiler.problem(format!(
            "`{rule}` is no `jwt` rule with an `issuerUrl`, so nobody says where the UserInfo endpoint is: give `userInfoUrl`"
        )),
        Some(Some(_)) => {}
    }
    issuer.flatten()
}
