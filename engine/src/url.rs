//! URLs of servers that the filter calls, and the Envoy clusters that carry the calls.

use std::borrow::Cow;
use std::fmt;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sidegate_config::{Problem, Upstream};

use crate::gather::sorted;

/// An absolute `http` or `https` URL without user, password and fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host, lower-case; an IPv6 address has its brackets.
    pub host: String,
    /// Port; the scheme's own if the text has none.
    pub port: u16,
    /// Path with query; `/` if the text has none.
    pub path: String,
}

impl Url {
    /// Parses.
    ///
    /// # Errors
    /// What is wrong, to be said after the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has characters that must be percent-encoded");
        }
        if text.contains('#') {
            return Err("has a fragment (`#…`): leave it out");
        }
        let uri: Uri = text.parse().map_err(|_| "is no URL")?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("https") => ("https", 443),
            Some("http") => ("http", 80),
            _ => return Err("does not begin with `https://` or `http://`"),
        };
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user or password: leave it out");
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str().get(host.len()..).unwrap_or_default() {
            "" => default_port,
            port => {
                port.trim_start_matches(':').parse().ok().filter(|port| *port > 0).ok_or("has a port that is none")?
            }
        };
        if host.is_empty() {
            return Err("has no host");
        }
        let path = uri.query().map_or_else(|| uri.path().to_owned(), |query| format!("{}?{query}", uri.path()));
        Ok(Self { scheme, host, port, path })
    }

    /// The value of `:authority`: the host, and the port if it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        match (self.scheme, self.port) {
            ("https", 443) | ("http", 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// Whether it has a query.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.path.contains('?')
    }

    /// Adds to the query what is encoded already.
    pub fn add_to_query(&mut self, pair: &str) {
        self.path.push(if self.has_query() { '&' } else { '?' });
        self.path.push_str(pair);
    }

    /// The URL with one more path segment, which is encoded already, and without query.
    #[must_use]
    pub fn below(&self, segment: &str) -> Self {
        let path = self.path_alone();
        let path = format!("{}/{segment}", path.strip_suffix('/').unwrap_or(path));
        Self { path, ..self.clone() }
    }

    /// Whether its path has a segment that servers take for this or the upper folder, so that it leads elsewhere than it
    /// seems.
    #[must_use]
    pub fn climbs(&self) -> bool {
        // As a server sees it that decodes first.
        let path = self.path_alone().to_ascii_lowercase();
        let path = path.replace("%2f", "/").replace("%5c", "\\").replace("%2e", ".");
        path.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
    }

    fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    fn starts_with(&self, prefix: &Self) -> bool {
        let same_server = (self.scheme, &self.host, self.port) == (prefix.scheme, &prefix.host, prefix.port);
        let rest = self.path.strip_prefix(&prefix.path);
        let at_boundary = |rest: &str| rest.is_empty() || rest.starts_with(['/', '?']);
        same_server && rest.is_some_and(|rest| prefix.path.ends_with('/') || at_boundary(rest))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.path)
    }
}

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Text as one part of a URL: a path segment, or a name or value of a query.
#[must_use]
pub fn component(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A text that should be a URL, as people may see it: without user and password.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}://…@{host}{after}")),
        None => Cow::Borrowed(text),
    }
}

/// Which cluster carries calls to which server.
#[derive(Debug, Default)]
pub struct Upstreams(Vec<(Url, String)>);

impl Upstreams {
    /// Compiles `upstreams`.
    pub fn compile(upstreams: &[Upstream], problems: &mut Vec<Problem>) -> Self {
        let mut compiled: Vec<(Url, String)> = Vec::new();
        for (index, Upstream { url, cluster }) in upstreams.iter().enumerate() {
            let mut problem = |field: &str, message: String| {
                let path = format!("upstreams[{index}].{field}");
                problems.push(Problem { document: "PluginConfig".to_owned(), path, message });
            };
            if cluster.is_empty() {
                problem("cluster", "the name is empty: give the name of an Envoy cluster".to_owned());
            }
            match Url::parse(url) {
                Ok(parsed) if parsed.has_query() => problem("url", format!("`{url}` has a query: leave it out")),
                Ok(parsed) if compiled.iter().any(|(other, _)| *other == parsed) => {
                    problem("url", format!("`{url}` is there more than once: keep one"));
                }
                Ok(parsed) => compiled.push((parsed, cluster.clone())),
                Err(reason) => {
                    problem("url", format!("`{}` {reason}; write `https://host[:port][/path-prefix]`", shown(url)))
                }
            }
        }
        // The longest prefix first.
        Self(sorted(compiled, &|(a, _), (b, _)| b.path.len().cmp(&a.path.len())))
    }

