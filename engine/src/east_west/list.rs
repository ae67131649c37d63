//! Rules in order, of which those are found that may fit a request without a look at the others.
//!
//! A rule is anchored at one of its groups: it is looked at only if the request has one of the values there. The group is the
//! one whose values are rarest among all rules. What is found is then evaluated in full, in the order of the rules.

use std::collections::HashMap;
use std::rc::Rc;

use super::atom::{self, Atom};
use super::index::{ALL, Facts, Index, Seen, Sight};
use super::object::{Alternative, Dimension, Effect, Group, Rule, Term, Value};

/// How far a rule fits a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fit {
    /// It does not.
    No,
    /// It depends on what cannot be read.
    Unreadable,
    /// It does in one of the ways in which the request may be read, and does not in another.
    Partly,
    /// It does.
    Yes,
}

impl Fit {
    /// Of what does not fit, that it does; of what is not known, the same.
    pub const fn negated(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Yes => Self::No,
            Self::Unreadable | Self::Partly => self,
        }
    }
}

impl Effect {
    /// What a rule with this effect does by how far it fits; none: it does not decide. What cannot be read lets nobody in, and does
    /// not leave the tier.
    pub fn of(self, fit: Fit) -> Option<Self> {
        match self {
            Self::Allow => (fit == Fit::Yes).then_some(Self::Allow),
            Self::Pass if fit == Fit::Yes => Some(Self::Pass),
            Self::Deny | Self::Pass => (fit >= Fit::Unreadable).then_some(Self::Deny),
            Self::Audit => None,
        }
    }
}

/// Where a rule of a list comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleRef {
    /// Position of its policy among those selected.
    pub object: usize,
    /// Its position in the policy.
    pub rule: usize,
    /// What it does.
    pub effect: Effect,
    /// Part of it is not valid.
    pub invalid: bool,
}

/// Rules in order.
#[derive(Debug, Default)]
pub struct List {
    rules: Vec<RuleRef>,
    /// In the order of their rules.
    arms: Vec<Arm>,
    /// Ranges of `postings`.
    anchors: HashMap<Atom, (usize, usize)>,
    /// Positions of arms, in order for each anchor.
    postings: Vec<u32>,
    /// Arms without an anchor.
    always: Vec<u32>,
    /// Arms that are anchored at values of a dimension.
    by_dimension: [Vec<u32>; Dimension::ALL.len()],
}

/// One alternative of a rule's longest group, and its other groups.
#[derive(Debug)]
struct Arm {
    rule: usize,
    own: Terms,
    rest: Rc<[Box<[Terms]>]>,
}

/// All of these must fit.
type Terms = Box<[CompiledTerm]>;

#[derive(Debug)]
struct CompiledTerm {
    dimension: Dimension,
    negated: bool,
    invalid: bool,
    /// It has no value but those that are compared with what came.
    as_it_came: bool,
    /// In order.
    atoms: Box<[Atom]>,
}

impl CompiledTerm {
    #[inline(never)]
    fn compile(Term { dimension, values, negated }: &Term, index: &mut Index) -> Self {
        let invalid = values.contains(&Value::Invalid);
        let as_it_came = values.iter().all(|value| matches!(value, Value::Authority(_) | Value::Verbatim(_)));
        let mut atoms: Vec<_> = values.iter().filter_map(|value| Some((index.atom(*dimension, value)?, 0))).collect();
        atom::sort(&mut atoms);
        atoms.dedup();
        let atoms = atoms.into_iter().map(|(atom, _)| atom).collect();
        Self { dimension: *dimension, negated: *negated, invalid, as_it_came, atoms }
    }

    fn fit(&self, seen: &Seen) -> Fit {
        let Self { dimension, negated, invalid, as_it_came, atoms } = self;
        let fit = match seen.of(*dimension) {
            _ if atoms.is_empty() && !invalid => Fit::No,
            None => Fit::Unreadable,
            Some((sight, seen)) => {
                let has = |atom: &Atom| {
                    if atoms.len() < 8 { atoms.contains(atom) } else { atoms.binary_search(atom).is_ok() }
                };
                let views = seen.iter().filter(|(atom, _)| has(atom)).fold(0, |all, (_, views)| all | views);
                match views {
                    ALL => Fit::Yes,
                    0 if *invalid || (sight == Sight::AsItCame && !as_it_came) => Fit::Unreadable,
                    0 => Fit::No,
                    _ => Fit::Partly,
                }
            }
        };
        if *negated { fit.negated() } else { fit }
    }

