//! `oauth2Introspection`: tokens that the server which gave them out is asked about (RFC 7662).

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sidegate_config::{OAuth2IntrospectionSpec, SecretRef};

use crate::compile::Compiler;
use crate::credentials::Credentials;
use crate::error::StepError;
use crate::outbound::Endpoint;
use crate::secret::Secret;
use crate::session::Cx;
use crate::time::Timestamp;
use crate::token::times;

/// Default of `tokenTypeHint`.
const HINT: &str = "access_token";

/// Asks whether a token is active.
#[derive(Debug)]
pub struct OAuth2Introspection {
    credentials: Credentials,
    endpoint: Endpoint,
    /// Who we are, to the server.
    authorization: Secret,
    hint: String,
}

impl OAuth2Introspection {
    /// None: there is a problem, which the compiler was told.
    pub(super) fn compile(
        spec: &OAuth2IntrospectionSpec,
        credentials: Credentials,
        compiler: &mut Compiler<'_>,
    ) -> Option<Self> {
        let OAuth2IntrospectionSpec { endpoint, token_type_hint, credentials_ref, timeout } = spec;
        let SecretRef { name, namespace } = credentials_ref;
        let namespace = namespace.as_deref();
        let endpoint = compiler
            .at("endpoint", |compiler| Endpoint::compile("token introspection endpoint", endpoint, *timeout, compiler));
        let (id, secret) = compiler.at("credentialsRef", |compiler| {
            (compiler.secret(namespace, name, "clientID"), compiler.secret(namespace, name, "clientSecret"))
        });
        let (id, secret) = (id?, secret?);
        let pair = STANDARD.encode(format!("{}:{}", id.reveal(), secret.reveal()));
        let hint = token_type_hint.clone().filter(|hint| !hint.is_empty()).unwrap_or_else(|| HINT.to_owned());
        Some(Self { credentials, endpoint: endpoint?, authorization: Secret::new(format!("Basic {pair}")), hint })
    }

    pub(super) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn challenge(&self) -> &str {
        self.credentials.challenge()
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let token = self.credentials.find(&cx.request)?;
        if token.is_empty() {
            return Err(inactive().because("it is empty"));
        }
        let mut request = self.endpoint.request("POST");
        request.headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("accept".to_owned(), "application/json".to_owned()),
            ("authorization".to_owned(), self.authorization.reveal().to_owned()),
        ];
        let pairs = [("token", token.as_ref()), ("token_type_hint", self.hint.as_bytes())];
        let pairs = pairs.map(|(name, value)| format!("{name}={}", form(value)));
        request.body = pairs.join("&").into_bytes();
        let reply = self.endpoint.ask(request, cx).await?;
        if reply.status != 200 {
            return Err(StepError::unavailable(format!("token introspection request failed: {}", reply.status)));
        }
        let Ok(answer) = serde_json::from_slice::<Value>(&reply.body) else {
            return Err(self.endpoint.unfit("the answer is no JSON"));
        };
        match answer.get("active") {
            Some(Value::Bool(true)) => Ok(Rc::new(answer)),
            Some(Value::Bool(false)) => Err(inactive()),
            _ => Err(StepError::unavailable(
                "invalid token introspection response: missing or non-boolean \"active\" field",
            )),
        }
    }

    /// Whether an answer still holds, which may have been kept: not beyond the time that it names.
    pub(super) fn still_holds(answer: &Value, now: Timestamp) -> Result<(), StepError> {
        match answer.get("exp").filter(|end| !end.is_null()) {
            None => Ok(()),
            Some(end) => match times::seconds(end) {
                Some(end) if times::point(end) > now => Ok(()),
                Some(_) => Err(inactive().because("its `exp` has passed")),
                None => Err(inactive().because("its `exp` is no number")),
            },
        }
    }
}

fn inactive() -> StepError {
    StepError::denied("token is not active")
}

fn form(bytes: &[u8]) -> String {
    form_urlencoded::byte_serialize(bytes).collect()
}
