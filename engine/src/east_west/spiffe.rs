//! SPIFFE IDs, read strictly: whatever two readers might read differently is none.

use std::fmt;
use std::rc::Rc;

/// Longest SPIFFE ID, in bytes.
const MAX_ID: usize = 2048;

/// Longest trust domain, in bytes.
const MAX_TRUST_DOMAIN: usize = 255;

const SCHEME: &str = "spiffe://";

/// A SPIFFE ID with a path, as those of workloads have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Rc<str>,
    /// Where the path begins.
    path: usize,
}

impl SpiffeId {
    /// Reads `spiffe://<trust domain>/<segment>/…`.
    ///
    /// # Errors
    /// It is none; why.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (domain, path) = split(text)?;
        check_path(path)?;
        Ok(Self { text: text.into(), path: SCHEME.len().saturating_add(domain.len()) })
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..self.path).unwrap_or_default()
    }

    /// The path, with its first slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path..).unwrap_or_default()
    }

    /// Namespace and name, if it is the ID of a Kubernetes ServiceAccount: `/ns/<namespace>/sa/<name>`.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let mut segments = self.path().strip_prefix("/ns/")?.split('/');
        match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some(namespace), Some("sa"), Some(name), None) => Some((namespace, name)),
            _ => None,
        }
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads `spiffe://<trust domain>/<path>/*`: the trust domain, and the path with both of its slashes.
///
/// # Errors
/// It is no such thing; why.
pub fn parse_prefix(text: &str) -> Result<(&str, &str), &'static str> {
    let below = text.strip_suffix('*').ok_or("it does not end with `/*`")?;
    let (domain, path) = split(below)?;
    match path.strip_suffix('/') {
        Some("") => Ok((domain, path)),
        Some(segments) => check_path(segments).map(|()| (domain, path)),
        None => Err("a `*` stands after a slash, at the end, alone"),
    }
}

/// Says whether a text is a trust domain.
///
/// # Errors
/// It is none; why.
pub fn check_trust_domain(domain: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    if domain.is_empty() {
        Err("the trust domain is empty")
    } else if domain.len() > MAX_TRUST_DOMAIN {
        Err("the trust domain is longer than 255 bytes")
    } else if !domain.bytes().all(allowed) {
        Err("a trust domain has lower-case letters, digits, `.`, `-` and `_` alone")
    } else {
        Ok(())
    }
}

/// Trust domain, and the rest from its slash on.
fn split(text: &str) -> Result<(&str, &str), &'static str> {
    if text.len() > MAX_ID {
        return Err("a SPIFFE ID has at most 2048 bytes");
    }
    let rest = text.strip_prefix(SCHEME).ok_or("a SPIFFE ID begins with `spiffe://`, in lower case")?;
    let slash = rest.find('/').ok_or("the SPIFFE ID has no path")?;
    let (domain, path) = rest.split_at_checked(slash).ok_or("the SPIFFE ID has no path")?;
    check_trust_domain(domain)?;
    Ok((domain, path))
}

fn check_path(path: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    for segment in path.strip_prefix('/').unwrap_or_default().split('/') {
        if segment.is_empty() {
            return Err("a segment of the SPIFFE ID's path is empty");
        }
        if matches!(segment, "." | "..") {
            return Err("a segment of the SPIFFE ID's path is `.` or `..`");
        }
        if !segment.bytes().all(allowed) {
            return Err("a SPIFFE ID's path has letters, digits, `.`, `-` and `_` alone");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_spiffe_id() {
        for text in [
            "spiffe://td/x",
            "spiffe://cluster.local/ns/foo/sa/sleep",
            "spiffe://td./x",
            "spiffe://_-.0/A-z_.9",
            "spiffe://td/...",
            "spiffe://td/..x/x..",
            "spiffe://10.0.0.1/x",
        ] {
            assert_eq!(SpiffeId::parse(text).unwrap().as_str(), text);
        }
        let longest = format!("spiffe://{}/{}", "d".repeat(255), "p".repeat(2048 - 9 - 255 - 1));
        let id = SpiffeId::parse(&longest).unwrap();
        assert_eq!((id.trust_domain().len(), id.as_str().len()), (255, 2048));
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "spiffe://",
            "spiffe:///x",
            "spiffe://td",
            "spiffe://td/",
            "spiffe://TD/x",
            "SPIFFE://td/x",
            "Spiffe://td/x",
            "spiffe:/td/x",
            "http://td/x",
            " spiffe://td/x",
            "spiffe://td/x ",
            "spiffe://td/a b",
            "spiffe://user@td/x",
            "spiffe://td:443/x",
            "spiffe://[::1]/x",
            "spiffe://td/x?q",
            "spiffe://td/x#f",
            "spiffe://td/a%2fb",
            "spiffe://td/%61",
            "spiffe://td//x",
            "spiffe://td/x//y",
            "spiffe://td/x/",
            "spiffe://td/./x",
            "spiffe://td/../x",
            "spiffe://td/x/..",
            "spiffe://td/a,b",
            "spiffe://td/a;b",
            "spiffe://td/a\0",
            "spiffe://td/a\\b",
            "spiffe://td/\u{e9}",
            "spiffe://t\u{e9}/x",
            "spiffe://td/x\n",
            "spiffe://td/*",
            "spiffe://td%2fx/y",
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text:?}");
        }
        assert!(SpiffeId::parse(&format!("spiffe://{}/x", "d".repeat(256))).is_err());
        assert!(SpiffeId::parse(&format!("spiffe://td/{}", "p".repeat(2048 - 12 + 1))).is_err());
    }

    #[test]
    fn service_accounts_are_told_by_the_whole_path() {
        let account = |text: &str| {
            let id = SpiffeId::parse(text).unwrap();
            id.service_account().map(|(namespace, name)| format!("{namespace}/{name}"))
        };
        assert_eq!(account("spiffe://td/ns/foo/sa/sleep").as_deref(), Some("foo/sleep"));
        for text in [
            "spiffe://td/x/ns/foo/sa/sleep",
            "spiffe://td/ns/foo/sa/sleep/x",
            "spiffe://td/ns/foo/sa",
            "spiffe://td/ns/foo/sb/sleep",
            "spiffe://td/NS/foo/sa/sleep",
            "spiffe://td/ns/foo/sa/ns/evil/x",
        ] {
            assert_eq!(account(text), None, "{text}");
        }
    }

    #[test]
    fn prefixes_end_at_a_slash() {
        assert_eq!(parse_prefix("spiffe://td/a/b/*"), Ok(("td", "/a/b/")));
        assert_eq!(parse_prefix("spiffe://td/*"), Ok(("td", "/")));
        for text in [
            "spiffe://td*",
            "spiffe://td/a*",
            "spiffe://*/a",
            "spiffe://td/a/**",
            "spiffe://td/*/a",
            "*",
            "spiffe://td//*",
        ] {
            assert!(parse_prefix(text).is_err(), "{text}");
        }
    }
}
