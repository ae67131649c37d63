//! An Envoy process to be measured.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate_tests::envoy::admin::{Admin, ListenerState};
use sidegate_tests::servers::{guarded, release};
use tempfile::TempDir;

/// The cluster behind the proxy, which is the issuer's as well.
pub const UPSTREAM: &str = "upstream";

/// Transport sockets of an Envoy; none: no TLS.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Of its listener.
    pub listener: Option<Value>,
    /// Towards its upstream.
    pub upstream: Option<Value>,
}

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
        Self::start_with(program, &routes, filters, upstream, &Tls::default())
    }

    /// The same with TLS on either side.
    ///
    /// # Errors
    /// It does not serve; with its log.
    pub fn start_with(
        program: &Path,
        routes: &Value,
        filters: &[Value],
        upstream: Option<SocketAddr>,
        tls: &Tls,
    ) -> Result<Self, String> {
        let folder = TempDir::new().map_err(text)?;
        let file = folder.path().join("envoy.json");
        let mut bootstrap = bootstrap(folder.path(), upstream);
        if let Some(socket) = &tls.upstream {
            bootstrap["static_resources"]["clusters"][0]["transport_socket"] = socket.clone();
        }
        fs::write(&file, bootstrap.to_string()).map_err(text)?;
        let mut listener = listener(routes, filters);
        if let Some(socket) = &tls.listener {
            listener["filter_chains"][0]["transport_socket"] = socket.clone();
        }
        write_listener(folder.path(), &listener).map_err(text)?;
        let log = fs::File::create(folder.path().join("log")).map_err(text)?;
        let began = Instant::now();
        let child = guarded(program, folder.path())
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "--drain-time-s", "1"])
            .arg("-c")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(folder.path().join("admin"))
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

    /// Puts other filters in the place of its own, and gives back the CPU that it takes until they serve and those before
    /// are gone.
    ///
    /// # Errors
    /// They are refused, or Envoy does not come to rest.
    pub fn update(&self, routes: &Value, filters: &[Value]) -> Result<Duration, String> {
        const QUIET: Duration = Duration::from_millis(1);
        const LOOK: Duration = Duration::from_millis(300);
        let admin = self.admin().ok_or("Envoy has no admin interface")?;
        let stat = |name: &str| admin.stat(&format!("listener_manager.{name}"));
        let (updates, before) = (stat("lds.update_success")?, self.cpu());
        write_listener(self.folder.path(), &listener(routes, filters)).map_err(text)?;
        let end = Instant::now() + Duration::from_secs(60);
        // Each look costs Envoy a little for its statistics, so there are few.
        while stat("lds.update_success")? == updates || stat("total_listeners_draining")? > 0 {
            if Instant::now() > end {
                return Err("Envoy does not take other filters".to_owned());
            }
            std::thread::sleep(LOOK);
        }
        let mut last = self.cpu();
        loop {
            std::thread::sleep(LOOK);
            let now = self.cpu();
            if now.saturating_sub(last) < QUIET || Instant::now() > end {
                return Ok(now.saturating_sub(before));
            }
            last = now;
        }
    }

    /// CPU that it has used so far, that of threads which have ended left out: nanoseconds by `schedstat` (`proc_pid(5)`).
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let threads = fs::read_dir(self.process("task")).into_iter().flatten().flatten();
        let spent = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// Has all of its threads run on one processor.
    ///
    /// # Errors
    /// There is no `taskset`, or no such processor.
    pub fn pin(&self, processor: &str) -> Result<(), String> {
        let pinned =
            Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", processor, &self.id()]).output();
        let output = pinned.map_err(|error| format!("taskset: {error}"))?;
        let words = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("taskset: {words}")) }
    }

    fn process(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.id()).join(file)
    }

    fn id(&self) -> String {
        fs::read_to_string(self.folder.path().join("pid")).unwrap_or_default().trim().to_owned()
    }

    /// Memory that it holds (`proc_pid_status(5)`), in MB.
    #[must_use]
    pub fn memory(&self) -> f64 {
        let status = fs::read_to_string(self.process("status")).unwrap_or_default();
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
        release(&mut self.child, Duration::from_secs(10));
    }
}

/// Writes the file that Envoy watches for its listener, at once.
fn write_listener(folder: &Path, listener: &Value) -> std::io::Result<()> {
    let (draft, file) = (folder.join("lds.json.draft"), folder.join("lds.json"));
    fs::write(&draft, json!({ "resources": [listener] }).to_string())?;
    fs::rename(draft, file)
}

fn bootstrap(folder: &Path, upstream: Option<SocketAddr>) -> Value {
    let clusters: Vec<Value> = upstream.into_iter().map(cluster).collect();
    json!({
        "node": { "id": "sidegate-bench", "cluster": "sidegate-bench" },
        "admin": { "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))) },
        "dynamic_resources": { "lds_config": { "path_config_source": { "path": folder.join("lds.json") } } },
        "static_resources": { "clusters": clusters },
    })
}

fn listener(routes: &Value, filters: &[Value]) -> Value {
    let router = json!({ "name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    } });
    let filters: Vec<&Value> = filters.iter().chain([&router]).collect();
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "bench",
        "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench",
            "route_config": { "virtual_hosts": [{ "name": "bench", "domains": ["*"], "routes": routes }] },
            "http_filters": filters,
        } }] }],
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
