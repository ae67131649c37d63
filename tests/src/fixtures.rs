//! Keys and certificates that are checked in. For tests only: all of them are public.

use std::path::PathBuf;

pub use sidegate_cases::fixtures::{der, text};

/// The path of a fixture.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(name)
}
