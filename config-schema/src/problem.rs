//! One thing that is wrong with a configuration.

use std::fmt;

/// Words of the user are cut to this many characters.
const LONGEST_QUOTE: usize = 60;

/// One thing that is wrong with a configuration: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The document: `AuthConfig default/talker-api`, `PluginConfig`, `List`, or `configuration` for the whole.
    pub document: String,
    /// Path within the document: `spec.authentication.jwt.issuerUrl`.
    pub path: String,
    /// What is wrong and how to mend it; lower-case, the user's own words in backticks, no secrets.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { document, path, message } = self;
        let parts = [document, path, message].into_iter().filter(|part| !part.is_empty());
        for (index, part) in parts.enumerate() {
            f.write_str(if index > 0 { ": " } else { "" })?;
            for c in part.chars() {
                // A document's own words must not make lines of their own in a log.
                if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") }?;
            }
        }
        Ok(())
    }
}

/// A place in a document; prints as its path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'p> {
    /// The document itself.
    Root,
    /// A member of an object.
    Member(&'p Place<'p>, &'p str),
    /// An item of a list.
    Item(&'p Place<'p>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The user's own words in backticks, cut to a decent length.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
