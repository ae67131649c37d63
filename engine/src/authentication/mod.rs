//! Who is asking: one rule that proves an identity is enough, unless the AuthConfig wants all of them to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde_json::{Map, Value};
use sidegate_config::{AuthenticationSpec, AuthenticationStrategy};

use crate::compile::Compiler;
use crate::credentials::Credentials;
use crate::error::{Refusal, StepError};
use crate::exec::{self, apart};
use crate::gather::gathered;
use crate::remote::DocumentId;
use crate::response::denial::{Denial, DenyWith};
use crate::session::Cx;
use crate::step::{self, Common, Ran, Step};
use crate::token::Known;
use crate::trace::Stage;
use crate::verdict::DenialStatus;

mod anonymous;
pub mod api_key;
mod extension;
mod hmac;
mod jwt;
mod kubernetes_token_review;
mod oauth2_introspection;
mod plain;
#[cfg(feature = "x509")]
pub(crate) mod x509;

/// One way to prove an identity.
#[derive(Debug)]
pub struct Authentication {
    method: Method,
    extension: extension::Extension,
    /// What `WWW-Authenticate` says of it, without the realm.
    challenge: String,
    proof: Rc<Proof>,
    deny_with: Option<Rc<DenyWith>>,
}

/// How a rule proves identities, as far as later stages ask.
#[derive(Debug)]
pub struct Proof {
    /// Where the credential is, if there is one.
    pub credentials: Option<Credentials>,
    /// Who issued it, if a discovery document speaks for the issuer.
    pub issuer: Option<Issuer>,
}

/// An issuer of tokens that has a discovery document.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The issuer.
    pub name: String,
    /// What is known of it.
    pub document: DocumentId,
}

#[derive(Debug)]
enum Method {
    ApiKey(api_key::ApiKey),
    Jwt(jwt::Jwt),
    OAuth2Introspection(oauth2_introspection::OAuth2Introspection),
    #[cfg(feature = "x509")]
    X509(x509::X509),
    KubernetesTokenReview(kubernetes_token_review::KubernetesTokenReview),
    Plain(plain::Plain),
    Anonymous(anonymous::Anonymous),
    Hmac(Box<hmac::HmacSignature>),
}

/// Proof that somebody is known; made by [`prove`] alone.
#[derive(Debug)]
pub struct Identity(());

/// Compiles `spec.authentication`; none at all is one rule named `anonymous`.
pub fn compile(specs: &BTreeMap<String, AuthenticationSpec>, compiler: &mut Compiler<'_>) -> Vec<Step<Authentication>> {
    if specs.is_empty() {
        let everyone = AuthenticationSpec { anonymous: Some(sidegate_config::Empty {}), ..Default::default() };
        return Vec::from_iter(compile_rule("anonymous", &everyone, compiler));
    }
    let rules =
        specs.iter().filter_map(|(name, spec)| compiler.at(name, |compiler| compile_rule(name, spec, compiler)));
    step::ordered(rules.collect())
}

fn compile_rule(name: &str, spec: &AuthenticationSpec, compiler: &mut Compiler<'_>) -> Option<Step<Authentication>> {
    let methods = compile_methods(spec, compiler);
    let AuthenticationSpec {
        priority,
        metrics,
        when,
        cache,
        defaults,
        overrides,
        deny_with,
        credentials: _,
        api_key: _,
        jwt: _,
        oauth2_introspection: _,
        x509: _,
        kubernetes_token_review: _,
        plain: _,
        anonymous: _,
        hmac: _,
    } = spec;
    let extension = extension::Extension::compile(defaults, overrides, compiler);
    let (kind, method) = methods.into_iter().next()?;
    let challenge = method.challenge().to_owned();
    let common = Common { name, priority: *priority, metrics: *metrics, when, cache: cache.as_deref() };
    let issuer = if let Method::Jwt(method) = &method { method.issuer() } else { None };
    let proof = Rc::new(Proof { credentials: method.credentials().cloned(), issuer });
    compiler.proofs.insert(name.to_owned(), Rc::clone(&proof));
    let deny_with = DenyWith::compile_rule(deny_with.as_deref(), compiler);
    let rule = Authentication { method, extension, challenge, proof, deny_with };
    let step = Step::compile(Stage::Authentication, kind, common, rule, compiler);
    if let (Some(cache), Some(credentials)) = (step.cache(), step.method.method.credentials())
        && !cache.covers(credentials)
    {
        compiler.at("cache", |compiler| {
            compiler.at("key", |compiler| {
                compiler.problem(
                    "the key does not depend on the credential, so one client would be taken for another: let it read \
                     the credential from where `credentials` says that it is",
                );
            });
        });
    }
    Some(step)
}

