//! `Content-Digest` (RFC 9530).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};

/// The header.
pub const HEADER: &str = "content-digest";

/// Whether the body is the one that the header speaks of: by every digest in it that we know, and one at least.
pub fn check(header: &[u8], body: &[u8]) -> Result<(), &'static str> {
    const MALFORMED: &str = "malformed `Content-Digest`: write `sha-256=:base64:`";
    let text = str::from_utf8(header).map_err(|_| MALFORMED)?;
    let mut known = false;
    for member in text.split(',') {
        let (algorithm, value) = member.trim_matches([' ', '\t']).split_once('=').ok_or(MALFORMED)?;
        let value = value.strip_prefix(':').and_then(|value| value.strip_suffix(':')).ok_or(MALFORMED)?;
        let shown = STANDARD.decode(value).map_err(|_| MALFORMED)?;
        let fits = match algorithm {
            "sha-256" => shown == Sha256::digest(body).as_slice(),
            "sha-512" => shown == Sha512::digest(body).as_slice(),
            _ => continue,
        };
        if !fits {
            return Err("the body is not the one that `Content-Digest` speaks of");
        }
        known = true;
    }
    if known { Ok(()) } else { Err("`Content-Digest` has neither `sha-256` nor `sha-512`") }
}
