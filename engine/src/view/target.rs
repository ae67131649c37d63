//! The target of a request taken apart as Go's `url.Parse` does it, except that no target is refused.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// `request.url_path`: decoded, without query and fragment. What would be an authority (`//host/path`) is dropped, as Go
/// drops it; a path that cannot be decoded stands as it is.
pub fn url_path(target: &str) -> Cow<'_, str> {
    let (raw, _) = split(target);
    let path = match raw.strip_prefix("//") {
        Some(rest) if !rest.starts_with('/') => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(""),
        _ => raw,
    };
    if is_decodable(path) { decode(path) } else { Cow::Borrowed(raw) }
}

/// `request.query`: as it stands, without the question mark.
pub fn query(target: &str) -> &str {
    split(target).1
}

/// Service and method of a gRPC request.
pub fn grpc(target: &str) -> Option<(String, String)> {
    let path = url_path(target);
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!method.contains('/')).then(|| (service.to_owned(), method.to_owned()))
}

fn split(target: &str) -> (&str, &str) {
    let (target, _fragment) = target.split_once('#').unwrap_or((target, ""));
    target.split_once('?').unwrap_or((target, ""))
}

fn is_decodable(path: &str) -> bool {
    let escapes_are_whole = path.split('%').skip(1).all(|rest| {
        let mut digits = rest.bytes().take(2);
        digits.len() == 2 && digits.all(|byte| byte.is_ascii_hexdigit())
    });
    escapes_are_whole && !path.bytes().any(|byte| byte.is_ascii_control())
}

fn decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_as_go_does() {
        for (target, path, rest) in [
            ("/a/b?x=1&y=%20", "/a/b", "x=1&y=%20"),
            ("/a%20b%2Fc", "/a b/c", ""),
            ("/a?", "/a", ""),
            ("/a?b?c", "/a", "b?c"),
            ("/a#f?x", "/a", ""),
            ("//evil/admin?q", "/admin", "q"),
            ("//evil", "", ""),
            ("///x/y", "///x/y", ""),
            ("*", "*", ""),
            ("", "", ""),
            // Go refuses these.
            ("/%zz?q", "/%zz", "q"),
            ("/%4", "/%4", ""),
            ("/a%", "/a%", ""),
            ("/a\u{7f}%20", "/a\u{7f}%20", ""),
            ("//evil/%zz", "//evil/%zz", ""),
            ("/%ff", "/\u{fffd}", ""),
        ] {
            assert_eq!(url_path(target), path, "path of {target:?}");
            assert_eq!(query(target), rest, "query of {target:?}");
        }
    }

    #[test]
    fn a_grpc_path_has_two_segments() {
        let pair = |service: &str, method: &str| Some((service.to_owned(), method.to_owned()));
        assert_eq!(grpc("/pkg.Service/Method"), pair("pkg.Service", "Method"));
        assert_eq!(grpc("/Method"), None);
        assert_eq!(grpc("/a/b/c"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_target_panics(target in "[/a%?#*:\\x00\\x7fé0-9f]{0,24}") {
            let _ = (url_path(&target), query(&target), grpc(&target));
        }
    }
}
