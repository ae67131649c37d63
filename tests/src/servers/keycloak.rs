//! A stand-in for Keycloak: the people, clients and roles of a realm as Keycloak imports it, and the endpoints that the
//! examples use. `./build.sh peers` runs the same examples with Keycloak itself.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::case::Token;
use crate::{prepare, token};

/// The key that tokens are signed with.
const KEY: &str = "rsa-1";

/// The stand-in.
#[derive(Debug, Clone)]
pub struct Keycloak {
    realm: Arc<Value>,
    issuer: Arc<str>,
    revoked: Arc<Mutex<BTreeSet<String>>>,
}

type Form = BTreeMap<String, String>;

impl Keycloak {
    /// Starts it with a realm, for issuers below this URL.
    ///
    /// # Errors
    /// The address is not to be had.
    pub async fn start(address: SocketAddr, url: &str, realm: Value) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let issuer = format!("{url}/realms/{}", realm["realm"].as_str().unwrap_or_default());
        let keycloak = Self { realm: realm.into(), issuer: issuer.into(), revoked: Arc::default() };
        let serving = keycloak.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let keycloak = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| keycloak.clone().answer(request));
                    let server = auto::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Ok(keycloak)
    }

    /// The issuer of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let form = form(parts.headers.get(AUTHORIZATION), &body);
        let prefix = format!("/realms/{}/", self.realm["realm"].as_str().unwrap_or_default());
        let (status, answer) = match parts.uri.path().strip_prefix(&prefix) {
            Some(".well-known/openid-configuration") => (200, self.discovery()),
            Some("protocol/openid-connect/certs") => (200, token::key_set(&[KEY.to_owned()]).unwrap_or_default()),
            Some("protocol/openid-connect/token") => self.token(&form),
            Some("protocol/openid-connect/token/introspect") => self.introspection(&form),
            Some("protocol/openid-connect/revoke") => self.revoke(&form),
            _ => (404, json!({ "error": "not found" })),
        };
        let mut response = Response::new(Full::from(answer.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}/protocol/openid-connect/{path}", self.issuer);
        json!({
            "issuer": &*self.issuer,
            "jwks_uri": at("certs"),
            "token_endpoint": at("token"),
            "introspection_endpoint": at("token/introspect"),
            "revocation_endpoint": at("revoke"),
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    /// By name and password, for a client that may do so.
    fn token(&self, form: &Form) -> (u16, Value) {
        let client = self.client(form).filter(|client| client["directAccessGrantsEnabled"] == true);
        let (Some(client), Some("password")) = (client, form.get("grant_type").map(String::as_str)) else {
            return (401, json!({ "error": "unauthorized_client" }));
        };
        let name = form.get("username").map(String::as_str);
        let user = list(&self.realm["users"]).find(|user| user["username"].as_str() == name);
        let password =
            |user: &&Value| user["credentials"][0]["value"].as_str() == form.get("password").map(String::as_str);
        let Some(user) = user.filter(password) else {
            return (401, json!({ "error": "invalid_grant" }));
        };
        let audiences =
            list(&client["protocolMappers"]).map(|mapper| mapper["config"]["included.client.audience"].clone());
        let claims = json!({
            "iss": &*self.issuer,
            "sub": format!("id-of-{}", name.unwrap_or_default()),
            "aud": audiences.collect::<Vec<_>>(),
            "azp": client["clientId"],
            "preferred_username": name,
            "realm_access": { "roles": user["realmRoles"] },
        });
        let claims = claims.as_object().cloned().unwrap_or_default().into_iter().collect();
        let signed = token::sign(&Token { key: Some(KEY.to_owned()), claims, ..Token::default() }, prepare::now());
        (200, json!({ "access_token": signed.unwrap_or_default(), "expires_in": 300, "token_type": "Bearer" }))
    }

    /// Of its own tokens, for a client that is in their audience.
    fn introspection(&self, form: &Form) -> (u16, Value) {
        let Some(client) = self.client(form).filter(|client| client["secret"].is_string()) else {
            return (401, json!({ "error": "invalid_client" }));
        };
        let token = form.get("token").map(String::as_str).unwrap_or_default();
        let payload = token.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
        let claims: Option<Value> = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        match claims {
            Some(mut claims)
                if list(&claims["aud"]).any(|one| *one == client["clientId"]) && !self.is_revoked(token) =>
            {
                claims["active"] = true.into();
                claims["username"] = claims["preferred_username"].clone();
                (200, claims)
            }
            _ => (200, json!({ "active": false })),
        }
    }

    fn revoke(&self, form: &Form) -> (u16, Value) {
        match (self.client(form), form.get("token")) {
            (Some(_), Some(token)) => {
                self.revoked.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone());
                (200, Value::Null)
            }
            _ => (401, json!({ "error": "invalid_client" })),
        }
    }

    fn is_revoked(&self, token: &str) -> bool {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).contains(token)
    }

    /// The client that asks, by its secret if it has one.
    fn client(&self, form: &Form) -> Option<&Value> {
        let client = list(&self.realm["clients"])
            .find(|client| client["clientId"].as_str() == form.get("client_id").map(String::as_str))?;
        (client["secret"].as_str() == form.get("client_secret").map(String::as_str)).then_some(client)
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The fields of a body, and who the client says that it is in a header.
fn form(authorization: Option<&HeaderValue>, body: &[u8]) -> Form {
    let mut form: Form = form_urlencoded::parse(body).into_owned().collect();
    let basic = authorization.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let pair = basic.and_then(|basic| String::from_utf8(STANDARD.decode(basic).ok()?).ok());
    if let Some((id, secret)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
        form.insert("client_id".to_owned(), id.to_owned());
        form.insert("client_secret".to_owned(), secret.to_owned());
    }
    form
}
