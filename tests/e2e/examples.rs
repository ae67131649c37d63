//! The commands of an example's README, against the Envoy that the example sets up.

use std::fs;
use std::process::Command;

use sidegate_tests::envoy::{Envoy, Paths, config};
use sidegate_tests::example::Example;
use sidegate_tests::servers::upstream::Upstream;
use tokio::runtime::Runtime;

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] =
    &[("the requests of the example `composition` are answered as its README says", composition)];

fn composition(paths: &Paths) {
    let runtime = Runtime::new().expect("a runtime");
    let upstream = runtime.block_on(Upstream::start("orders")).expect("an upstream");
    let port = config::free_port().expect("a port");
    let example = Example::load("composition").expect("an example");
    let readme = fs::read_to_string(example.folder.join("README.md")).expect("a README");
    let clusters = [("orders", upstream.address)];
    let _envoy = Envoy::start(&paths.envoy, 1, |_| Ok(example.bootstrap(&paths.wasm, port, &clusters))).expect("Envoy");
    let commands: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("$ curl ")?.split_once("# ")).collect();
    assert!(commands.len() >= 7, "{commands:?}");
    for (arguments, status) in commands {
        let arguments = arguments.replace("localhost:8000", &format!("127.0.0.1:{port}"));
        let command = format!("curl -s -o /dev/null -w '%{{http_code}}' -H 'Host: localhost:{port}' {arguments}");
        let output = Command::new("bash").args(["-euc", &command]).output().expect("curl");
        assert_eq!(String::from_utf8_lossy(&output.stdout), status.trim(), "{command}");
    }
}
