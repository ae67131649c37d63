//! The tables of `docs/istio.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::differences::Difference;
use crate::stage::Side;

const BEGIN: &str = "<!-- written by ./build.sh istio -->\n";
const END: &str = "<!-- end -->";

/// How the requests of a file went.
#[derive(Debug, Default)]
pub struct Row {
    pub pairs: usize,
    pub requests: usize,
    /// By Istio.
    pub allowed: usize,
    pub differences: BTreeMap<(Side, String), usize>,
}

impl Row {
    /// How many differ for a reason.
    pub fn differs(&self, reason: &str) -> usize {
        self.differences.iter().filter(|((_, name), _)| name == reason).map(|(_, count)| count).sum()
    }

    fn same(&self, side: Side) -> usize {
        let differ: usize = self.differences.iter().filter(|((of, _), _)| *of == side).map(|(_, count)| count).sum();
        self.requests - differ
    }
}

/// Writes the tables into the page.
pub fn write(
    rows: &BTreeMap<String, Row>,
    known: &BTreeMap<String, Difference>,
    read: &[(String, usize)],
) -> Result<(), String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/istio.md");
    let why = |error: std::io::Error| format!("{}: {error}", page.display());
    let text = fs::read_to_string(&page).map_err(why)?;
    let missing = || format!("{}: there is no place for the tables", page.display());
    let (head, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(&page, format!("{head}{BEGIN}\n{}\n{END}{tail}", tables(rows, known, read))).map_err(why)
}

fn tables(rows: &BTreeMap<String, Row>, known: &BTreeMap<String, Difference>, read: &[(String, usize)]) -> String {
    let mut text = format!("All {} inputs are read.\n\n", read.len());
    text += "| golden file | pairs | requests, connections | Istio lets in | the same, strict | the same, compat |\n";
    text += "| --- | --- | --- | --- | --- | --- |\n";
    let mut all = Row::default();
    let line = |text: &mut String, name: &str, row: &Row| {
        let (strict, compat) = (row.same(Side::Strict), row.same(Side::Compat));
        let Row { pairs, requests, allowed, differences: _ } = row;
        let _ = writeln!(text, "| {name} | {pairs} | {requests} | {allowed} | {strict} | {compat} |");
    };
    for (name, row) in rows {
        line(&mut text, name, row);
        all.pairs += row.pairs;
        all.requests += row.requests;
        all.allowed += row.allowed;
        for (key, count) in &row.differences {
            *all.differences.entry(key.clone()).or_default() += count;
        }
    }
    line(&mut text, "**all**", &all);
    text += "\n| what differs | strict | compat |\n| --- | --- | --- |\n";
    for (name, Difference { reason, .. }) in known {
        let count = |side| all.differences.get(&(side, name.clone())).copied().unwrap_or(0);
        let _ = writeln!(text, "| {reason} | {} | {} |", count(Side::Strict), count(Side::Compat));
    }
    text
}
