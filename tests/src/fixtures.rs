//! Keys and certificates that are checked in. For tests only: all of them are public.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The path of a fixture.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(name)
}

/// The text of a fixture.
///
/// # Errors
/// There is none of that name.
pub fn text(name: &str) -> Result<String, String> {
    fs::read_to_string(path(name)).map_err(|error| format!("fixture `{name}`: {error}"))
}

/// The DER within a PEM fixture that has one block.
///
/// # Errors
/// There is none of that name, or it is no PEM.
pub fn der(name: &str) -> Result<Vec<u8>, String> {
    let text = text(name)?;
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).map_err(|error| format!("fixture `{name}`: {error}"))
}
