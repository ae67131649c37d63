//! The command as people run it: `cargo test -p sidegate --test commands`.
//!
//! What it prints is in `tests/golden`; with `UPDATE_GOLDEN=1` it is written there.

mod examples;
mod explain;
mod explain_mesh;
mod manifests;
mod migrate;
mod migrate_istio;
mod migrate_linkerd;
mod render;
mod test;
mod usage;
mod validate;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// What became of a command.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs the command in `cli/tests`.
pub fn sidegate(arguments: &[&str]) -> Ran {
    fed(arguments, "")
}

/// The same, with something on standard input.
pub fn fed(arguments: &[&str], input: &str) -> Ran {
    run_in(&here(), arguments, input)
}

/// The same, in a folder.
pub fn run_in(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    // One that reads nothing may be gone already.
    drop(child.stdin.take().expect("its input").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("its end");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// `cli/tests`.
pub fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Compares with a checked-in text.
#[track_caller]
pub fn golden(name: &str, got: &str) {
    let path = here().join("golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, got).expect("a file");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, expected, "{name} is otherwise; UPDATE_GOLDEN=1 writes it");
}
