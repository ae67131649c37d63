//! Types, as far as they are known: what a value is, and what an expression will yield.

use std::fmt;

/// A type without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Known only when the expression runs. No value is of this kind.
    Dyn,
    Null,
    Bool,
    Int,
    UInt,
    Double,
    Text,
    Bytes,
    List,
    Map,
    Moment,
    Span,
    Type,
    Optional,
}

impl Kind {
    /// All that an expression can name.
    pub const NAMED: [Self; 13] = [
        Self::Null,
        Self::Bool,
        Self::Int,
        Self::UInt,
        Self::Double,
        Self::Text,
        Self::Bytes,
        Self::List,
        Self::Map,
        Self::Moment,
        Self::Span,
        Self::Type,
        Self::Optional,
    ];

    /// Whether the two can be the same when the expression runs.
    pub fn agrees(self, other: Self) -> bool {
        self == other || self == Self::Dyn || other == Self::Dyn
    }

    /// CEL's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dyn => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::UInt => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Map => "map",
            Self::Moment => "google.protobuf.Timestamp",
            Self::Span => "google.protobuf.Duration",
            Self::Type => "type",
            Self::Optional => "optional_type",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
