//! `envoy-examples/mtls`, as it stands there but for ports, paths and servers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sidegate_tests::client::{self, Request};
use sidegate_tests::envoy::{Envoy, Paths, config};
use sidegate_tests::servers::talker::Talker;
use sidegate_tests::servers::upstream::Upstream;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::mesh::BANNER;

pub const EXAMPLE: (&str, super::Alone) = ("mesh: the example of two sidecars does what its policies say", example);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy-examples/mtls")
}

fn yaml(file: &str) -> Value {
    let text = fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// An Envoy with this file of the example, with listeners on ports of ours and clusters that lead to these.
fn start(paths: &Paths, text: &str, ports: &[(&str, u16)], clusters: &[(&str, SocketAddr)]) -> Envoy {
    let mut bootstrap: Value = serde_json::from_str(text).expect("it is JSON still");
    let loopback = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    bootstrap["admin"]["address"] = loopback(0);
    for listener in bootstrap["static_resources"]["listeners"].as_array_mut().expect("there are listeners") {
        let port = ports.iter().find(|(name, _)| listener["name"] == *name).expect("it has a port");
        listener["address"] = loopback(port.1);
    }
    for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().expect("there are clusters") {
        let server = clusters.iter().find(|(name, _)| cluster["name"] == *name).expect("it has a server");
        cluster["type"] = json!("STATIC");
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] =
            loopback(server.1.port());
    }
    Envoy::start(&paths.envoy, 1, |_| Ok(bootstrap)).unwrap_or_else(|error| panic!("{error}"))
}

fn example(paths: &Paths) {
    let certificates = tempfile::tempdir().expect("a folder");
    let made = Command::new(folder().join("certificates.sh")).arg(certificates.path()).status();
    assert!(made.is_ok_and(|status| status.success()), "there are no certificates");
    let ours = |text: String| {
        text.replace("/etc/certs", &certificates.path().display().to_string())
            .replace("/etc/envoy/sidegate.wasm", &paths.wasm.display().to_string())
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (upstream, greeter) = runtime.block_on(async { (Upstream::start("api").await, Talker::start(BANNER).await) });
    let (upstream, greeter) = (upstream.expect("a server"), greeter.expect("a server"));
    let port = || config::free_port().expect("there are ports");
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    // The policies name this port, so it is theirs here as well.
    let (http, tcp) = (port(), port());
    let policy = yaml("policy.yaml");
    let mut server = yaml("envoy.yaml");
    for configuration in configurations(&mut server) {
        let text = configuration.as_str().expect("it is text").to_owned();
        let stands: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(stands, policy, "the policies are the same in both files");
        *configuration = json!(text.replace("8443", &http.to_string()));
    }
    let _server = start(
        paths,
        &ours(server.to_string()),
        &[("http", http), ("greeter", tcp)],
        &[("api", upstream.address), ("greeter", greeter.address)],
    );
    for (who, status, hears) in [("sleep", 200, BANNER), ("other", 403, b"")] {
        let (own_http, own_tcp) = (port(), port());
        let text = ours(yaml("client.yaml").to_string()).replace("/sleep.", &format!("/{who}."));
        let _client = start(
            paths,
            &text,
            &[("http", own_http), ("greeter", own_tcp)],
            &[("api", at(http)), ("greeter", at(tcp))],
        );
        let get = |path: &str| {
            let request = Request::new("GET", path, "api").body(None);
            runtime.block_on(client::send(at(own_http), &request)).unwrap_or_else(|error| panic!("{error}")).status
        };
        assert_eq!(get("/items"), status, "{who}");
        assert_eq!(get("/admin"), 403, "{who}");
        let heard = runtime.block_on(async {
            let mut stream = TcpStream::connect(at(own_tcp)).await.expect("it listens");
            let mut heard = vec![0; hears.len().max(1)];
            let length = stream.read(&mut heard).await.unwrap_or_default();
            heard.truncate(length);
            heard
        });
        assert_eq!(heard, hears, "{who}");
    }
    assert!(!upstream.saw("/admin"));
}

/// The plugin configurations, of requests and of connections.
fn configurations(server: &mut Value) -> Vec<&mut Value> {
    let listeners = server["static_resources"]["listeners"].as_array_mut().expect("there are listeners");
    let configurations = listeners.iter_mut().map(|listener| {
        let filter = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let plugin = match filter["http_filters"].is_array() {
            true => &mut filter["http_filters"][0]["typed_config"]["config"],
            false => &mut filter["config"],
        };
        &mut plugin["configuration"]["value"]
    });
    configurations.collect()
}
