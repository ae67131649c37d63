//! Signs the messages of a case: HTTP Message Signatures (RFC 9421) with `hmac-sha256`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::case::Signature;

/// The values of `Signature-Input` and `Signature`.
///
/// # Errors
/// A time is none.
pub fn sign(signature: &Signature, now: i64) -> Result<(String, String), String> {
    let Signature { key, key_id, label, lines, created, parameters } = signature;
    let ago: i64 = created.parse().map_err(|_| format!("`created: {created}` is no number of seconds from now"))?;
    let names: Vec<String> = lines.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let created = now.saturating_add(ago);
    let signed = format!("({});created={created};keyid=\"{key_id}\"{parameters}", names.join(" "));
    let lines: String = lines.iter().map(|(name, value)| format!("\"{name}\": {value}\n")).collect();
    let base = format!("{lines}\"@signature-params\": {signed}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), base.as_bytes());
    Ok((format!("{label}={signed}"), format!("{label}=:{}:", STANDARD.encode(tag))))
}