/// The methods of a rule, each with its `evaluator_type`; more or less than one is a problem that is told of.
fn compile_methods(spec: &AuthenticationSpec, compiler: &mut Compiler<'_>) -> Vec<(&'static str, Method)> {
    let AuthenticationSpec { api_key, jwt, oauth2_introspection, kubernetes_token_review, .. } = spec;
    let AuthenticationSpec { credentials, x509, plain, anonymous, hmac, .. } = spec;
    if hmac.is_some() && credentials.is_some() {
        compiler.at("credentials", |compiler| {
            compiler.problem("`hmac` finds its credential in `Signature` and `Signature-Input`: leave this out");
        });
    }
    let credentials = compiler.at("credentials", |compiler| Credentials::compile(credentials.as_deref(), compiler));
    let mut compiled = Vec::new();
    let mut given: usize = 0;
    let mut add = |key: &str, kind: &'static str, make: &mut dyn FnMut(&mut Compiler<'_>) -> Option<Method>| {
        given = given.saturating_add(1);
        compiled.extend(compiler.at(key, make).map(|method| (kind, method)));
    };
    if let Some(spec) = api_key {
        add("apiKey", "IDENTITY_APIKEY", &mut |compiler| {
            Some(Method::ApiKey(api_key::ApiKey::compile(spec, credentials.clone(), compiler)))
        });
    }
    if let Some(spec) = jwt {
        add("jwt", "IDENTITY_JWT", &mut |compiler| {
            Some(Method::Jwt(jwt::Jwt::compile(spec, credentials.clone(), compiler)))
        });
    }
    if let Some(spec) = oauth2_introspection {
        add("oauth2Introspection", "IDENTITY_OAUTH2", &mut |compiler| {
            oauth2_introspection::OAuth2Introspection::compile(spec, credentials.clone(), compiler)
                .map(Method::OAuth2Introspection)
        });
    }
    if let Some(spec) = kubernetes_token_review {
        add("kubernetesTokenReview", "IDENTITY_KUBERNETES", &mut |compiler| {
            kubernetes_token_review::KubernetesTokenReview::compile(spec, credentials.clone(), compiler)
                .map(Method::KubernetesTokenReview)
        });
    }
    #[cfg(feature = "x509")]
    if let Some(spec) = x509 {
        add("x509", "IDENTITY_MTLS", &mut |compiler| Some(Method::X509(x509::X509::compile(spec, compiler))));
    }
    #[cfg(not(feature = "x509"))]
    if x509.is_some() {
        add("x509", "IDENTITY_MTLS", &mut |compiler| {
            compiler.left_out("x509");
            None
        });
    }
    if let Some(spec) = plain {
        add("plain", "IDENTITY_PLAIN", &mut |compiler| Some(Method::Plain(plain::Plain::compile(spec, compiler))));
    }
    if anonymous.is_some() {
        add("anonymous", "IDENTITY_NOOP", &mut |_| Some(Method::Anonymous(anonymous::Anonymous)));
    }
    if let Some(spec) = hmac {
        add("hmac", "IDENTITY_HMAC", &mut |compiler| {
            Some(Method::Hmac(Box::new(hmac::HmacSignature::compile(spec, compiler))))
        });
    }
    if given != 1 {
        compiler.problem("exactly one method is needed: `apiKey`, `jwt`, `x509`, `plain`, `anonymous`, `oauth2Introspection`, `kubernetesTokenReview` or `hmac`");
    }
    compiled
}

