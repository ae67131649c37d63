//! What is known of a request: the headers, and the attributes that the policy reads.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use crate::call::Body;

/// A request as it stood when its headers had arrived.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// All headers, the pseudo-headers `:method`, `:path`, `:authority` and `:scheme` among them.
    pub headers: Headers,
    /// The attributes that the policy said it needs.
    pub attributes: Attributes,
    /// The body, once it was asked for.
    pub body: OnceCell<Body>,
}

/// Something of a request that is not in its headers, and that costs a host call to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Attribute {
    /// `source.address`, `ip:port` as Envoy prints it.
    SourceAddress,
    /// `destination.address`, `ip:port` as Envoy prints it.
    DestinationAddress,
    /// `request.protocol`: `HTTP/1.1`, `HTTP/2`.
    Protocol,
    /// `request.scheme`.
    Scheme,
    /// `request.size`, decimal.
    Size,
    /// `connection.mtls`, `true` or `false`.
    Mtls,
    /// `connection.peer_certificate_valid`, `true` or `false`.
    PeerCertificateValid,
    /// `connection.peer_certificate`: PEM of the leaf.
    PeerCertificate,
    /// `connection.sha256_peer_certificate_digest`: of the leaf, in hexadecimal digits.
    PeerCertificateDigest,
    /// `connection.uri_san_peer_certificate`: the first URI SAN.
    PeerUriSan,
    /// `connection.requested_server_name`.
    RequestedServerName,
    /// `metadata`: a serialized `envoy.config.core.v3.Metadata`.
    Metadata,
    /// The key that `options.hostOverride` names.
    HostOverride,
    /// The body, which the session asks for by [`crate::Question::Body`].
    Body,
    /// `destination.port`, decimal.
    DestinationPort,
    /// `connection.uri_san_local_certificate`: the first URI SAN of our own certificate.
    OwnUriSan,
    /// The filter state that `options.eastWest.identity.filterState` names.
    PeerPrincipal,
    /// The filter state that `options.eastWest.peerAddress.filterState` names.
    PeerAddress,
}

impl Attribute {
    /// All attributes, in the order of their bits in [`Needs`].
    pub const ALL: [Self; 18] = [
        Self::SourceAddress,
        Self::DestinationAddress,
        Self::Protocol,
        Self::Scheme,
        Self::Size,
        Self::Mtls,
        Self::PeerCertificateValid,
        Self::PeerCertificate,
        Self::PeerCertificateDigest,
        Self::PeerUriSan,
        Self::RequestedServerName,
        Self::Metadata,
        Self::HostOverride,
        Self::Body,
        Self::DestinationPort,
        Self::OwnUriSan,
        Self::PeerPrincipal,
        Self::PeerAddress,
    ];
}

/// A set of attributes, and whether anything else of a request is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs(u32);

impl Needs {
    /// Beside the bits of attributes: what is always at hand.
    const AT_HAND: u32 = 1 << 31;

    /// Notes that something is read which is always at hand: a header, or the time.
    pub fn add_what_is_at_hand(&mut self) {
        self.0 |= Self::AT_HAND;
    }

    /// Whether nothing at all of a request is read.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one.
    pub fn add(&mut self, attribute: Attribute) {
        self.0 |= 1 << attribute as u32;
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The set with all of another.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without an attribute.
    #[must_use]
    pub const fn without(self, attribute: Attribute) -> Self {
        Self(self.0 & !(1 << attribute as u32))
    }

    /// Whether the attribute is in the set.
    #[must_use]
    pub const fn has(self, attribute: Attribute) -> bool {
        self.0 & (1 << attribute as u32) != 0
    }

    /// The members, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Attribute> {
        // Of nearly all requests nothing is read: then none of them is looked at.
        let all: &[Attribute] = if self.0 & !Self::AT_HAND == 0 { &[] } else { &Attribute::ALL };
        all.iter().copied().filter(move |attribute| self.has(*attribute))
    }
}

/// Values of attributes. One that was not read, or that Envoy does not have, is absent.
#[derive(Debug, Clone, Default)]
pub struct Attributes(Vec<(Attribute, Vec<u8>)>);

impl Attributes {
    /// Keeps a value.
    pub fn insert(&mut self, attribute: Attribute, value: Vec<u8>) {
        self.0.push((attribute, value));
    }

