//! Which AuthConfig has a host: exact names and `*.suffix` wildcards, at a cost that does not grow with their number.

use std::borrow::Cow;
use std::collections::HashMap;

use sidegate_config::HostPort;

/// A name of DNS has at most 253 characters (RFC 1035 section 2.3.4), a port 5; no longer host can have an entry, and
/// none may cost time by its many dots.
const MAX_NAME: usize = 253;
const MAX_HOST: usize = MAX_NAME + 6;

/// A table of hosts. Names are compared in lower case.
#[derive(Debug)]
pub struct Hosts<T> {
    exact: HashMap<String, T>,
    /// By suffix, without `*.`; the empty suffix is `*`.
    wildcard: HashMap<String, T>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<T> Hosts<T> {
    /// Adds `host`, `host:port`, `*.suffix` or `*`.
    ///
    /// # Errors
    /// Why it is no host; the text goes on after the host's name.
    pub fn insert(&mut self, host: &str, value: T) -> Result<(), &'static str> {
        let host = host.to_ascii_lowercase();
        if host.is_empty()
            || host.len() > MAX_HOST
            || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
        {
            return Err("is no host name: write `host`, `host:port`, `*.suffix` or `*`");
        }
        match host.strip_prefix('*') {
            None if host.contains('*') => return Err("has a `*` that is not its first label, which never matches"),
            None => drop(self.exact.insert(host, value)),
            Some("") => drop(self.wildcard.insert(String::new(), value)),
            Some(rest) => match rest.strip_prefix('.') {
                Some(suffix) if !suffix.is_empty() && !suffix.contains('*') => {
                    self.wildcard.insert(suffix.to_owned(), value);
                }
                _ => return Err("is no wildcard: write `*` or `*.suffix`"),
            },
        }
        Ok(())
    }

    /// The entry for the host of a request. A wildcard covers its suffix at any depth and the suffix itself; the longest
    /// suffix wins, and an exact name over all.
    #[must_use]
    pub fn find(&self, host: &str, port: HostPort) -> Option<&T> {
        let name = without_port(host);
        if name.len() > MAX_NAME {
            return None;
        }
        // What stands for a port may be of any length, and be the end of another entry's name; then no entry has it.
        let is_port =
            host.get(name.len()..).is_some_and(|rest| rest.bytes().all(|byte| matches!(byte, b':' | b'0'..=b'9')));
        let host = if host.len() > MAX_HOST || !is_port { name } else { host };
        let (host, name) = (&*in_lower_case(host), &*in_lower_case(name));
        match port {
            HostPort::ExactFirst => {
                let exact = self.exact.get(host).or_else(|| self.exact.get(name));
                exact.or_else(|| self.by_suffix(host)).or_else(|| self.by_suffix(name)).or_else(|| self.catch_all())
            }
            HostPort::Authorino => {
                let find =
                    |host: &str| self.exact.get(host).or_else(|| self.by_suffix(host)).or_else(|| self.catch_all());
                find(host).or_else(|| find(name))
            }
        }
    }

    fn by_suffix(&self, host: &str) -> Option<&T> {
        if self.wildcard.is_empty() {
            return None;
        }
        let parents = host.match_indices('.').map(|(dot, _)| host.get(dot.saturating_add(1)..).unwrap_or(""));
        let suffixes = std::iter::once(host).chain(parents);
        suffixes.filter(|suffix| !suffix.is_empty()).find_map(|suffix| self.wildcard.get(suffix))
    }

    fn catch_all(&self) -> Option<&T> {
        self.wildcard.get("")
    }
}

/// Nearly all hosts are.
fn in_lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The host without its port, as Envoy takes it off when it looks for the virtual host: whatever follows the last colon
/// that is not within the brackets of an IPv6 address. Who strips less lets a client choose between the entry for a host
/// and the one for `*` by a port that is no number.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(hosts: &[&'static str]) -> Hosts<&'static str> {
        let mut table = Hosts::default();
        for host in hosts {
            table.insert(host, *host).unwrap();
        }
        table
    }

    #[test]
    fn exact_names_win_over_wildcards_and_longer_suffixes_over_shorter() {
        let table = table(&["*", "*.acme.com", "api.acme.com", "*.eu.acme.com", "other.com:8443", "[::1]"]);
        for (host, expected) in [
            ("api.acme.com", "api.acme.com"),
            ("API.Acme.com", "api.acme.com"),
            ("x.api.acme.com", "*.acme.com"),
            ("acme.com", "*.acme.com"),
            ("a.b.eu.acme.com", "*.eu.acme.com"),
            ("eu.acme.com", "*.eu.acme.com"),
            ("notacme.com", "*"),
            ("other.com:8443", "other.com:8443"),
            ("other.com:9443", "*"),
            ("other.com", "*"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("api.acme.com:x", "api.acme.com"),
            ("api.acme.com:", "api.acme.com"),
            ("x.eu.acme.com:x", "*.eu.acme.com"),
            ("", "*"),
        ] {
            assert_eq!(table.find(host, HostPort::ExactFirst), Some(&expected), "{host}");
        }
    }

    #[test]
    fn the_port_is_looked_at_before_wildcards_unless_the_operator_wants_authorinos_order() {
        let table = table(&["*", "api.acme.com", "*.pets.com", "*.cats.com:80"]);
        for (host, exact_first, authorino) in [
            ("api.acme.com:8080", "api.acme.com", "*"),
            ("api.acme.com", "api.acme.com", "api.acme.com"),
            ("dogs.pets.com:80", "*.pets.com", "*"),
            ("tom.cats.com:80", "*.cats.com:80", "*.cats.com:80"),
            ("api.acme.com:1.pets.com", "api.acme.com", "api.acme.com"),
            ("x.acme.com:1.pets.com", "*", "*"),
        ] {
            assert_eq!(table.find(host, HostPort::ExactFirst), Some(&exact_first), "{host}");
            assert_eq!(table.find(host, HostPort::Authorino), Some(&authorino), "{host}");
        }
    }

    #[test]
    fn unknown_hosts_have_no_entry() {
        let table = table(&["api.acme.com", "*.io", "host.com:8080"]);
        for host in ["acme.com", "x.api.acme.com", "host.com", "host.com:9090", "api.acme.com.", "::1", ":80", "."] {
            assert_eq!(table.find(host, HostPort::ExactFirst), None, "{host}");
        }
        assert_eq!(table.find(&format!("{}.io", "a.".repeat(200)), HostPort::ExactFirst), None, "too long for a name");
        assert_eq!(
            table.find(&format!("api.acme.com:{}", "8".repeat(300)), HostPort::Authorino),
            Some(&"api.acme.com")
        );
        assert_eq!(table.find("io", HostPort::ExactFirst), Some(&"*.io"));
        assert_eq!(table.find("api.acme.com:443", HostPort::ExactFirst), Some(&"api.acme.com"));
    }

    #[test]
    fn what_never_matches_is_no_host() {
        for host in ["", "foo.*.org", "*foo.org", "*.", "**", "*.a.*", "a b", "http://a", "a/b"] {
            assert!(Hosts::default().insert(host, ()).is_err(), "{host}");
        }
    }
}
