//! A shell for the commands of a README.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::{programs, text};
use crate::markdown;

/// A shell that keeps its variables from one command to the next.
#[derive(Debug)]
pub(super) struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    ports: Vec<(u16, SocketAddr)>,
    /// With curl's settings, by which it finds the ports, and what went to stderr.
    folder: TempDir,
}

impl Shell {
    pub(super) fn start(here: &Path, ports: &[(u16, SocketAddr)]) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(text)?;
        let settings: String =
            ports.iter().map(|(port, address)| format!("connect-to = \"localhost:{port}:{address}\"\n")).collect();
        fs::write(folder.path().join(".curlrc"), format!("silent\nshow-error\nmax-time = 20\n{settings}"))
            .map_err(text)?;
        let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap_or_default());
        let errors = fs::File::create(folder.path().join("stderr")).map_err(text)?;
        let mut child = Command::new("bash")
            .env("PATH", path)
            .env("CURL_HOME", folder.path())
            .current_dir(here)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(text)?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes")?;
        Ok(Self { child, input, output: BufReader::new(output), ports: ports.to_vec(), folder })
    }

    /// Runs a command, which must succeed, and print what is expected if anything is.
    pub(super) fn expect(&mut self, command: &markdown::Command) -> Result<(), String> {
        let markdown::Command { text: command, output: expected } = command;
        let (code, printed) = self.run(command)?;
        match code == "0" && (expected.is_empty() || printed == *expected) {
            true => Ok(()),
            false => {
                let errors = fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default();
                Err(format!("$ {command}\nexpected\n{expected}\ngot, with exit code {code}\n{printed}\n{errors}"))
            }
        }
    }

    fn run(&mut self, command: &str) -> Result<(String, String), String> {
        let mut ours = command.to_owned();
        for (port, address) in &self.ports {
            // bash has no settings for its own connections.
            ours = ours.replace(
                &format!("/dev/tcp/localhost/{port}"),
                &format!("/dev/tcp/{}/{}", address.ip(), address.port()),
            );
        }
        let script = format!("{{ {ours}\n}} </dev/null\nprintf '\\036%s\\036' $?\n");
        self.input.write_all(script.as_bytes()).and_then(|()| self.input.flush()).map_err(text)?;
        let mut part = || {
            let mut bytes = Vec::new();
            self.output.read_until(0x1e, &mut bytes).map_err(text)?;
            bytes.pop().ok_or_else(|| format!("the shell ended at `{command}`"))?;
            Ok::<_, String>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let printed = part()?;
        Ok((part()?, printed))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
