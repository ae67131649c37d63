//! The outside services of all cases, behind one port; told apart by their authority.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::case::{Received, Service, When, Wire};
use crate::fixtures;

type Body = BoxBody<Bytes, io::Error>;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(60);

/// The services.
#[derive(Debug, Clone)]
pub struct Services {
    /// Where they all are.
    pub address: SocketAddr,
    state: Arc<Mutex<HashMap<String, State>>>,
    arrived: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    service: Service,
    /// Number of the request of the case that is under way.
    request: usize,
    /// How often each path was asked for.
    asked: BTreeMap<String, usize>,
    /// Requests, but for documents that are fetched in their own time, that nobody has looked at yet.
    got: BTreeMap<usize, Received>,
    /// Requests like these are not answered for now.
    held: Option<When>,
}

impl Services {
    /// Starts without any.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start() -> std::io::Result<Self> {
        let (listener, address) = super::bind().await?;
        let services = Self { address, state: Arc::default(), arrived: Arc::default() };
        let serving = services.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        Ok(services)
    }

    /// Has them listen at another address too, by TLS, with a certificate of the fixtures.
    ///
    /// # Errors
    /// There is no such certificate, or no port is to be had.
    pub async fn listen_tls(&self, certificate: &str) -> io::Result<SocketAddr> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(certificate).map_err(io::Error::other)?));
        let (listener, address) = super::bind().await?;
        let serving = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, services) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        services.serve(stream).await;
                    }
                });
            }
        });
        Ok(address)
    }

    pub(super) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            // Here requests are in order; their bodies may end in any.
            let number = self.arrived.fetch_add(1, Ordering::Relaxed);
            self.clone().answer(number, request)
        });
        drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
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
        self.hold_those(authority, held.then(When::default));
    }

    /// The same, of requests that are like this; none: all are answered.
    pub fn hold_those(&self, authority: &str, held: Option<When>) {
        self.lock().entry(authority.to_owned()).or_default().held = held;
    }

    async fn while_held(&self, authority: &str, request: &Received) {
        let is_held = |state: &State| state.held.as_ref().is_some_and(|held| held.differs(request).is_none());
        while self.lock().get(authority).is_some_and(is_held) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What services got since the last time, in the order of arrival; without documents that are fetched in their own time.
    #[must_use]
    pub fn take_calls<'a>(&self, authorities: impl Iterator<Item = &'a String>) -> Vec<(String, Received)> {
        let mut state = self.lock();
        let taken = authorities.filter_map(|authority| {
            let got = std::mem::take(&mut state.get_mut(authority)?.got);
            Some(got.into_values().map(|request| (authority.clone(), request)))
        });
        taken.flatten().collect()
    }

    /// How many requests services got since then.
    #[must_use]
    pub fn calls<'a>(&self, authorities: impl Iterator<Item = &'a String>) -> usize {
        let state = self.lock();
        authorities.filter_map(|authority| state.get(authority)).map(|state| state.got.len()).sum()
    }

    /// An error ends the connection.
    async fn answer(self, arrived: usize, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
        let (authority, request) = received(request).await?;
        let (request, reply) = {
            let mut state = self.lock();
            let State { service, request: number, asked, got, .. } = state.entry(authority.clone()).or_default();
            *asked.entry(request.path_alone().to_owned()).or_default() += 1;
            let request = service.receive(request);
            let reply = service.reply(&request, *number).cloned();
            if !service.has_document(&request.path) {
                got.insert(arrived, request.clone());
            }
            (request, reply)
        };
        self.while_held(&authority, &request).await;
        let Some(reply) = reply else { return Ok(response(&Wire { status: 404, ..Wire::default() }, End::Proper)) };
        tokio::time::sleep(Duration::from_millis(reply.delay)).await;
        if reply.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let end = match (reply.truncated, reply.stalls) {
            (_, true) => End::Never,
            (true, false) => End::TooSoon,
            (false, false) => End::Proper,
        };
        Ok(response(&reply.wire(), end))
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Proper,
    TooSoon,
    Never,
}

/// TLS with a certificate of the fixtures.
pub(super) fn server_config(certificate: &str) -> Result<ServerConfig, Box<dyn Error + Send + Sync>> {
    let file = |end: &str| fixtures::path(&format!("certs/{certificate}.{end}"));
    let chain = vec![CertificateDer::from_pem_file(file("pem"))?];
    let key = PrivateKeyDer::from_pem_file(file("key"))?;
    Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
}

async fn received(request: Request<Incoming>) -> Result<(String, Received), io::Error> {
    let (parts, body) = request.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let authority = parts.uri.authority().map(ToString::to_string).or(parts.headers.get("host").map(text));
    let received = Received {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec(),
    };
    Ok((authority.unwrap_or_default(), received))
}

