//! Keys and certificates that are checked in. For tests only: all of them are public.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Those of `tests/fixtures`: `keys/rsa-1.pem`, and its text.
const FIXTURES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/fixtures.rs"));

/// The PEM files of a folder, `certs` or `keys`: name without folder and `.pem`, and text.
pub fn in_folder(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    FIXTURES.iter().filter_map(move |(name, text)| {
        Some((name.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".pem")?, *text))
    })
}

/// The text of a PEM fixture.
///
/// # Errors
/// There is none of that name.
pub fn text(name: &str) -> Result<String, String> {
    let found = FIXTURES.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| format!("there is no fixture `{name}`"))
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
