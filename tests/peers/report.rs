//! The table of `docs/peers.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use libtest_mimic::Conclusion;

/// How a server's cases went.
#[derive(Debug)]
pub struct Row {
    pub server: &'static str,
    pub version: String,
    pub conclusion: Conclusion,
}

const BEGIN: &str = "<!-- written by ./build.sh peers -->\n";
const END: &str = "<!-- end -->";

/// Writes the table into the page.
pub fn write(page: &Path, rows: &[Row]) -> Result<(), String> {
    let why = |error: std::io::Error| format!("{}: {error}", page.display());
    let text = fs::read_to_string(page).map_err(why)?;
    let missing = || format!("{}: there is no place for the table", page.display());
    let (head, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(page, format!("{head}{BEGIN}\n{}\n{END}{tail}", table(rows))).map_err(why)
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from("| server | version | cases | passed |\n| --- | --- | --- | --- |\n");
    for Row { server, version, conclusion } in rows {
        let cases = conclusion.num_passed + conclusion.num_failed;
        let _ = writeln!(table, "| {server} | {version} | {cases} | {} |", conclusion.num_passed);
    }
    table
}
