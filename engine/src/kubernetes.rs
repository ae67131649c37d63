//! The Kubernetes API server, which reviews tokens and access.

use serde_json::Value;
use sidegate_config::{KubernetesApi, NamespacedKeyRef, Problem};

use crate::error::StepError;
use crate::outbound::{self, Endpoint};
use crate::resources::Resources;
use crate::secret::Secret;
use crate::session::Cx;
use crate::url::{Upstreams, Url, shown};

/// Default of `options.kubernetes.url`.
const URL: &str = "https://kubernetes.default.svc";

/// The API server, and who we are to it.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    endpoint: Endpoint,
    /// None: the Envoy cluster says it.
    authorization: Option<Secret>,
}

impl Kubernetes {
    /// As `options.kubernetes` says. What is wrong with it is told once, whoever uses it.
    pub fn compile(
        api: Option<&KubernetesApi>,
        resources: &Resources,
        upstreams: &Upstreams,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let KubernetesApi { url, token_ref } = api.cloned().unwrap_or_default();
        let mut problem = |field: &str, message: String| {
            let path = format!("options.kubernetes.{field}");
            problems.push(Problem { document: "PluginConfig".to_owned(), path, message });
        };
        let url = url.unwrap_or_else(|| URL.to_owned());
        let parsed = match Url::parse(url.trim_end_matches('/')) {
            Ok(parsed) if !parsed.has_query() => Some(parsed),
            Ok(_) => {
                problem("url", format!("`{}` has a query: leave it out", shown(&url)));
                None
            }
            Err(reason) => {
                problem("url", format!("`{}` {reason}; write `https://host[:port]`", shown(&url)));
                None
            }
        };
        let authorization = token_ref.map(|NamespacedKeyRef { namespace, name, key }| {
            let namespace = namespace.as_deref().unwrap_or("default");
            let token = resources.text(namespace, &name, key.as_deref().unwrap_or("token"));
            token.map_err(|message| problem("tokenRef", message)).ok()
        });
        // A reference that leads nowhere is not the same as none.
        let authorization = match authorization {
            Some(token) => Some(Secret::new(format!("Bearer {}", token?.reveal()))),
            None => None,
        };
        let endpoint = Endpoint::new("Kubernetes API server", parsed?, upstreams, outbound::timeout(None));
        Some(Self { endpoint, authorization })
    }

    /// The same, for answers that may take so many milliseconds.
    #[must_use]
    pub fn within(&self, millis: Option<u64>) -> Self {
        Self { endpoint: self.endpoint.clone().within(millis), authorization: self.authorization.clone() }
    }

    /// Has something reviewed; gives back the `status`.
    ///
    /// # Errors
    /// There is no answer that can be used: it cannot be decided now.
    pub async fn review(&self, path: &str, review: &Value, cx: &Cx) -> Result<Value, StepError> {
        let mut request = self.endpoint.request("POST");
        request.path = format!("{}{path}", request.path.trim_end_matches('/'));
        request.headers =
            ["content-type", "accept"].map(|name| (name.to_owned(), "application/json".to_owned())).into();
        if let Some(authorization) = &self.authorization {
            request.headers.push(("authorization".to_owned(), authorization.reveal().to_owned()));
        }
        request.body = review.to_string().into_bytes();
        let reply = self.endpoint.ask(request, cx).await?;
        let status = || format!("the answer has status {}", reply.status);
        // Who answers otherwise is no API server: a proxy before it, or a port for TLS that is spoken to without.
        let is_its_own = || {
            serde_json::from_slice::<Value>(&reply.body)
                .is_ok_and(|body| body.get("kind").is_some_and(|kind| kind == "Status"))
        };
        match reply.status {
            200 | 201 => {}
            // It makes no sense of what was asked, which is of this request: another time it will not either.
            400 | 422 if is_its_own() => {
                return Err(StepError::failed("the Kubernetes API server cannot review this").because(status()));
            }
            _ => return Err(self.unfit(status())),
        }
        match serde_json::from_slice(&reply.body) {
            Ok(Value::Object(mut answer)) => {
                answer.remove("status").ok_or_else(|| self.unfit("the answer has no `status`"))
            }
            _ => Err(self.unfit("the answer is no JSON object")),
        }
    }

    /// The answer is not what it should be.
    #[must_use]
    pub fn unfit(&self, why: impl Into<String>) -> StepError {
        self.endpoint.unfit(why)
    }
}