impl Method {
    /// Where the credential is, for those that have one.
    const fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::ApiKey(method) => Some(method.credentials()),
            Self::Jwt(method) => Some(method.credentials()),
            Self::OAuth2Introspection(method) => Some(method.credentials()),
            Self::KubernetesTokenReview(method) => Some(method.credentials()),
            #[cfg(feature = "x509")]
            Self::X509(_) => None,
            Self::Plain(_) | Self::Anonymous(_) | Self::Hmac(_) => None,
        }
    }

    /// The one and only issuer whose tokens it takes.
    const fn issued_by(&self) -> Option<&Rc<str>> {
        match self {
            Self::Jwt(method) => method.issued_by(),
            #[cfg(feature = "x509")]
            Self::X509(_) => None,
            Self::ApiKey(_)
            | Self::OAuth2Introspection(_)
            | Self::KubernetesTokenReview(_)
            | Self::Plain(_)
            | Self::Anonymous(_)
            | Self::Hmac(_) => None,
        }
    }

    fn challenge(&self) -> &str {
        match self {
            Self::ApiKey(method) => method.challenge(),
            Self::Jwt(method) => method.challenge(),
            Self::OAuth2Introspection(method) => method.challenge(),
            Self::KubernetesTokenReview(method) => method.challenge(),
            #[cfg(feature = "x509")]
            Self::X509(method) => method.challenge(),
            Self::Plain(method) => method.challenge(),
            Self::Anonymous(method) => method.challenge(),
            Self::Hmac(method) => method.challenge(),
        }
    }
}

impl Authentication {
    /// The credential that a request has, if it alone says who somebody is, for as long as the memory of tokens can tell.
    pub fn known(&self, cx: &Cx) -> Option<Known> {
        match &self.method {
            Method::ApiKey(method) => method.fingerprint(cx).map(Known::Key),
            Method::Jwt(method) => method.fingerprint(cx).map(Known::Token),
            Method::OAuth2Introspection(_) | Method::KubernetesTokenReview(_) => None,
            #[cfg(feature = "x509")]
            Method::X509(_) => None,
            Method::Plain(_) | Method::Anonymous(_) | Method::Hmac(_) => None,
        }
    }
}

impl step::Method for Authentication {
    fn evaluate_at_once(&self, cx: &Cx) -> Option<Result<Rc<Value>, StepError>> {
        match &self.method {
            Method::ApiKey(method) => Some(method.evaluate(cx)),
            Method::Jwt(method) => method.recall(cx),
            Method::OAuth2Introspection(_) | Method::KubernetesTokenReview(_) => None,
            #[cfg(feature = "x509")]
            Method::X509(method) => Some(method.evaluate(cx)),
            Method::Plain(method) => Some(method.evaluate(cx)),
            Method::Anonymous(method) => Some(method.evaluate(cx)),
            Method::Hmac(method) => Some(method.evaluate(cx)),
        }
    }

    async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        match &self.method {
            Method::Jwt(method) => method.evaluate(cx).await,
            // Boxed, since the other methods would have to make room for what these keep while they wait.
            Method::OAuth2Introspection(method) => apart(Box::pin(method.evaluate(cx)).as_mut()).await,
            Method::KubernetesTokenReview(method) => apart(Box::pin(method.evaluate(cx)).as_mut()).await,
            Method::ApiKey(_) | Method::Plain(_) | Method::Anonymous(_) | Method::Hmac(_) => step::done(self, cx),
            #[cfg(feature = "x509")]
            Method::X509(_) => step::done(self, cx),
        }
    }

    fn finish(&self, identity: Result<Rc<Value>, StepError>, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let identity = identity?;
        if let Method::OAuth2Introspection(_) = self.method {
            oauth2_introspection::OAuth2Introspection::still_holds(&identity, cx.now())?;
        }
        self.extension.apply(identity, cx)
    }

    fn credential<'r>(&self, cx: &'r Cx) -> Result<Option<Cow<'r, [u8]>>, StepError> {
        match &self.method {
            Method::KubernetesTokenReview(method) => method.question(cx).map(|question| Some(Cow::Owned(question))),
            method => method.credentials().map(|credentials| credentials.find(&cx.request)).transpose(),
        }
    }

    fn is_worth_keeping(&self) -> bool {
        match &self.method {
            Method::OAuth2Introspection(_) | Method::KubernetesTokenReview(_) => true,
            Method::ApiKey(_) | Method::Jwt(_) | Method::Plain(_) | Method::Anonymous(_) | Method::Hmac(_) => false,
            #[cfg(feature = "x509")]
            Method::X509(_) => false,
        }
    }
}

