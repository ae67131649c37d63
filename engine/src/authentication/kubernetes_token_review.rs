//! `kubernetesTokenReview`: tokens that the Kubernetes API server is asked about.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Value, json};
use sidegate_config::KubernetesTokenReviewSpec;

use crate::compile::Compiler;
use crate::credentials::Credentials;
use crate::error::StepError;
use crate::expression::text;
use crate::kubernetes::Kubernetes;
use crate::session::Cx;

/// Asks who a token is of.
#[derive(Debug)]
pub struct KubernetesTokenReview {
    credentials: Credentials,
    kubernetes: Kubernetes,
    /// None: the request's host.
    audiences: Vec<String>,
}

/// What is looked at of an answer's `status`.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    audiences: Vec<String>,
}

impl KubernetesTokenReview {
    /// None: there is a problem, which the compiler was told.
    pub(super) fn compile(
        spec: &KubernetesTokenReviewSpec,
        credentials: Credentials,
        compiler: &mut Compiler<'_>,
    ) -> Option<Self> {
        let KubernetesTokenReviewSpec { audiences, timeout } = spec;
        let kubernetes = compiler.shared.kubernetes.as_ref()?.within(*timeout);
        Some(Self { credentials, kubernetes, audiences: audiences.clone() })
    }

    pub(super) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn challenge(&self) -> &str {
        self.credentials.challenge()
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let token = self.credentials.find(&cx.request)?;
        let Ok(token) = str::from_utf8(&token) else { return Err(not_authenticated().because("it is no text")) };
        if token.is_empty() {
            return Err(not_authenticated().because("it is empty"));
        }
        let audiences = self.audiences(cx);
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token, "audiences": audiences },
        });
        let status = self.kubernetes.review("/apis/authentication.k8s.io/v1/tokenreviews", &review, cx).await?;
        let Status { authenticated, audiences: granted } =
            Status::deserialize(&status).map_err(|_| self.kubernetes.unfit("its `status` is not that of a review"))?;
        if !authenticated {
            return Err(not_authenticated());
        }
        // A server that looks at audiences names those that it found (authentication.k8s.io/v1, TokenReviewStatus).
        if !granted.iter().any(|audience| audiences.contains(audience)) {
            return Err(
                not_authenticated().because("the server did not say that the token is for one of the audiences")
            );
        }
        Ok(Rc::new(status))
    }

    /// What the answer depends on: the token, and whom it must be for, which may be the request's host.
    pub(super) fn question(&self, cx: &Cx) -> Result<Vec<u8>, StepError> {
        let token = self.credentials.find(&cx.request)?;
        let audiences = text::to_json(&Value::from(self.audiences(cx)));
        // In JSON there is no line end, so no two questions look the same.
        Ok([audiences.as_bytes(), b"\n", &token].concat())
    }

    fn audiences(&self, cx: &Cx) -> Vec<String> {
        if !self.audiences.is_empty() {
            return self.audiences.clone();
        }
        let headers = &cx.request.headers;
        headers.text(":authority").or_else(|| headers.text("host")).map(Into::into).into_iter().collect()
    }
}

fn not_authenticated() -> StepError {
    StepError::denied("not authenticated")
}
