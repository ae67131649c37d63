//! The host of a request as rules see it.

use std::borrow::Cow;

/// An authority in lower case, without port and without the dot at its end; none if it cannot be told what it is.
#[must_use]
pub fn bare(authority: &str) -> Option<Cow<'_, str>> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => {
            let (literal, port) = rest.split_once(']')?;
            (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(literal)?
        }
        None => match authority.split_once(':') {
            Some((host, port)) => is_port(port).then_some(host)?,
            None => authority,
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let odd = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'@' | b'/' | b'\\' | b'?' | b'#' | b'%' | b',');
    if host.is_empty() || host.bytes().any(odd) {
        return None;
    }
    Some(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        for (authority, expected) in [
            ("api.prod", Some("api.prod")),
            ("API.Prod:8080", Some("api.prod")),
            ("api.prod.:8080", Some("api.prod")),
            ("api.prod.", Some("api.prod")),
            ("api.prod:", Some("api.prod")),
            ("[::1]:80", Some("::1")),
            ("[FD00::1]", Some("fd00::1")),
            ("10.0.0.1:80", Some("10.0.0.1")),
            ("", None),
            (".", None),
            (":80", None),
            ("user@api.prod", None),
            ("api.prod:80:90", None),
            ("[::1", None),
            ("[::1]x", None),
            ("a b", None),
            ("api.prod:x", None),
        ] {
            assert_eq!(bare(authority).as_deref(), expected, "{authority}");
        }
    }
}
