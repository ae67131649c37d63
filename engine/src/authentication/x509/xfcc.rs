//! Envoy's `X-Forwarded-Client-Cert` header: elements between commas, one per hop; in each, `Key=value` pairs between
//! semicolons; values may be quoted, with backslash escapes.

/// The certificates of the first element, as percent-encoded PEM: `Cert`, then those of `Chain`.
///
/// # Errors
/// What is wrong with the header.
pub fn certificates(header: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (mut cert, mut chain) = (None, None);
    for (key, value) in first_element(header)? {
        let field = match key.as_slice() {
            b"cert" => &mut cert,
            b"chain" => &mut chain,
            _ => continue,
        };
        if field.replace(value).is_some() {
            return Err("a field with a certificate is there twice");
        }
    }
    let given = |value: &Vec<u8>| !value.is_empty();
    match (cert.filter(given), chain.filter(given)) {
        (Some(cert), Some(chain)) => Ok([cert, chain].join(&b'\n')),
        (cert, chain) => cert.or(chain).ok_or("client certificate not found in XFCC header"),
    }
}

type Pair = (Vec<u8>, Vec<u8>);

/// The pairs of the first element that is not empty, keys in lower case.
fn first_element(header: &[u8]) -> Result<Vec<Pair>, &'static str> {
    let mut pairs = Vec::new();
    let mut text = Vec::new();
    let mut quoted = false;
    let mut bytes = header.iter().copied();
    loop {
        match bytes.next() {
            Some(b'\\') if quoted => text.extend(bytes.next()),
            Some(b'"') => quoted = !quoted,
            Some(byte) if quoted || !matches!(byte, b',' | b';') => text.push(byte),
            Some(b';') => pairs.extend(pair(&std::mem::take(&mut text))),
            end => {
                pairs.extend(pair(&std::mem::take(&mut text)));
                if quoted {
                    return Err("a quoted value has no end");
                }
                if end.is_none() || !pairs.is_empty() {
                    return Ok(pairs);
                }
            }
        }
    }
}

fn pair(text: &[u8]) -> Option<Pair> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (key, value) = text.split_at_checked(equals)?;
    let value = value.get(1..)?;
    Some((key.trim_ascii().to_ascii_lowercase(), value.trim_ascii().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(header: &str) -> Result<String, &'static str> {
        certificates(header.as_bytes()).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn the_certificate_of_the_first_element_is_found() {
        for (header, expected) in [
            ("Cert=a", "a"),
            ("Hash=h;Cert=\"a%2Bb+c%3D\";URI=spiffe://x", "a%2Bb+c%3D"),
            ("By=x;cERT=a;Chain=b", "a\nb"),
            ("Chain=b;Cert=a", "a\nb"),
            ("Chain=\"b\"", "b"),
            ("Cert=;Chain=b", "b"),
            ("Cert=\"\";Chain=b", "b"),
            (" Cert = a ; Hash = h ", "a"),
            ("Cert=a=b=", "a=b="),
            ("Cert=first,Cert=second", "first"),
            (" , ;, Cert=first", "first"),
            ("Subject=\"CN=x,O=\\\"a;b\\\", Cert=no\";Cert=yes", "yes"),
            ("Subject=\"ends with a backslash \\\\\";Cert=yes", "yes"),
            ("Cert=\"a\\\"b\"", "a\"b"),
            ("URI=a;URI=b;Cert=c", "c"),
        ] {
            assert_eq!(found(header).as_deref(), Ok(expected), "{header}");
        }
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_refused() {
        for header in ["", ",", ";", "Cert", "Cert=", "Hash=h", "Hash=h,Cert=second", "Subject=\"Cert=a\""] {
            assert_eq!(found(header), Err("client certificate not found in XFCC header"), "{header}");
        }
        for header in ["Cert=\"a", "Subject=\"x\\\";Cert=a", "Cert=a;Hash=\"", "Subject=\"\\"] {
            assert_eq!(found(header), Err("a quoted value has no end"), "{header}");
        }
        for header in ["Cert=a;Cert=b", "Cert=a;CERT=a", "Chain=a;Chain=b;Cert=c"] {
            assert_eq!(found(header), Err("a field with a certificate is there twice"), "{header}");
        }
    }
}
