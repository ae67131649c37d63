//! An address at which the services are, and then something else: nobody, or somebody who is not to be trusted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::services::{self, Services};

/// What is behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The services.
    Services,
    /// The same, by TLS, with a certificate of the fixtures.
    Tls(&'static str),
    /// Somebody who speaks no HTTP.
    Talker,
    /// Nobody listens.
    Nobody,
}

/// The address.
#[derive(Debug)]
pub struct Door {
    /// Where it is.
    pub address: SocketAddr,
    services: Services,
    /// None: nobody listens.
    listener: Option<Arc<TcpListener>>,
    accepting: JoinHandle<()>,
}

impl Door {
    /// Opens one.
    ///
    /// # Errors
    /// No port is to be had, or there is no such certificate.
    pub async fn open(services: &Services, behind: Behind) -> io::Result<Self> {
        let (listener, address) = super::bind().await?;
        let mut door = Self {
            address,
            services: services.clone(),
            listener: Some(Arc::new(listener)),
            accepting: tokio::spawn(async {}),
        };
        door.lead_to(behind).await?;
        Ok(door)
    }

    /// From now on something else is behind it. Connections that there are end. Where nobody was, nobody will be.
    ///
    /// # Errors
    /// There is no such certificate.
    pub async fn lead_to(&mut self, behind: Behind) -> io::Result<()> {
        if !self.accepting.is_finished() {
            self.accepting.abort();
            drop((&mut self.accepting).await);
        }
        let way = match behind {
            Behind::Services => Way::Plain,
            Behind::Tls(certificate) => {
                Way::Tls(Arc::new(services::server_config(certificate).map_err(io::Error::other)?).into())
            }
            Behind::Talker => Way::Talker,
            Behind::Nobody => {
                self.listener = None;
                return Ok(());
            }
        };
        if let Some(listener) = &self.listener {
            self.accepting = tokio::spawn(accept(Arc::clone(listener), self.services.clone(), way));
        }
        Ok(())
    }
}

#[derive(Clone)]
enum Way {
    Plain,
    Tls(TlsAcceptor),
    Talker,
}

impl Way {
    async fn serve(self, mut stream: TcpStream, services: Services) {
        match self {
            Self::Plain => services.serve(stream).await,
            Self::Tls(acceptor) => {
                if let Ok(stream) = acceptor.accept(stream).await {
                    services.serve(stream).await;
                }
            }
            Self::Talker => {
                if stream.write_all(b"SSH-2.0-no-http\r\n").await.is_ok() {
                    drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
                }
            }
        }
    }
}

/// Once this is aborted, what it has accepted is too.
async fn accept(listener: Arc<TcpListener>, services: Services, way: Way) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(way.clone().serve(stream, services.clone()));
    }
}
