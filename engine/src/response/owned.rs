//! Headers that only the policy may set: whatever of them a client sends is taken out.

use std::collections::BTreeSet;

use crate::request::Headers;

/// Headers that a success item of any AuthConfig may set, and the carrier of dynamic metadata. Of all AuthConfigs, since
/// an upstream that believes a header cannot tell by which of its hosts a request came.
///
/// Each header of each request is looked up, nearly always in vain: an ordered set tells that by a byte or two.
#[derive(Debug, Default)]
pub struct OwnedHeaders(BTreeSet<Vec<u8>>);

impl OwnedHeaders {
    /// Adds one, in any case.
    pub fn add(&mut self, name: &str) {
        self.0.insert(folded(name.as_bytes()));
    }

    /// Those that a client sent, by the names that it gave them, each once.
    #[must_use]
    pub fn sent(&self, headers: &Headers) -> Vec<String> {
        let mut sent = Vec::new();
        if self.0.is_empty() {
            return sent;
        }
        for (name, _) in headers.iter().filter(|(name, _)| self.has(name)) {
            let name = String::from_utf8_lossy(name).into_owned();
            if !sent.contains(&name) {
                sent.push(name);
            }
        }
        sent
    }

    fn has(&self, name: &[u8]) -> bool {
        if name.contains(&b'_') { self.0.contains(&folded(name)) } else { self.0.contains(name) }
    }
}

/// Many servers (CGI, WSGI, PHP) take `x_user` and `x-user` for one.
fn folded(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_take_for_the_same_header_is_found() {
        let mut owned = OwnedHeaders::default();
        owned.add("X-User");
        owned.add("x_team");
        let headers =
            Headers::from_pairs([("x-user", ""), ("x_user", ""), ("x-team", ""), ("x-users", ""), ("x_user", "")]);
        assert_eq!(owned.sent(&headers), ["x-user", "x_user", "x-team"]);
        assert!(OwnedHeaders::default().sent(&headers).is_empty());
    }
}
