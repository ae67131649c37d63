//! Requests in HTTP/2, frame by frame.

use std::net::SocketAddr;
use std::time::Duration;

use h2::client;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With its headers.
    Headers,
    /// With trailers right after the headers.
    Trailers,
    /// With trailers after a body.
    BodyAndTrailers,
}

/// Sends a POST and gives back the status, the headers, and the trailers.
pub async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    ending: Ending,
) -> (u16, HeaderMap, HeaderMap) {
    let exchange = async {
        let stream = TcpStream::connect(address).await.expect("Envoy listens");
        let (mut sender, connection) = client::handshake(stream).await.expect("Envoy speaks HTTP/2");
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method("POST").uri(format!("http://api.test{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("the request is well-formed");
        let (response, mut body) = sender.send_request(request, ending == Ending::Headers).expect("it is sent");
        if ending != Ending::Headers {
            // Envoy must have seen the headers alone before the rest comes. It may have answered already.
            tokio::time::sleep(Duration::from_millis(100)).await;
            if ending == Ending::BodyAndTrailers {
                drop(body.send_data("some body".into(), false));
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-checksum", http::HeaderValue::from_static("1"));
            drop(body.send_trailers(trailers));
        }
        let (parts, mut body) = response.await.expect("there is a response").into_parts();
        while let Some(chunk) = body.data().await {
            let Ok(chunk) = chunk else { break };
            drop(body.flow_control().release_capacity(chunk.len()));
        }
        let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
        driver.abort();
        (parts.status.as_u16(), parts.headers, trailers)
    };
    tokio::time::timeout(Duration::from_secs(15), exchange).await.expect("the exchange ends")
}
