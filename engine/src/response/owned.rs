//! Headers that only the policy may set: whatever of them a client sends is taken out.

use std::collections::BTreeSet;

use crate::request::Headers;

/// Headers that a success item of any AuthConfig may set, and the carrier of dynamic metadata. Of all AuthConfigs, since
/// an upstream that believes a header cannot tell by which of its hosts a request came.
///
/// Each header of each request is looked up, nearly always in vain: its length alone tells that of most.
#[derive(Debug, Default)]
pub struct OwnedHeaders {
    names: BTreeSet<Vec<u8>>,
    /// A bit for each length that one of them has, the last for all longer ones.
    lengths: u64,
}

impl OwnedHeaders {
    /// Adds one, in any case.
    pub fn add(&mut self, name: &str) {
        self.lengths |= length(name.as_bytes());
        self.names.insert(folded(name.as_bytes()));
    }

    /// Those that a client sent, by the names that it gave them, each once.
    #[must_use]
    pub fn sent(&self, headers: &Headers) -> Vec<String> {
        let mut sent = Vec::new();
        for (name, _) in headers.iter().filter(|(name, _)| self.has(name)) {
            let name = String::from_utf8_lossy(name).into_owned();
            if !sent.contains(&name) {
                sent.push(name);
            }
        }
        sent
    }

    fn has(&self, name: &[u8]) -> bool {
        if self.lengths & length(name) == 0 {
            return false;
        }
        if name.contains(&b'_') { self.names.contains(&folded(name)) } else { self.names.contains(name) }
    }
}

/// The bit of a name's length, which folding does not change.
fn length(name: &[u8]) -> u64 {
    1 << name.len().min(63)
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
        let long = "x".repeat(80);
        owned.add(&long);
        assert_eq!(owned.sent(&Headers::from_pairs([(&*long, ""), (&*"y".repeat(80), ""), ("", "")])), [long]);
        assert!(OwnedHeaders::default().sent(&headers).is_empty());
    }
}
