//! OpenID Connect Discovery 1.0, section 3: what an issuer says of itself.

use serde::Deserialize;

use super::jwks::MAX_BYTES;
use crate::crypto::Algorithm;
use crate::url::Url;

/// What we need of a discovery document.
#[derive(Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Where the keys are.
    pub jwks: Url,
    /// The algorithms that tokens are signed with.
    pub algorithms: Vec<Algorithm>,
    /// Where more is said of who shows an access token; none if the issuer does not say it, or it is no place to send
    /// one to.
    pub user_info: Option<Url>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
    #[serde(default)]
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    // Of no interest to tokens, so nothing that may be wrong with it is in their way.
    #[serde(default)]
    userinfo_endpoint: serde_json::Value,
}

/// The discovery document's URL.
///
/// # Errors
/// The issuer is no usable URL; what is wrong, to be said after it.
pub fn url(issuer: &str) -> Result<Url, &'static str> {
    well_known(issuer, "openid-configuration")
}

/// The URL of a document that an issuer has under a well-known name (RFC 8615).
///
/// # Errors
/// The issuer is no usable URL; what is wrong, to be said after it.
pub fn well_known(issuer: &str, name: &str) -> Result<Url, &'static str> {
    if Url::parse(issuer)?.has_query() {
        return Err("has a query, which an issuer cannot have");
    }
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    Url::parse(&format!("{base}/.well-known/{name}"))
}

/// Parses the discovery document of an issuer.
///
/// # Errors
/// It is none, of another issuer, or points to keys that are no place to trust.
pub fn parse(document: &[u8], issuer: &str) -> Result<Discovery, String> {
    if document.len() > MAX_BYTES {
        return Err("the discovery document is larger than 1 MiB".to_owned());
    }
    let document: Document =
        serde_json::from_slice(document).map_err(|_| "the answer is no discovery document".to_owned())?;
    check_issuer("discovery document", &document.issuer, issuer)?;
    let jwks = endpoint("jwks_uri", &document.jwks_uri, issuer)?;
    let user_info = document.userinfo_endpoint.as_str().and_then(|url| endpoint("userinfo_endpoint", url, issuer).ok());
    let names = document.id_token_signing_alg_values_supported.unwrap_or_default();
    let mut algorithms: Vec<_> = names.iter().filter_map(|name| Algorithm::from_name(name)).collect();
    if algorithms.is_empty() {
        // The default of the standard, which every issuer must support.
        algorithms.push(Algorithm::Rs256);
    }
    Ok(Discovery { jwks, algorithms, user_info })
}

/// Whether a document is of the issuer that it is asked of, byte for byte.
///
/// # Errors
/// It is not.
pub fn check_issuer(what: &str, claimed: &str, issuer: &str) -> Result<(), String> {
    if claimed == issuer {
        return Ok(());
    }
    let claimed: String = claimed.chars().filter(|character| !character.is_control()).take(256).collect();
    Err(format!("the {what} is of issuer `{claimed}`, not of `{issuer}`"))
}

/// A place that the document of an issuer names: no less safe than the issuer itself.
///
/// # Errors
/// It is none, or not `https` though the issuer is.
pub fn endpoint(member: &str, url: &str, issuer: &str) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|reason| format!("`{member}` {reason}"))?;
    if url.scheme != "https" && Url::parse(issuer).is_ok_and(|issuer| issuer.scheme == "https") {
        return Err(format!("`{member}` is not `https`, but the issuer is"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://idp.example.com/realms/a";

    #[test]
    fn the_well_known_path_follows_the_issuer() {
        let path = |issuer| url(issuer).map(|url| url.to_string());
        assert_eq!(path("https://a"), Ok("https://a/.well-known/openid-configuration".to_owned()));
        assert_eq!(path("https://a/b/"), Ok("https://a/b/.well-known/openid-configuration".to_owned()));
        assert!(path("https://a/?b").is_err());
        assert!(path("").is_err());
        assert!(path("a.example.com").is_err());
    }

    fn parsed(jwks_uri: &str, algorithms: &[&str]) -> Result<Discovery, String> {
        let document =
            json!({"issuer": ISSUER, "jwks_uri": jwks_uri, "id_token_signing_alg_values_supported": algorithms});
        parse(document.to_string().as_bytes(), ISSUER)
    }

    #[test]
    fn algorithms_are_those_that_both_know() {
        let algorithms = |names: &[&str]| parsed("https://a/jwks", names).map(|discovery| discovery.algorithms);
        assert_eq!(algorithms(&["HS256", "none", "PS512", "EdDSA"]), Ok(vec![Algorithm::Ps512, Algorithm::EdDsa]));
        assert_eq!(algorithms(&["HS256", "none"]), Ok(vec![Algorithm::Rs256]));
        assert_eq!(algorithms(&[]), Ok(vec![Algorithm::Rs256]));
    }

    #[test]
    fn keys_of_an_https_issuer_come_by_https() {
        assert!(parsed("http://idp.example.com/jwks", &[]).is_err());
        assert!(parsed("file:///etc/jwks", &[]).is_err());
        assert!(parsed("", &[]).is_err());
        let plain = json!({"issuer": "http://a", "jwks_uri": "http://b/jwks"}).to_string();
        assert_eq!(parse(plain.as_bytes(), "http://a").map(|discovery| discovery.jwks.host), Ok("b".to_owned()));
    }

    #[test]
    fn user_info_is_no_reason_to_do_without_keys() {
        let user_info = |endpoint: serde_json::Value| {
            let document = json!({"issuer": ISSUER, "jwks_uri": "https://a/jwks", "userinfo_endpoint": endpoint});
            parse(document.to_string().as_bytes(), ISSUER).unwrap().user_info.map(|url| url.to_string())
        };
        assert_eq!(user_info(json!("https://a/info")), Some("https://a/info".to_owned()));
        for none in [json!("http://a/info"), json!("a"), json!(1), json!(null)] {
            assert_eq!(user_info(none.clone()), None, "{none}");
        }
        assert_eq!(parsed("https://a/jwks", &[]).unwrap().user_info, None);
    }

    #[test]
    fn the_issuer_is_compared_byte_for_byte() {
        for issuer in ["https://idp.example.com/realms/a/", "https://IDP.example.com/realms/a", "x"] {
            let document = json!({"issuer": issuer, "jwks_uri": "https://a/jwks"}).to_string();
            let refused = parse(document.as_bytes(), ISSUER).unwrap_err();
            assert!(refused.contains(issuer), "{refused}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        for document in [&b""[..], b"{}", b"<html>", br#"{"issuer": 1, "jwks_uri": 2}"#, b"[]", b"\xff"] {
            assert!(parse(document, ISSUER).is_err());
        }
        assert!(parse(&vec![b' '; MAX_BYTES + 1], ISSUER).unwrap_err().contains("1 MiB"));
    }
}
