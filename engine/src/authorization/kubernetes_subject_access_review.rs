//! `kubernetesSubjectAccessReview`: the Kubernetes API server is asked whether somebody may.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sidegate_config::{KubernetesSubjectAccessReviewSpec, ResourceAttributesSpec};

use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::{Dynamic, text};
use crate::gather::try_gathered;
use crate::kubernetes::Kubernetes;
use crate::session::Cx;
use crate::view::View;

/// Asks whether a user may do something.
#[derive(Debug)]
pub struct KubernetesSubjectAccessReview {
    kubernetes: Kubernetes,
    user: Option<Dynamic>,
    groups: Groups,
    /// None: the request's path and method.
    resource: Option<Vec<(&'static str, Dynamic)>>,
}

#[derive(Debug)]
enum Groups {
    Fixed(Vec<String>),
    Dynamic(Dynamic),
}

/// What is looked at of an answer's `status`.
#[derive(Deserialize)]
struct Status {
    allowed: Option<bool>,
    #[serde(default)]
    reason: String,
    #[serde(default, rename = "evaluationError")]
    evaluation_error: String,
}

impl KubernetesSubjectAccessReview {
    /// None: there is a problem, which the compiler was told.
    pub(super) fn compile(spec: &KubernetesSubjectAccessReviewSpec, compiler: &mut Compiler<'_>) -> Option<Self> {
        let KubernetesSubjectAccessReviewSpec { user, groups, authorization_groups, resource_attributes, timeout } =
            spec;
        if user.is_none() && groups.is_none() && authorization_groups.is_none() {
            compiler.problem("at least one of `user`, `authorizationGroups` and `groups` is needed");
        }
        if groups.as_ref().is_some_and(Vec::is_empty) {
            compiler.at("groups", |compiler| compiler.problem("must not be empty: leave it out"));
        }
        let kubernetes = compiler.shared.kubernetes.as_ref().map(|kubernetes| kubernetes.within(*timeout));
        let user = user.as_ref().map(|user| compiler.at("user", |compiler| Dynamic::compile(user, compiler)));
        let groups = match authorization_groups {
            Some(groups) => {
                Groups::Dynamic(compiler.at("authorizationGroups", |compiler| Dynamic::compile(groups, compiler)))
            }
            None => Groups::Fixed(groups.clone().unwrap_or_default()),
        };
        let resource = resource_attributes.as_ref().map(|spec| {
            compiler.at("resourceAttributes", |compiler| {
                let ResourceAttributesSpec { namespace, group, resource, subresource, name, verb } = &**spec;
                let fields = [
                    ("namespace", namespace),
                    ("group", group),
                    ("resource", resource),
                    ("subresource", subresource),
                    ("name", name),
                    ("verb", verb),
                ];
                let given = fields.into_iter().filter_map(|(field, value)| Some((field, value.as_ref()?)));
                given.map(|(field, value)| (field, compiler.at(field, |c| Dynamic::compile(value, c)))).collect()
            })
        });
        Some(Self { kubernetes: kubernetes?, user, groups, resource })
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Value, StepError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": self.spec(&cx.view(), cx)?,
        });
        let status = self.kubernetes.review("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review, cx).await?;
        let Status { allowed, reason, evaluation_error } =
            Status::deserialize(status).map_err(|_| self.kubernetes.unfit("its `status` is not that of a review"))?;
        if allowed == Some(true) {
            return Ok(Value::Bool(true));
        }
        let reason = if reason.is_empty() { "unknown reason" } else { &reason };
        // An answer that is not sure is not the no that a rule with `action: deny` lets through.
        let is_sure = allowed == Some(false) && evaluation_error.is_empty();
        let refused = if is_sure { StepError::denied } else { StepError::failed };
        Err(refused(format!("not authorized: {reason}")))
    }

    /// What the answer depends on: who wants to do what.
    pub(super) fn question(&self, cx: &Cx) -> Result<Vec<u8>, StepError> {
        Ok(text::to_json(&self.spec(&cx.view(), cx)?).into_bytes())
    }

    fn spec(&self, view: &View, cx: &Cx) -> Result<Value, StepError> {
        let mut spec = Map::new();
        if let Some(user) = &self.user {
            spec.insert("user".to_owned(), user.text(view)?.into());
        }
        let groups = match &self.groups {
            Groups::Fixed(groups) => groups.clone(),
            Groups::Dynamic(groups) => list(groups.value(view)?)?,
        };
        if !groups.is_empty() {
            spec.insert("groups".to_owned(), groups.into());
        }
        let attributes = match &self.resource {
            Some(fields) => {
                let fields = fields
                    .iter()
                    .map(|(field, value)| Ok::<_, StepError>(((*field).to_owned(), value.text(view)?.into())));
                ("resourceAttributes", Value::Object(try_gathered(fields)?))
            }
            None => {
                let header = |name| cx.request.headers.text(name).unwrap_or_default();
                // With the query, as upstream sends it.
                let (path, verb) = (header(":path"), header(":method").to_ascii_lowercase());
                ("nonResourceAttributes", json!({ "path": path, "verb": verb }))
            }
        };
        spec.insert(attributes.0.to_owned(), attributes.1);
        Ok(Value::Object(spec))
    }
}

/// A list of strings, or text that is one in JSON.
fn list(value: Value) -> Result<Vec<String>, StepError> {
    let parsed = match &value {
        Value::String(text) => serde_json::from_str(text),
        value => Vec::deserialize(value),
    };
    parsed.map_err(|_| StepError::failed("`authorizationGroups` is no list of strings"))
}
