//! A case as it stands in a file.

use serde_json::Value;

use crate::prepare::{self, Prepared};

/// A case and where it stands.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `file: title`, the file without `.yaml`.
    pub id: String,
    /// Its number among those that run together; keeps the services of cases apart.
    pub number: usize,
    /// Why the runner leaves it out, if it does.
    pub skipped: Option<String>,
    raw: Value,
}

impl Entry {
    /// A case of a file; the first of all until it gets another number.
    #[must_use]
    pub fn new(file: &str, raw: Value) -> Self {
        let title = raw.get("title").and_then(Value::as_str).unwrap_or_default();
        Self { id: format!("{file}: {title}"), number: 0, skipped: None, raw }
    }

    /// The cases of a file.
    ///
    /// # Errors
    /// It is no list of cases that have titles.
    pub fn all_of(file: &str, content: Value) -> Result<Vec<Self>, String> {
        let Value::Array(cases) = content else { return Err("it must be a list of cases".to_owned()) };
        let entry = |(index, raw): (usize, Value)| match raw.get("title") {
            Some(Value::String(_)) => Ok(Self::new(file, raw)),
            _ => Err(format!("[{index}]: no title")),
        };
        cases.into_iter().enumerate().map(entry).collect()
    }

    /// The case with its placeholders filled in, relative to now.
    ///
    /// # Errors
    /// What is wrong with the case as it is written.
    pub fn prepare(&self) -> Result<Prepared, String> {
        prepare::prepare(&self.raw, self.number)
    }
}
