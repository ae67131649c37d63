//! The servers around Envoy: upstreams and outside services.

pub mod services;
pub mod upstream;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tokio::net::TcpListener;

/// Ends a program when its own stdin ends, so that none outlives who started it, even by a kill.
const GUARD: &str = r#"exec 3<&0 </dev/null
"$@" & program=$!
{ read -r _ <&3; kill "$program"; } 2>/dev/null & guard=$!
wait "$program"; code=$?
kill "$guard" 2>/dev/null
exit "$code""#;

/// A program that ends when the pipe that is its stdin does; its arguments are to be added.
#[must_use]
pub fn guarded(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "sh"]).arg(program);
    command
}

/// A listener on loopback, and its address.
async fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