/// Asks the rules who it is.
///
/// # Errors
/// Nobody knows, or under [`AuthenticationStrategy::All`] not everybody.
pub async fn prove(
    rules: &[Step<Authentication>],
    strategy: AuthenticationStrategy,
    cx: &Cx,
) -> Result<Identity, Denial> {
    match strategy {
        AuthenticationStrategy::Any => first_ok(rules, cx).await,
        AuthenticationStrategy::All => all_ok(rules, cx).await,
    }
}

/// The identity of the first rule that proves one: groups of equal priority one after another, in a group all at once.
async fn first_ok(rules: &[Step<Authentication>], cx: &Cx) -> Result<Identity, Denial> {
    let mut refusals: BTreeMap<Rc<str>, StepError> = BTreeMap::new();
    for group in step::groups(rules) {
        let first = exec::each(step::run_all(group, cx), |(rule, ran)| match ran {
            Ran::Ok(identity) => ControlFlow::Break((rule, identity)),
            Ran::Skipped => ControlFlow::Continue(()),
            Ran::Err(error) => {
                refusals.insert(Rc::clone(&rule.name), error);
                ControlFlow::Continue(())
            }
        });
        if let ControlFlow::Break((rule, identity)) = first.await {
            cx.proved_by(&rule.method.proof);
            cx.update(|auth| {
                auth.identity = Some(identity);
                auth.issuer = rule.method.method.issued_by().cloned();
            });
            return Ok(Identity(()));
        }
    }
    Err(refused(rules, &refusals))
}

/// The identities of all rules by their names, one at least: groups of equal priority one after another, in a group all at
/// once. A group is heard to its end, so that the refusal does not depend on who answers first.
async fn all_ok(rules: &[Step<Authentication>], cx: &Cx) -> Result<Identity, Denial> {
    let mut refusals: BTreeMap<Rc<str>, StepError> = BTreeMap::new();
    let mut identities = Map::new();
    for group in step::groups(rules) {
        let _: ControlFlow<()> = exec::each(step::run_all(group, cx), |(rule, ran)| {
            match ran {
                Ran::Ok(identity) => drop(identities.insert(rule.name.to_string(), Value::clone(&identity))),
                Ran::Skipped => {}
                Ran::Err(error) => drop(refusals.insert(Rc::clone(&rule.name), error)),
            }
            ControlFlow::Continue(())
        })
        .await;
        if !refusals.is_empty() {
            return Err(refused(rules, &refusals));
        }
    }
    if identities.is_empty() {
        return Err(refused(rules, &refusals));
    }
    let proved = || rules.iter().filter(|rule| identities.contains_key(&*rule.name));
    proved().for_each(|rule| cx.proved_by(&rule.method.proof));
    let issuer = proved().find_map(|rule| rule.method.method.issued_by().cloned());
    cx.update(|auth| {
        auth.issuer = issuer;
        auth.identity = Some(Rc::new(Value::Object(identities)));
    });
    Ok(Identity(()))
}

fn refused(rules: &[Step<Authentication>], refusals: &BTreeMap<Rc<str>, StepError>) -> Denial {
    let unavailable = refusals.values().any(|error| error.kind == Refusal::Unavailable);
    let status = if unavailable { DenialStatus::Unavailable } else { DenialStatus::Unauthenticated };
    let reason = match (rules, refusals.values().next()) {
        ([_], Some(error)) => error.reason.clone(),
        _ => {
            let reasons = refusals.iter().map(|(name, error)| (name.to_string(), error.reason.as_str().into()));
            crate::expression::text::to_json(&Value::Object(gathered(reasons)))
        }
    };
    let challenges = rules.iter().map(|rule| format!("{} realm=\"{}\"", rule.method.challenge, rule.name));
    Denial { challenges: challenges.collect(), with: wording(rules, refusals), ..Denial::new(status, reason) }
}

/// How it is worded that nobody is known: by the first rule that was shown a credential and refused it; if there was none,
/// by the first that ran.
fn wording(rules: &[Step<Authentication>], refusals: &BTreeMap<Rc<str>, StepError>) -> Option<Rc<DenyWith>> {
    let ran = || rules.iter().filter_map(|rule| Some((rule, refusals.get(&rule.name)?)));
    let shown = ran().any(|(_, error)| error.kind != Refusal::Absent);
    ran()
        .filter(|(_, error)| !shown || error.kind != Refusal::Absent)
        .find_map(|(rule, _)| rule.method.deny_with.clone())
}
