//! Whose access changes from one set of policies to another: calls that the rules of both tell apart are decided by both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use sidegate_config::Problem;

use super::samples::{self, Call, Caller, Choice, Part};
use super::{Named, standing};
use crate::east_west::object::{Object, Rule, Workload};
use crate::east_west::{Chain, Mesh, Ruling, WorkloadPolicy};

/// So many calls are decided for a workload.
const MOST_CALLS: usize = 20_000;

/// Whose access to one workload changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessChange {
    workload: Named,
    /// Of policies and ports, lines that are no more.
    removed: Vec<String>,
    /// And lines that are new.
    added: Vec<String>,
    changes: Vec<Change>,
    /// How many calls were decided.
    calls: usize,
    /// There were too many, so not all were decided: whose access changes is not known beyond those that were.
    partly: bool,
}

/// What changes for some callers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    /// The port, `other` or `any`.
    port: String,
    /// `newly allowed` or `newly denied`.
    change: &'static str,
    /// What is called; none: whatever it is.
    call: Option<String>,
    /// Who decided.
    before: String,
    /// Who decides.
    after: String,
    callers: Vec<String>,
}

/// Says whose access to a workload changes.
///
/// # Errors
/// Policies ask for what is not to be had there.
pub fn access_change(
    [before, after]: [&Mesh; 2],
    [old, new]: [Workload; 2],
    chain: Chain,
    port: Option<u16>,
) -> Result<AccessChange, Vec<Problem>> {
    let Workload { namespace, labels, trust_domain, .. } = new.clone();
    let (before, after) = (before.select(old, chain)?, after.select(new, chain)?);
    let lines =
        |policy: &WorkloadPolicy| -> Vec<String> { standing(policy, port, chain).lines().map(str::to_owned).collect() };
    let (old, new) = (lines(&before), lines(&after));
    let (changes, calls, partly) = match is_same(&before, &after) {
        true => (Vec::new(), 0, false),
        false => Comparison { before, after, is_request: chain == Chain::Http, port }.run(),
    };
    Ok(AccessChange {
        workload: Named { namespace, labels, trust_domain },
        removed: old.iter().filter(|line| !new.contains(line)).cloned().collect(),
        added: new.iter().filter(|line| !old.contains(line)).cloned().collect(),
        changes,
        calls,
        partly,
    })
}

/// Whether two are alike, so that they decide alike.
fn is_same(before: &WorkloadPolicy, after: &WorkloadPolicy) -> bool {
    let all = |policy: &WorkloadPolicy| {
        format!("{:?}", (policy.options(), policy.workload(), policy.objects().collect::<Vec<&Object>>()))
    };
    all(before) == all(after)
}

struct Comparison {
    before: WorkloadPolicy,
    after: WorkloadPolicy,
    is_request: bool,
    port: Option<u16>,
}

/// Positions of choices, part by part.
type Position = Vec<usize>;

