//! `opa`: a policy in Rego.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value};
use sidegate_config::{ExternalPolicySpec, HttpMethod, OpaSpec, RegoVersion};

use crate::compile::Compiler;
use crate::credentials::Credential;
use crate::error::StepError;
use crate::outbound;
use crate::rego::{self, Asked, Policy};
use crate::remote::{DocumentId, Location, Source};
use crate::request::Attribute;
use crate::session::Cx;
use crate::view::Place;

/// Grants if the policy's `allow` is true.
#[derive(Debug)]
pub struct Opa {
    policy: Origin,
    asked: Asked,
}

#[derive(Debug)]
enum Origin {
    Inline(Rc<Policy>),
    External(External),
    /// A stand-in for what cannot be compiled.
    None,
}

impl Opa {
    pub(super) fn compile(spec: &OpaSpec, compiler: &mut Compiler<'_>) -> Self {
        let OpaSpec { rego, external_policy, all_values, version } = spec;
        if rego.is_some() == external_policy.is_some() {
            compiler.problem("exactly one of `rego` and `externalPolicy` is needed");
        }
        compiler.need_all(Place::ROOT.needs());
        let asked = if *all_values { Asked::All } else { Asked::Allow };
        let policy = match (rego, external_policy) {
            (Some(text), _) => compiler.at("rego", |compiler| inline(text, *version, asked, compiler)),
            (None, Some(spec)) => {
                compiler.at("externalPolicy", |compiler| External::compile(spec, *version, asked, compiler))
            }
            (None, None) => Origin::None,
        };
        Self { policy, asked }
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Value, StepError> {
        let policy = match &self.policy {
            Origin::Inline(policy) => Rc::clone(policy),
            Origin::External(external) => external.policy(cx)?,
            Origin::None => return Err(StepError::failed("there is no policy")),
        };
        let input = cx.rego_input();
        let failed = |fault: rego::Fault| StepError::failed(fault.to_string());
        let values = match self.asked {
            Asked::All => policy.all(&input, cx.time).map_err(failed)?,
            Asked::Allow => vec![("allow", policy.allow(&input, cx.time).map_err(failed)?)],
        };
        let allow = values.first().map_or(rego::Value::Undefined, |(_, value)| value.clone());
        if allow != rego::Value::Bool(true) {
            // What is neither true nor false is not the no that a rule with `action: deny` lets through.
            let refused = if allow == rego::Value::Bool(false) { StepError::denied } else { StepError::failed };
            return Err(refused("Unauthorized").because(format!("`allow` is {}", shown(&allow))));
        }
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), rego::to_json(value)));
        Ok(Value::Object(values.collect::<Map<_, _>>()))
    }
}

fn inline(text: &str, version: RegoVersion, asked: Asked, compiler: &mut Compiler<'_>) -> Origin {
    if rego::reads_body(text) {
        compiler.need(Attribute::Body);
    }
    match Policy::compile(text, version, asked) {
        Ok(policy) => Origin::Inline(Rc::new(policy)),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| compiler.problem(mistake.to_string()));
            Origin::None
        }
    }
}

/// What kind of value it is, for those who wonder why it is not true.
fn shown(value: &rego::Value) -> &'static str {
    match value {
        rego::Value::Undefined => "undefined",
        rego::Value::Bool(false) => "false",
        _ => "no boolean",
    }
}

/// A policy that a server keeps.
#[derive(Debug)]
struct External {
    document: DocumentId,
    version: RegoVersion,
    asked: Asked,
    compiled: RefCell<Option<(Rc<str>, Rc<Policy>)>>,
}

impl External {
    fn compile(spec: &ExternalPolicySpec, version: RegoVersion, asked: Asked, compiler: &mut Compiler<'_>) -> Origin {
        let ExternalPolicySpec {
            url,
            method,
            content_type: _,
            shared_secret_ref,
            credentials,
            timeout,
            ttl,
            max_response_bytes,
        } = spec;
        if *method != HttpMethod::Get {
            compiler.at("method", |compiler| compiler.problem("a policy is fetched by `GET`"));
        }
        let credential = Credential::compile(shared_secret_ref.as_ref(), credentials.as_ref(), compiler);
        let max_bytes = outbound::max_response_bytes(*max_response_bytes);
        let all_values = asked == Asked::All;
        let place = crate::remote::rego::Place { url: url.clone(), credential, max_bytes, version, all_values };
        let ttl = u64::try_from(*ttl).ok().filter(|ttl| *ttl > 0).map(Duration::from_secs);
        let source = Source { location: Location::Rego(place), ttl, timeout: outbound::timeout(*timeout) };
        match compiler.shared.remote.add(source) {
            Ok(document) => Origin::External(Self { document, version, asked, compiled: RefCell::new(None) }),
            Err(reason) => {
                let shown = url.split('?').next().unwrap_or_default();
                compiler.at("url", |compiler| compiler.problem(format!("`{shown}` {reason}")));
                Origin::None
            }
        }
    }

    /// The policy as it was fetched last; the root has seen that it compiles.
    fn policy(&self, cx: &Cx) -> Result<Rc<Policy>, StepError> {
        let unavailable = |why: String| StepError::unavailable("the policy is not there").because(why);
        let documents = cx.policy.remote_documents();
        let text = documents.rego(self.document).ok_or_else(|| {
            let failure = documents.status(self.document).and_then(|status| status.failure);
            unavailable(failure.unwrap_or_else(|| "the first fetch is not done".to_owned()))
        })?;
        let mut compiled = self.compiled.borrow_mut();
        if let Some((known, policy)) = compiled.as_ref()
            && Rc::ptr_eq(known, &text)
        {
            return Ok(Rc::clone(policy));
        }
        let broken =
            |mistakes: Vec<rego::Mistake>| unavailable(mistakes.first().map(ToString::to_string).unwrap_or_default());
        let policy = Rc::new(Policy::compile(&text, self.version, self.asked).map_err(broken)?);
        *compiled = Some((text, Rc::clone(&policy)));
        Ok(policy)
    }
}
