//! Patterns of paths, found by a path: whole ones and beginnings by their text, templates in a tree of segments.

use std::collections::HashMap;

use super::atom::{Atom, Ends, Numbers};
use super::pattern::{PathPattern, Template};

/// Patterns of paths.
#[derive(Debug, Default)]
pub struct Paths {
    exact: HashMap<Box<str>, Atom>,
    /// Without a slash at their end.
    segments: HashMap<Box<str>, Atom>,
    beginnings: Ends,
    ends: Ends,
    any: Option<Atom>,
    templates: Node,
    used: bool,
}

/// What templates have in common up to a segment.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    /// `{*}`.
    star: Option<Box<Node>>,
    /// The template ends here.
    here: Option<Atom>,
    /// `{**}`, by what comes after it.
    rest: Ends,
}

impl Paths {
    /// The number of a pattern.
    pub fn atom(&mut self, pattern: &PathPattern, numbers: &mut Numbers) -> Atom {
        self.used = true;
        match pattern {
            PathPattern::Exact(text) => *self.exact.entry(text.clone()).or_insert_with(|| numbers.next()),
            PathPattern::Segments(text) => *self.segments.entry(text.clone()).or_insert_with(|| numbers.next()),
            PathPattern::Prefix(text) => self.beginnings.atom(text, numbers),
            PathPattern::Suffix(text) => self.ends.atom(text, numbers),
            PathPattern::Any => *self.any.get_or_insert_with(|| numbers.next()),
            PathPattern::Template(Template { segments, end }) => {
                let mut node = &mut self.templates;
                for segment in segments {
                    node = match segment {
                        Some(literal) => node.literals.entry(literal.clone()).or_default(),
                        None => node.star.get_or_insert_default(),
                    };
                }
                match end {
                    Some(end) => node.rest.atom(end, numbers),
                    None => *node.here.get_or_insert_with(|| numbers.next()),
                }
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.used
    }

    /// Those that a path fits, which begins with a slash.
    #[inline(never)]
    pub fn find(&self, path: &str, found: &mut dyn FnMut(Atom)) {
        self.find_texts(path, found);
        self.find_templates(path, found);
    }

    /// Those that a path fits to Envoy, for which no template has other characters than RFC 3986 gives to paths.
    #[inline(never)]
    pub fn find_as_envoy(&self, path: &str, found: &mut dyn FnMut(Atom)) {
        self.find_texts(path, found);
        if path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=/".contains(&byte)) {
            self.find_templates(path, found);
        }
    }

    fn find_texts(&self, path: &str, found: &mut dyn FnMut(Atom)) {
        if let Some(atom) = self.exact.get(path) {
            found(*atom);
        }
        if let Some(atom) = self.segments.get(path) {
            found(*atom);
        }
        for (slash, _) in path.match_indices('/') {
            if let Some(atom) = path.get(..slash).and_then(|before| self.segments.get(before)) {
                found(*atom);
            }
        }
        self.beginnings.beginnings(path, &mut *found);
        self.ends.ends(path, &mut *found);
        self.any.into_iter().for_each(&mut *found);
    }

    fn find_templates(&self, path: &str, found: &mut dyn FnMut(Atom)) {
        if let Some(rest) = path.strip_prefix('/') {
            self.templates.find(Some(rest), found);
        }
    }
}

impl Node {
    /// Goes on with what comes after a slash; none if the path is at its end. Each node is come to once at most, since its depth
    /// says which segment it is asked for.
    fn find(&self, rest: Option<&str>, found: &mut dyn FnMut(Atom)) {
        let Some(rest) = rest else {
            return self.here.into_iter().for_each(found);
        };
        self.rest.ends(rest, &mut *found);
        let (segment, after) = rest.split_once('/').map_or((rest, None), |(segment, after)| (segment, Some(after)));
        if let Some(node) = self.literals.get(segment) {
            node.find(after, found);
        }
        if let Some(node) = self.star.as_ref().filter(|_| !segment.is_empty()) {
            node.find(after, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidegate_config::PathMatchType::{self, Exact, PathPrefix, StringPrefix, Suffix, Template};

    fn fits(kind: PathMatchType, pattern: &str, path: &str) -> bool {
        let (mut paths, mut numbers) = (Paths::default(), Numbers::default());
        paths.atom(&PathPattern::parse(kind, pattern, false).unwrap(), &mut numbers);
        let mut count = 0;
        paths.find(path, &mut |_| count += 1);
        assert!(count <= 1);
        count == 1
    }

    #[test]
    fn patterns_fit_what_they_say() {
        for (kind, pattern, path, expected) in [
            (Exact, "/a", "/a", true),
            (Exact, "/a", "/a/", false),
            (PathPrefix, "/api", "/api", true),
            (PathPrefix, "/api", "/api/", true),
            (PathPrefix, "/api", "/api/x/y", true),
            (PathPrefix, "/api", "/apiv2", false),
            (PathPrefix, "/api/", "/api", true),
            (PathPrefix, "/", "/", true),
            (PathPrefix, "/", "/x", true),
            (StringPrefix, "/api", "/apiv2", true),
            (StringPrefix, "/api", "/ap", false),
            (Suffix, ".txt", "/a/b.txt", true),
            (Suffix, ".txt", "/a/b.txt/", false),
            (Template, "/orders/{*}/lines", "/orders/7/lines", true),
            (Template, "/orders/{*}/lines", "/orders/7/8/lines", false),
            (Template, "/orders/{*}/lines", "/orders//lines", false),
            (Template, "/orders/{*}/lines", "/orders/7/lines/", false),
            (Template, "/files/{**}", "/files/a/b/c", true),
            (Template, "/files/{**}", "/files/", true),
            (Template, "/files/{**}", "/files", false),
            (Template, "/{**}/path", "/path", false),
            (Template, "/{**}/path", "/a/path", true),
            (Template, "/{**}/path", "//path", true),
            (Template, "/foo/{*}/bar/{**}", "/foo/x/bar", false),
            (Template, "/foo/{*}/bar/{**}", "/foo/x/bar/", true),
            (Template, "/{**}", "/", true),
            (Template, "/a/{**}.txt", "/a/b/c.txt", true),
            (Template, "/a/{*}", "/a/", false),
            (Template, "/", "/", true),
        ] {
            assert_eq!(fits(kind, pattern, path), expected, "{kind:?} {pattern} {path}");
        }
    }
}
