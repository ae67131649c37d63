//! The outside services of all cases, behind one port; told apart by their authority.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;

use crate::case::Service;

/// The services.
#[derive(Debug, Clone)]
pub struct Services {
    /// Where they all are.
    pub address: SocketAddr,
    state: Arc<Mutex<HashMap<String, State>>>,
}

#[derive(Debug, Default)]
struct State {
    service: Service,
    /// Number of the request of the case that is under way.
    request: usize,
    /// How often each path was asked for.
    asked: BTreeMap<String, usize>,
    /// Nothing is answered for now.
    held: bool,
}

impl Services {
    /// Starts without any.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start() -> std::io::Result<Self> {
        let (listener, address) = super::bind().await?;
        let services = Self { address, state: Arc::default() };
        let serving = services.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let services = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| services.clone().answer(request));
                    drop(
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await,
                    );
                });
            }
        });
        Ok(services)
    }

    /// Adds services, or others in their place, by their authority.
    pub fn add(&self, services: &BTreeMap<String, Service>) {
        let mut state = self.lock();
        for (authority, service) in services {
            state.entry(authority.clone()).or_default().service = service.clone();
        }
    }

    /// From now on replies are those for this request of the case.
    pub fn request<'a>(&self, authorities: impl Iterator<Item = &'a String>, number: usize) {
        let mut state = self.lock();
        for authority in authorities {
            state.entry(authority.clone()).or_default().request = number;
        }
    }

    /// How often a path was asked for.
    #[must_use]
    pub fn asked(&self, authority: &str, path: &str) -> usize {
        self.lock().get(authority).and_then(|state| state.asked.get(path)).copied().unwrap_or(0)
    }

    /// How often anything was asked for.
    #[must_use]
    pub fn asked_at_all(&self, authority: &str) -> usize {
        self.lock().get(authority).map_or(0, |state| state.asked.values().sum())
    }

    /// From now on nothing is answered, until it is released: what is asked meanwhile waits.
    pub fn hold(&self, authority: &str, held: bool) {
        self.lock().entry(authority.to_owned()).or_default().held = held;
    }

    async fn while_held(&self, authority: &str) {
        while self.lock().get(authority).is_some_and(|state| state.held) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let host = request.headers().get("host").and_then(|host| host.to_str().ok());
        let authority = request.uri().authority().map(ToString::to_string).or(host.map(ToOwned::to_owned));
        let authority = authority.unwrap_or_default();
        let path = request.uri().path().to_owned();
        let reply = {
            let mut state = self.lock();
            let state = state.entry(authority.clone()).or_default();
            *state.asked.entry(path.clone()).or_default() += 1;
            state.service.reply(&path, state.request).cloned()
        };
        let Some(reply) = reply else { return Ok(response(404, &[], String::new())) };
        self.while_held(&authority).await;
        tokio::time::sleep(Duration::from_millis(reply.delay)).await;
        let (status, headers, body) = reply.wire();
        Ok(response(status, &headers, body))
    }
}

fn response(status: u16, headers: &[(String, String)], body: String) -> Response<Full<Bytes>> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(body.into())).unwrap_or_default()
}
