//! `http`: what a server answers to a request. `callbacks` send the same.

use std::rc::Rc;

use serde_json::Value;
use sidegate_config::{ContentType, HttpMethod, HttpSpec, OAuth2ClientSpec, SecretKeyRef};

use crate::call::{HttpReply, HttpRequest};
use crate::compile::Compiler;
use crate::credentials::{Credential, Credentials};
use crate::error::StepError;
use crate::expression::{Dynamic, text};
use crate::gather::try_gathered;
use crate::outbound::address::Address;
use crate::outbound::client_credentials::ClientCredentials;
use crate::outbound::{self, Endpoint};
use crate::response::header;
use crate::secret::Secret;
use crate::session::Cx;
use crate::view::View;

/// Sends a request, and takes the answer.
#[derive(Debug)]
pub struct Http {
    address: Address,
    method: &'static str,
    body: Option<Body>,
    headers: Vec<(String, Dynamic)>,
    login: Login,
    max_response_bytes: usize,
}

#[derive(Debug)]
enum Body {
    Whole(Dynamic, ContentType),
    Form(Vec<(String, Dynamic)>),
    Json(Vec<(String, Dynamic)>),
}

/// By what the server knows us.
#[derive(Debug)]
enum Login {
    None,
    Shared(Credential),
    OAuth2(Box<OAuth2>),
}

/// An access token of our own, and where it goes.
#[derive(Debug)]
struct OAuth2 {
    client: ClientCredentials,
    endpoint: Endpoint,
    place: Credentials,
}

impl Http {
    /// Compiles; `what` is the server, to be said in logs.
    pub fn compile(what: &'static str, spec: &HttpSpec, compiler: &mut Compiler<'_>) -> Self {
        let HttpSpec {
            url,
            url_expression,
            method,
            body,
            body_parameters,
            content_type,
            headers,
            shared_secret_ref,
            oauth2,
            credentials,
            timeout,
            max_response_bytes,
        } = spec;
        if body.is_some() && !body_parameters.is_empty() {
            compiler.problem("`body` and `bodyParameters` are both given: keep one");
        }
        let whole = body.as_ref().map(|body| compiler.at("body", |compiler| Dynamic::compile(body, compiler)));
        let parameters = compiler.at("bodyParameters", |compiler| Dynamic::compile_map(body_parameters, compiler));
        let body = match (whole, content_type) {
            (Some(body), content_type) => Body::Whole(body, *content_type),
            (None, ContentType::Form) => Body::Form(parameters),
            (None, ContentType::Json) => Body::Json(parameters),
        };
        let (method, has_body) = compiler.at("method", |compiler| name(*method, compiler));
        let login = match oauth2 {
            Some(spec) => {
                let place = Credentials::compile_sendable(credentials.as_ref(), compiler);
                compiler.at("oauth2", |compiler| Login::compile_oauth2(spec, place, compiler))
            }
            None => Credential::compile(shared_secret_ref.as_ref(), credentials.as_ref(), compiler)
                .map_or(Login::None, Login::Shared),
        };
        Self {
            address: Address::compile(what, (url.as_deref(), url_expression.as_deref()), *timeout, compiler),
            method,
            body: Some(body).filter(|_| has_body),
            headers: compiler.at("headers", |compiler| {
                headers.keys().for_each(|name| check_name(name, compiler));
                Dynamic::compile_map(headers, compiler)
            }),
            login,
            max_response_bytes: compile_max(*max_response_bytes, compiler),
        }
    }

    /// Sends it.
    ///
    /// # Errors
    /// It cannot be made of this request, or the answer is none.
    pub async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let endpoint = self.address.resolve(cx)?;
        let mut request = endpoint.request(self.method);
        request.max_response_bytes = self.max_response_bytes;
        let token = self.login.place(&mut request, cx).await?;
        self.set_headers(&mut request, &cx.view())?;
        if let Some(body) = &self.body {
            body.write(&mut request, &cx.view())?;
        }
        let reply = endpoint.ask(request, cx).await?;
        if let (Login::OAuth2(oauth2), Some(token), 401) = (&self.login, token, reply.status) {
            oauth2.client.refused(&token, cx.now());
        }
        read(&endpoint, &reply).map(Rc::new)
    }

    /// After the credential, which they may replace, as with Authorino.
    fn set_headers(&self, request: &mut HttpRequest, view: &View) -> Result<(), StepError> {
        for (name, value) in &self.headers {
            let value = value.text(view)?;
            if !header::is_value(&value) {
                return Err(StepError::failed(format!("the value of header `{name}` has control characters")));
            }
            request.set_header(&name.to_ascii_lowercase(), value);
        }
        Ok(())
    }
}

/// The method, and whether it has a body.
fn name(method: HttpMethod, compiler: &mut Compiler<'_>) -> (&'static str, bool) {
    match method {
        HttpMethod::Get => ("GET", false),
        HttpMethod::Head => ("HEAD", false),
        HttpMethod::Delete => ("DELETE", false),
        HttpMethod::Options => ("OPTIONS", false),
        HttpMethod::Post => ("POST", true),
        HttpMethod::Put => ("PUT", true),
        HttpMethod::Patch => ("PATCH", true),
        HttpMethod::Connect | HttpMethod::Trace => {
            compiler.problem("`CONNECT` and `TRACE` speak to proxies, not to servers: use another method");
            ("GET", false)
        }
    }
}

