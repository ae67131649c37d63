//! Who has sent a request, by Envoy's `X-Forwarded-Client-Cert` header: one element for each hop, between commas.
//!
//! Each proxy appends at the right, so whatever stands left of the last trusted one may have been written by the client.
//! Envoy does not escape what a certificate says of itself, so a certificate can spell elements of its own; what is read strictly
//! and from the right cannot be spelled by it.

use super::spiffe::SpiffeId;

/// Keys that an element may have; `Cert`, `Chain` and `Subject` have values in quotes.
const KEYS: [&str; 7] = ["by", "hash", "cert", "chain", "subject", "uri", "dns"];

/// What is believed of the header.
#[derive(Debug, Clone, Default)]
pub struct Forwarders {
    /// Who is believed.
    pub trusted: Vec<SpiffeId>,
    /// How many may stand one behind another.
    pub max_hops: u32,
    /// The last element is about the peer itself, written by this Envoy.
    pub appended: bool,
    /// There are no elements but those of who is believed.
    pub sanitized: bool,
}

impl Forwarders {
    fn trusts(&self, peer: &SpiffeId) -> bool {
        self.trusted.contains(peer)
    }

    /// Who a request comes from that a peer has sent: the peer, or whom it says if it is trusted. None: somebody without an
    /// identity.
    ///
    /// # Errors
    /// The header of a trusted peer is not as a trusted peer would write it; how.
    pub fn client(
        &self,
        peer: &SpiffeId,
        own: Option<&str>,
        header: Option<&[u8]>,
    ) -> Result<Option<SpiffeId>, &'static str> {
        if !self.trusts(peer) {
            return Ok(Some(peer.clone()));
        }
        let mut elements = header.map(elements).transpose()?.unwrap_or_default();
        if self.appended {
            let last = elements.pop().ok_or("the element that Envoy appends is missing")?;
            if own.is_none() || last.by.as_deref() != own || last.only_uri()? != Some(peer.as_str()) {
                return Err("the last element is not the one that Envoy appends");
            }
        }
        let mut client = peer.clone();
        for _ in 0..self.max_hops {
            let Some(element) = elements.pop() else { break };
            if element.by.as_deref().is_some_and(|by| by != client.as_str()) {
                return Err("an element is not by the forwarder that it comes from");
            }
            match element.only_uri()? {
                None if self.sanitized && !elements.is_empty() => {
                    return Err("there are more elements than trusted forwarders write");
                }
                None => return Ok(None),
                Some(uri) => client = SpiffeId::parse(uri)?,
            }
            if !self.trusts(&client) {
                break;
            }
        }
        // A certificate whose URI SAN is `x,By=…;URI=…` has its forwarder write one element more.
        if self.sanitized && !elements.is_empty() {
            return Err("there are more elements than trusted forwarders write");
        }
        Ok(Some(client))
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    by: Option<String>,
    uris: Vec<String>,
}

impl Element {
    /// Its one URI; none if that is empty.
    fn only_uri(&self) -> Result<Option<&str>, &'static str> {
        match self.uris.as_slice() {
            [uri] => Ok(Some(uri.as_str()).filter(|uri| !uri.is_empty())),
            [] => Err("an element has no URI"),
            _ => Err("an element has more than one URI"),
        }
    }
}

/// All elements, each of them as Envoy writes it.
fn elements(header: &[u8]) -> Result<Vec<Element>, &'static str> {
    let text = str::from_utf8(header).map_err(|_| "the header is no text")?;
    let mut rest = text.trim_matches([' ', '\t']);
    let mut elements = vec![Element::default()];
    loop {
        let (key, value, after) = pair(rest)?;
        let element = elements.last_mut().ok_or("the header is empty")?;
        match key.as_str() {
            "by" if element.by.is_some() => return Err("an element is by two"),
            "by" => element.by = Some(value),
            "uri" => element.uris.push(value),
            _ => {}
        }
        let mut after = after.trim_start_matches([' ', '\t']).chars();
        match after.next() {
            None => return Ok(elements),
            Some(';') => {}
            Some(',') => elements.push(Element::default()),
            Some(_) => return Err("a value has more behind its quotes"),
        }
        rest = after.as_str().trim_start_matches([' ', '\t']);
    }
}