    /// Whether the request has one of its values wherever it fits.
    const fn anchors(&self) -> bool {
        !self.negated && !self.invalid
    }
}

fn all(terms: &[CompiledTerm], seen: &Seen) -> Fit {
    terms.iter().map(|term| term.fit(seen)).min().unwrap_or(Fit::Yes)
}

impl Arm {
    fn fit(&self, seen: &Seen) -> Fit {
        let mut fit = all(&self.own, seen);
        for group in &*self.rest {
            if fit == Fit::No {
                break;
            }
            fit = fit.min(group.iter().map(|terms| all(terms, seen)).max().unwrap_or(Fit::No));
        }
        fit
    }

    /// The terms that it may be anchored at, group by group: one of each alternative.
    fn anchors<'a>(&'a self, cost: &impl Fn(&CompiledTerm) -> u32) -> Option<(u32, Vec<&'a CompiledTerm>)> {
        let cheapest = |terms: &'a [CompiledTerm]| {
            let terms = terms.iter().filter(|term| term.anchors());
            terms.map(|term| (cost(term), term)).min_by_key(|(cost, _)| *cost)
        };
        let mut best = cheapest(&self.own).map(|(cost, term)| (cost, vec![term]));
        for group in &*self.rest {
            let terms: Option<Vec<_>> = group.iter().map(|terms| cheapest(terms)).collect();
            let Some(terms) = terms else { continue };
            let most = terms.iter().map(|(cost, _)| *cost).max().unwrap_or(0);
            if best.as_ref().is_none_or(|(cost, _)| most < *cost) {
                best = Some((most, terms.into_iter().map(|(_, term)| term).collect()));
            }
        }
        best
    }
}

impl List {
    /// Compiles rules, which are in order.
    pub fn compile<'r>(rules: impl Iterator<Item = (RuleRef, &'r Rule)>, index: &mut Index) -> Self {
        let mut list = Self::default();
        for (place, rule) in rules {
            let number = list.rules.len();
            list.rules.push(place);
            // A rule with something that is not valid never lets anybody in.
            if !(place.invalid && matches!(place.effect, Effect::Allow | Effect::Audit)) {
                list.arms.extend(arms(number, rule, index));
            }
        }
        list.anchor();
        list
    }

    fn anchor(&mut self) {
        let mut counts: HashMap<Atom, u32> = HashMap::new();
        for arm in &self.arms {
            let terms = arm.own.iter().chain(arm.rest.iter().flatten().flatten());
            for atom in terms.filter(|term| term.anchors()).flat_map(|term| &term.atoms) {
                let count = counts.entry(*atom).or_default();
                *count = count.saturating_add(1);
            }
        }
        let cost =
            |term: &CompiledTerm| term.atoms.iter().filter_map(|atom| counts.get(atom)).copied().max().unwrap_or(0);
        let mut postings: Vec<(Atom, u32)> = Vec::new();
        for (number, arm) in (0_u32..).zip(&self.arms) {
            let Some((_, terms)) = arm.anchors(&cost) else {
                self.always.push(number);
                continue;
            };
            for term in terms {
                postings.extend(term.atoms.iter().map(|atom| (*atom, number)));
                if let Some(arms) = self.by_dimension.get_mut(term.dimension as usize)
                    && arms.last() != Some(&number)
                {
                    arms.push(number);
                }
            }
        }
        atom::sort(&mut postings);
        postings.dedup();
        for (at, (atom, arm)) in postings.into_iter().enumerate() {
            self.postings.push(arm);
            let (_, end) = self.anchors.entry(atom).or_insert((at, at));
            *end = at.saturating_add(1);
        }
        self.arms.shrink_to_fit();
        self.postings.shrink_to_fit();
    }

    /// Shows each rule that fits at least so far, in order, until one is taken.
    pub fn find(&self, seen: &Seen, least: Fit, mut take: impl FnMut(&RuleRef, Fit) -> bool) -> Option<(RuleRef, Fit)> {
        let mut candidates = self.candidates(seen, least);
        let mut show = |(rule, fit): (usize, Fit)| {
            let rule = self.rules.get(rule)?;
            let fit = if rule.invalid { fit.min(Fit::Unreadable) } else { fit };
            (fit >= least && take(rule, fit)).then_some((*rule, fit))
        };
        // The arms of a rule are one after another; it fits as well as the best of them.
        let mut best: Option<(usize, Fit)> = None;
        loop {
            let arm = next(&mut candidates).and_then(|arm| self.arms.get(usize::try_from(arm).ok()?));
            let before = best.filter(|(rule, _)| arm.is_some_and(|arm| arm.rule == *rule));
            if before.is_none()
                && let Some(taken) = best.and_then(&mut show)
            {
                return Some(taken);
            }
            let arm = arm?;
            let fit = match before {
                Some((_, fit)) => fit.max(arm.fit(seen)),
                None => arm.fit(seen),
            };
            best = Some((arm.rule, fit));
            if fit == Fit::Yes
                && let Some(taken) = best.and_then(&mut show)
            {
                return Some(taken);
            }
        }
    }

    /// How many arms have to be evaluated at most.
    pub fn looks(&self, seen: &Seen) -> usize {
        self.candidates(seen, Fit::Unreadable).iter().map(|arms| arms.len()).sum()
    }

    /// The arms that may fit, as lists in order.
    fn candidates<'a>(&'a self, seen: &Seen, least: Fit) -> Vec<&'a [u32]> {
        let mut candidates = Vec::with_capacity(seen.all().len().saturating_add(2));
        candidates.push(self.always.as_slice());
        for (atom, _) in seen.all() {
            if let Some((start, end)) = self.anchors.get(atom) {
                candidates.extend(self.postings.get(*start..*end));
            }
        }
        if least <= Fit::Unreadable {
            for dimension in Dimension::ALL {
                if !matches!(seen.of(dimension), Some((Sight::Whole, _))) {
                    candidates.extend(self.by_dimension.get(dimension as usize).map(Vec::as_slice));
                }
            }
        }
        candidates.retain(|arms| !arms.is_empty());
        candidates
    }
}

