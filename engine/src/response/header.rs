//! What may be a header, and how values are written into one.

use serde_json::Value;
use sidegate_config::PlainHeaderFormat;

use crate::expression::text;

/// Headers that frame or route a request: setting one after the decision would send the request elsewhere than where it
/// was decided, or break the connection.
const NOT_OURS: [&str; 9] =
    ["host", "connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// Whether a policy may set a request header of this name, which is in lower case.
///
/// # Errors
/// Why not; the text goes on after the header's name.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if !is_token(name.trim_start_matches(':')) {
        return Err("is no header name");
    }
    if name.starts_with(':') || NOT_OURS.contains(&name) {
        return Err("is a header that frames or routes the request: a policy cannot set it");
    }
    Ok(())
}

/// Whether text is a token (RFC 9110 section 5.6.2), as names of headers and cookies are.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

/// Whether text can be the value of a header (RFC 9110 section 5.5): no control characters.
#[must_use]
pub fn is_value(text: &str) -> bool {
    !text.chars().any(|c| c.is_ascii_control() && c != '\t')
}

/// The text with a space for everything that cannot be in a header.
#[must_use]
pub fn to_value(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_control() && c != '\t' { ' ' } else { c }).collect()
}

/// A `plain` value as a header; `None` leaves the header out.
#[must_use]
pub fn plain(value: &Value, format: PlainHeaderFormat) -> Option<String> {
    match (format, value) {
        (PlainHeaderFormat::Json, Value::Null) => None,
        (PlainHeaderFormat::Json, value) => Some(text::stringify(value)),
        (PlainHeaderFormat::Authorino, value) => Some(go_print(value)),
    }
}

/// What Go's `%v` makes of the value.
fn go_print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => text::go_g(number.as_f64().unwrap_or_default()),
        Value::Array(items) => format!("[{}]", items.iter().map(go_print).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name}:{}", go_print(value)));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_route_or_frame_cannot_be_set() {
        for name in [":path", ":authority", "host", "content-length", "transfer-encoding", "", "a b", "x\n", "ü"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["x-user", "authorization", "cookie", "x_y.z"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_value_cannot_smuggle_a_line() {
        assert!(!is_value("a\r\nx-admin: true"));
        assert!(!is_value("a\0"));
        assert!(is_value("a\tb ü"));
        assert_eq!(to_value("a\r\nb\u{7f}"), "a  b ");
    }
}
