//! Starts a server, and ends it whatever happens.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use sidegate_tests::servers;
use tempfile::TempDir;

/// A server in a process of its own, with a folder that is gone when it is. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    folder: TempDir,
}

/// How a server is started. Arguments may name its folder.
pub struct Launch<'a> {
    pub name: &'static str,
    pub program: &'a Path,
    pub arguments: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    /// How long it may take until it is ready.
    pub patience: Duration,
}

/// A folder for what a server keeps, and for its log.
pub fn folder(name: &str) -> Result<TempDir, String> {
    tempfile::Builder::new().prefix(&format!("sidegate-{name}-")).tempdir().map_err(text)
}

/// Ports on loopback that nobody has. They are free again, so that a server can have them; somebody else could, too.
pub fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let held: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>().map_err(text)?;
    let ports: Vec<u16> = held.iter().filter_map(|held| Some(held.local_addr().ok()?.port())).collect();
    ports.try_into().map_err(|_| "a listener has no address".to_owned())
}

/// What a program prints that ends by itself.
pub fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(text)?;
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

impl Server {
    /// Starts a server and waits until `ready` says so.
    pub fn start(launch: Launch<'_>, folder: TempDir, ready: impl Fn() -> bool) -> Result<Self, String> {
        let Launch { name, program, arguments, environment, patience } = launch;
        let log = File::create(folder.path().join("output.log")).map_err(text)?;
        let mut command: Command = servers::guarded(program, folder.path());
        command.args(arguments).envs(environment).current_dir(folder.path());
        command.stdout(log.try_clone().map_err(text)?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut server = Self { name, child, folder };
        let end = Instant::now() + patience;
        while !ready() {
            if let Some(status) = server.child.try_wait().map_err(text)? {
                return Err(format!("{name} ended ({status}):\n{}", server.last_words()));
            }
            if Instant::now() > end {
                return Err(format!("{name} is not ready after {} s:\n{}", patience.as_secs(), server.last_words()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// Whether it has ended, or does so in a while.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let log = fs::read(self.folder.path().join("output.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        servers::release(&mut self.child, Duration::from_secs(20));
        if std::env::var_os("SIDEGATE_KEEP_LOGS").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("{}'s log is in {}", self.name, self.folder.path().display());
        }
    }
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