/// What changes for one caller at one port: by direction and who decided, the calls.
type Found = BTreeMap<(&'static str, String, String), Vec<Position>>;

/// Callers by what changes for them: the place of the port, the direction, the call, and who decided before and after.
type Grouped = BTreeMap<(usize, &'static str, Option<String>, String, String), Vec<String>>;

impl Comparison {
    fn run(&self) -> (Vec<Change>, usize, bool) {
        let objects = self.before.objects().chain(self.after.objects()).filter(|object| !object.audit);
        let rules: Vec<&Rule> = objects.flat_map(|object| &object.rules).collect();
        let callers = samples::callers(&rules, [&self.before, &self.after]);
        let mut parts = samples::parts(&rules);
        let ports = self.ports(&rules);
        let others = callers.len().saturating_mul(ports.len()).max(1);
        let partly = shorten(&mut parts, MOST_CALLS.checked_div(others).unwrap_or(1).max(1));
        let calls: Vec<(Position, Call)> = positions(&parts)
            .map(|position| {
                let call = Call::of(choices(&parts, &position));
                (position, call)
            })
            .collect();
        let mut grouped = Grouped::new();
        for (index, (_, port)) in ports.iter().enumerate() {
            for Caller { words, identity } in &callers {
                for ((change, before, after), positions) in self.found(&calls, identity, *port) {
                    for call in described(&parts, positions) {
                        let key = (index, change, call, before.clone(), after.clone());
                        grouped.entry(key).or_default().push(words.clone());
                    }
                }
            }
        }
        let changes = grouped.into_iter().map(|((index, change, call, before, after), callers)| {
            let port = ports.get(index).map(|(port, _)| port.clone()).unwrap_or_default();
            Change { port, change, call, before, after, callers }
        });
        (changes.collect(), calls.len().saturating_mul(others), partly)
    }

    /// Ports, as they are called, and their numbers.
    fn ports(&self, rules: &[&Rule]) -> Vec<(String, u16)> {
        if let Some(port) = self.port {
            return vec![(port.to_string(), port)];
        }
        let (named, other) = samples::ports(rules);
        let name = if named.is_empty() { "any" } else { "other" };
        named.iter().map(|port| (port.to_string(), *port)).chain([(name.to_owned(), other)]).collect()
    }

    fn found(&self, calls: &[(Position, Call)], identity: &crate::east_west::Identity, port: u16) -> Found {
        let mut found = Found::new();
        for (position, call) in calls {
            let facts = call.facts(identity, port, self.is_request);
            let (before, after) = (self.before.decide(&facts), self.after.decide(&facts));
            let change = match (before.allowed, after.allowed) {
                (true, false) => "newly denied",
                (false, true) => "newly allowed",
                _ => continue,
            };
            let by = |ruling: &Ruling| ruling.reason.to_string();
            found.entry((change, by(&before), by(&after))).or_default().push(position.clone());
        }
        found
    }
}

/// Takes the last choices out of parts that have most until no more calls come of them than may be; true if there were more.
fn shorten(parts: &mut [Part], most: usize) -> bool {
    let size = |parts: &[Part]| parts.iter().fold(1_usize, |size, part| size.saturating_mul(part.choices.len()));
    let mut shortened = false;
    while size(parts) > most {
        shortened = true;
        match parts.iter_mut().max_by_key(|part| part.choices.len()) {
            Some(part) if part.choices.len() > 1 => drop(part.choices.pop()),
            _ => break,
        }
    }
    shortened
}

/// Each choice of each part with each of the others.
fn positions(parts: &[Part]) -> impl Iterator<Item = Position> {
    let sizes: Vec<usize> = parts.iter().map(|part| part.choices.len().max(1)).collect();
    let all = sizes.iter().fold(1_usize, |all, size| all.saturating_mul(*size));
    (0..all).map(move |number| {
        let mut rest = number;
        let digits = sizes.iter().map(|size| {
            let digit = rest.checked_rem(*size).unwrap_or_default();
            rest = rest.checked_div(*size).unwrap_or_default();
            digit
        });
        digits.collect()
    })
}

fn choices<'a>(parts: &'a [Part], position: &'a [usize]) -> impl Iterator<Item = &'a Choice> {
    parts.iter().zip(position).filter_map(|(part, at)| part.choices.get(*at).map(|(_, choice)| choice))
}

/// Calls in few words: what they have in common, as long as those are all that have it; none: whatever is called.
fn described(parts: &[Part], positions: Vec<Position>) -> Vec<Option<String>> {
    let values = |at: usize| -> BTreeSet<usize> { positions.iter().filter_map(|one| one.get(at).copied()).collect() };
    let values: Vec<BTreeSet<usize>> = (0..parts.len()).map(values).collect();
    let product = values.iter().fold(1_usize, |size, values| size.saturating_mul(values.len()));
    if product == positions.len() {
        let words = parts.iter().zip(&values).filter(|(part, values)| values.len() < part.choices.len());
        let words: Vec<String> = words.map(|(part, values)| in_words(part, values)).collect();
        return vec![(!words.is_empty()).then(|| words.join(", "))];
    }
    let Some(split) = values.iter().position(|values| values.len() > 1) else { return Vec::new() };
    let mut by_value: BTreeMap<Option<usize>, Vec<Position>> = BTreeMap::new();
    for position in positions {
        by_value.entry(position.get(split).copied()).or_default().push(position);
    }
    by_value.into_values().flat_map(|positions| described(parts, positions)).collect()
}

fn in_words(part: &Part, values: &BTreeSet<usize>) -> String {
    let words = values.iter().filter_map(|at| part.choices.get(*at)).map(|(words, choice)| match choice {
        Choice::Line(..) if *words != format!("another {}", part.name) => format!("{} {words}", part.name),
        _ => words.clone(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

impl AccessChange {
    /// Whether anybody's access changes.
    #[must_use]
    pub fn changes_access(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Whether not all was tried that the rules name.
    #[must_use]
    pub fn is_partly(&self) -> bool {
        self.partly
    }

    /// Whether anything is to be said.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        !self.partly && self.changes.is_empty() && self.removed.is_empty() && self.added.is_empty()
    }

    /// Whether somebody may what was denied before.
    #[must_use]
    pub fn allows_more(&self) -> bool {
        self.changes.iter().any(|change| change.change == "newly allowed")
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl fmt::Display for AccessChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, removed, added, changes, calls, partly } = self;
        writeln!(f, "{workload}")?;
        removed.iter().try_for_each(|line| writeln!(f, "  - {line}"))?;
        added.iter().try_for_each(|line| writeln!(f, "  + {line}"))?;
        for Change { port, change, call, before, after, callers } in changes {
            for caller in callers {
                write!(f, "  port {port}: {change}: {caller}")?;
                if let Some(call) = call {
                    write!(f, ": {call}")?;
                }
                writeln!(f, " ({before} -> {after})")?;
            }
        }
        match (changes.is_empty(), partly) {
            (true, false) if *calls == 0 => writeln!(f, "  nobody's access changes: what decides is the same")?,
            (true, false) => {
                writeln!(f, "  nobody's access changes, by {calls} calls made up from what the rules name")?;
            }
            (_, true) => writeln!(
                f,
                "  not known beyond {calls} calls made up from what the rules name: there is too much of it to try all together"
            )?,
            (false, false) => {}
        }
        Ok(())
    }
}
