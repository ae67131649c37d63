//! `uma`: the resources that a User-Managed Access 2.0 server has for the path of the request.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use sidegate_config::{SecretRef, UmaSpec};

use crate::call::HttpReply;
use crate::compile::Compiler;
use crate::error::StepError;
use crate::exec::{self, Started};
use crate::outbound::client_credentials::ClientCredentials;
use crate::outbound::{self, Endpoint};
use crate::remote::uma::Configuration;
use crate::remote::{DocumentId, Location, Source};
use crate::secret::Secret;
use crate::session::Cx;
use crate::url::{self, Url};

/// What the server of resources is, in logs.
const REGISTRATION: &str = "UMA resource registration";

/// Most resources of one path.
const MAX_RESOURCES: usize = 32;

/// Asks for the resources of a path.
#[derive(Debug)]
pub struct Uma {
    document: DocumentId,
    issuer: String,
    client: ClientCredentials,
    timeout: Duration,
}

impl Uma {
    pub(super) fn compile(spec: &UmaSpec, compiler: &mut Compiler<'_>) -> Self {
        let UmaSpec { endpoint, credentials_ref, timeout } = spec;
        let timeout = outbound::timeout(*timeout);
        let source = Source { location: Location::Uma(endpoint.clone()), ttl: None, timeout };
        let document = compiler.shared.remote.add(source).unwrap_or_else(|reason| {
            compiler.at("endpoint", |compiler| compiler.problem(format!("`{endpoint}` {reason}")));
            DocumentId(u32::MAX)
        });
        let (id, secret) = compiler.at("credentialsRef", |compiler| {
            let SecretRef { name, namespace } = credentials_ref;
            let mut entry = |key| compiler.secret(namespace.as_deref(), name, key).unwrap_or_else(|| Secret::new(""));
            (entry("clientID"), entry("clientSecret"))
        });
        let grant = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
        let client = ClientCredentials::new(id.reveal().to_owned(), secret, grant, true);
        Self { document, issuer: endpoint.clone(), client, timeout }
    }

    pub(super) async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let Configuration { token_endpoint, resource_registration_endpoint } = &*self.configuration(cx)?;
        let token = self.client.token(&self.server("UMA token endpoint", token_endpoint.clone(), cx), cx).await?;
        let ids = self.search(resource_registration_endpoint, &token, cx).await?;
        let mut found = BTreeMap::new();
        let asking = ids.iter().enumerate().map(|(index, id)| {
            let token = &token;
            Started::Waits(async move { (index, self.resource(resource_registration_endpoint, id, token, cx).await) })
        });
        // A server that fails leaves a list of which nobody knows what is missing, so there is none.
        let failed = exec::each(asking, |(index, resource)| match resource {
            Ok(resource) => {
                found.extend(resource.map(|resource| (index, resource)));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        })
        .await;
        match failed {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(Rc::new(Value::Array(found.into_values().collect()))),
        }
    }

    fn configuration(&self, cx: &Cx) -> Result<Rc<Configuration>, StepError> {
        let documents = cx.policy.remote_documents();
        documents.uma(self.document).ok_or_else(|| {
            let why = documents.status(self.document).and_then(|status| status.failure);
            StepError::unavailable(format!("the UMA configuration of `{}` is not available yet", self.issuer))
                .because(why.unwrap_or_else(|| "the first fetch is not done".to_owned()))
        })
    }

    fn server(&self, what: &'static str, url: Url, cx: &Cx) -> Endpoint {
        Endpoint::new(what, url, cx.policy.upstreams(), self.timeout)
    }

    /// The ids of the resources of this path.
    async fn search(&self, resources: &Url, token: &Secret, cx: &Cx) -> Result<Vec<String>, StepError> {
        let path = cx.request.headers.text(":path").unwrap_or_default();
        let mut url = resources.clone();
        url.add_to_query(&format!("uri={}", url::component(&path)));
        let endpoint = self.server(REGISTRATION, url, cx);
        let reply = self.good(&endpoint, self.ask(&endpoint, token, cx).await?, token, cx)?;
        let ids: Vec<String> =
            serde_json::from_slice(&reply.body).map_err(|_| endpoint.unfit("the answer is no list of resource ids"))?;
        if ids.len() > MAX_RESOURCES {
            return Err(endpoint.unfit(format!("it has more than {MAX_RESOURCES} resources for this path")));
        }
        Ok(ids)
    }

    /// A resource; none if it is gone, or has an id that cannot be asked for.
    async fn resource(&self, resources: &Url, id: &str, token: &Secret, cx: &Cx) -> Result<Option<Value>, StepError> {
        let url = resources.below(&url::component(id));
        let endpoint = self.server(REGISTRATION, url, cx);
        if endpoint.url().climbs() {
            return Ok(None);
        }
        let reply = self.ask(&endpoint, token, cx).await?;
        if matches!(reply.status, 404 | 410) {
            return Ok(None);
        }
        let reply = self.good(&endpoint, reply, token, cx)?;
        serde_json::from_slice(&reply.body).map(Some).map_err(|_| endpoint.unfit("the answer is no JSON"))
    }

    async fn ask(&self, endpoint: &Endpoint, token: &Secret, cx: &Cx) -> Result<HttpReply, StepError> {
        let mut request = endpoint.request("GET");
        request.set_header("authorization", format!("Bearer {}", token.reveal()));
        request.set_header("accept", "application/json");
        endpoint.ask(request, cx).await
    }

    fn good(&self, endpoint: &Endpoint, reply: HttpReply, token: &Secret, cx: &Cx) -> Result<HttpReply, StepError> {
        if reply.status == 401 {
            self.client.refused(token, cx.now());
        }
        match reply.status {
            200 => Ok(reply),
            status => Err(endpoint.unfit(format!("it answers with status {status}"))),
        }
    }
}
