//! Values that policies compare with, by number; and texts that find those they fit.

use std::collections::HashMap;

use super::pattern::Pattern;

/// One value that at least one rule compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atom(pub u32);

/// Gives out numbers.
#[derive(Debug, Default)]
pub struct Numbers(u32);

impl Numbers {
    /// The next one.
    pub fn next(&mut self) -> Atom {
        let atom = Atom(self.0);
        self.0 = self.0.saturating_add(1);
        atom
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Puts numbers into order, and what goes with each.
#[inline(never)]
pub fn sort(pairs: &mut [(Atom, u32)]) {
    pairs.sort_unstable_by_key(|(Atom(number), with)| (u64::from(*number) << u32::BITS) | u64::from(*with));
}

/// Beginnings or ends of texts, found by one look for each length that there is.
#[derive(Debug, Default)]
pub struct Ends {
    atoms: HashMap<Box<str>, Atom>,
    lengths: Vec<usize>,
}

impl Ends {
    /// The number of a text.
    #[inline(never)]
    pub fn atom(&mut self, text: &str, numbers: &mut Numbers) -> Atom {
        if let Some(atom) = self.atoms.get(text) {
            return *atom;
        }
        let atom = numbers.next();
        self.atoms.insert(text.into(), atom);
        if !self.lengths.contains(&text.len()) {
            self.lengths.push(text.len());
        }
        atom
    }

    /// Those that a text begins with.
    pub fn beginnings(&self, text: &str, found: &mut dyn FnMut(Atom)) {
        let parts = self.lengths.iter().filter_map(|length| text.get(..*length));
        parts.filter_map(|part| self.atoms.get(part)).for_each(|atom| found(*atom));
    }

    /// Those that a text ends with.
    pub fn ends(&self, text: &str, found: &mut dyn FnMut(Atom)) {
        let parts = self.lengths.iter().filter_map(|length| text.get(text.len().checked_sub(*length)?..));
        parts.filter_map(|part| self.atoms.get(part)).for_each(|atom| found(*atom));
    }
}

/// Patterns of texts.
#[derive(Debug, Default)]
pub struct Texts {
    exact: HashMap<Box<str>, Atom>,
    beginnings: Ends,
    ends: Ends,
    any: Option<Atom>,
}

impl Texts {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { exact, beginnings, ends, any } = self;
        exact.is_empty() && beginnings.atoms.is_empty() && ends.atoms.is_empty() && any.is_none()
    }

    /// The number of a pattern.
    #[inline(never)]
    pub fn atom(&mut self, pattern: &Pattern, numbers: &mut Numbers) -> Atom {
        match pattern {
            Pattern::Exact(text) => match self.exact.get(text) {
                Some(atom) => *atom,
                None => {
                    let atom = numbers.next();
                    self.exact.insert(text.clone(), atom);
                    atom
                }
            },
            Pattern::Prefix(text) => self.beginnings.atom(text, numbers),
            Pattern::Suffix(text) => self.ends.atom(text, numbers),
            Pattern::Any => *self.any.get_or_insert_with(|| numbers.next()),
        }
    }

    /// Those that a text fits.
    #[inline(never)]
    pub fn find(&self, text: &str, found: &mut dyn FnMut(Atom)) {
        if let Some(atom) = self.exact.get(text) {
            found(*atom);
        }
        self.beginnings.beginnings(text, found);
        self.ends.ends(text, found);
        if let Some(atom) = self.any.filter(|_| !text.is_empty()) {
            found(atom);
        }
    }
}
