//! One thing that is wrong with a configuration.

use std::fmt;

/// One thing that is wrong with a configuration: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The document: `AuthConfig default/talker-api`, or `configuration` for the whole.
    pub document: String,
    /// Path within the document: `spec.authentication.jwt.issuerUrl`.
    pub path: String,
    /// What is wrong and how to mend it; lower-case, the user's own words in backticks, no secrets.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, path, message } = self;
        if path.is_empty() { write!(f, "{document}: {message}") } else { write!(f, "{document}: {path}: {message}") }
    }
}