fn response(Wire { status, headers, body, trailers }: &Wire, end: End) -> Response<Body> {
    let mut builder = Response::builder().status(*status);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    let bytes = Bytes::from(body.clone());
    let body = if end != End::Proper {
        builder = builder.header("content-length", bytes.len() + 100);
        cut_off(bytes, if end == End::Never { FOR_EVER } else { Duration::from_millis(50) })
    } else if trailers.is_empty() {
        Full::new(bytes).map_err(|never| match never {}).boxed()
    } else {
        let pairs = trailers.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        let trailers: HeaderMap = pairs.collect();
        Full::new(bytes).map_err(|never| match never {}).with_trailers(async { Some(Ok(trailers)) }).boxed()
    };
    builder.body(body).unwrap_or_default()
}

/// A body that ends with an error, once its bytes had time to go out.
fn cut_off(bytes: Bytes, time: Duration) -> Body {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        drop(sender.send_data(bytes).await);
        tokio::time::sleep(time).await;
        sender.abort(io::Error::from(io::ErrorKind::ConnectionAborted));
    });
    body.boxed()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::client::{self, http2};

    /// Services by their authority, and the outcome of a GET of each path of the first.
    fn asked(replies: Value, paths: &[&str]) -> Vec<Result<client::Response, String>> {
        Runtime::new().unwrap().block_on(async {
            let services = Services::start().await.unwrap();
            let service: Service = serde_json::from_value(json!({ "replies": replies })).unwrap();
            services.add(&[("a.test".to_owned(), service)].into());
            let mut outcomes = Vec::new();
            for path in paths {
                let request = client::Request::new("GET", path, "a.test").body(None);
                outcomes.push(client::send(services.address, &request).await);
            }
            outcomes
        })
    }

    #[test]
    fn faults_go_over_the_wire_as_they_are_written() {
        let replies = json!({
            "/reset": [{"reset": true}],
            "/truncated": [{"truncated": true, "body": "abc"}],
            "/big": [{"big": 100_000}],
            "/raw": [{"body": {"base64": "AP8="}, "contentType": "text/html", "status": 203}],
            "/redirect": [{"status": 302, "headers": [["location", "/raw"]]}],
        });
        let paths = ["/reset", "/truncated", "/big", "/raw", "/redirect", "/none"];
        let [reset, truncated, big, raw, redirect, none] = <[_; 6]>::try_from(asked(replies, &paths)).unwrap();
        assert!(reset.is_err(), "{reset:?}");
        let truncated = truncated.unwrap();
        assert_eq!((truncated.header("content-length"), &truncated.body[..]), (Some("103"), &b"abc"[..]));
        assert_eq!(big.unwrap().body.len(), 100_000);
        let raw = raw.unwrap();
        assert_eq!((raw.status, raw.header("content-type"), &raw.body[..]), (203, Some("text/html"), &b"\0\xff"[..]));
        assert_eq!(
            redirect.map(|redirect| redirect.header("location").map(ToOwned::to_owned)),
            Ok(Some("/raw".to_owned()))
        );
        assert_eq!(none.map(|none| none.status), Ok(404));
    }

    #[test]
    fn an_answer_that_stalls_does_not_end() {
        Runtime::new().unwrap().block_on(async {
            let services = Services::start().await.unwrap();
            let service: Service =
                serde_json::from_value(json!({ "replies": { "/": [{"stalls": true, "body": "abc"}] } })).unwrap();
            services.add(&[("a.test".to_owned(), service)].into());
            let mut stream = TcpStream::connect(services.address).await.unwrap();
            stream.write_all(&client::Request::new("GET", "/", "a.test").body(None)).await.unwrap();
            let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
            while let Ok(read) = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut buffer)).await {
                let bytes = read.unwrap();
                assert_ne!(bytes, 0, "it ended");
                got.extend_from_slice(&buffer[..bytes]);
            }
            let got = String::from_utf8(got).unwrap();
            assert!(got.contains("content-length: 103") && got.ends_with("abc"), "{got}");
        });
    }

    #[test]
    fn a_grpc_service_answers_in_http_2() {
        Runtime::new().unwrap().block_on(async {
            let services = Services::start().await.unwrap();
            let service: Service = serde_json::from_value(json!({"grpc": true, "replies": {"/a.B/C": [
                {"grpc": {"status": 5, "message": "nothing"}},
                {"grpc": {"body": "yes"}, "when": {"body": "ask"}},
            ]}}))
            .unwrap();
            services.add(&[("a.test:50051".to_owned(), service)].into());
            let request = |body: &[u8]| http2::Request::new("POST", "/a.B/C", "a.test:50051").body(Some(body)).unwrap();
            let requests = vec![request(b"\0\0\0\0\x03ask"), request(b"\0\0\0\0\0")];
            let responses = http2::send(services.address, requests).await.unwrap();
            let status = |index: usize| responses[index].trailers.first().map(|(_, status)| status.as_str());
            assert_eq!((status(0), &responses[0].body[..]), (Some("0"), &b"\0\0\0\0\x03yes"[..]));
            assert_eq!((status(1), &responses[1].body[..]), (Some("5"), &b""[..]));
            let authorities = ["a.test:50051".to_owned()];
            let got = services.take_calls(authorities.iter());
            assert_eq!(got.iter().map(|(_, got)| got.body.as_slice()).collect::<Vec<_>>(), [&b"ask"[..], b""]);
            assert_eq!(services.calls(authorities.iter()), 0);
        });
    }
}
