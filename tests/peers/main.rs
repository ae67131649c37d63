//! Real servers around a real Envoy: `./build.sh peers`, or `cargo test -p sidegate-tests --test peers` with the variables that it
//! sets. Each server runs while its own cases do.
//!
//! A new case goes into the `ALL` of its server's file; a new server is a file with a `suite`, a row in [`PEERS`], and its
//! installation in `tests/peers/install.sh`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use sidegate_tests::envoy::Paths;

mod authorino;
mod definitions;
mod examples;
mod keycloak;
mod kubernetes;
mod opa;
mod report;
mod server;
mod spicedb;
mod stage;
mod web;

/// A server whose cases are run if its variable says where it is.
struct Peer {
    name: &'static str,
    /// Of the environment.
    variable: &'static str,
    /// Starts it.
    suite: fn(&Paths, &Path) -> Result<Suite, String>,
}

/// A server that runs, as long as one of its cases is there.
struct Suite {
    /// As the server itself says.
    version: String,
    cases: Vec<Trial>,
}

type Case<World> = fn(&World);

impl Suite {
    /// Cases that share a world.
    fn new<World: Send + Sync + 'static>(
        version: String,
        world: World,
        all: &'static [(&'static str, Case<World>)],
    ) -> Self {
        let world = Arc::new(world);
        let trial = |(name, case): &'static (&'static str, Case<World>)| {
            let world = Arc::clone(&world);
            Trial::test(*name, move || {
                case(&world);
                Ok(())
            })
        };
        Self { version, cases: all.iter().map(trial).collect() }
    }
}

const PEERS: [Peer; 5] = [
    Peer { name: "Keycloak", variable: "KEYCLOAK", suite: keycloak::suite },
    Peer { name: "kube-apiserver", variable: "KUBERNETES", suite: kubernetes::suite },
    Peer { name: "SpiceDB", variable: "SPICEDB", suite: spicedb::suite },
    Peer { name: "OPA", variable: "OPA", suite: opa::suite },
    Peer { name: "Authorino", variable: "AUTHORINO", suite: authorino::suite },
];

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let Some(paths) = Paths::from_env() else { return };
    let mut rows = Vec::new();
    for Peer { name, variable, suite } in PEERS {
        let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
            println!("left out: {name}; set {variable} to where it is, or run `./build.sh peers`");
            continue;
        };
        let Suite { version, cases } = suite(&paths, &path).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("\n{name} {version}");
        if cases.is_empty() {
            println!("no cases yet");
            continue;
        }
        let conclusion = libtest_mimic::run(&arguments, cases);
        rows.push(report::Row { server: name, version, conclusion });
    }
    if let Some(page) = std::env::var_os("PEERS_PAGE").filter(|page| !page.is_empty()) {
        report::write(Path::new(&page), &rows).unwrap_or_else(|error| panic!("{error}"));
    }
    if rows.iter().any(|row| row.conclusion.has_failed()) {
        std::process::exit(101);
    }
}
