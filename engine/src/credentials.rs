//! Where in a request a credential is.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use sidegate_config::{self as config, SecretKeyRef};

use crate::call::HttpRequest;
use crate::compile::Compiler;
use crate::error::StepError;
use crate::request::Request;
use crate::response::header;
use crate::secret::Secret;

/// Where in a request a credential is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

    /// The headers of a request that carries a credential, as [`Self::find`] finds it.
    #[must_use]
    pub fn carry(&self, credential: &str) -> Vec<(String, String)> {
        let path = |path: String| (":path".to_owned(), path);
        match self {
            Self::AuthorizationHeader { prefix } => {
                vec![path("/".to_owned()), ("authorization".to_owned(), format!("{prefix} {credential}"))]
            }
            Self::CustomHeader { lower, .. } => vec![path("/".to_owned()), (lower.clone(), credential.to_owned())],
            Self::QueryString(name) => vec![path(format!("/?{name}={credential}"))],
            Self::Cookie(name) => vec![path("/".to_owned()), ("cookie".to_owned(), format!("{name}={credential}"))],
        }
    }

    /// Compiles the `credentials` of a request to a server.
    pub fn compile_sendable(source: Option<&config::Credentials>, compiler: &mut Compiler<'_>) -> Self {
        compiler.at("credentials", |compiler| {
            let place = Self::compile(source, compiler);
            place.check_sendable(compiler);
            place
        })
    }

    fn check_sendable(&self, compiler: &mut Compiler<'_>) {
        let (field, problem) = match self {
            Self::AuthorizationHeader { prefix } if !header::is_value(prefix) => {
                ("authorizationHeader", Some("the prefix has control characters".to_owned()))
            }
            Self::CustomHeader { name, lower } => {
                let problem = header::check_name(lower).err().map(|reason| format!("`{name}` {reason}"));
                ("customHeader", problem.filter(|_| !name.is_empty()))
            }
            Self::Cookie(name) => {
                ("cookie", (!name.is_empty() && !header::is_token(name)).then(|| format!("`{name}` is no cookie name")))
            }
            Self::AuthorizationHeader { .. } | Self::QueryString(_) => ("", None),
        };
        if let Some(problem) = problem {
            compiler.at(field, |compiler| compiler.problem(problem));
        }
    }

    /// Puts a credential, which is one line of text, into a request to a server.
    pub fn place(&self, credential: &str, request: &mut HttpRequest) {
        match self {
            Self::AuthorizationHeader { prefix } => {
                request.set_header("authorization", format!("{prefix} {credential}"))
            }
            Self::CustomHeader { lower, .. } => request.set_header(lower, credential),
            Self::Cookie(name) => request.set_header("cookie", format!("{name}={credential}")),
            Self::QueryString(name) => {
                let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
                // What is there of this name would be another credential.
                let others = query.split('&').filter(|pair| {
                    let key = pair.split('=').next().unwrap_or_default();
                    !pair.is_empty() && form_decode(key.as_bytes()) != name.as_bytes()
                });
                let ours = form_urlencoded::Serializer::new(String::new()).append_pair(name, credential).finish();
                let pairs: Vec<&str> = others.chain([ours.as_str()]).collect();
                request.path = format!("{path}?{}", pairs.join("&"));
            }
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

/// A secret that goes out with requests, and where in them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credential {
    place: Credentials,
    secret: Secret,
}

impl Credential {
    /// Compiles `sharedSecretRef` and the `credentials` beside it; none if it is not there, or the problem was told.
    pub fn compile(
        secret: Option<&SecretKeyRef>,
        place: Option<&config::Credentials>,
        compiler: &mut Compiler<'_>,
    ) -> Option<Self> {
        let place = Credentials::compile_sendable(place, compiler);
        let SecretKeyRef { name, key, namespace } = secret?;
        let secret = compiler.at("sharedSecretRef", |compiler| compiler.secret(namespace.as_deref(), name, key))?;
        Some(Self { place, secret })
    }

    /// Puts it into a request.
    pub fn place(&self, request: &mut HttpRequest) {
        self.place.place(self.secret.reveal(), request);
    }
}

fn not_found() -> StepError {
    StepError::absent("credential not found")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound;
    use crate::request::Headers;
    use crate::url::Url;

    fn find(credentials: &Credentials, headers: &[(&str, &[u8])]) -> Result<String, String> {
        let request = Request { headers: Headers::from_pairs(headers.iter().copied()), ..Request::default() };
        let found = credentials.find(&request);
        found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.reason)
    }

    fn ok(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn absent() -> Result<String, String> {
        Err("credential not found".to_owned())
    }

    #[test]
    fn the_prefix_is_compared_as_written_and_followed_by_one_space() {
        let bearer = Credentials::AuthorizationHeader { prefix: "Bearer".to_owned() };
        for (value, expected) in [
            ("Bearer abc", ok("abc")),
            ("Bearer  abc", ok(" abc")),
            ("Bearer abc ", ok("abc ")),
            ("Bearer ", ok("")),
            ("bearer abc", absent()),
            ("Bearer", absent()),
            ("Bearerabc", absent()),
            ("Basic abc", absent()),
        ] {
            assert_eq!(find(&bearer, &[("authorization", value.as_bytes())]), expected, "{value}");
        }
        assert_eq!(find(&bearer, &[]), absent());
    }

    #[test]
    fn a_credential_header_that_is_there_twice_is_no_credential() {
        let bearer = Credentials::AuthorizationHeader { prefix: "Bearer".to_owned() };
        let twice: &[(&str, &[u8])] = &[("authorization", b"Bearer a"), ("authorization", b"Bearer a")];
        assert_eq!(find(&bearer, twice), Err("the header `authorization` is there more than once".to_owned()));
    }

    #[test]
    fn a_custom_header_is_taken_whole() {
        let header = Credentials::CustomHeader { name: "X-Key".to_owned(), lower: "x-key".to_owned() };
        assert_eq!(find(&header, &[("x-key", b" a b\xff")]), ok(" a b\u{fffd}"));
        assert_eq!(find(&header, &[("x-key", b"")]), ok(""));
        assert_eq!(find(&header, &[("x-key2", b"a")]), absent());
    }

    #[test]
    fn a_query_parameter_is_decoded_as_a_form() {
        let parameter = Credentials::QueryString("key".to_owned());
        for (path, expected) in [
            ("/a?key=v", ok("v")),
            ("/a?x=1&key=a%20b+c&key=second", ok("a b c")),
            ("/a?k%65y=v", ok("v")),
            ("/a?key=a?b=c", ok("a?b=c")),
            ("/a?key=v#key=w", ok("v")),
            ("/a?key=", absent()),
            ("/a?key", absent()),
            ("/a?key=a;b", absent()),
            ("/a?KEY=v", absent()),
            ("/a#?key=v", absent()),
            ("/key=v", absent()),
            ("", absent()),
        ] {
            assert_eq!(find(&parameter, &[(":path", path.as_bytes())]), expected, "{path}");
        }
        assert_eq!(find(&parameter, &[]), absent());
    }

    #[test]
    fn a_credential_goes_where_it_is_found() {
        let placed = |place: &Credentials, path: &str| {
            let url = Url::parse("http://a").unwrap();
            let mut request = HttpRequest { path: path.to_owned(), ..outbound::request("GET", &url, Vec::new()) };
            place.place("s +&=ü", &mut request);
            (request.path, request.headers)
        };
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let place = Credentials::AuthorizationHeader { prefix: "Key".to_owned() };
        assert_eq!(placed(&place, "/"), ("/".to_owned(), header("authorization", "Key s +&=ü")));
        let place = Credentials::CustomHeader { name: "X-Key".to_owned(), lower: "x-key".to_owned() };
        assert_eq!(placed(&place, "/"), ("/".to_owned(), header("x-key", "s +&=ü")));
        let place = Credentials::Cookie("k".to_owned());
        assert_eq!(placed(&place, "/"), ("/".to_owned(), header("cookie", "k=s +&=ü")));
        let place = Credentials::QueryString("k y".to_owned());
        for (path, expected) in [
            ("/a", "/a?k+y=s+%2B%26%3D%C3%BC"),
            ("/a?", "/a?k+y=s+%2B%26%3D%C3%BC"),
            ("/a?b=c&&d", "/a?b=c&d&k+y=s+%2B%26%3D%C3%BC"),
            ("/a?k%20y=mine&b=c&k+y", "/a?b=c&k+y=s+%2B%26%3D%C3%BC"),
        ] {
            assert_eq!(placed(&place, path), (expected.to_owned(), Vec::new()), "{path}");
        }
    }

    #[test]
    fn a_cookie_is_taken_verbatim() {
        let cookie = Credentials::Cookie("key".to_owned());
        for (value, expected) in [
            ("key=v", ok("v")),
            ("a=1; key=\"x=y\" ;b=2", ok("\"x=y\"")),
            ("key=first; key=second", ok("first")),
            ("key=", ok("")),
            ("Key=v", absent()),
            ("monkey=v", absent()),
            ("key", absent()),
        ] {
            assert_eq!(find(&cookie, &[("cookie", value.as_bytes())]), expected, "{value}");
        }
        assert_eq!(find(&cookie, &[("cookie", b"a=1"), ("cookie", b"key=v")]), ok("v"));
    }
}
