//! Where in a request a credential is.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use sidegate_config as config;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::request::Request;

/// Where in a request a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: <prefix> <credential>`; the prefix is compared as written.
    AuthorizationHeader {
        /// The word before the credential.
        prefix: String,
    },
    /// The whole value of a header.
    CustomHeader {
        /// As written.
        name: String,
        /// As looked up.
        lower: String,
    },
    /// A parameter of the query string.
    QueryString(String),
    /// A cookie.
    Cookie(String),
}

impl Credentials {
    /// Compiles `credentials`; absent is `Authorization: Bearer`.
    pub fn compile(source: Option<&config::Credentials>, compiler: &mut Compiler<'_>) -> Self {
        let bearer = Self::AuthorizationHeader { prefix: "Bearer".to_owned() };
        let Some(config::Credentials { authorization_header, custom_header, query_string, cookie }) = source else {
            return bearer;
        };
        let mut name = |field: &str, name: &str| {
            if name.is_empty() {
                compiler.at(field, |compiler| compiler.at("name", |compiler| compiler.problem("the name is empty")));
            }
            name.to_owned()
        };
        let mut found = Vec::new();
        if let Some(config::AuthorizationHeader { prefix }) = authorization_header {
            let prefix = if prefix.is_empty() { "Bearer" } else { prefix };
            found.push(Self::AuthorizationHeader { prefix: prefix.to_owned() });
        }
        if let Some(header) = custom_header {
            let name = name("customHeader", &header.name);
            found.push(Self::CustomHeader { lower: name.to_ascii_lowercase(), name });
        }
        if let Some(parameter) = query_string {
            found.push(Self::QueryString(name("queryString", &parameter.name)));
        }
        if let Some(cookie) = cookie {
            found.push(Self::Cookie(name("cookie", &cookie.name)));
        }
        if found.len() > 1 {
            compiler.problem("more than one placement is given: keep one");
        }
        found.into_iter().next().unwrap_or(bearer)
    }

    /// The challenge's identifier (RFC 9110 section 11.6.1): prefix, header, parameter or cookie name as written.
    #[must_use]
    pub fn challenge(&self) -> &str {
        match self {
            Self::AuthorizationHeader { prefix: name }
            | Self::CustomHeader { name, .. }
            | Self::QueryString(name)
            | Self::Cookie(name) => name,
        }
    }

    /// The credential of a request.
    ///
    /// # Errors
    /// It is not there, or the header that carries it is there more than once, which other readers may understand in
    /// another way than we do.
    pub fn find<'r>(&self, request: &'r Request) -> Result<Cow<'r, [u8]>, StepError> {
        match self {
            Self::AuthorizationHeader { prefix } => {
                let value = single(request, "authorization")?;
                let value = value.strip_prefix(prefix.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
                value.map(Cow::Borrowed).ok_or_else(not_found)
            }
            Self::CustomHeader { lower, .. } => single(request, lower).map(Cow::Borrowed),
            Self::QueryString(name) => in_query(request, name),
            Self::Cookie(name) => in_cookies(request, name),
        }
    }
}

fn not_found() -> StepError {
    StepError::denied("credential not found".to_owned())
}

fn single<'r>(request: &'r Request, name: &str) -> Result<&'r [u8], StepError> {
    let mut values = request.headers.iter().filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(not_found()),
        (Some(_), Some(_)) => Err(StepError::denied(format!("the header `{name}` is there more than once"))),
    }
}

/// The first parameter of this name, as `net/url` of Go reads a query: `+` is a space, and a pair with `;` is none.
fn in_query<'r>(request: &Request, name: &str) -> Result<Cow<'r, [u8]>, StepError> {
    let path = request.headers.joined(":path").unwrap_or_default();
    let path = path.split(|byte| *byte == b'#').next().unwrap_or_default();
    let query = path.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
    let value = query.split(|byte| *byte == b'&').filter(|pair| !pair.contains(&b';')).find_map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let key = form_decode(parts.next().unwrap_or_default());
        (key == name.as_bytes()).then(|| form_decode(parts.next().unwrap_or_default()))
    });
    value.filter(|value| !value.is_empty()).map(Cow::Owned).ok_or_else(not_found)
}

fn form_decode(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

fn in_cookies<'r>(request: &'r Request, name: &str) -> Result<Cow<'r, [u8]>, StepError> {
    let cookies = request.headers.iter().filter(|(key, _)| *key == b"cookie").map(|(_, value)| value);
    cookies
        .flat_map(|cookies| cookies.split(|byte| *byte == b';'))
        .find_map(|cookie| cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .map(Cow::Borrowed)
        .ok_or_else(not_found)
}
