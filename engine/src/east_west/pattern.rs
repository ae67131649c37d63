//! Texts and paths as policies write them.

use std::fmt;

use sidegate_config::PathMatchType;

/// A text, or the beginning or end of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// It is the same.
    Exact(Box<str>),
    /// It begins so.
    Prefix(Box<str>),
    /// It ends so.
    Suffix(Box<str>),
    /// It is not empty.
    Any,
}

impl Pattern {
    /// Whether a text fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(whole) => text == &**whole,
            Self::Prefix(beginning) => text.starts_with(&**beginning),
            Self::Suffix(end) => text.ends_with(&**end),
            Self::Any => !text.is_empty(),
        }
    }

    /// Reads a text with at most one `*`, at its beginning or end.
    ///
    /// # Errors
    /// It is none; why.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (pattern, literal) = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => return Ok(Self::Any),
            (Some(suffix), _) => (Self::Suffix(suffix.into()), suffix),
            (None, Some(prefix)) => (Self::Prefix(prefix.into()), prefix),
            (None, None) => (Self::Exact(text.into()), text),
        };
        if literal.is_empty() {
            Err("is empty")
        } else if literal.contains('*') {
            Err("has a `*` that is neither at its beginning nor at its end, or more than one")
        } else {
            Ok(pattern)
        }
    }
}

/// A text in which `*` is any text, also none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// Reads one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The same, if its `*` are at most one and at its beginning or end.
    #[must_use]
    pub fn pattern(&self) -> Option<Pattern> {
        Pattern::parse(&self.0).ok()
    }

    /// What is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text fits: what stands between stars is found from left to right.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathPattern {
    /// It is the same.
    Exact(Box<str>),
    /// It begins with these segments; without a slash at the end, so empty for all paths.
    Segments(Box<str>),
    /// Its text begins so.
    Prefix(Box<str>),
    /// Its text ends so.
    Suffix(Box<str>),
    /// It is there.
    Any,
    /// A template.
    Template(Template),
}

/// Segments, and what comes after `{**}`, if that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template {
    /// Segments: a text, or none for `{*}`.
    pub segments: Vec<Option<Box<str>>>,
    /// The end of the path, with any text between it and the slash after the segments.
    pub end: Option<Box<str>>,
}

impl Template {
    /// Reads a template in Envoy's language.
    ///
    /// # Errors
    /// It is none; why.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const BRACES: [char; 3] = ['{', '}', '*'];
        let rest = text.strip_prefix('/').ok_or("a template begins with `/`")?;
        let (before, end) = match rest.split_once("{**}") {
            Some((before, end)) if end.contains(BRACES) => {
                return Err(if before.contains("{**}") || end.contains("{**}") {
                    "a template has one `{**}`"
                } else {
                    "`{**}` is the last operator of a template"
                });
            }
            Some((before, end)) => (before, Some(end)),
            None => (rest, None),
        };
        let before = match (before.strip_suffix('/'), end) {
            (Some(before), Some(_)) => Some(before),
            (None, Some(_)) if before.is_empty() => None,
            (_, Some(_)) => return Err("`{**}` stands after a slash"),
            (_, None) => Some(before),
        };
        let mut segments = Vec::new();
        for segment in before.into_iter().flat_map(|before| before.split('/')) {
            segments.push(match segment {
                "{*}" => None,
                literal if literal.contains(BRACES) => {
                    return Err("`{*}` is a segment of its own, and `*` stands in braces");
                }
                literal => Some(literal.into()),
            });
        }
        Ok(Self { segments, end: end.map(Into::into) })
    }
}

impl PathPattern {
    /// Reads a path as it is written in a policy.
    ///
    /// # Errors
    /// It is none; why.
    pub fn parse(kind: PathMatchType, value: &str, case_insensitive: bool) -> Result<Self, &'static str> {
        if value.is_empty() {
            return Err("is empty");
        }
        if value.contains(['?', '#']) {
            return Err("has `?` or `#`, which no path has: queries are not looked at");
        }
        let slash = value.starts_with('/');
        if !slash && kind != PathMatchType::Suffix {
            return Err("does not begin with `/`");
        }
        let text = if case_insensitive { value.to_ascii_lowercase() } else { value.to_owned() };
        Ok(match kind {
            PathMatchType::Exact => Self::Exact(text.into()),
            PathMatchType::PathPrefix => Self::Segments(text.strip_suffix('/').unwrap_or(&text).into()),
            PathMatchType::StringPrefix => Self::Prefix(text.into()),
            PathMatchType::Suffix => Self::Suffix(text.into()),
            PathMatchType::Template => Self::Template(Template::parse(&text)?),
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Segments(text) => write!(f, "{text}/…"),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Any => f.write_str("*"),
            Self::Template(Template { segments, end }) => {
                for segment in segments {
                    write!(f, "/{}", segment.as_deref().unwrap_or("{*}"))?;
                }
                end.as_ref().map_or(Ok(()), |end| write!(f, "/{{**}}{end}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_one_star_at_one_end() {
        for text in ["a", "a*", "*a", "*"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "a*b", ".*.", "*a*", "**", "a**"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stars_of_a_glob_are_any_text() {
        for (glob, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*x*", "axb", true),
            ("*x*", "ab", false),
            ("a**b", "ab", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(glob).fits(text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn templates_are_envoys() {
        for text in
            ["/", "/a", "/a/", "/{*}", "/a/{*}/b", "/{**}", "/a/{**}", "/a/{*}/{**}/end", "/a/{**}.txt", "/{**}/path"]
        {
            let template = PathPattern::parse(PathMatchType::Template, text, false).unwrap();
            assert_eq!(template.to_string(), text);
        }
        for text in [
            "a",
            "/a{*}",
            "/{*}a",
            "/{**}/{*}",
            "/{**}/{**}",
            "/a{**}",
            "/{a}",
            "/*",
            "/{***}",
            "/a/{**}*",
            "/{",
            "/a}",
        ] {
            assert!(PathPattern::parse(PathMatchType::Template, text, false).is_err(), "{text}");
        }
    }
}