/// One `Key=value`: the key in lower case, the value, and what comes after it.
fn pair(text: &str) -> Result<(String, String, &str), &'static str> {
    let (key, rest) = text.split_once('=').ok_or("a pair has no `=`")?;
    let key = key.to_ascii_lowercase();
    if !KEYS.contains(&key.as_str()) {
        return Err("an element has a key that Envoy does not write");
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ';']).unwrap_or(rest.len());
        let (value, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if value.contains(['"', '\\']) {
            return Err("a value has a quote within");
        }
        return Ok((key, value.trim_end_matches([' ', '\t']).to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next() {
            Some('"') => return Ok((key, value, chars.as_str())),
            Some('\\') => value.push(chars.next().ok_or("a quoted value has no end")?),
            Some(c) => value.push(c),
            None => return Err("a quoted value has no end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGE: &str = "spiffe://td/ns/edge/sa/gw";
    const INNER: &str = "spiffe://td/ns/inner/sa/gw";
    const SELF: &str = "spiffe://td/ns/prod/sa/api";

    fn client(peer: &str, appended: bool, max_hops: u32, header: &str) -> String {
        let trusted = [EDGE, INNER].map(|id| SpiffeId::parse(id).unwrap()).to_vec();
        let forwarders = Forwarders { trusted, max_hops, appended, sanitized: false };
        let peer = SpiffeId::parse(peer).unwrap();
        let header = Some(header.as_bytes()).filter(|header| !header.is_empty());
        match forwarders.client(&peer, Some(SELF), header) {
            Ok(Some(id)) => id.to_string(),
            Ok(None) => "nobody".to_owned(),
            Err(reason) => reason.to_owned(),
        }
    }

    #[test]
    fn a_trusted_forwarder_says_who_calls() {
        for (header, expected) in [
            ("", EDGE),
            ("URI=spiffe://td/a", "spiffe://td/a"),
            ("By=spiffe://td/ns/edge/sa/gw;Hash=0a;URI=spiffe://td/a", "spiffe://td/a"),
            ("by=spiffe://td/ns/edge/sa/gw;uri=spiffe://td/a;DNS=a;dns=b", "spiffe://td/a"),
            ("Hash=h;Subject=\"CN=x,O=\\\"a;b\\\"\";URI=spiffe://td/a", "spiffe://td/a"),
            ("URI=spiffe://td/evil,URI=spiffe://td/a", "spiffe://td/a"),
            ("URI=spiffe://td/evil, Hash=h;URI=spiffe://td/a", "spiffe://td/a"),
            ("Hash=h;URI=", "nobody"),
            ("URI=\"\"", "nobody"),
        ] {
            assert_eq!(client(EDGE, false, 1, header), expected, "{header}");
        }
    }

    #[test]
    fn nobody_else_is_asked() {
        for header in ["", "URI=spiffe://td/ns/foo/sa/sleep", "nonsense"] {
            assert_eq!(client("spiffe://td/a", false, 1, header), "spiffe://td/a", "{header}");
        }
    }

    #[test]
    fn what_a_forwarder_would_not_write_is_invalid() {
        for (header, expected) in [
            ("Hash=h", "an element has no URI"),
            ("URI=spiffe://td/a;URI=spiffe://td/b", "an element has more than one URI"),
            ("URI=spiffe://td/a;URI=", "an element has more than one URI"),
            ("By=spiffe://td/other;URI=spiffe://td/a", "an element is not by the forwarder that it comes from"),
            ("By=x;By=y;URI=spiffe://td/a", "an element is by two"),
            ("URI=spiffe://td/a;User=x", "an element has a key that Envoy does not write"),
            ("URI=spiffe://td/a,", "a pair has no `=`"),
            (";URI=spiffe://td/a", "an element has a key that Envoy does not write"),
            ("URI=\"spiffe://td/a", "a quoted value has no end"),
            ("URI=\"spiffe://td/a\\", "a quoted value has no end"),
            ("URI=\"spiffe://td/a\"x", "a value has more behind its quotes"),
            ("URI=spiffe://td/a\"b", "a value has a quote within"),
            ("URI=spiffe://TD/a", "a trust domain has lower-case letters, digits, `.`, `-` and `_` alone"),
            ("URI=https://td/a", "a SPIFFE ID begins with `spiffe://`, in lower case"),
        ] {
            assert_eq!(client(EDGE, false, 1, header), expected, "{header}");
        }
    }

    #[test]
    fn envoys_own_element_is_checked_and_taken_off() {
        let own = format!("By={SELF};Hash=h;URI={EDGE}");
        assert_eq!(client(EDGE, true, 1, &own), EDGE);
        assert_eq!(client(EDGE, true, 1, &format!("By={EDGE};URI=spiffe://td/a,{own}")), "spiffe://td/a");
        assert_eq!(client(EDGE, true, 1, ""), "the element that Envoy appends is missing");
        for last in [
            format!("By={SELF};URI={INNER}"),
            format!("By={EDGE};URI={EDGE}"),
            format!("URI={EDGE}"),
            // What a certificate whose URI SAN is `x,By=…;URI=…` would have Envoy write.
            format!("{own},By={SELF};Hash=h;URI=spiffe://td/ns/foo/sa/sleep"),
        ] {
            assert_eq!(client(EDGE, true, 1, &last), "the last element is not the one that Envoy appends", "{last}");
        }
    }

    #[test]
    fn where_forwarders_replace_the_header_nobody_adds_to_it() {
        let client = |appended: bool, max_hops: u32, header: &str| {
            let trusted = [EDGE, INNER].map(|id| SpiffeId::parse(id).unwrap()).to_vec();
            let forwarders = Forwarders { trusted, max_hops, appended, sanitized: true };
            let (header, own) = (header.replace("EDGE", EDGE).replace("INNER", INNER), SpiffeId::parse(EDGE).unwrap());
            match forwarders.client(&own, Some(SELF), Some(header.as_bytes()).filter(|header| !header.is_empty())) {
                Ok(id) => id.map_or_else(|| "nobody".to_owned(), |id| id.to_string()),
                Err(reason) => reason.to_owned(),
            }
        };
        const MORE: &str = "there are more elements than trusted forwarders write";
        let own = format!("By={SELF};URI={EDGE}");
        for (appended, hops, header, expected) in [
            (false, 1, "", EDGE),
            (false, 1, "By=EDGE;URI=spiffe://td/a", "spiffe://td/a"),
            (false, 1, "By=EDGE;URI=", "nobody"),
            // What a certificate with the URI SAN `spiffe://td/x,By=EDGE;URI=spiffe://td/a` has the gateway write.
            (false, 1, "By=EDGE;Hash=aa;URI=spiffe://td/x,By=EDGE;URI=spiffe://td/a", MORE),
            (false, 1, "By=EDGE;Hash=aa;URI=spiffe://td/x,By=EDGE;URI=", MORE),
            (false, 9, "By=EDGE;Hash=aa;URI=spiffe://td/x,By=EDGE;URI=spiffe://td/a", MORE),
            (false, 2, "By=INNER;URI=spiffe://td/a,By=EDGE;URI=INNER", "spiffe://td/a"),
            (false, 1, "By=INNER;URI=spiffe://td/a,By=EDGE;URI=INNER", MORE),
            (true, 1, &format!("By=EDGE;URI=spiffe://td/a,{own}"), "spiffe://td/a"),
            (true, 1, &format!("By=EDGE;URI=spiffe://td/x,By=EDGE;URI=spiffe://td/a,{own}"), MORE),
        ] {
            assert_eq!(client(appended, hops, header), expected, "{header}");
        }
    }

    #[test]
    fn hops_are_counted() {
        let header = format!("URI=spiffe://td/a,By={INNER};URI={EDGE}");
        assert_eq!(client(INNER, false, 0, &header), INNER);
        assert_eq!(client(INNER, false, 1, &header), EDGE);
        assert_eq!(client(INNER, false, 2, &header), "spiffe://td/a");
        assert_eq!(client(INNER, false, 9, &header), "spiffe://td/a");
    }
}
