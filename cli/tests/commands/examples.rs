//! The examples of `envoy-examples`: what is made of a policy there is what the command makes of it today.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::{here, run_in};

/// Those with warnings, each with the reason.
const WARNED: [(&str, &str); 1] = [("quickstart", "docs/cli.md shows by it what a warning looks like")];

/// Folders of examples.
fn examples() -> Vec<PathBuf> {
    let all = fs::read_dir(here().join("../../envoy-examples")).unwrap().flatten().map(|entry| entry.path());
    let mut folders: Vec<_> = all.filter(|path| path.join("policy.yaml").is_file()).collect();
    folders.sort();
    assert!(folders.len() > 2, "{folders:?}");
    folders
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

/// The first line of such a file is the command that makes the rest; `UPDATE_GOLDEN=1` writes it.
#[test]
fn files_are_what_their_first_line_prints() {
    for folder in examples() {
        let mut made = Vec::new();
        for file in fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()) {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let Some((command, rest)) = text.strip_prefix("# sidegate ").and_then(|text| text.split_once('\n')) else {
                continue;
            };
            let ran = run_in(&folder, &command.split(' ').collect::<Vec<_>>(), "");
            assert_eq!(ran.code, Some(0), "{}: {}", file.display(), ran.err);
            if env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&file, format!("# sidegate {command}\n{}", ran.out)).unwrap();
            } else {
                assert_eq!(rest, ran.out, "{}; UPDATE_GOLDEN=1 writes it", file.display());
            }
            made.push(name(&file).to_owned());
        }
        // `--test examples` compares the policy in an `envoy.yaml` that is written by hand.
        assert!(made.contains(&"wasmplugin.yaml".to_owned()), "{}: {made:?}", folder.display());
    }
}

#[test]
fn policies_have_nothing_dangerous_in_them() {
    for folder in examples() {
        for file in fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()) {
            if !name(&file).ends_with("policy.yaml") {
                continue;
            }
            let ran = run_in(&folder, &["validate", "--strict", "-f", name(&file)], "");
            let expected = if WARNED.iter().any(|(warned, _)| *warned == name(&folder)) { 1 } else { 0 };
            assert_eq!(ran.code, Some(expected), "{}: {}{}", file.display(), ran.out, ran.err);
        }
    }
}
