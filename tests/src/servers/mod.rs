//! The servers around Envoy: upstreams and outside services.

pub mod door;
pub mod keycloak;
pub mod services;
pub mod talker;
pub mod upstream;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

/// Ends a program when its own stdin ends, so that none outlives who started it, even by a kill. If not a word came before
/// that, nobody is left who would remove the folder, so that is done here; signals to all of us are to leave time for it.
const GUARD: &str = r#"folder=$1; shift
trap : HUP INT TERM
exec 3<&0 </dev/null
"$@" 3<&- & program=$!
echo "$program" >"$folder/pid"
{ trap : HUP INT TERM
  if read -r _ <&3; then echo released; else echo orphan; fi >"$folder/guard"
  kill "$program"; } 2>/dev/null & guard=$!
wait "$program"; code=$?
while kill -0 "$program" 2>/dev/null; do wait "$program"; code=$?; done
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -s "$folder/guard" ] && break; sleep 0.1; done
kill -KILL "$guard" 2>/dev/null
[ "$(cat "$folder/guard" 2>/dev/null)" != orphan ] || rm -rf "$folder"
exit "$code""#;

/// A program that ends when it is [`release`]d, or when who started it is no more; then its folder is gone as well. Its
/// process is named in the folder's file `pid`. Its arguments are to be added.
#[must_use]
pub fn guarded(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "sh"]).arg(folder).arg(program).stdin(Stdio::piped());
    command
}

/// Ends a [`guarded`] program, and waits for its end.
pub fn release(child: &mut Child, patience: Duration) {
    if let Some(mut stdin) = child.stdin.take() {
        drop(stdin.write_all(b"released\n"));
    }
    let end = Instant::now() + patience;
    while Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A listener on loopback, and its address.
async fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// Starts a guarded `sleep` with a folder of its own, and gives back all three.
    fn sleeping() -> (Child, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap().keep();
        let child = guarded(Path::new("sleep"), &folder).arg("60").spawn().unwrap();
        until(|| fs::read_to_string(folder.join("pid")).is_ok_and(|text| text.ends_with('\n')));
        let process = Path::new("/proc").join(fs::read_to_string(folder.join("pid")).unwrap().trim());
        assert!(process.exists());
        (child, folder, process)
    }

    fn until(holds: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < end, "it does not come");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_is_released_leaves_its_folder_to_us() {
        let (mut child, folder, process) = sleeping();
        release(&mut child, Duration::from_secs(10));
        assert!(!process.exists() && folder.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_program_without_anybody_ends_and_leaves_nothing() {
        let (mut child, folder, process) = sleeping();
        drop(child.stdin.take());
        until(|| !process.exists() && !folder.exists());
        child.wait().unwrap();
    }

    #[test]
    fn signals_to_the_guard_are_no_hindrance() {
        let (mut child, folder, process) = sleeping();
        Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(process.exists());
        drop(child.stdin.take());
        until(|| !process.exists() && !folder.exists());
        child.wait().unwrap();
    }
}