    /// The bytes of a value.
    #[must_use]
    pub fn bytes(&self, attribute: Attribute) -> Option<&[u8]> {
        self.0.iter().find(|(name, _)| *name == attribute).map(|(_, value)| value.as_slice())
    }

    /// The value as text, with U+FFFD for what is no UTF-8.
    #[must_use]
    pub fn text(&self, attribute: Attribute) -> Option<Cow<'_, str>> {
        self.bytes(attribute).map(String::from_utf8_lossy)
    }

    /// Whether the value is `true`.
    #[must_use]
    pub fn is_true(&self, attribute: Attribute) -> bool {
        self.bytes(attribute) == Some(b"true")
    }
}

/// Request headers, in one buffer as the host hands them over. Names are lower-case; order and repetitions are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    buffer: Vec<u8>,
    entries: Vec<(Range<usize>, Range<usize>)>,
}

impl Headers {
    /// From pairs.
    pub fn from_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            let start = headers.buffer.len();
            headers.buffer.extend(name.as_ref().to_ascii_lowercase());
            let middle = headers.buffer.len();
            headers.buffer.extend_from_slice(value.as_ref());
            let end = headers.buffer.len();
            headers.entries.push((start..middle, middle..end));
        }
        headers
    }

    /// From a header map as Proxy-Wasm serializes it: the number of pairs, the two lengths of each, then each name and
    /// value with a zero byte after it; numbers are 32 bits, little-endian. `None`: the bytes are no such map.
    #[must_use]
    pub fn from_wire(buffer: Vec<u8>) -> Option<Self> {
        let number = |at: usize| -> Option<usize> {
            let bytes = buffer.get(at..at.checked_add(4)?)?;
            usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
        };
        let count = number(0)?;
        let mut cursor = count.checked_mul(8)?.checked_add(4)?;
        if cursor > buffer.len() {
            return None;
        }
        let mut take = |length: usize| -> Option<Range<usize>> {
            let end = cursor.checked_add(length)?;
            let range = cursor..end;
            buffer.get(range.clone())?;
            cursor = end.checked_add(1)?;
            Some(range)
        };
        let mut entries = Vec::with_capacity(count);
        for index in 0..count {
            let at = index.checked_mul(8)?.checked_add(4)?;
            entries.push((take(number(at)?)?, take(number(at.checked_add(4)?)?)?));
        }
        Some(Self { buffer, entries })
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(name, value)| {
            (self.buffer.get(name.clone()).unwrap_or_default(), self.buffer.get(value.clone()).unwrap_or_default())
        })
    }

    /// All values of a header, which is named in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    /// Whether the header is there at all.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The value of a header; of one that is there more than once, all values joined by `,` (RFC 9110 section 5.3), of
    /// `cookie` by `; ` (RFC 9113 section 8.2.3).
    #[must_use]
    pub fn joined(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.iter().filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value);
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let separator: &[u8] = if name == "cookie" { b"; " } else { b"," };
        let mut all = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            all.extend_from_slice(separator);
            all.extend_from_slice(value);
        }
        Some(Cow::Owned(all))
    }

    /// As [`Headers::joined`], as text with U+FFFD for what is no UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match self.joined(name)? {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(pairs: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = u32::try_from(pairs.len()).unwrap().to_le_bytes().to_vec();
        for (name, value) in pairs {
            bytes.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
            bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        }
        for (name, value) in pairs {
            bytes.extend(name.bytes());
            bytes.push(0);
            bytes.extend(*value);
            bytes.push(0);
        }
        bytes
    }

    #[test]
    fn the_wire_form_keeps_order_repetitions_and_any_bytes() {
        let headers = Headers::from_wire(wire(&[("a", b"1"), ("b", b"\xff"), ("a", b"2")])).unwrap();
        assert_eq!(headers.joined("a").unwrap().as_ref(), b"1,2");
        assert_eq!(headers.text("b").unwrap(), "\u{fffd}");
        assert!(!headers.has("c"));
    }

    #[test]
    fn a_damaged_wire_form_is_refused() {
        let good = wire(&[("a", b"1"), ("b", b"22")]);
        for length in 0..good.len() - 1 {
            assert!(Headers::from_wire(good[..length].to_vec()).is_none(), "cut to {length} bytes");
        }
        assert!(Headers::from_wire(vec![0xff; 64]).is_none());
    }
}
