//! The rows, as `docs/faults.md` shows them.

use sidegate_engine::trace::Stage;

use super::{ALL, Asked, End, Trouble, When};

/// What is between these is made of the rows.
const BEGIN: &str = "<!-- The rest is made by `UPDATE_GOLDEN=1 cargo test -p sidegate-tests --lib faults`. -->\n";

const LEGEND: &str = "503: it is denied. absent: it is decided without the metadata. told: it is decided already, and the log is told. –: the answer \
     counts as if nothing was wrong; without JSON's `content-type` that of `http` is text.";

const LATER: &str = "Requests are decided by what is here, whatever comes of later fetches; the log says what it says of the first. kept: the document that is \
     here stays in force. –: the new one is as good.";

/// The page with its rows as they are now.
///
/// # Errors
/// It has no place for them.
pub fn made(page: &str) -> Result<String, String> {
    let (head, _) = page.split_once(BEGIN).ok_or_else(|| format!("the page has no line {BEGIN}"))?;
    Ok(format!("{head}{BEGIN}\n{}", rows()))
}

fn rows() -> String {
    let row = |cells: Vec<&str>| format!("| {} |", cells.join(" | "));
    let mut lines = vec!["## What can be wrong".to_owned(), String::new()];
    lines.extend([row(vec!["name", "with the server"]), row(vec!["---"; 2])]);
    lines.extend(Trouble::real().map(|trouble| row(vec![trouble.name(), trouble.title()])));
    lines.extend([String::new(), "## What becomes of the request".to_owned(), String::new()]);
    lines.extend([LEGEND.to_owned(), String::new()]);
    lines.push(row([""].into_iter().chain(Trouble::real().map(Trouble::name)).collect()));
    lines.push(row(vec!["---"; Trouble::real().count() + 1]));
    lines.extend(ALL.iter().map(|asked| {
        row([asked.title]
            .into_iter()
            .chain(Trouble::real().map(|trouble| outcome(asked, &asked.end(trouble))))
            .collect())
    }));
    lines.extend(later());
    lines.extend([String::new(), "## What clients and operators are told".to_owned()]);
    lines.extend(ALL.iter().flat_map(service));
    lines.push(String::new());
    lines.join("\n")
}

/// Documents that are here when their server comes into trouble.
fn later() -> Vec<String> {
    let row = |cells: Vec<&str>| format!("| {} |", cells.join(" | "));
    let mut lines = vec![String::new(), "## What becomes of documents that are here already".to_owned(), String::new()];
    lines.extend([LATER.to_owned(), String::new()]);
    lines.push(row([""].into_iter().chain(Trouble::real().map(Trouble::name)).collect()));
    lines.push(row(vec!["---"; Trouble::real().count() + 1]));
    let kept = |end: End| if end == End::Ok { "–" } else { "kept" };
    lines.extend(ALL.iter().filter(|asked| asked.is_refreshed()).map(|asked| {
        row([asked.title].into_iter().chain(Trouble::real().map(|trouble| kept(asked.end(trouble)))).collect())
    }));
    lines
}

const fn outcome(asked: &Asked, end: &End) -> &'static str {
    match (end, asked.stage) {
        (End::Ok, _) => "–",
        (End::Failed { .. }, Stage::Authentication | Stage::Authorization) => "503",
        (End::Failed { .. }, Stage::Callback) => "told",
        (End::Failed { .. }, _) => "absent",
    }
}

fn service(asked: &Asked) -> Vec<String> {
    let log = match asked.when {
        When::Waiting(_) => "log, behind the reason".to_owned(),
        When::Before { what, .. } => format!("log, behind ``the {what} of `URL` cannot be fetched``"),
    };
    let mut groups: Vec<(End, Vec<&str>)> = Vec::new();
    for trouble in Trouble::real() {
        let end = match asked.end(trouble) {
            End::Failed { reason, why } => End::Failed { reason: reason.replace(&asked.document(trouble), "URL"), why },
            End::Ok => End::Ok,
        };
        match groups.iter_mut().find(|(other, _)| *other == end) {
            Some((_, names)) => names.push(trouble.name()),
            None => groups.push((end, vec![trouble.name()])),
        }
    }
    let mut lines = vec![String::new(), format!("### {}", asked.title), String::new()];
    lines.extend([format!("`evaluator_type`: `{}`.", asked.kind), String::new()]);
    lines.extend([format!("| with the server | request | reason | {log} |"), "| --- | --- | --- | --- |".to_owned()]);
    lines.extend(groups.into_iter().map(|(end, names)| {
        let (reason, why) = match &end {
            End::Ok => ("", ""),
            End::Failed { reason, why } => (reason.as_str(), *why),
        };
        format!("| {} | {} | {reason} | {why} |", names.join(", "), outcome(asked, &end))
    }));
    lines
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_has_the_rows_as_they_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md");
        let page = fs::read_to_string(&path).unwrap();
        let made = made(&page).unwrap();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            return fs::write(path, made).unwrap();
        }
        assert!(page == made, "docs/faults.md does not have the rows as they are: `UPDATE_GOLDEN=1` writes it");
    }
}
