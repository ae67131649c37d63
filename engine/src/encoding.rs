//! Text on its way into a URL or a form.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The text as one part of a URL: a path segment, or a name or value of a query.
#[must_use]
pub fn component(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Pairs as an HTML form, as Go's `url.QueryEscape` writes them.
#[must_use]
pub fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let encode = |text| component(text).replace("%20", "+");
    let pairs = pairs.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_is_read_as_more_than_a_value() {
        assert_eq!(component("/../?#%\r\n& =+:@;ü"), "%2F..%2F%3F%23%25%0D%0A%26%20%3D%2B%3A%40%3B%C3%BC");
        assert_eq!(component("aZ09-._~"), "aZ09-._~");
        assert_eq!(form([("a b", "c&d=e"), ("", "+")]), "a+b=c%26d%3De&=%2B");
        assert_eq!(form([]), "");
    }
}
