//! The path of a request as rules see it. What is forwarded stays as it came.
//!
//! Servers differ in how they read a path, and who may choose its spelling chooses among their readings. So it is brought into one
//! form; where servers differ in earnest it has more (as path parameters kept and taken out) or none (it is ambiguous).

use sidegate_config::EscapedSlash;

/// How paths are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// What `%2f`, `%5c` and `\` mean.
    pub escaped_slash: EscapedSlash,
    /// Letters are all lower-case.
    pub case_insensitive: bool,
}

/// A path as rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Views {
    /// With path parameters.
    pub raw: String,
    /// Without them; none if there are none.
    pub stripped: Option<String>,
    /// As others resolve it, to whom `..;` is a name, or who go up from between two slashes; none if that is the same.
    pub otherwise: Option<String>,
}

impl Reading {
    /// Reads a `:path`; none if it is ambiguous.
    #[must_use]
    pub fn views(self, path: &[u8]) -> Option<Views> {
        let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
        let decoded = self.decode(path)?;
        let rest = decoded.strip_prefix('/')?;
        let (raw, folder) = resolve(rest, name, false)?;
        let stripped: Vec<&str> = raw.iter().map(|segment| name(segment)).filter(|name| !name.is_empty()).collect();
        let has_parameters = decoded.contains(';') && raw != stripped;
        let folder_stripped = folder || raw.last().is_some_and(|segment| name(segment).is_empty());
        let (stripped, raw) = (has_parameters.then(|| join(&stripped, folder_stripped)), join(&raw, folder));
        let otherwise = otherwise(&decoded, rest)?.filter(|otherwise| *otherwise != raw);
        Some(Views { raw, stripped, otherwise })
    }

