//! What the documents show is true: `cargo test -p sidegate-tests --test docs`.
//!
//! A block marked `yaml` is a whole configuration, or a list of cases of the corpus; `yaml fragment` is a part of something.
//! The lines that a block marked `diff` adds are in the file that it names.
//! A command of a block marked `console` (after `$`) is run if `ENVOY` is set and it is not in `not-run.yaml`; what follows it
//! is its output; without any it need only succeed. One that begins with `sidegate` is run if the command line is built.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use sidegate_engine::Policy;
use sidegate_tests::markdown::{Block, Command as Shown, blocks, commands};
use sidegate_tests::{native, prepare, schemas};

fn main() {
    let root = root();
    let not_run: BTreeMap<String, String> =
        yaml_serde::from_str(include_str!("not-run.yaml")).unwrap_or_else(|error| panic!("not-run.yaml: {error}"));
    let trials = documents(&root).into_iter().flat_map(|path| {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        blocks(&text).into_iter().flat_map(|block| trials(&name, block, &not_run)).collect::<Vec<_>>()
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn trials(document: &str, Block { line, info, text }: Block, not_run: &BTreeMap<String, String>) -> Vec<Trial> {
    match info.as_str() {
        "yaml" => vec![Trial::test(format!("{document}:{line}"), move || configuration(&text).map_err(Failed::from))],
        // Those of the examples are run by `--test examples`.
        "console" if document.starts_with("envoy-examples/") => Vec::new(),
        "console" => commands(&text)
            .into_iter()
            .map(|Shown { text: command, output }| {
                let can_run = match command.starts_with("sidegate ") {
                    true => programs().join("sidegate").is_file(),
                    false => std::env::var_os("ENVOY").is_some(),
                };
                let skipped = not_run.contains_key(&command) || !can_run;
                let test = format!("{document}:{line}: {command}");
                Trial::test(test, move || run(&command, &output).map_err(Failed::from)).with_ignored_flag(skipped)
            })
            .collect(),
        "diff" => vec![Trial::test(format!("{document}:{line}"), move || lines_exist(&text).map_err(Failed::from))],
        "" | "yaml fragment" | "json" | "rust" | "text" => Vec::new(),
        _ => panic!("{document}:{line}: `{info}` is no kind of block that is known; see tests/docs/main.rs"),
    }
}

fn configuration(yaml: &str) -> Result<(), String> {
    let value: Value = yaml_serde::from_str(yaml).map_err(|error| error.to_string())?;
    if let Value::Array(cases) = &value {
        return cases.iter().try_for_each(|case| native::run(&prepare::prepare(case, 0)?));
    }
    schemas::validate(&value)?;
    let problems = |problems: Vec<_>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Policy::compile(value.to_string().as_bytes()).map(drop).map_err(problems)
}

fn lines_exist(diff: &str) -> Result<(), String> {
    let file = diff.lines().find_map(|line| line.strip_prefix("+++ ")).ok_or("no line `+++ file`")?;
    let source = fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
    let mut added = diff.lines().filter(|line| !line.starts_with("+++")).filter_map(|line| line.strip_prefix('+'));
    match added.find(|line| source.lines().all(|known| known != *line)) {
        Some(line) => Err(format!("{file} has no line `{line}`")),
        None => Ok(()),
    }
}

fn run(command: &str, expected: &str) -> Result<(), String> {
    let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash").args(["-euc", command]).env("PATH", path).current_dir(root()).output();
    let output = output.map_err(|error| error.to_string())?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() && (expected.is_empty() || stdout == expected) {
        true => Ok(()),
        false => Err(format!("{}\nexpected\n{expected}\ngot\n{stdout}\n{stderr}", output.status)),
    }
}

/// Where cargo puts programs: above the folder of this test.
fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Markdown files of the project.
fn documents(root: &Path) -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/decisions", "tests/fixtures"].map(|folder| root.join(folder));
    let examples = fs::read_dir(root.join("envoy-examples")).into_iter().flatten().flatten().map(|entry| entry.path());
    let entries = folders.into_iter().chain(examples).flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let mut documents: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    documents
}
