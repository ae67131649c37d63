//! A server that speaks no HTTP: it may speak first, sends back what it gets, and remembers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The server.
#[derive(Debug, Clone)]
pub struct Talker {
    /// Where it is.
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    heard: Mutex<Vec<u8>>,
}

impl Talker {
    /// Starts one that says this first.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start(banner: &'static [u8]) -> std::io::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), banner).await
    }

    /// The same, at an address.
    ///
    /// # Errors
    /// The address is not to be had.
    pub async fn start_at(address: SocketAddr, banner: &'static [u8]) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let talker = Self { address, counts: Arc::clone(&counts) };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counts.connections.fetch_add(1, Ordering::SeqCst);
                let counts = Arc::clone(&counts);
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    if stream.write_all(banner).await.is_err() {
                        return;
                    }
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        let heard = buffer.get(..length).unwrap_or_default();
                        counts.heard.lock().unwrap_or_else(PoisonError::into_inner).extend(heard);
                        if stream.write_all(heard).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(talker)
    }

    /// How many connections it has had.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Whether it has been sent this, by anybody.
    #[must_use]
    pub fn heard(&self, words: &[u8]) -> bool {
        let heard = self.counts.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.windows(words.len()).any(|window| window == words)
    }
}
