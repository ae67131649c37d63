//! Reads what `-f` names: files, folders, standard input.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// A file is read whole, so not one without end.
const MAX_BYTES: u64 = 256 << 20;

/// Standard input was read: it is there but once.
static STDIN: AtomicBool = AtomicBool::new(false);

/// Reads files, folders (with those below them) and `-`, in the order of their names.
pub fn read(names: &[PathBuf]) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    for name in names {
        if name.is_dir() {
            let paths = below(name, &mut BTreeSet::new())?;
            if paths.is_empty() {
                return Err(format!("{}: no file in it ends in .yaml, .yml or .json", name.display()));
            }
            for path in paths {
                files.push(File { found: true, ..read_file(&path)? });
            }
        } else {
            files.push(read_file(name)?);
        }
    }
    Ok(files)
}

/// Reads one file, or `-`.
pub fn read_file(path: &Path) -> Result<File, String> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let bytes = if !is_stdin {
        fs::File::open(path).and_then(|file| whole(&file))
    } else if STDIN.swap(true, Ordering::Relaxed) {
        return Err("standard input can be read once: name `-` once".to_owned());
    } else {
        whole(&io::stdin())
    };
    let bytes = bytes.map_err(|error| format!("{name}: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let utf_16 = [&[0xff, 0xfe][..], &[0xfe, 0xff]].iter().any(|mark| error.as_bytes().starts_with(mark));
        format!("{name}: it is {}: save it as UTF-8", if utf_16 { "UTF-16" } else { "no UTF-8" })
    })?;
    Ok(File { name, text, found: false })
}

fn whole(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= MAX_BYTES => Ok(bytes),
        _ => Err(io::Error::other(format!("it is longer than {} MiB", MAX_BYTES >> 20))),
    }
}

/// Each folder once, also where a link leads back to it.
fn below(folder: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<Vec<PathBuf>, String> {
    let error = |error| format!("{}: {error}", folder.display());
    if !seen.insert(fs::canonicalize(folder).map_err(error)?) {
        return Ok(Vec::new());
    }
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(error)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            files.extend(below(&path, seen)?);
        } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known)) {
            files.push(path);
        }
    }
    Ok(files)
}
