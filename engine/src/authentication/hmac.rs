//! `hmac`: HTTP Message Signatures (RFC 9421) with `hmac-sha256`, by keys kept in Secrets.

use std::collections::BTreeMap;
use std::rc::Rc;

use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use sidegate_config::{HmacSpec, ObjectMeta};

use super::api_key;
use crate::compile::Compiler;
use crate::error::StepError;
use crate::request::{Attribute, Request};
use crate::resources::{Scope, check_selector};
use crate::session::Cx;

mod components;
mod digest;
mod input;

use components::Component;
use input::Input;

/// Entry of a Secret that holds the key.
const ENTRY: &str = "hmac_key";

/// Bytes that a key must have: as many as the digest, below which it is the weaker part (RFC 2104 section 3).
const SHORTEST: usize = 32;

/// Seconds that a signature holds, unless the rule says otherwise.
const MAX_AGE: u64 = 300;

/// Seconds that the clock of a client may be ahead.
const LEEWAY: i64 = 30;

/// Verifies who signed the request.
#[derive(Debug)]
pub struct HmacSignature {
    keys: BTreeMap<String, Key>,
    /// What must be signed.
    components: Vec<Component>,
    max_age: i64,
    body: bool,
}

/// A key that is set up, and whose it is.
struct Key {
    mac: Hmac<Sha256>,
    identity: Rc<Value>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl HmacSignature {
    pub(super) fn compile(spec: &HmacSpec, compiler: &mut Compiler<'_>) -> Self {
        let HmacSpec { selector, all_namespaces, namespaces, components, max_age, body } = spec;
        compiler.at("selector", |compiler| check_selector(selector, compiler));
        let scope = Scope::compile(*all_namespaces, namespaces, compiler);
        let resources = compiler.resources;
        let mut keys = BTreeMap::new();
        for secret in resources.secrets(&scope, selector) {
            let Some(bytes) = secret.entry(ENTRY) else { continue };
            let ObjectMeta { namespace, name, .. } = &secret.document.metadata;
            if bytes.len() < SHORTEST {
                compiler.problem(format!("Secret `{namespace}/{name}`: `{ENTRY}` must have {SHORTEST} bytes at least"));
            }
            let Ok(mac) = Hmac::new_from_slice(bytes) else { continue };
            let key = Key { mac, identity: Rc::new(api_key::identity(&secret.document)) };
            if keys.insert(name.clone(), key).is_some() {
                compiler.problem(format!("there are two Secrets of name `{name}`, which is the `keyid`: rename one"));
            }
        }
        let mut required = compiler.at("components", |compiler| Component::compile_all(components, compiler));
        if *body {
            compiler.need(Attribute::Body);
            required.push(Component::Header(digest::HEADER.to_owned()));
        }
        let max_age = max_age.unwrap_or(MAX_AGE);
        if max_age == 0 {
            compiler.at("maxAge", |compiler| compiler.problem("must be more than 0: it is how long a signature holds"));
        }
        Self { keys, components: required, max_age: i64::try_from(max_age).unwrap_or(i64::MAX), body: *body }
    }

    pub(super) const fn challenge(&self) -> &'static str {
        "Signature"
    }

    pub(super) fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let request = &cx.request;
        let input = Input::parse(single(request, "signature-input")?).map_err(malformed)?;
        let signature = input.signature(single(request, "signature")?).map_err(malformed)?;
        self.check_times(&input, i64::try_from(cx.time.secs()).unwrap_or(i64::MAX))?;
        if let Some(missing) = self.components.iter().find(|component| !input.components.contains(component)) {
            return Err(StepError::denied(format!("the signature does not cover `{missing}`")));
        }
        let base = base(&input, request)?;
        let identity = self.verify(&input, &base, &signature)?;
        self.check_body(&input, request)?;
        Ok(identity)
    }

    /// An unknown key and a wrong signature are told alike.
    fn verify(&self, input: &Input, base: &[u8], signature: &[u8]) -> Result<Rc<Value>, StepError> {
        let invalid = || StepError::denied("the signature is not valid");
        let key =
            self.keys.get(&input.key_id).ok_or_else(|| invalid().because("no Secret has the name of its `keyid`"))?;
        // Compares in constant time.
        key.mac.clone().chain_update(base).verify_slice(signature).map_err(|_| invalid())?;
        Ok(Rc::clone(&key.identity))
    }

    fn check_times(&self, input: &Input, now: i64) -> Result<(), StepError> {
        let age = now.saturating_sub(input.created);
        if age > self.max_age || input.expires.is_some_and(|expires| expires <= now) {
            return Err(StepError::denied("the signature has expired"));
        }
        if age < -LEEWAY {
            return Err(StepError::denied("the signature is from the future"));
        }
        Ok(())
    }

    /// Looks at the body if the rule reads it, or if it is at hand and signed.
    fn check_body(&self, input: &Input, request: &Request) -> Result<(), StepError> {
        let body = request.body.get().map(|crate::call::Body(bytes)| bytes.as_slice());
        let body = match (self.body, body) {
            (true, None) => return Err(StepError::failed("the body is not at hand")),
            (_, Some(body)) if input.components.iter().any(Component::is_digest) => body,
            (_, _) => return Ok(()),
        };
        let header =
            components::joined(request, digest::HEADER).ok_or_else(|| malformed("there is no `Content-Digest`"))?;
        digest::check(&header, body).map_err(StepError::denied)
    }
}

