//! Whether a configuration has just the problems that it should have.

use std::fmt::Display;

use sidegate_engine::Problem;

use crate::case::ConfigError;

/// Compares problems as the engine reports them.
///
/// # Errors
/// Those that are missing and those that nobody expected.
pub fn compare(expected: &[ConfigError], got: &[Problem]) -> Result<(), String> {
    matched(expected, got, |expected, got| {
        expected.document == got.document && expected.path == got.path && got.message.contains(&expected.message)
    })
}

/// Compares problems as Envoy's log has them, one a line.
///
/// # Errors
/// Those that are missing and those that nobody expected.
pub fn compare_lines(expected: &[ConfigError], got: &[String]) -> Result<(), String> {
    matched(expected, got, |ConfigError { document, path, message }, line| {
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        line.strip_prefix(&format!("{document}: {path}")).is_some_and(|rest| rest.contains(message))
    })
}

fn matched<G: Display>(
    expected: &[ConfigError],
    got: &[G],
    fits: impl Fn(&ConfigError, &G) -> bool,
) -> Result<(), String> {
    let mut rest: Vec<&G> = got.iter().collect();
    let mut report = String::new();
    for error in expected {
        match rest.iter().position(|problem| fits(error, problem)) {
            Some(index) => drop(rest.remove(index)),
            None => {
                report.push_str(&format!("  missing     {}: {}: … {} …\n", error.document, error.path, error.message))
            }
        }
    }
    rest.iter().for_each(|problem| report.push_str(&format!("  unexpected  {problem}\n")));
    if report.is_empty() { Ok(()) } else { Err(format!("the problems are others:\n{report}")) }
}
