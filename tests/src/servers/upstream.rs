//! An upstream that says what it saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde::{Deserialize, Serialize};

/// Answers everything with what it saw, as JSON; speaks HTTP/1.1 and HTTP/2, websockets and CONNECT tunnels (an echo),
/// and gRPC as far as its status.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    name: Arc<str>,
    heads: Arc<Mutex<Vec<String>>>,
}

/// What an upstream saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Saw {
    /// Name of the upstream.
    pub upstream: String,
    /// `GET`, …
    pub method: String,
    /// With the query.
    pub path: String,
    /// Of the URI or the `host` header.
    pub authority: String,
    /// In order, with U+FFFD for what is no UTF-8.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Names of trailers.
    pub trailers: Vec<String>,
}

impl Upstream {
    /// Starts one.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start(name: &str) -> std::io::Result<Self> {
        let (listener, address) = super::bind().await?;
        let upstream = Self { address, name: name.into(), heads: Arc::default() };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let upstream = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| upstream.clone().answer(request));
                    let mut server = auto::Builder::new(TokioExecutor::new());
                    server.http1().max_headers(500);
                    // A client that goes away is none of our business.
                    drop(server.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
                });
            }
        });
        Ok(upstream)
    }

    /// Whether a request whose path has this text reached it, be it only with its headers.
    #[must_use]
    pub fn saw(&self, path: &str) -> bool {
        self.seen(path) > 0
    }

    /// How many of them did.
    #[must_use]
    pub fn seen(&self, path: &str) -> usize {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|head| head.contains(path)).count()
    }

    async fn answer(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
        let head = format!("{} {}", request.method(), request.uri());
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        if request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE) {
            return Ok(tunnel(&mut request));
        }
        // As Envoy has it: gRPC-Web is ordinary HTTP.
        let is_grpc = |kind: &[u8]| {
            kind.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
        };
        let grpc = request.headers().get(CONTENT_TYPE).is_some_and(|kind| is_grpc(kind.as_bytes()));
        let (parts, body) = request.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().map(|trailers| trailers.keys().map(ToString::to_string).collect());
        let host = parts.headers.get("host").map(text);
        let saw = Saw {
            upstream: self.name.to_string(),
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            authority: parts.uri.authority().map(ToString::to_string).or(host).unwrap_or_default(),
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            trailers: trailers.unwrap_or_default(),
            body_bytes: body.to_bytes().len(),
        };
        Ok(if grpc { grpc_ok() } else { said(&saw) })
    }
}

fn said(saw: &Saw) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(serde_json::to_vec(saw).unwrap_or_default().into()).boxed());
    response.headers_mut().insert("x-upstream", hyper::header::HeaderValue::from_static("saw"));
    response
}

fn text(value: &hyper::header::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn grpc_ok() -> Response<BoxBody<Bytes, Infallible>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", hyper::header::HeaderValue::from_static("0"));
    let empty_message = Full::new(Bytes::from_static(&[0; 5]));
    let mut response = Response::new(empty_message.with_trailers(async { Some(Ok(trailers)) }).boxed());
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/grpc"));
    response
}

/// An echo of everything that comes after the handshake.
fn tunnel(request: &mut Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    let connect = request.method() == Method::CONNECT;
    let upgrading = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrading.await {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
            drop(tokio::io::copy(&mut reader, &mut writer).await);
        }
    });
    let mut response = Response::new(Full::default().boxed());
    if !connect {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(CONNECTION, hyper::header::HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, hyper::header::HeaderValue::from_static("websocket"));
    }
    response
}
