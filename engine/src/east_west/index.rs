//! From what is known of a connection or request to the values it has, among those that the rules compare with.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

use super::atom::{self, Atom, Numbers, Texts};
use super::block::Blocks;
use super::host;
use super::identity::Identity;
use super::member::{Members, Principals};
use super::object::{Dimension, Token, Value};
use super::path::{self, Reading};
use super::paths::Paths;
use super::who::WhoIndex;
use crate::request::Headers;

/// What is known of a connection or request.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who calls.
    pub identity: &'a Identity,
    /// The port of the workload that the connection goes to.
    pub port: Option<u16>,
    /// The address of who has opened the connection.
    pub peer: Option<IpAddr>,
    /// The address of the client, as the proxy trusts it.
    pub client: Option<IpAddr>,
    /// The address of ours that the connection goes to.
    pub destination: Option<IpAddr>,
    /// The name that the client's TLS asks for, empty if it asks for none; none if it cannot be read.
    pub server_name: Option<&'a str>,
    /// Dynamic metadata by filter; none if it cannot be read.
    pub metadata: Option<&'a serde_json::Value>,
    /// The request; none if there is a connection alone.
    pub http: Option<Http<'a>>,
}

impl<'a> Facts<'a> {
    /// Who calls, and nothing else.
    #[must_use]
    pub const fn of(identity: &'a Identity) -> Self {
        Self {
            identity,
            port: None,
            peer: None,
            client: None,
            destination: None,
            server_name: None,
            metadata: None,
            http: None,
        }
    }
}

/// What is known of a request.
#[derive(Debug, Clone, Copy)]
pub struct Http<'a> {
    /// All headers, the pseudo-headers among them.
    pub headers: &'a Headers,
    /// Payloads of verified tokens; none if they cannot be read.
    pub tokens: Option<&'a [serde_json::Value]>,
}

/// All values that rules compare with.
#[derive(Debug, Default)]
pub struct Index {
    numbers: Numbers,
    reading: Reading,
    who: WhoIndex,
    peers: Blocks,
    clients: Blocks,
    destinations: Blocks,
    blocks: HashMap<(Dimension, super::block::Block), Atom>,
    ports: HashMap<u16, Atom>,
    tokens: HashMap<Box<str>, Vec<(Rc<Token>, Atom)>>,
    principals: Principals,
    claims: Members,
    metadata: Members,
    server_names: Texts,
    methods: Texts,
    hosts: Texts,
    authorities: Texts,
    paths: Paths,
    written: Paths,
    verbatim: Paths,
    headers: HashMap<Rc<str>, HeaderIndex>,
    used: u16,
}

#[derive(Debug, Default)]
struct HeaderIndex {
    present: Option<Atom>,
    values: Texts,
    lines: Texts,
}

/// Of a value that the request has: in which of its views.
pub type Views = u32;

/// In its normal form, or in part.
const RAW: Views = 1;
/// The other view, or the whole of the value.
const OTHER: Views = 2;
/// As it came, for those who look at that.
const CAME: Views = 4;
/// As others resolve it.
const OTHERWISE: Views = 8;
/// In each.
pub const ALL: Views = RAW | OTHER | CAME | OTHERWISE;

/// The values that a request has.
#[derive(Debug, Default)]
pub struct Seen {
    atoms: Vec<(Atom, Views)>,
    spans: [Span; Dimension::ALL.len()],
}

#[derive(Debug, Clone)]
enum Span {
    Read(Sight, Range<usize>),
    Unreadable,
}

impl Default for Span {
    fn default() -> Self {
        Self::Read(Sight::Whole, 0..0)
    }
}

/// How much of a dimension could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All.
    Whole,
    /// As it came alone: it has no form that everybody agrees on.
    AsItCame,
}

impl Seen {
    /// The values of a dimension, in order; none if it cannot be read.
    #[must_use]
    pub fn of(&self, dimension: Dimension) -> Option<(Sight, &[(Atom, Views)])> {
        match self.spans.get(dimension as usize)? {
            Span::Read(sight, range) => Some((*sight, self.atoms.get(range.clone()).unwrap_or_default())),
            Span::Unreadable => None,
        }
    }

    /// All values.
    #[must_use]
    pub fn all(&self) -> &[(Atom, Views)] {
        &self.atoms
    }
}

impl Index {
    /// For a workload with these trust domains, its own first.
    #[must_use]
    pub fn new(own: Vec<String>, reading: Reading) -> Self {
        Self { reading, who: WhoIndex::new(own), ..Self::default() }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers.count()
    }

