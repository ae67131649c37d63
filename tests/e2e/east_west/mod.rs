//! Policies over identity, from sidecar to sidecar over mutual TLS.

pub mod forwarded;
pub mod http;
pub mod mesh;
pub mod tcp;
pub mod updates;
pub mod vectors;

pub use mesh::Mesh;
use sidegate_tests::envoy::Paths;

/// A scenario in the two Envoys that all of these share.
pub type Scenario = fn(&Mesh);

/// All of them.
pub fn all() -> Vec<(&'static str, Scenario)> {
    [http::ALL, forwarded::ALL, tcp::ALL].concat()
}

/// A scenario with Envoys of its own.
pub type Alone = fn(&Paths);

/// All of those.
pub const OWN: &[(&str, Alone)] = &[updates::UNDER_LOAD];
