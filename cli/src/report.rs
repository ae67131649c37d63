//! What is wrong with documents, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::yaml::{Mark, Mistake};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Note,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Error => AnsiColor::Red.on_default().bold(),
            Self::Warning => AnsiColor::Yellow.on_default().bold(),
            Self::Note => AnsiColor::Cyan.on_default(),
        }
    }
}

/// One thing that is wrong, or dangerous.
#[derive(Debug, Clone)]
pub struct Finding {
    pub level: Level,
    /// The check that found it.
    pub rule: &'static str,
    pub mark: Mark,
    /// `AuthConfig default/talker-api`.
    pub document: String,
    /// `spec.hosts[0]`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Finding {
    /// Of a file that cannot be read at all.
    pub fn of_yaml(Mistake { mark, message }: Mistake) -> Self {
        Self { level: Level::Error, rule: "yaml", mark, document: String::new(), path: String::new(), message }
    }

    /// With its place, for a log.
    fn json(&self) -> Value {
        let Self { level, rule, mark: Mark { file, line, column, .. }, document, path, message } = self;
        json!({
            "level": level.name(), "rule": rule, "file": &**file, "line": line, "column": column,
            "document": document, "path": path, "message": message,
        })
    }

    fn sarif(&self) -> Value {
        let Self { level, rule, mark: Mark { file, line, column, .. }, document, path, message } = self;
        let uri = if &**file == "<stdin>" { "stdin" } else { file };
        let place: Vec<_> = [document, path].into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
        json!({
            "ruleId": rule,
            "level": level.name(),
            "message": { "text": message },
            "locations": [{
                "physicalLocation": {
                    "artifactLocation": { "uri": uri },
                    "region": { "startLine": line, "startColumn": column },
                },
                "logicalLocations": [{ "fullyQualifiedName": place.join(": ") }],
            }],
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, mark: Mark { file, line, column, .. }, document, path, message, rule } = self;
        let (style, reset) = (level.style(), level.style().render_reset());
        write!(f, "{file}:{line}:{column}: {style}{}{reset}: ", level.name())?;
        for part in [document, path].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{}: ", printable(part))?;
        }
        f.write_str(&printable(message))?;
        // With `--strict` warnings are errors, of which there is a chapter still.
        let is_check =
            *level == Level::Warning || (*level == Level::Error && !matches!(*rule, "configuration" | "yaml"));
        if is_check { write!(f, " [{rule}]") } else { Ok(()) }
    }
}

/// Writes to standard output. Whoever stops reading has seen enough.
pub fn write(text: fmt::Arguments<'_>) {
    let mut out = anstream::stdout().lock();
    if out.write_fmt(text).and_then(|()| out.flush()).is_err() {
        std::process::exit(UNREAD);
    }
}

/// What a shell has of a command whose output nobody reads: 128 and SIGPIPE.
const UNREAD: i32 = 141;

/// A document's own words must not make lines of their own, or colours.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line each: `file:line:column: error: document: path: message`
    Text,
    /// One object with all of them
    Json,
    /// SARIF 2.1.0, as code scanning reads it
    Sarif,
}

/// Sorts findings by their place, and prints them; `summary` is said after the text.
pub fn print(findings: &mut [Finding], format: Format, summary: &str) {
    findings.sort_by(|a, b| (&a.mark, &a.path, &a.message).cmp(&(&b.mark, &b.path, &b.message)));
    match format {
        Format::Text => {
            findings.iter().for_each(|finding| line!("{finding}"));
            line!("{}", counted(findings, summary));
        }
        Format::Json => {
            let all: Vec<Value> = findings.iter().map(Finding::json).collect();
            let count = |level| findings.iter().filter(|finding| finding.level == level).count();
            let json = json!({ "errors": count(Level::Error), "warnings": count(Level::Warning), "findings": all });
            line!("{json:#}");
        }
        Format::Sarif => line!("{:#}", sarif(findings)),
    }
}

fn counted(findings: &[Finding], summary: &str) -> String {
    let count = |level, word: &str| match findings.iter().filter(|finding| finding.level == level).count() {
        1 => format!("1 {word}"),
        0 => format!("no {word}s"),
        many => format!("{many} {word}s"),
    };
    format!("{summary}: {}, {}", count(Level::Error, "error"), count(Level::Warning, "warning"))
}

fn sarif(findings: &[Finding]) -> Value {
    let rules: BTreeMap<&str, Value> = (findings.iter())
        .map(|Finding { rule, .. }| {
            let help = format!("https://github.com/sidegate/sidegate/blob/main/docs/cli.md#{rule}");
            (*rule, json!({ "id": rule, "helpUri": help }))
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "sidegate",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://github.com/sidegate/sidegate",
                "rules": rules.into_values().collect::<Vec<_>>(),
            } },
            "results": findings.iter().map(Finding::sarif).collect::<Vec<_>>(),
        }],
    })
}
