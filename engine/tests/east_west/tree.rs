//! Conditions of a rule, each with how far it fits a call; so it can be told which of them the rule hangs on.

use std::collections::BTreeMap;

/// How far something fits: for sure, as far as can be seen, or as far as cannot be ruled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    pub sure: bool,
    pub seen: bool,
    pub possible: bool,
}

pub const YES: Fit = Fit { sure: true, seen: true, possible: true };
pub const NO: Fit = Fit { sure: false, seen: false, possible: false };
pub const UNKNOWN: Fit = Fit { sure: false, seen: false, possible: true };
pub const LOOSELY: Fit = Fit { sure: false, seen: true, possible: true };

pub fn exactly(fits: bool) -> Fit {
    if fits { YES } else { NO }
}

/// In each of the ways in which it may be read, in some of them, or in none.
pub fn in_views(fits: impl Iterator<Item = bool> + Clone) -> Fit {
    if fits.clone().all(|fits| fits) {
        YES
    } else if fits.clone().any(|fits| fits) {
        LOOSELY
    } else {
        NO
    }
}

impl Fit {
    pub fn and(self, other: Self) -> Self {
        let Self { sure, seen, possible } = other;
        Self { sure: self.sure && sure, seen: self.seen && seen, possible: self.possible && possible }
    }

    pub fn or(self, other: Self) -> Self {
        let Self { sure, seen, possible } = other;
        Self { sure: self.sure || sure, seen: self.seen || seen, possible: self.possible || possible }
    }

    pub fn not(self) -> Self {
        match self {
            YES => NO,
            NO => YES,
            other => other,
        }
    }
}

/// None: it is not valid.
pub type Read = Option<Fit>;

/// The field that a condition is, and whether it is one that nothing may fit.
pub type Kind = (&'static str, bool);

#[derive(Debug)]
pub enum Tree {
    /// One condition, and whether all of it is valid; one that nothing may fit is negated already.
    Leaf(Kind, Fit, bool),
    All(Vec<Tree>),
    Any(Vec<Tree>),
}

/// How often a rule hung on a condition that fitted, that did not, and of which neither is known.
pub type Tally = BTreeMap<Kind, [u32; 3]>;

/// A list of which one value must fit. An empty one is not valid.
pub fn leaf(kind: &'static str, reads: impl IntoIterator<Item = Read>) -> Tree {
    let (fit, valid) = any(reads);
    Tree::Leaf((kind, false), fit, valid)
}

/// A list of which no value may fit.
pub fn not_leaf(kind: &'static str, reads: impl IntoIterator<Item = Read>) -> Tree {
    let (fit, valid) = any(reads);
    Tree::Leaf((kind, true), fit.not(), valid)
}

fn any(reads: impl IntoIterator<Item = Read>) -> (Fit, bool) {
    let reads: Vec<Read> = reads.into_iter().collect();
    let valid = !reads.is_empty() && reads.iter().all(Option::is_some);
    let none = if reads.is_empty() { UNKNOWN } else { NO };
    (reads.into_iter().map(|read| read.unwrap_or(UNKNOWN)).fold(none, Fit::or), valid)
}

impl Tree {
    /// How far the rule fits: one that is not valid in part fits nobody for sure.
    pub fn rule_fit(&self) -> Fit {
        if self.is_valid() { self.fit() } else { self.fit().and(UNKNOWN) }
    }

    pub fn is_valid(&self) -> bool {
        match self {
            Self::Leaf(.., valid) => *valid,
            Self::All(parts) | Self::Any(parts) => parts.iter().all(Self::is_valid),
        }
    }

    fn fit(&self) -> Fit {
        match self {
            Self::Leaf(_, fit, _) => *fit,
            Self::All(parts) => parts.iter().map(Self::fit).fold(YES, Fit::and),
            Self::Any(parts) => parts.iter().map(Self::fit).fold(NO, Fit::or),
        }
    }

    /// Counts the conditions on which it hangs, all others being as they are, whether the rule fits.
    pub fn count(&self, tally: &mut Tally) {
        let (parts, neutral) = match self {
            Self::Leaf(kind, fit, _) => {
                let at = match *fit {
                    YES => 0,
                    NO => 1,
                    _ => 2,
                };
                tally.entry(*kind).or_default()[at] += 1;
                return;
            }
            Self::All(parts) => (parts, YES),
            Self::Any(parts) => (parts, NO),
        };
        let fits: Vec<Fit> = parts.iter().map(Self::fit).collect();
        for (at, part) in parts.iter().enumerate() {
            if fits.iter().enumerate().all(|(other, fit)| other == at || *fit == neutral) {
                part.count(tally);
            }
        }
    }
}