fn check_name(name: &str, compiler: &mut Compiler<'_>) {
    if let Err(reason) = header::check_name(&name.to_ascii_lowercase()) {
        compiler.at(name, |compiler| compiler.problem(format!("`{name}` {reason}")));
    }
}

impl Login {
    fn compile_oauth2(spec: &OAuth2ClientSpec, place: Credentials, compiler: &mut Compiler<'_>) -> Self {
        let OAuth2ClientSpec { token_url, client_id, client_secret_ref, scopes, extra_params, cache, timeout } = spec;
        let endpoint =
            compiler.at("tokenUrl", |compiler| Endpoint::compile("token endpoint", token_url, *timeout, compiler));
        let SecretKeyRef { name, key, namespace } = client_secret_ref;
        let secret = compiler.at("clientSecretRef", |compiler| compiler.secret(namespace.as_deref(), name, key));
        if client_id.is_empty() {
            compiler.at("clientId", |compiler| compiler.problem("must not be empty"));
        }
        if !scopes.is_empty() && extra_params.contains_key("scope") {
            compiler.at("extraParams", |compiler| compiler.problem("`scope` is given by `scopes` already: keep one"));
        }
        let mut parameters = extra_params.clone();
        parameters.entry("grant_type".to_owned()).or_insert_with(|| "client_credentials".to_owned());
        if !scopes.is_empty() {
            parameters.insert("scope".to_owned(), scopes.join(" "));
        }
        match (endpoint, secret) {
            (Some(endpoint), Some(secret)) => {
                let parameters = parameters.into_iter().collect();
                let client = ClientCredentials::new(client_id.clone(), secret, parameters, cache.unwrap_or(true));
                Self::OAuth2(Box::new(OAuth2 { client, endpoint, place }))
            }
            // The problem is told.
            _ => Self::None,
        }
    }

    /// Gives the access token, if it is one that was placed.
    async fn place(&self, request: &mut HttpRequest, cx: &Cx) -> Result<Option<Secret>, StepError> {
        match self {
            Self::None => Ok(None),
            Self::Shared(credential) => {
                credential.place(request);
                Ok(None)
            }
            Self::OAuth2(oauth2) => {
                let OAuth2 { client, endpoint, place } = &**oauth2;
                let token = client.token(endpoint, cx).await?;
                place.place(token.reveal(), request);
                Ok(Some(token))
            }
        }
    }
}

impl Body {
    fn write(&self, request: &mut HttpRequest, view: &View) -> Result<(), StepError> {
        let (content_type, body) = match self {
            Self::Whole(body, content_type) => (*content_type, body.text(view)?),
            Self::Form(parameters) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, value) in parameters {
                    form.append_pair(name, &value.text(view)?);
                }
                (ContentType::Form, form.finish())
            }
            Self::Json(parameters) => {
                let members =
                    parameters.iter().map(|(name, value)| Ok::<_, StepError>((name.clone(), value.value(view)?)));
                (ContentType::Json, text::to_json(&Value::Object(try_gathered(members)?)))
            }
        };
        request.set_header(
            "content-type",
            match content_type {
                ContentType::Form => "application/x-www-form-urlencoded",
                ContentType::Json => "application/json",
            },
        );
        request.body = body.into_bytes();
        Ok(())
    }
}

/// A bound beyond that of all answers together would never be reached, which is not what it was written for.
fn compile_max(bytes: Option<u64>, compiler: &mut Compiler<'_>) -> usize {
    let most = outbound::max_response_bytes_of_all(compiler.options);
    if bytes.is_some_and(|bytes| usize::try_from(bytes).map_or(true, |bytes| bytes > most)) {
        compiler.at("maxResponseBytes", |compiler| {
            compiler.problem(format!(
                "must not be more than {most}, which is `options.maxResponseBytes`, for all answers together"
            ));
        });
    }
    outbound::max_response_bytes(bytes)
}

/// What an answer says, whatever its status, as with Authorino: JSON objects if it claims to be JSON, else text.
fn read(endpoint: &Endpoint, reply: &HttpReply) -> Result<Value, StepError> {
    check_redirect(endpoint, reply)?;
    if !reply.is_json() {
        return Ok(Value::String(String::from_utf8_lossy(&reply.body).into_owned()));
    }
    let mut objects = Vec::new();
    for value in serde_json::Deserializer::from_slice(&reply.body).into_iter() {
        match value {
            Ok(object @ (Value::Object(_) | Value::Null)) => objects.push(object),
            Ok(_) => return Err(endpoint.unfit("the answer is JSON, but no object")),
            Err(_) => return Err(endpoint.unfit("the answer is broken JSON")),
        }
    }
    match objects.pop() {
        None => Err(endpoint.unfit("the answer claims to be JSON, but is empty")),
        Some(object) if objects.is_empty() => Ok(object),
        Some(last) => {
            objects.push(last);
            Ok(Value::Array(objects))
        }
    }
}

/// A redirect is no answer: its target may be anywhere.
pub(super) fn check_redirect(endpoint: &Endpoint, reply: &HttpReply) -> Result<(), StepError> {
    match reply.status {
        300..400 => Err(endpoint.unfit(format!("it redirects with status {}, which is not followed", reply.status))),
        _ => Ok(()),
    }
}