fn malformed(what: &str) -> StepError {
    StepError::denied(format!("malformed signature: {what}"))
}

/// What is signed (RFC 9421 section 2.5).
fn base(input: &Input, request: &Request) -> Result<Vec<u8>, StepError> {
    let mut base = Vec::new();
    for component in &input.components {
        let value = component
            .value(request)
            .ok_or_else(|| StepError::denied(format!("the signature covers `{component}`, which is not there")))?;
        base.extend(format!("\"{component}\": ").into_bytes());
        base.extend(value);
        base.push(b'\n');
    }
    base.extend(format!("\"@signature-params\": {}", input.parameters()).into_bytes());
    Ok(base)
}

/// The text of a header that is there once.
fn single<'r>(request: &'r Request, name: &str) -> Result<&'r str, StepError> {
    let mut values = request.headers.iter().filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Err(StepError::absent("credential not found")),
        (Some(value), None) => str::from_utf8(value).map_err(|_| malformed("it is no text")),
        (Some(_), Some(_)) => Err(StepError::denied(format!("the header `{name}` is there more than once"))),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::request::Headers;

    /// The signature of RFC 9421 section B.2.5.
    #[test]
    fn a_signature_of_the_rfc_is_verified() {
        let headers = [
            (":method", "POST"),
            (":path", "/foo?param=Value&Pet=dog"),
            (":authority", "Example.com:443"),
            (":scheme", "https"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            (
                "signature-input",
                r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
            ),
            ("signature", "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"),
        ];
        let request = Request { headers: Headers::from_pairs(headers), ..Request::default() };
        let input = Input::parse(single(&request, "signature-input").unwrap()).unwrap();
        let signature = input.signature(single(&request, "signature").unwrap()).unwrap();
        let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let mac = Hmac::new_from_slice(&STANDARD.decode(secret).unwrap()).unwrap();
        let keys = [("test-shared-secret".to_owned(), Key { mac, identity: Rc::new(Value::from("who")) })].into();
        let rule = HmacSignature { keys, components: Vec::new(), max_age: 1, body: false };
        assert_eq!(
            rule.verify(&input, &base(&input, &request).unwrap(), &signature).unwrap(),
            Rc::new(Value::from("who"))
        );
        assert!(rule.verify(&input, b"another", &signature).is_err());
        assert!(rule.verify(&input, &base(&input, &request).unwrap(), &signature[..31]).is_err());
        assert!(!format!("{rule:?}").contains("uzv"));
    }

    #[test]
    fn components_are_written_as_they_are_signed() {
        let headers = [
            (":method", "GET"),
            (":path", "/a%20b?"),
            (":authority", "EXAMPLE.com:8443"),
            (":scheme", "HTTPS"),
            ("x-a", " 1 "),
            ("x-a", ""),
            ("x-line", "1\n\"@method\": GET"),
        ];
        let request = Request { headers: Headers::from_pairs(headers), ..Request::default() };
        for (name, expected) in [
            ("@method", Some("GET")),
            ("@authority", Some("example.com:8443")),
            ("@scheme", Some("https")),
            ("@target-uri", Some("https://example.com:8443/a%20b?")),
            ("@request-target", Some("/a%20b?")),
            ("@path", Some("/a%20b")),
            ("@query", Some("?")),
            ("x-a", Some("1, ")),
            ("x-line", None),
            ("x-none", None),
        ] {
            let value = Component::parse(name).unwrap().value(&request);
            assert_eq!(value.as_deref(), expected.map(str::as_bytes), "{name}");
        }
        for name in ["@status", "@query-param", "signature", "signature-input", "X-A", "a b", ""] {
            assert_eq!(Component::parse(name), None, "{name}");
        }
    }

    #[test]
    fn what_says_more_than_is_understood_is_refused() {
        let refused = |source: &str| Input::parse(source).unwrap_err();
        for source in [
            "",
            "sig",
            "sig=",
            "sig=()",
            "Sig=();created=1;keyid=\"a\"",
            "1=();created=1;keyid=\"a\"",
            "sig=(\"@method\"\"@path\");created=1;keyid=\"a\"",
            "sig=(\"@method\";sf);created=1;keyid=\"a\"",
            "sig=(@method);created=1;keyid=\"a\"",
            "sig=();created=01;keyid=\"a\"",
            "sig=();created=-1;keyid=\"a\"",
            "sig=();created=1.5;keyid=\"a\"",
            "sig=();created=9999999999999999;keyid=\"a\"",
            "sig=();created;keyid=\"a\"",
            "sig=();created=1;keyid=a",
            "sig=();created=1;keyid=\"a",
            "sig=();created=1;keyid=\"\\a\"",
            "sig=();created=1;keyid=\"é\"",
            "sig=();created=1;keyid=\"a\" ;nonce=\"b\"",
        ] {
            refused(source);
        }
        let many = (0..65).map(|index| format!("\"x-{index}\"")).collect::<Vec<_>>().join(" ");
        assert!(refused(&format!("sig=({many});created=1;keyid=\"a\"")).contains("too many"));
        let input = Input::parse(" s*=( \"@path\"  \"x-a\" );keyid=\"a\\\"\\\\\"; created=0;expires=5 ").unwrap();
        assert_eq!(input.parameters(), "(\"@path\" \"x-a\");keyid=\"a\\\"\\\\\";created=0;expires=5");
        assert_eq!((input.key_id.as_str(), input.created, input.expires), ("a\"\\", 0, Some(5)));
    }
}
