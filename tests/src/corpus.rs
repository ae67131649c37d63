//! Finds and reads the cases.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

pub use sidegate_cases::entry::Entry;

use crate::case::{Runner, Skip};

/// All cases, with those marked that the runner leaves out.
///
/// # Errors
/// A file that is no list of cases, two cases with one title, a skip without a case.
pub fn load(runner: Runner) -> Result<Vec<Entry>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let skips: Vec<Skip> = read(&root.join("skips.yaml"))?;
    let mut entries = Vec::new();
    for file in yaml_files(&root.join("cases"))? {
        entries.extend(in_file(&root.join("cases"), &file)?);
    }
    let mut ids = BTreeSet::new();
    for (number, entry) in entries.iter_mut().enumerate() {
        entry.number = number;
        entry.skipped =
            skips.iter().find(|skip| skip.case == entry.id && skip.runner == runner).map(|skip| skip.reason.clone());
        if !ids.insert(entry.id.clone()) {
            return Err(format!("{}: there are two cases of this title", entry.id));
        }
    }
    match skips.iter().find(|skip| !ids.contains(&skip.case)) {
        Some(skip) => Err(format!("skips.yaml: there is no case `{}`", skip.case)),
        None => Ok(entries),
    }
}

/// Cases that are wrong, and must be found wrong: each with parts of the report that it must have.
///
/// # Errors
/// The file is not what it should be.
pub fn wrong() -> Result<Vec<(Entry, Vec<String>)>, String> {
    let cases: Vec<Wrong> = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/wrong.yaml"))?;
    let numbered = cases.into_iter().zip(FIRST_WRONG..);
    let entry = |(Wrong { report, case }, number)| {
        let mut entry = Entry::new("rig", case);
        entry.number = number;
        (entry, report)
    };
    Ok(numbered.map(entry).collect())
}

/// Far from the numbers of the corpus.
const FIRST_WRONG: usize = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrong {
    report: Vec<String>,
    case: Value,
}

/// Whether a report has these parts.
///
/// # Errors
/// It has not, or there is none since all was well.
pub fn reports(result: Result<(), String>, parts: &[String]) -> Result<(), String> {
    let report = result.err().ok_or("nobody finds that the case is wrong")?;
    match parts.iter().find(|part| !report.contains(part.as_str())) {
        Some(part) => Err(format!("`{part}` is not in the report:\n{report}")),
        None => Ok(()),
    }
}

fn in_file(root: &Path, file: &Path) -> Result<Vec<Entry>, String> {
    let name = file.strip_prefix(root).unwrap_or(file).with_extension("").display().to_string();
    Entry::all_of(&name, read(file)?).map_err(|error| format!("{}: {error}", file.display()))
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    yaml_serde::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let error = |error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