    /// The clusters that may carry a call, to be tried in order: the configured one alone, else Istio's name for the
    /// service, `host:port`, and `host`.
    #[must_use]
    pub fn clusters(&self, url: &Url) -> Vec<String> {
        if let Some((_, cluster)) = self.0.iter().find(|(prefix, _)| url.starts_with(prefix)) {
            return vec![cluster.clone()];
        }
        let Url { host, port, .. } = url;
        vec![format!("outbound|{port}||{host}"), format!("{host}:{port}"), host.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|reason| panic!("{text} {reason}"))
    }

    #[test]
    fn urls_have_all_their_parts() {
        let full = url("http://IdP.Example.com:8080/realms/a?b=c");
        assert_eq!(
            (full.scheme, full.host.as_str(), full.port, full.path.as_str()),
            ("http", "idp.example.com", 8080, "/realms/a?b=c")
        );
        assert_eq!(url("https://a").path, "/");
        assert_eq!(url("https://a").port, 443);
        assert_eq!(url("https://a:443/x").authority(), "a");
        assert_eq!(url("https://a:80/x").authority(), "a:80");
        assert_eq!(url("http://[::1]:81/x").authority(), "[::1]:81");
        assert_eq!(url("https://a?x=1").path, "/?x=1");
        assert_eq!(url("https://a:8443/x?y").to_string(), "https://a:8443/x?y");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "a",
            "a/b",
            "/a",
            "ftp://a/",
            "https://",
            "https:///x",
            "https://:443/",
            "https://a b/",
            "https://a/b c",
            "https://u:p@a/",
            "https://a@b",
            "https://a/#x",
            "https://a:0/",
            "https://a:65536/",
            "https://a:x/",
            "https://ä/",
            "https://a/\r\nx: y",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn nothing_of_a_value_is_read_as_more_than_a_value() {
        assert_eq!(component("/../?#%\r\n& =+:@;ü"), "%2F..%2F%3F%23%25%0D%0A%26%20%3D%2B%3A%40%3B%C3%BC");
        assert_eq!(component("aZ09-._~"), "aZ09-._~");
    }

    #[test]
    fn urls_are_added_to() {
        let mut plain = url("http://a/b");
        plain.add_to_query("c=d");
        plain.add_to_query("e=f");
        assert_eq!(plain.to_string(), "http://a/b?c=d&e=f");
        assert_eq!(plain.below("x%2F").to_string(), "http://a/b/x%2F");
        assert_eq!(url("http://a").below("x").to_string(), "http://a/x");
        for path in ["/..", "/a/../b", "/a/.", "/a/%2e%2E?x", "/.%2e/", "/b/..%2Fc", "/a/..%5cc", "/%2e%2e%2fc"] {
            assert!(url(&format!("http://a{path}")).climbs(), "{path}");
        }
        for path in ["/", "/a..b/...", "/a?b=/../c", "/b%2Fc"] {
            assert!(!url(&format!("http://a{path}")).climbs(), "{path}");
        }
    }

    #[test]
    fn the_longest_prefix_names_the_cluster() {
        let upstream = |url: &str, cluster: &str| Upstream { url: url.to_owned(), cluster: cluster.to_owned() };
        let mut problems = Vec::new();
        let upstreams = Upstreams::compile(
            &[
                upstream("https://idp", "whole"),
                upstream("https://IDP:443/realms/a", "realm"),
                upstream("http://idp/", "plain"),
                upstream("https://other/slash/", "slash"),
            ],
            &mut problems,
        );
        assert_eq!(problems, []);
        let cluster = |text| upstreams.clusters(&url(text));
        assert_eq!(cluster("https://idp/realms/a/keys"), ["realm"]);
        assert_eq!(cluster("https://idp/realms/a?x"), ["realm"]);
        assert_eq!(cluster("https://idp/realms/ab"), ["whole"]);
        assert_eq!(cluster("https://idp"), ["whole"]);
        assert_eq!(cluster("http://idp/realms/a"), ["plain"]);
        assert_eq!(cluster("https://other/slash/x"), ["slash"]);
        assert_eq!(cluster("https://other/x"), ["outbound|443||other", "other:443", "other"]);
        assert_eq!(cluster("https://idp:8443/"), ["outbound|8443||idp", "idp:8443", "idp"]);
    }

    #[test]
    fn bad_upstreams_are_problems() {
        let mut problems = Vec::new();
        let upstream = Upstream { url: "idp.example.com".to_owned(), cluster: String::new() };
        let query = Upstream { url: "https://a/?b".to_owned(), cluster: "a".to_owned() };
        drop(Upstreams::compile(&[upstream, query], &mut problems));
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["upstreams[0].cluster", "upstreams[0].url", "upstreams[1].url"]);
    }
}
