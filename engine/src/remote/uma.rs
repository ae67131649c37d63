//! User-Managed Access 2.0, federated authorization, section 2: what a server says of itself.

use serde::Deserialize;

use super::discovery;
use super::jwks::MAX_BYTES;
use crate::url::Url;

/// What we need of the configuration of a UMA server.
#[derive(Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Where tokens are had.
    pub token_endpoint: Url,
    /// Where resources are found.
    pub resource_registration_endpoint: Url,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    token_endpoint: String,
    resource_registration_endpoint: String,
}

/// The configuration's URL.
///
/// # Errors
/// The issuer is no usable URL; what is wrong, to be said after it.
pub fn url(issuer: &str) -> Result<Url, &'static str> {
    discovery::well_known(issuer, "uma2-configuration")
}

/// Parses the configuration of an issuer.
///
/// # Errors
/// It is none, of another issuer, or points to places that are not to be trusted with a secret.
#[inline(never)]
pub fn parse(document: &[u8], issuer: &str) -> Result<Configuration, String> {
    if document.len() > MAX_BYTES {
        return Err("the UMA configuration is larger than 1 MiB".to_owned());
    }
    let Document { issuer: claimed, token_endpoint, resource_registration_endpoint } =
        serde_json::from_slice(document).map_err(|_| "the answer is no UMA configuration".to_owned())?;
    discovery::check_issuer("UMA configuration", &claimed, issuer)?;
    Ok(Configuration {
        token_endpoint: discovery::endpoint("token_endpoint", &token_endpoint, issuer)?,
        resource_registration_endpoint: discovery::endpoint(
            "resource_registration_endpoint",
            &resource_registration_endpoint,
            issuer,
        )?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://idp.example.com/realms/a";

    fn parsed(issuer: &str, token: &str, resources: &str) -> Result<Configuration, String> {
        let document =
            json!({"issuer": issuer, "token_endpoint": token, "resource_registration_endpoint": resources, "x": 1});
        parse(document.to_string().as_bytes(), ISSUER)
    }

    #[test]
    fn a_configuration_says_where_tokens_and_resources_are() {
        assert_eq!(url(ISSUER).unwrap().path, "/realms/a/.well-known/uma2-configuration");
        let configuration =
            parsed(ISSUER, "https://idp.example.com/token", "https://idp.example.com/resources").unwrap();
        assert_eq!(configuration.token_endpoint.path, "/token");
        assert_eq!(configuration.resource_registration_endpoint.path, "/resources");
    }

    #[test]
    fn what_is_none_or_not_to_be_trusted_is_refused() {
        let good = "https://idp.example.com/x";
        assert!(parsed("https://mallory.example.com", good, good).unwrap_err().contains("mallory"));
        assert!(
            parsed(ISSUER, "http://idp.example.com/x", good).unwrap_err().contains("`token_endpoint` is not `https`")
        );
        assert!(parsed(ISSUER, good, "file:///x").unwrap_err().contains("`resource_registration_endpoint`"));
        for document in [&b""[..], b"{}", b"[]", b"<html>", b"\xff", br#"{"issuer": 1}"#] {
            assert!(parse(document, ISSUER).is_err());
        }
        assert!(parse(&vec![b' '; MAX_BYTES + 1], ISSUER).unwrap_err().contains("1 MiB"));
    }
}
