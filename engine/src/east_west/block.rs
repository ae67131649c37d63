//! Blocks of addresses.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use super::atom::Atom;

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    v6: bool,
    /// In the highest bits of those of its kind; the others are zero.
    bits: u128,
    length: u8,
}

impl Block {
    /// Reads `address/length` or an address.
    ///
    /// # Errors
    /// It is none; why.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (block, address) = Self::read(text)?;
        if block.bits != bits(address) {
            return Err("has bits of a host: write the first address of the block");
        }
        Ok(block)
    }

    /// As [`Block::parse`], for those who pass over bits of a host.
    ///
    /// # Errors
    /// It is none; why.
    pub fn parse_masked(text: &str) -> Result<Self, &'static str> {
        Self::read(text).map(|(block, _)| block)
    }

    fn read(text: &str) -> Result<(Self, IpAddr), &'static str> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| "is no IP address or block of them")?;
        let whole: u8 = if address.is_ipv6() { 128 } else { 32 };
        let length: u8 = match length {
            None => whole,
            Some(digits) if digits.starts_with('+') => return Err("is no IP address or block of them"),
            Some(digits) => digits.parse().ok().filter(|length| *length <= whole).ok_or("has a length that is none")?,
        };
        // A block of IPv4 addresses in the form of IPv6.
        let (address, length) = match (address.to_canonical(), length.checked_sub(96)) {
            (mapped @ IpAddr::V4(_), Some(rest)) if address.is_ipv6() => (mapped, rest),
            _ => (address, length),
        };
        Ok((Self::around(address, length), address))
    }

    fn around(address: IpAddr, length: u8) -> Self {
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(length))).unwrap_or(0);
        Self { v6: address.is_ipv6(), bits: bits(address) & mask, length }
    }
}

impl Block {
    /// Its first and its last address.
    #[must_use]
    pub fn ends(&self) -> [IpAddr; 2] {
        let Self { v6, bits, length } = *self;
        let last = bits | u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
        [bits, last].map(|bits| match v6 {
            true => IpAddr::V6(bits.into()),
            false => IpAddr::V4(u32::try_from(bits >> 96).unwrap_or_default().into()),
        })
    }
}

/// The bits of an address, the first one highest.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { v6, bits, length } = self;
        if *v6 {
            write!(f, "{}/{length}", std::net::Ipv6Addr::from(*bits))
        } else {
            let bits = u32::try_from(bits >> 96).unwrap_or_default();
            write!(f, "{}/{length}", std::net::Ipv4Addr::from(bits))
        }
    }
}

/// Reads an address as Envoy prints it: alone, or with a port, brackets, a zone. IPv4 in the form of IPv6 is IPv4.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    let bare = bare.split('%').next().unwrap_or_default();
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Blocks, found by an address within: one look for each length that there is.
#[derive(Debug, Default)]
pub struct Blocks {
    atoms: HashMap<Block, Atom>,
    lengths: Vec<(bool, u8)>,
}

impl Blocks {
    /// Adds a block.
    pub fn insert(&mut self, block: Block, atom: Atom) {
        self.atoms.insert(block, atom);
        let kind = (block.v6, block.length);
        if !self.lengths.contains(&kind) {
            self.lengths.push(kind);
        }
    }

    /// The blocks that have an address.
    #[inline(never)]
    pub fn find(&self, address: IpAddr, found: &mut dyn FnMut(Atom)) {
        for (_, length) in self.lengths.iter().filter(|(v6, _)| *v6 == address.is_ipv6()) {
            if let Some(atom) = self.atoms.get(&Block::around(address, *length)) {
                found(*atom);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_strictly() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(Block::parse(text).unwrap().to_string(), expected);
        }
        for text in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "010.0.0.0/8",
            "fd00::1/8",
            "::/129",
            "a/8",
        ] {
            assert!(Block::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_read_as_envoy_prints_them() {
        for (text, expected) in [
            ("10.1.2.3:80", Some("10.1.2.3")),
            ("10.1.2.3", Some("10.1.2.3")),
            ("[fd00::1]:80", Some("fd00::1")),
            ("fd00::1", Some("fd00::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("::ffff:192.168.1.1", Some("192.168.1.1")),
            ("[::ffff:192.168.1.1]:1", Some("192.168.1.1")),
            ("-", None),
            ("", None),
            ("/var/run/socket", None),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn all_blocks_around_an_address_are_found() {
        let mut blocks = Blocks::default();
        for (atom, text) in
            ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "::/0", "10.1.2.3"].into_iter().enumerate()
        {
            blocks.insert(Block::parse(text).unwrap(), Atom(u32::try_from(atom).unwrap()));
        }
        let found = |text| {
            let mut atoms = Vec::new();
            blocks.find(address(text).unwrap(), &mut |Atom(atom)| atoms.push(atom));
            atoms.sort_unstable();
            atoms
        };
        assert_eq!(found("10.1.2.3"), [0, 1, 2, 5]);
        assert_eq!(found("10.2.0.1"), [0, 1, 3]);
        assert_eq!(found("fd00::1"), [4]);
        assert_eq!(found("::ffff:11.0.0.1"), [0]);
    }
}
