//! The servers around Envoy: upstreams and outside services.

pub mod services;
pub mod upstream;

use std::net::SocketAddr;

use tokio::net::TcpListener;

/// A listener on loopback, and its address.
async fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