    /// Whether rules look at a dimension.
    #[must_use]
    pub const fn uses(&self, dimension: Dimension) -> bool {
        self.used & (1 << dimension as u16) != 0
    }

    /// The number of a value; none if it is not valid.
    #[inline(never)]
    pub fn atom(&mut self, dimension: Dimension, value: &Value) -> Option<Atom> {
        self.used |= 1 << dimension as u16;
        let numbers = &mut self.numbers;
        Some(match value {
            Value::Who(who) => self.who.atom(who, numbers)?,
            Value::Block(block) => match self.blocks.get(&(dimension, *block)) {
                Some(atom) => *atom,
                None => {
                    let atom = numbers.next();
                    let of = match dimension {
                        Dimension::Client => &mut self.clients,
                        Dimension::Destination => &mut self.destinations,
                        _ => &mut self.peers,
                    };
                    of.insert(*block, atom);
                    self.blocks.insert((dimension, *block), atom);
                    atom
                }
            },
            Value::Port(port) => *self.ports.entry(*port).or_insert_with(|| numbers.next()),
            Value::Token(token) => {
                let atom = numbers.next();
                self.tokens.entry(token.issuer.as_str().into()).or_default().push((Rc::clone(token), atom));
                atom
            }
            Value::Principal(principal) => self.principals.atom(principal, numbers),
            Value::Member(member) => {
                let of = if dimension == Dimension::Metadata { &mut self.metadata } else { &mut self.claims };
                of.atom(member, numbers)
            }
            Value::Text(pattern) => {
                let of = match dimension {
                    Dimension::Method => &mut self.methods,
                    Dimension::ServerName => &mut self.server_names,
                    _ => &mut self.hosts,
                };
                of.atom(pattern, numbers)
            }
            Value::Authority(pattern) => self.authorities.atom(pattern, numbers),
            Value::Path(pattern) => self.paths.atom(pattern, numbers),
            Value::Written(pattern) => self.written.atom(pattern, numbers),
            Value::Verbatim(pattern) => self.verbatim.atom(pattern, numbers),
            Value::Header(name, value) => {
                let header = self.headers.entry(Rc::clone(name)).or_default();
                match value {
                    Some(pattern) => header.values.atom(pattern, numbers),
                    None => *header.present.get_or_insert_with(|| numbers.next()),
                }
            }
            Value::Line(name, pattern) => self.headers.entry(Rc::clone(name)).or_default().lines.atom(pattern, numbers),
            Value::Invalid => return None,
        })
    }

    /// The values that a request has.
    #[must_use]
    pub fn look(&self, facts: &Facts<'_>) -> Seen {
        let mut seen = Seen { atoms: Vec::with_capacity(24), spans: Default::default() };
        for dimension in Dimension::ALL.into_iter().filter(|dimension| self.uses(*dimension)) {
            let start = seen.atoms.len();
            let read = self.read(dimension, facts, &mut |atom, views| seen.atoms.push((atom, views)));
            let span = match (read, seen.atoms.get_mut(start..)) {
                (Some(sight), Some(atoms)) => {
                    atom::sort(atoms);
                    let end = merge(&mut seen.atoms, start);
                    Span::Read(sight, start..end)
                }
                _ => {
                    seen.atoms.truncate(start);
                    Span::Unreadable
                }
            };
            if let Some(place) = seen.spans.get_mut(dimension as usize) {
                *place = span;
            }
        }
        seen
    }

