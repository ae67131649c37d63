//! What workers tell each other of a document, through Envoy's shared data.
//!
//! Every plugin with the same `vm_id` can write there, and Istio gives all plugins the same. So what is read is believed
//! only with a proof (RFC 2104 HMAC) by a secret that the configuration yields: who can make it has our configuration.

use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// Changes with the format, so that versions of this module never misread each other.
const VERSION: &[u8] = b"sidegate document 2";

/// Length of the proof.
const PROOF: usize = 32;

/// What is said of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// When it was fetched, in nanoseconds since the epoch.
    pub fetched_at: u64,
    /// Nanoseconds that it is good for.
    pub interval: u64,
    /// When a worker last fetched for the sake of an unknown key.
    pub wanted_at: Option<u64>,
    /// Where keys came from, if discovery said so.
    pub jwks_url: Option<String>,
    /// Names of the algorithms that tokens may be signed with.
    pub algorithms: Vec<String>,
    /// Where more is said of who shows a token, if discovery said so.
    pub user_info_url: Option<String>,
}

/// The secret of a configuration.
#[derive(Clone, Copy)]
pub struct Secret([u8; 64]);

impl Secret {
    /// Of the bytes of a configuration.
    pub fn of(configuration: &[u8]) -> Self {
        Self(Sha512::new().chain_update(VERSION).chain_update(configuration).finalize().into())
    }

    /// Name for what `identity` stands for, unknown to who has not the secret.
    pub fn name(&self, identity: &str) -> String {
        let name = self.mac(&[b"name", identity.as_bytes()]).finalize().into_bytes();
        name.iter().fold("sidegate/documents/".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// Writes a publication: proof, length of the facts, facts, document.
    pub fn seal(&self, name: &str, facts: &Facts, document: &[u8]) -> Option<Vec<u8>> {
        let facts = serde_json::to_vec(facts).ok()?;
        let length = u32::try_from(facts.len()).ok()?.to_be_bytes();
        let content = [&length[..], &facts, document].concat();
        let proof = self.mac(&[name.as_bytes(), &content]).finalize().into_bytes();
        Some([&proof[..], &content].concat())
    }

    /// Reads a publication.
    pub fn open<'a>(&self, name: &str, publication: &'a [u8]) -> Option<(Facts, &'a [u8])> {
        let (proof, content) = publication.split_at_checked(PROOF)?;
        self.mac(&[name.as_bytes(), content]).verify_slice(proof).ok()?;
        let (length, rest) = content.split_first_chunk()?;
        let (facts, document) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        Some((serde_json::from_slice(facts).ok()?, document))
    }

    /// Each part goes with its length, so that no two lists of parts look the same.
    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as hmac::Mac>::new((&self.0).into());
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}
