//! Starts Envoy, and ends it whatever happens.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::admin::Admin;
use super::config::{self, Listener};
use crate::servers;

/// How long Envoy may take to be ready; the module is compiled meanwhile.
const START: Duration = Duration::from_secs(120);

/// How long keys may take from an issuer to all workers.
const KEYS: Duration = Duration::from_secs(30);

/// A running Envoy. It ends when this is dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    folder: TempDir,
    concurrency: usize,
    /// Its admin interface.
    pub admin: Admin,
}

impl Envoy {
    /// Starts Envoy with the bootstrap that is made for its folder, and waits until it is ready.
    ///
    /// # Errors
    /// Envoy ended, or is not ready in time; with the end of its log.
    pub fn start(
        envoy: &Path,
        concurrency: usize,
        bootstrap: impl FnOnce(&Path) -> Result<Value, String>,
    ) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("sidegate-").tempdir().map_err(text)?;
        let path = folder.path();
        fs::write(path.join("bootstrap.json"), bootstrap(path)?.to_string()).map_err(text)?;
        let mut command = servers::guarded(envoy, path);
        // What a restart would share is a file outside of the folder, which Envoy leaves there.
        command.args(["--disable-hot-restart", "--file-flush-interval-msec", "20", "--drain-time-s", "1"]);
        command.args(["--log-level", "warning"]);
        command.arg("--component-log-level").arg("wasm:debug,http:warning");
        command.args(["--log-format", "[%t][%l][%n] %v", "--concurrency", &concurrency.to_string()]);
        for (flag, file) in
            [("-c", "bootstrap.json"), ("--log-path", "envoy.log"), ("--admin-address-path", "admin.txt")]
        {
            command.arg(flag).arg(path.join(file));
        }
        let output = fs::File::create(path.join("output.log")).map_err(text)?;
        command.stdout(output.try_clone().map_err(text)?).stderr(output);
        let child = command.spawn().map_err(|error| format!("sh: {error}"))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self { child, folder, concurrency, admin: Admin::new(nowhere) };
        envoy.wait_until_ready()?;
        Ok(envoy)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + START;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().map_err(text)? {
                return Err(format!("Envoy ended ({status}):\n{}", self.last_words()));
            }
            let address = fs::read_to_string(self.folder.path().join("admin.txt")).unwrap_or_default();
            if let Ok(address) = address.trim().parse() {
                self.admin = Admin::new(address);
                if self.admin.get("/ready").is_ok() {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("Envoy is not ready after {} s:\n{}", START.as_secs(), self.last_words()))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The folder with its configuration and logs.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Everything in its log.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.folder.path().join("envoy.log"))
    }

    /// Everything that it wrote to stdout and stderr.
    #[must_use]
    pub fn output(&self) -> String {
        read(&self.folder.path().join("output.log"))
    }

    /// Lines that a plugin logged at a level, as Envoy names it.
    #[must_use]
    pub fn plugin_log(&self, plugin: &str, level: &str) -> Vec<String> {
        words(&self.log(), plugin, level).map(|(_, line)| line.to_owned()).collect()
    }

    /// Waits until every worker has the keys of an issuer.
    ///
    /// # Errors
    /// Not every worker has them after a while.
    pub fn wait_for_keys(&self, plugin: &str, issuer: &str) -> Result<(), String> {
        self.wait_for_document(plugin, "keys", issuer)
    }

    /// Waits until every worker has a document that is fetched in its own time, or the first fetch has failed. One worker
    /// fetches for all, and the others hear of it later, so no answer to a request shows that all of them have it.
    ///
    /// # Errors
    /// Not every worker has it after a while.
    pub fn wait_for_document(&self, plugin: &str, what: &str, of: &str) -> Result<(), String> {
        let here = format!("the {what} of `{of}` came: ");
        let failed = format!("the {what} of `{of}` cannot be fetched: ");
        // The main thread has a VM as well.
        let all = self.concurrency + 1;
        let end = Instant::now() + KEYS;
        loop {
            let log = self.log();
            let threads: BTreeSet<&str> = words(&log, plugin, "debug")
                .filter(|(_, line)| line.starts_with(&here))
                .map(|(thread, _)| thread)
                .collect();
            if threads.len() >= all || words(&log, plugin, "error").any(|(_, line)| line.starts_with(&failed)) {
                return Ok(());
            }
            if Instant::now() > end {
                let some = threads.len();
                return Err(format!("{some} of {all} threads have the {what} of `{of}`, which {plugin} needs"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The lines of the access log, from the one that was last seen.
    #[must_use]
    pub fn access_log(&self) -> String {
        read(&self.folder.path().join("access.log"))
    }

    /// Hands Envoy other listeners.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn update_listeners(&self, listeners: &[Listener]) -> Result<(), String> {
        config::write_listeners(self.folder.path(), listeners)
    }

    fn last_words(&self) -> String {
        let all = format!("{}{}", self.output(), self.log());
        let lines: Vec<&str> = all.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        servers::release(&mut self.child, Duration::from_secs(10));
        if std::thread::panicking() || std::env::var_os("SIDEGATE_KEEP_LOGS").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("Envoy's logs are in {}", self.folder.path().display());
        }
    }
}

/// What a plugin says at a level, each time with the thread that it is said in.
fn words<'a>(log: &'a str, plugin: &str, level: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let start = format!("[{level}][wasm] wasm log {plugin} ");
    log.lines().filter_map(move |line| {
        let (thread, rest) = line.strip_prefix('[')?.split_once(']')?;
        // The id of the VM is between the name of the plugin and its words.
        Some((thread, rest.strip_prefix(&start)?.split_once(": ")?.1))
    })
}

fn read(file: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = fs::File::open(file) {
        drop(file.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