    /// Decodes once what means the same decoded.
    fn decode(self, path: &[u8]) -> Option<String> {
        let mut decoded = String::with_capacity(path.len());
        let mut bytes = path.iter().copied();
        while let Some(byte) = bytes.next() {
            let c = match byte {
                b'%' => {
                    let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
                    let value = high.checked_mul(16)?.checked_add(low)?;
                    match value {
                        b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(value),
                        0 | b';' => return None,
                        b'/' | b'\\' => match self.escaped_slash {
                            EscapedSlash::Ambiguous => return None,
                            EscapedSlash::Decode => '/',
                            EscapedSlash::Keep => {
                                decoded.push_str(if value == b'/' { "%2F" } else { "%5C" });
                                continue;
                            }
                        },
                        _ => {
                            decoded.push_str(&format!("%{value:02X}"));
                            continue;
                        }
                    }
                }
                b'\\' => match self.escaped_slash {
                    EscapedSlash::Ambiguous => return None,
                    EscapedSlash::Decode => '/',
                    EscapedSlash::Keep => '\\',
                },
                0x21..=0x7e => char::from(byte),
                _ => return None,
            };
            decoded.push(c);
        }
        if self.case_insensitive {
            decoded.make_ascii_lowercase();
        }
        Some(decoded)
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A segment without its parameters.
fn name(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// Segments without those that stand for folders, and whether the last one does. A path that ends with a slash is one of a folder.
/// `folders`: who goes up from between two slashes is where the first of them ended.
fn resolve(path: &str, name: fn(&str) -> &str, folders: bool) -> Option<(Vec<&str>, bool)> {
    let mut segments: Vec<&str> = Vec::new();
    let mut folder = true;
    for segment in path.split('/') {
        folder = true;
        match name(segment) {
            "" if segment.is_empty() && !folders => {}
            "." => {}
            // Above the root there is nothing that everybody agrees on.
            ".." => drop(segments.pop()?),
            _ => {
                segments.push(segment);
                folder = segment.is_empty();
            }
        }
    }
    segments.retain(|segment| !segment.is_empty());
    Some((segments, folder))
}

/// A path as others resolve it, if it has what they may differ in; none if it has too much of that.
fn otherwise(decoded: &str, rest: &str) -> Option<Option<String>> {
    let (is_up, has_parameters) = (decoded.contains(".."), decoded.contains(';'));
    if is_up && decoded.contains("//") {
        let (segments, folder) = resolve(rest, name, true)?;
        let (merged, _) = resolve(rest, name, false)?;
        if segments != merged {
            // That a server takes parameters out, too, would be one reading more.
            return (!has_parameters).then(|| Some(join(&segments, folder)));
        }
    }
    let is_folder = |segment: &&str| segment.contains(';') && matches!(name(segment), "." | "..");
    if rest.split('/').any(|segment| is_folder(&segment)) {
        // The same.
        if rest.split('/').any(|segment| segment.contains(';') && !is_folder(&segment)) {
            return None;
        }
        let (segments, folder) = resolve(rest, |segment| segment, false)?;
        return Some(Some(join(&segments, folder)));
    }
    Some(None)
}

fn join(segments: &[&str], folder: bool) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.push_str(segment);
    }
    if folder || path.is_empty() {
        path.push('/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reading: Reading, path: &str) -> String {
        match reading.views(path.as_bytes()) {
            None => "ambiguous".to_owned(),
            Some(Views { raw, stripped, otherwise }) => {
                let otherwise = otherwise.map(|otherwise| format!("or {otherwise}"));
                [Some(raw), stripped, otherwise].into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn spellings_of_one_path_are_one() {
        for (path, expected) in [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("//a", "/a"),
            ("/a//b///c", "/a/b/c"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/x/../admin", "/admin"),
            ("/x/..", "/"),
            ("/%61dmin", "/admin"),
            ("/%2e%2E/", "ambiguous"),
            ("/x/%2e%2e/admin", "/admin"),
            ("/x/.%2e/admin", "/admin"),
            ("/a?x=/admin", "/a"),
            ("/a#b", "/a"),
            ("/a?x#y?z", "/a"),
            ("/a%23b%3fc", "/a%23b%3Fc"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%252fb", "/a%252fb"),
            ("/%2561dmin", "/%2561dmin"),
            ("/...", "/..."),
            ("/a%20b", "/a%20b"),
        ] {
            assert_eq!(shown(Reading::default(), path), expected, "{path}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_ambiguous() {
        for path in [
            "",
            "*",
            "a",
            "http://a/b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/admin%3bx",
            "/admin%3Bx",
            "/..",
            "/a/../..",
            "/../a",
            "/%",
            "/%4",
            "/%zz",
            "/a\tb",
            "/a b",
            "/\u{e9}",
            "/a/..;/..;/b",
        ] {
            assert_eq!(shown(Reading::default(), path), "ambiguous", "{path:?}");
        }
    }

    #[test]
    fn parameters_make_a_second_view() {
        for (path, expected) in [
            ("/admin;x=1", "/admin;x=1 /admin"),
            ("/a;x/b;y/c", "/a;x/b;y/c /a/b/c"),
            ("/;x/admin", "/;x/admin /admin"),
            ("/a/;x", "/a/;x /a/"),
            ("/;", "/; /"),
        ] {
            assert_eq!(shown(Reading::default(), path), expected, "{path}");
        }
    }

    #[test]
    fn what_servers_resolve_differently_is_a_view_too() {
        for (path, expected) in [
            ("/x/..;/admin", "/admin or /x/..;/admin"),
            ("/x/..;a=b/admin", "/admin or /x/..;a=b/admin"),
            ("/x/%2e%2e;/admin", "/admin or /x/..;/admin"),
            ("/x/.;/admin", "/x/admin or /x/.;/admin"),
            ("/x/..;/../admin", "ambiguous"),
            ("/x/y/..;/../admin", "/admin or /x/y/admin"),
            ("/x/..;", "/ or /x/..;"),
            ("/a/..;/b;c", "ambiguous"),
            ("/a.;b", "/a.;b /a."),
            ("/a//../b", "/b or /a/b"),
            ("/a//./..", "/ or /a/"),
            ("/a///../b", "/b or /a/b"),
            ("/a//b/../c", "/a/c"),
            ("/a/../b//c", "/b/c"),
            ("//../b", "ambiguous"),
            ("/a;x//../b", "ambiguous"),
            ("/a//..;/b", "ambiguous"),
            ("/a/..;/b//c", "/b/c or /a/..;/b/c"),
        ] {
            assert_eq!(shown(Reading::default(), path), expected, "{path}");
        }
    }

    #[test]
    fn options_say_what_slashes_and_letters_mean() {
        let keep = Reading { escaped_slash: EscapedSlash::Keep, case_insensitive: false };
        assert_eq!(shown(keep, "/a%2f..%2Fb\\c"), "/a%2F..%2Fb\\c");
        let decode = Reading { escaped_slash: EscapedSlash::Decode, case_insensitive: false };
        assert_eq!(shown(decode, "/a%2f..%2Fadmin"), "/admin");
        assert_eq!(shown(decode, "/a\\..%5cadmin"), "/admin");
        let any_case = Reading { escaped_slash: EscapedSlash::Ambiguous, case_insensitive: true };
        assert_eq!(shown(any_case, "/ADMIN;X"), "/admin;x /admin");
    }
}
