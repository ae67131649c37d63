//! A client that sends just the bytes it is told: order, repetition and odd bytes of headers are what many tests are about.

pub mod http2;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::fixtures;

/// How long an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection, plain or TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A response.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Trailers, of HTTP/2 only.
    pub trailers: Vec<(String, String)>,
    /// Address that the client had.
    pub peer: Option<SocketAddr>,
}

impl Response {
    /// The first value of a header, which is named in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A request, as bytes.
#[derive(Debug, Clone)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// The request line and `host`.
    #[must_use]
    pub fn new(method: &str, path: &str, authority: &str) -> Self {
        Self { bytes: format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(b": ");
        self.bytes.extend(value.as_ref());
        self.bytes.extend(b"\r\n");
        self
    }

    /// Ends the headers with a body, of which all is sent.
    #[must_use]
    pub fn body(self, body: Option<&str>) -> Vec<u8> {
        self.bytes(body.map(str::as_bytes))
    }

    /// As [`Request::body`], with a body that may be no text.
    #[must_use]
    pub fn bytes(self, body: Option<&[u8]>) -> Vec<u8> {
        let sized = match body {
            Some(body) => self.header("content-length", body.len().to_string()),
            None => self,
        };
        let mut bytes = sized.header("connection", "close").bytes;
        bytes.extend(b"\r\n");
        bytes.extend(body.unwrap_or_default());
        bytes
    }

    /// Ends the headers; the connection stays open.
    #[must_use]
    pub fn open(self) -> Vec<u8> {
        let mut bytes = self.bytes;
        bytes.extend(b"\r\n");
        bytes
    }
}

/// Sends a request and reads the response to its end, or to that of the connection.
///
/// # Errors
/// There was none.
pub async fn exchange(stream: &mut (impl Stream + ?Sized), request: &[u8]) -> Result<Response, String> {
    let has_body = !request.starts_with(b"HEAD ");
    let exchange = async {
        stream.write_all(request).await?;
        let mut bytes = Vec::new();
        // Envoy keeps a connection for a second after an early answer, so its end is not waited for.
        while !is_whole(&bytes, has_body) {
            match stream.read_buf(&mut bytes).await {
                Ok(0) => break,
                Ok(_) => {}
                // A server that answers early may reset the connection after its answer.
                Err(error) if bytes.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(bytes)
    };
    let bytes = tokio::time::timeout(TIMEOUT, exchange).await;
    let bytes = bytes.map_err(|_| "no end of the response".to_owned())?.map_err(|error| error.to_string())?;
    read(&bytes, has_body)
}

/// Connects, sends, reads, and ends.
///
/// # Errors
/// There was no response.
pub async fn send(address: SocketAddr, request: &[u8]) -> Result<Response, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let peer = stream.local_addr().ok();
    Ok(Response { peer, ..exchange(&mut stream, request).await? })
}

/// As [`send`], in TLS, with a client certificate of `fixtures/certs` if one is named.
///
/// # Errors
/// There was no response.
pub async fn send_tls(address: SocketAddr, certificate: Option<&str>, request: &[u8]) -> Result<Response, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let peer = stream.local_addr().ok();
    let connector = TlsConnector::from(Arc::new(tls(certificate)?));
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let mut stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    Ok(Response { peer, ..exchange(&mut stream, request).await? })
}

fn tls(certificate: Option<&str>) -> Result<ClientConfig, String> {
    let pem = |name: &str| {
        CertificateDer::from_pem_file(fixtures::path(&format!("certs/{name}.pem"))).map_err(|error| error.to_string())
    };
    let mut roots = RootCertStore::empty();
    roots.add(pem("ca")?).map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder().with_root_certificates(roots);
    match certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(fixtures::path(&format!("certs/{name}.key")));
            let key = key.map_err(|error| error.to_string())?;
            let mut chain = vec![pem(name)?];
            if name == "carol" {
                chain.push(pem("sub-ca")?);
            }
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())
        }
    }
}

/// A whole response out of the bytes of a connection; interim ones are passed over.
///
/// # Errors
/// It is none.
pub fn parse(bytes: &[u8]) -> Result<Response, String> {
    read(bytes, true)
}

/// The same; to HEAD there is no body, whatever the headers say.
fn read(bytes: &[u8], has_body: bool) -> Result<Response, String> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(bytes).map_err(|error| format!("no HTTP response: {error}"))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Err(format!("no whole response: {}", String::from_utf8_lossy(bytes))),
    };
    let rest = bytes.get(length..).unwrap_or_default();
    let status = head.code.unwrap_or(0);
    if (100..200).contains(&status) && status != 101 {
        return read(rest, has_body);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<_> =
        head.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = match (has_body, chunked) {
        (false, _) => Vec::new(),
        (true, true) => unchunk(rest)?,
        (true, false) => rest.to_vec(),
    };
    Ok(Response { status, headers, body, ..Response::default() })
}

/// Whether a response has said how long it is, and is as long as that.
fn is_whole(bytes: &[u8], has_body: bool) -> bool {
    let Ok(Response { status, headers, body, .. }) = read(bytes, has_body) else { return false };
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    // A whole chunked body is the only one that can be parsed.
    status != 101 && (!has_body || chunked || length.is_some_and(|length: usize| body.len() >= length))
}

fn unchunk(mut bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let (start, length) = match httparse::parse_chunk_size(bytes) {
            Ok(httparse::Status::Complete(parsed)) => parsed,
            _ => return Err("a chunk is damaged".to_owned()),
        };
        let length = usize::try_from(length).map_err(|error| error.to_string())?;
        if length == 0 {
            return Ok(body);
        }
        body.extend(bytes.get(start..start + length).ok_or("a chunk is cut off")?);
        bytes = bytes.get(start + length + 2..).unwrap_or_default();
    }
}
