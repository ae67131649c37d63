//! Policies in Rego that servers keep.

use std::rc::Rc;

use serde::Deserialize;
use sidegate_config::RegoVersion;

use crate::call::HttpReply;
use crate::credentials::Credential;

/// Where a policy is, and what is shown to get it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// URL.
    pub url: String,
    /// What is sent with the request.
    pub credential: Option<Credential>,
    /// Bytes that the answer may have.
    pub max_bytes: usize,
    /// What it is written in.
    pub version: RegoVersion,
    /// Whether all of its rules are asked for their value: not every policy can be asked for that.
    pub all_values: bool,
}

#[derive(Deserialize)]
struct Wrapped {
    result: Raw,
}

#[derive(Deserialize)]
struct Raw {
    raw: String,
}

/// The policy in an answer: the text, or what JSON has at `result.raw`, as OPA's policy API writes it.
///
/// # Errors
/// There is none.
pub fn unwrap(reply: HttpReply) -> Result<Vec<u8>, String> {
    if !reply.is_json() {
        return Ok(reply.body);
    }
    let Wrapped { result: Raw { raw } } = serde_json::from_slice(&reply.body)
        .map_err(|_| "the answer is JSON without a policy at `result.raw`".to_owned())?;
    Ok(raw.into_bytes())
}

/// Reads a policy.
///
/// # Errors
/// It is no text, or does not compile.
#[inline(never)]
pub fn parse(text: &[u8], place: &Place) -> Result<Rc<str>, String> {
    let text = str::from_utf8(text).map_err(|_| "the policy is not UTF-8".to_owned())?;
    check(text, place)?;
    Ok(text.into())
}

#[cfg(feature = "opa")]
fn check(text: &str, place: &Place) -> Result<(), String> {
    use crate::rego::{Asked, Policy};
    let asked = if place.all_values { Asked::All } else { Asked::Allow };
    match Policy::compile(text, place.version, asked) {
        Ok(_) => Ok(()),
        Err(mistakes) => {
            let mistake = mistakes.first().map(ToString::to_string).unwrap_or_default();
            Err(format!("the policy does not compile: {mistake}"))
        }
    }
}

/// Nobody asks for policies in a build without Rego.
#[cfg(not(feature = "opa"))]
fn check(_text: &str, _place: &Place) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Headers;

    fn place(all_values: bool) -> Place {
        Place { url: String::new(), credential: None, max_bytes: 0, version: RegoVersion::V0, all_values }
    }

    fn read(content_type: &str, body: &[u8]) -> Result<String, String> {
        let headers = Headers::from_pairs([("content-type", content_type)]);
        let reply = HttpReply { status: 200, headers, body: body.to_vec(), ..HttpReply::default() };
        parse(&unwrap(reply)?, &place(false)).map(|text| text.to_string())
    }

    /// Else each request would find that out, and the policy that was good would be gone.
    #[test]
    fn a_policy_that_cannot_be_asked_for_all_values_is_none_where_they_are_asked_for() {
        let rules: String = (0..300).map(|number| format!("r{number} = {number}\n")).collect();
        let text = format!("allow = true\n{rules}");
        assert!(parse(text.as_bytes(), &place(false)).is_ok());
        assert!(parse(text.as_bytes(), &place(true)).unwrap_err().contains("more than 250 rules"));
    }

    #[test]
    fn a_policy_is_text_or_within_json() {
        assert_eq!(read("text/plain", b"allow = true"), Ok("allow = true".to_owned()));
        let json = br#"{"result": {"id": "x", "raw": "allow = true"}}"#;
        assert_eq!(read("application/json; charset=utf-8", json), Ok("allow = true".to_owned()));
        assert!(read("application/json", b"allow = true").unwrap_err().contains("result.raw"));
        assert!(read("application/json", br#"{"result": {}}"#).unwrap_err().contains("result.raw"));
        assert!(read("text/plain", b"\xff").unwrap_err().contains("UTF-8"));
    }
}
