//! Parts of a request that a signature covers (RFC 9421 section 2).

use std::borrow::Cow;
use std::fmt;

use super::digest;
use crate::compile::Compiler;
use crate::request::Request;
use crate::response::header;

/// What is signed at least, unless the rule says otherwise.
const USUAL: [Component; 4] = [Component::Method, Component::Authority, Component::Path, Component::Query];

/// Part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// `@method`.
    Method,
    /// `@authority`, in lower case and without the usual port.
    Authority,
    /// `@scheme`.
    Scheme,
    /// `@target-uri`.
    TargetUri,
    /// `@request-target`.
    RequestTarget,
    /// `@path`, as it was sent.
    Path,
    /// `@query`, with its `?`, also if there is none.
    Query,
    /// A header, in lower case.
    Header(String),
}

impl Component {
    /// Compiles the list of a rule; none is the usual one.
    pub fn compile_all(names: &[String], compiler: &mut Compiler<'_>) -> Vec<Self> {
        if names.is_empty() {
            return USUAL.to_vec();
        }
        let mut components = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match Self::parse(&name.to_ascii_lowercase()) {
                Some(component) => components.push(component),
                None => compiler.at(format_args!("[{index}]"), |compiler| {
                    compiler.problem(format!(
                        "`{name}` is no header and none of `@method`, `@authority`, `@scheme`, `@target-uri`, \
                         `@request-target`, `@path` and `@query`"
                    ));
                }),
            }
        }
        components
    }

    /// By its name. A signature cannot cover signatures.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "@method" => Self::Method,
            "@authority" => Self::Authority,
            "@scheme" => Self::Scheme,
            "@target-uri" => Self::TargetUri,
            "@request-target" => Self::RequestTarget,
            "@path" => Self::Path,
            "@query" => Self::Query,
            "signature" | "signature-input" => return None,
            name if header::is_token(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Self::Header(name.to_owned())
            }
            _ => return None,
        })
    }

    /// Whether it is the digest of the body.
    pub fn is_digest(&self) -> bool {
        matches!(self, Self::Header(name) if name == digest::HEADER)
    }

    /// What is there in a request. None: nothing, or what would make lines of its own in what is signed.
    pub fn value(&self, request: &Request) -> Option<Vec<u8>> {
        let target = || request.headers.text(":path");
        let value: Cow<'_, [u8]> = match self {
            Self::Method => request.headers.text(":method")?.into_owned().into_bytes().into(),
            Self::Authority => authority(request)?.into_bytes().into(),
            Self::Scheme => scheme(request)?.into_bytes().into(),
            Self::TargetUri => {
                format!("{}://{}{}", scheme(request)?, authority(request)?, target()?).into_bytes().into()
            }
            Self::RequestTarget => target()?.into_owned().into_bytes().into(),
            Self::Path => match target()?.split(['?', '#']).next() {
                None | Some("") => Cow::Borrowed(b"/"),
                Some(path) => path.to_owned().into_bytes().into(),
            },
            Self::Query => {
                let target = target()?;
                let query = target.split_once('?').map_or("", |(_, query)| query);
                format!("?{query}").into_bytes().into()
            }
            Self::Header(name) => joined(request, name)?.into(),
        };
        value.iter().all(|byte| !matches!(byte, b'\n' | b'\r' | 0)).then(|| value.into_owned())
    }
}

/// All values of a header, each without white space around it.
pub fn joined(request: &Request, name: &str) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = (request.headers.iter())
        .filter(|(key, _)| *key == name.as_bytes())
        .map(|(_, value)| value.trim_ascii())
        .collect();
    (!values.is_empty()).then(|| values.join(b", ".as_slice()))
}

fn scheme(request: &Request) -> Option<String> {
    request.headers.text(":scheme").map(|scheme| scheme.to_ascii_lowercase())
}

fn authority(request: &Request) -> Option<String> {
    let authority = request.headers.text(":authority")?.to_ascii_lowercase();
    let usual = match scheme(request).as_deref() {
        Some("https") => ":443",
        _ => ":80",
    };
    Some(authority.strip_suffix(usual).map_or(authority.clone(), str::to_owned))
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "@method",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::TargetUri => "@target-uri",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::Header(name) => name,
        })
    }
}
