//! An Envoy process to be measured.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::envoy::admin::{Admin, ListenerState};
use tempfile::TempDir;

/// The cluster behind the proxy, which is the issuer's as well.
pub const UPSTREAM: &str = "upstream";

/// A running Envoy with one worker; it ends when this is dropped.
pub struct Envoy {
    child: Child,
    folder: TempDir,
    /// Where it serves.
    pub address: SocketAddr,
    /// CPU that it had used, and time that had passed, when it was ready.
    pub start: (Duration, Duration),
}

impl Envoy {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// It does not; with its log.
    pub fn start(
        program: &Path,
        routes: Value,
        filters: &[Value],
        upstream: Option<SocketAddr>,
    ) -> Result<Self, String> {
        let folder = TempDir::new().map_err(text)?;
        let file = folder.path().join("envoy.json");
        fs::write(&file, bootstrap(routes, filters, upstream).to_string()).map_err(text)?;
        let log = fs::File::create(folder.path().join("log")).map_err(text)?;
        let began = Instant::now();
        let child = Command::new(program)
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"])
            .arg("-c")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(folder.path().join("admin"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(text)?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self { child, folder, address: nowhere, start: Default::default() };
        envoy.wait(began)?;
        Ok(envoy)
    }

    fn wait(&mut self, began: Instant) -> Result<(), String> {
        let end = began + Duration::from_secs(60);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            if let Some(admin) = self.admin().filter(|admin| admin.get("/ready").is_ok()) {
                self.start = (self.cpu(), began.elapsed());
                if let Some(ListenerState::Active(address)) = admin.listeners(&["bench"])?.get("bench") {
                    self.address = *address;
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!(
            "Envoy does not serve:\n{}",
            fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
        ))
    }

    fn admin(&self) -> Option<Admin> {
        let address = fs::read_to_string(self.folder.path().join("admin")).ok()?;
        address.trim().parse().ok().map(Admin::new)
    }

    /// CPU that it has used so far (`proc_pid_stat(5)`; the kernel counts in hundredths of a second).
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Memory that it holds (`proc_pid_status(5)`), in MB.
    #[must_use]
    pub fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn bootstrap(routes: Value, filters: &[Value], upstream: Option<SocketAddr>) -> Value {
    let router = json!({ "name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    } });
    let filters: Vec<&Value> = filters.iter().chain([&router]).collect();
    let clusters: Vec<Value> = upstream.into_iter().map(cluster).collect();
    json!({
        "admin": { "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))) },
        "static_resources": {
            "clusters": clusters,
            "listeners": [{
                "name": "bench",
                "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))),
                "filter_chains": [{ "filters": [{ "name": "http", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "bench",
                    "route_config": { "virtual_hosts": [{ "name": "bench", "domains": ["*"], "routes": routes }] },
                    "http_filters": filters,
                } }] }],
            }],
        },
    })
}

fn cluster(address: SocketAddr) -> Value {
    json!({
        "name": UPSTREAM,
        "type": "STATIC",
        "load_assignment": { "cluster_name": UPSTREAM, "endpoints": [{ "lb_endpoints": [
            { "endpoint": { "address": socket(address) } },
        ] }] },
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