/// Takes the lowest number out of lists that are in order.
fn next(lists: &mut Vec<&[u32]>) -> Option<u32> {
    let lowest = lists.iter().filter_map(|list| list.first()).min().copied()?;
    for list in lists.iter_mut() {
        if let Some((first, rest)) = list.split_first()
            && *first == lowest
        {
            *list = rest;
        }
    }
    lists.retain(|list| !list.is_empty());
    Some(lowest)
}

/// How far each group of one rule fits by itself, in order.
pub fn groups_fit(rule: &Rule, index: &mut Index, facts: &Facts<'_>) -> Vec<Fit> {
    let compiled: Vec<Vec<Terms>> = (rule.groups.iter())
        .map(|group| {
            let terms = merged(group);
            let compile = |terms: &Alternative| terms.iter().map(|term| CompiledTerm::compile(term, index)).collect();
            terms.iter().map(compile).collect()
        })
        .collect();
    let seen = index.look(facts);
    let fit = |group: &Vec<Terms>| group.iter().map(|terms| all(terms, &seen)).max().unwrap_or(Fit::No);
    compiled.iter().map(fit).collect()
}

/// The arms of a rule: one for each alternative of its longest group. None if one of its groups has none.
fn arms(number: usize, rule: &Rule, index: &mut Index) -> Vec<Arm> {
    let mut groups: Vec<Group> = rule.groups.iter().map(merged).collect();
    if groups.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    let longest = groups.iter().map(Vec::len).max().unwrap_or(0);
    let spread = match groups.iter().position(|group| group.len() == longest) {
        Some(longest) => groups.swap_remove(longest),
        None => vec![Vec::new()],
    };
    let mut compile =
        |terms: &Alternative| -> Terms { terms.iter().map(|term| CompiledTerm::compile(term, index)).collect() };
    let rest: Rc<[_]> = groups.iter().map(|group| group.iter().map(&mut compile).collect::<Box<[_]>>()).collect();
    spread.iter().map(|terms| Arm { rule: number, own: compile(terms), rest: Rc::clone(&rest) }).collect()
}

/// Makes one alternative of all that are a term about the same thing, so that a long list of identities is one term.
fn merged(group: &Group) -> Group {
    let mut merged: Group = Vec::new();
    let mut terms: HashMap<Dimension, usize> = HashMap::new();
    for alternative in group {
        // What a request has in part is not put together from several alternatives.
        let plain = |term: &&Term| !term.negated && !matches!(term.dimension, Dimension::Path | Dimension::Header);
        let Some(term) = alternative.first().filter(plain).filter(|_| alternative.len() == 1) else {
            merged.push(alternative.clone());
            continue;
        };
        match terms.get(&term.dimension).and_then(|at| merged.get_mut(*at)).and_then(|terms| terms.first_mut()) {
            Some(first) => first.values.extend(term.values.iter().cloned()),
            None => {
                terms.insert(term.dimension, merged.len());
                merged.push(alternative.clone());
            }
        }
    }
    merged
}
