//! Several requests at once over one connection in HTTP/2.

use std::net::SocketAddr;

use h2::client;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::net::TcpStream;

use super::{Response, Stream, TIMEOUT};

/// A request.
#[derive(Debug)]
pub struct Request {
    head: http::request::Builder,
    body: Vec<u8>,
}

impl Request {
    /// Without headers.
    #[must_use]
    pub fn new(method: &str, path: &str, authority: &str) -> Self {
        let head = http::Request::builder().method(method).uri(format!("http://{authority}{path}"));
        Self { head, body: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: &[u8]) -> Self {
        let (name, value) = (HeaderName::try_from(name), HeaderValue::from_bytes(value));
        match (name, value) {
            (Ok(name), Ok(value)) => Self { head: self.head.header(name, value), ..self },
            // What cannot be a header makes the whole request none.
            _ => Self { head: self.head.header("\0", ""), ..self },
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// A part of it cannot be said in HTTP/2.
    pub fn body(self, body: Option<&[u8]>) -> Result<Self, String> {
        match self.head.headers_ref() {
            Some(_) => Ok(Self { body: body.unwrap_or_default().to_vec(), ..self }),
            None => Err("the request cannot be said in HTTP/2".to_owned()),
        }
    }
}

/// Sends requests in this order, all before any is answered, and gives back the responses in the same order.
///
/// # Errors
/// One has none.
pub async fn send(address: SocketAddr, requests: Vec<Request>) -> Result<Vec<Response>, String> {
    tokio::time::timeout(TIMEOUT, exchange(address, requests))
        .await
        .map_err(|_| "no end of the responses".to_owned())?
}

/// The same over a connection that there is already.
///
/// # Errors
/// One has none.
pub async fn over(stream: impl Stream + 'static, requests: Vec<Request>) -> Result<Vec<Response>, String> {
    tokio::time::timeout(TIMEOUT, converse(stream, None, requests))
        .await
        .map_err(|_| "no end of the responses".to_owned())?
}

async fn exchange(address: SocketAddr, requests: Vec<Request>) -> Result<Vec<Response>, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let peer = stream.local_addr().ok();
    converse(stream, peer, requests).await
}

async fn converse(
    stream: impl Stream + 'static,
    peer: Option<SocketAddr>,
    requests: Vec<Request>,
) -> Result<Vec<Response>, String> {
    let (mut sender, connection) = client::handshake(stream).await.map_err(text)?;
    let driver = tokio::spawn(connection);
    let mut waiting = Vec::new();
    for Request { head, body } in requests {
        let head = head.body(()).map_err(|error| error.to_string())?;
        sender = sender.ready().await.map_err(text)?;
        let (response, mut stream) = sender.send_request(head, body.is_empty()).map_err(text)?;
        if !body.is_empty() {
            stream.send_data(body.into(), true).map_err(text)?;
        }
        waiting.push(response);
    }
    let mut responses = Vec::new();
    for response in waiting {
        let (head, mut rest) = response.await.map_err(text)?.into_parts();
        let mut body = Vec::new();
        while let Some(chunk) = rest.data().await {
            let chunk = chunk.map_err(text)?;
            drop(rest.flow_control().release_capacity(chunk.len()));
            body.extend(chunk);
        }
        let trailers = rest.trailers().await.map_err(text)?.unwrap_or_default();
        let [headers, trailers] = [&head.headers, &trailers].map(pairs);
        responses.push(Response { status: head.status.as_u16(), headers, body, trailers, peer });
    }
    driver.abort();
    Ok(responses)
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn text(error: h2::Error) -> String {
    error.to_string()
}