    /// None: the dimension cannot be read.
    fn read(&self, dimension: Dimension, facts: &Facts<'_>, found: &mut dyn FnMut(Atom, Views)) -> Option<Sight> {
        let Facts { identity, port, peer, client, destination, server_name, metadata, http } = facts;
        let mut whole = |atom| found(atom, ALL);
        match dimension {
            Dimension::Identity => self.who.find(identity, &mut whole)?,
            Dimension::Peer => self.peers.find((*peer)?, &mut whole),
            Dimension::Client => self.clients.find((*client)?, &mut whole),
            Dimension::Port => self.ports.get(&(*port)?).copied().into_iter().for_each(whole),
            Dimension::Destination => self.destinations.find((*destination)?, &mut whole),
            Dimension::ServerName => self.server_names.find((*server_name)?, &mut whole),
            Dimension::Metadata => self.metadata.find((*metadata)?, &mut whole)?,
            Dimension::Jwt => {
                for payload in (*http)?.tokens? {
                    self.principals.find(payload, &mut whole)?;
                    self.claims.find(payload, &mut whole)?;
                    let issuer = payload.get("iss").and_then(serde_json::Value::as_str).unwrap_or_default();
                    let tokens = self.tokens.get(issuer).map(Vec::as_slice).unwrap_or_default();
                    tokens.iter().filter(|(token, _)| token.fits(payload)).for_each(|(_, atom)| whole(*atom));
                }
            }
            Dimension::Method => self.methods.find(only((*http)?.headers, ":method")?, &mut whole),
            Dimension::Host => {
                let authority = only((*http)?.headers, ":authority")?;
                if !self.authorities.is_empty() {
                    self.authorities.find(&authority.to_ascii_lowercase(), &mut whole);
                }
                match host::bare(authority) {
                    Some(bare) => self.hosts.find(&bare, &mut whole),
                    None => return Some(Sight::AsItCame),
                }
            }
            Dimension::Path => {
                let headers = (*http)?.headers;
                let path = only(headers, ":path");
                if let Some(came) = path.map(cut) {
                    self.verbatim.find_as_envoy(came, &mut whole);
                }
                // What is asked of a proxy names no path here.
                let path = path.filter(|_| only(headers, ":method") != Some("CONNECT"));
                if path.and_then(|path| self.read_path(path, found)).is_none() {
                    return Some(Sight::AsItCame);
                }
            }
            Dimension::Header => self.read_headers((*http)?.headers, found),
        }
        Some(Sight::Whole)
    }

    #[inline(never)]
    fn read_path(&self, path: &str, found: &mut dyn FnMut(Atom, Views)) -> Option<()> {
        if self.paths.is_empty() && self.written.is_empty() {
            return Some(());
        }
        let path::Views { raw, stripped, otherwise } = self.reading.views(path.as_bytes())?;
        let mut came = cut(path);
        let lower;
        if self.reading.case_insensitive {
            lower = came.to_ascii_lowercase();
            came = &lower;
        }
        let same = |other: &Option<String>, view| if other.is_some() { 0 } else { view };
        let once = RAW | same(&stripped, OTHER) | same(&otherwise, OTHERWISE);
        self.paths.find(&raw, &mut |atom| found(atom, once | CAME));
        self.written.find_as_envoy(came, &mut |atom| found(atom, CAME));
        self.written.find(&raw, &mut |atom| found(atom, once));
        for (path, view) in [(&stripped, OTHER), (&otherwise, OTHERWISE)] {
            if let Some(path) = path {
                self.paths.find(path, &mut |atom| found(atom, view));
                self.written.find(path, &mut |atom| found(atom, view));
            }
        }
        Some(())
    }

    /// A value counts as a whole if its header is there once; else, and by items of a list, it is there in part.
    #[inline(never)]
    fn read_headers(&self, headers: &Headers, found: &mut dyn FnMut(Atom, Views)) {
        for (name, value) in headers.iter() {
            let Some(header) = str::from_utf8(name).ok().and_then(|name| self.headers.get(name)) else { continue };
            header.present.into_iter().for_each(|atom| found(atom, ALL));
            let once = headers.iter().filter(|(other, _)| *other == name).nth(1).is_none();
            let text = String::from_utf8_lossy(value);
            header.lines.find(&text, &mut |atom| found(atom, ALL));
            header.values.find(&text, &mut |atom| found(atom, if once { ALL } else { RAW }));
            // Not everybody takes white space for none, or the same for it.
            if text.trim() != text {
                header.values.find(text.trim(), &mut |atom| found(atom, RAW));
            }
            if text.contains(',') {
                for item in text.split(',') {
                    header.values.find(item.trim(), &mut |atom| found(atom, RAW));
                }
            }
        }
    }
}

/// Joins equal neighbours from a place on; gives back the end.
fn merge(atoms: &mut Vec<(Atom, Views)>, start: usize) -> usize {
    let mut kept = start;
    for at in start..atoms.len() {
        let Some((atom, views)) = atoms.get(at).copied() else { break };
        match kept.checked_sub(1).filter(|last| *last >= start).and_then(|last| atoms.get_mut(last)) {
            Some((last, seen)) if *last == atom => *seen |= views,
            _ => {
                if let Some(place) = atoms.get_mut(kept) {
                    *place = (atom, views);
                }
                kept = kept.saturating_add(1);
            }
        }
    }
    atoms.truncate(kept);
    kept
}

/// A path without query and fragment.
fn cut(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The value of a header that must be there once.
fn only<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    let mut values = headers.iter().filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => str::from_utf8(value).ok(),
        _ => None,
    }
}
