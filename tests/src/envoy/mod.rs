//! A real Envoy with the module in it.

pub mod admin;
pub mod config;
mod process;

use std::path::PathBuf;

pub use process::Envoy;

/// Where the module and Envoy are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `SIDEGATE_WASM`.
    pub wasm: PathBuf,
    /// `ENVOY`.
    pub envoy: PathBuf,
}

impl Paths {
    /// From the environment; none, and a word about it, if the variables are not set.
    ///
    /// # Panics
    /// A variable names a file that is not there: whoever set it wants the tests to run.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        Self::with("SIDEGATE_WASM")
    }

    /// The same with the smaller module, `SIDEGATE_CORE_WASM`.
    #[must_use]
    pub fn core_from_env() -> Option<Self> {
        Self::with("SIDEGATE_CORE_WASM")
    }

    fn with(module: &str) -> Option<Self> {
        let path = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from)?;
            assert!(path.is_file(), "{name}: there is no file `{}`", path.display());
            path.canonicalize().ok()
        };
        let paths = path(module).zip(path("ENVOY")).map(|(wasm, envoy)| Self { wasm, envoy });
        if paths.is_none() {
            println!("left out: set {module} and ENVOY, or run `./build.sh e2e`");
        }
        paths
    }
}
