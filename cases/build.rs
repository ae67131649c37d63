//! Puts the fixtures into the library, so that cases run where there is no checkout.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut table = "&[\n".to_owned();
    for folder in ["certs", "keys"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        let mut files =
            fs::read_dir(root.join(folder))?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "pem")) {
            let name = format!("{folder}/{}", file.file_name().unwrap_or_default().display());
            let _ = writeln!(table, "    ({name:?}, include_str!({:?})),", file.canonicalize()?);
        }
    }
    fs::write(Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("fixtures.rs"), table + "]\n")
}
