//! Which AuthConfig has a host: exact names and `*.suffix` wildcards, at a cost that does not grow with their number.

use std::collections::HashMap;

use sidegate_config::HostPort;

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
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
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
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        match port {
            HostPort::ExactFirst => (self.exact.get(&host).or_else(|| self.exact.get(name)))
                .or_else(|| self.by_suffix(&host))
                .or_else(|| self.by_suffix(name)),
            HostPort::Authorino => {
                let find = |host: &str| self.exact.get(host).or_else(|| self.by_suffix(host));
                find(&host).or_else(|| find(name))
            }
        }
    }

    fn by_suffix(&self, host: &str) -> Option<&T> {
        if self.wildcard.is_empty() {
            return None;
        }
        let parents = host.match_indices('.').map(|(dot, _)| host.get(dot.saturating_add(1)..).unwrap_or(""));
        std::iter::once(host).chain(parents).chain(std::iter::once("")).find_map(|suffix| self.wildcard.get(suffix))
    }
}

/// The host without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}
