//! Reads what `-f` names: files, folders, standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Ends of names of files that are read in a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A file that was read.
#[derive(Debug, Clone)]
pub struct File {
    /// As the user knows it.
    pub name: String,
    pub text: String,
    /// It was not named, but found in a folder.
    pub found: bool,
}

/// Reads files, folders (with those below them) and `-`, in the order of their names.
pub fn read(names: &[PathBuf]) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    for name in names {
        if name.as_os_str() == "-" {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input: {error}"))?;
            files.push(File { name: "<stdin>".to_owned(), text, found: false });
        } else if name.is_dir() {
            for path in below(name)? {
                files.push(File { found: true, ..read_file(&path)? });
            }
        } else {
            files.push(read_file(name)?);
        }
    }
    Ok(files)
}

/// Reads one file.
pub fn read_file(path: &Path) -> Result<File, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(File { name: path.display().to_string(), text, found: false })
}

fn below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let error = |error| format!("{}: {error}", folder.display());
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(error)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            files.extend(below(&path)?);
        } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known)) {
            files.push(path);
        }
    }
    Ok(files)
}
