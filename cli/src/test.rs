//! `sidegate test`: cases of the corpus's form, by the engine alone.

mod coverage;
mod junit;

use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use sidegate_cases::entry::Entry;
use sidegate_cases::native::{self, Decided};
use sidegate_cases::outcome::{self, Decision};
use sidegate_cases::prepare;
use sidegate_engine::Timestamp;

use crate::args::{Test, TestFormat};
use crate::documents::Configuration;
use crate::report::printable;
use crate::{Outcome, files, validate, yaml};
use coverage::Coverage;

/// A case that was run.
struct Ran {
    /// The file, and the line on which the case begins.
    place: String,
    id: String,
    took: Duration,
    /// The steps of its decisions.
    steps: Vec<String>,
    /// What is not as expected.
    failure: Option<String>,
}

pub fn run(arguments: &Test) -> Outcome {
    let Test { cases, files: policies, only, skip, explain, coverage, output } = arguments;
    let subject = subject(policies)?;
    let mut covered = Coverage::default();
    let mut ran = Vec::new();
    for file in files::read(cases)? {
        for (place, entry) in entries(&file, subject.as_ref())? {
            let chosen = only.as_ref().is_none_or(|part| entry.id.contains(part));
            if chosen && !skip.iter().any(|part| entry.id.contains(part)) {
                ran.push(run_one(place, entry, ran.len(), &mut covered));
            }
        }
    }
    match output {
        TestFormat::Text => print(&ran, *explain),
        TestFormat::Junit => print!("{}", junit::report(&ran)),
    }
    if *coverage {
        covered.print(*output);
    }
    if ran.is_empty() {
        return Err("there is no case to run".to_owned());
    }
    Ok(ran.iter().all(|case| case.failure.is_none()))
}

/// The documents that cases are about which bring none along.
fn subject(policies: &[std::path::PathBuf]) -> Result<Option<Value>, String> {
    if policies.is_empty() {
        return Ok(None);
    }
    let configuration = Configuration::of(&files::read(policies)?);
    match validate::whole(&configuration) {
        Ok(_) => Ok(Some(literal(configuration.root.to_value()))),
        Err(findings) => {
            findings.iter().for_each(|finding| anstream::eprintln!("{finding}"));
            Err("the documents are refused".to_owned())
        }
    }
}

/// A configuration of which nothing is a placeholder, whatever it looks like.
pub fn literal(mut value: Value) -> Value {
    match &mut value {
        Value::String(text) => *text = text.replace("${", "${$*1}{"),
        Value::Array(items) => items.iter_mut().for_each(|item| *item = literal(item.take())),
        Value::Object(members) => members.values_mut().for_each(|member| *member = literal(member.take())),
        _ => {}
    }
    value
}

/// The cases of a file, and where each begins.
fn entries(file: &files::File, subject: Option<&Value>) -> Result<Vec<(String, Entry)>, String> {
    let name = file.name.rsplit_once('.').map_or(&*file.name, |(name, _)| name);
    let mistake = |mistake: yaml::Mistake| format!("{}:{}: {}", file.name, mistake.mark.line, mistake.message);
    let mut all = Vec::new();
    for document in yaml::parse(&file.name, &file.text).map_err(mistake)? {
        let places =
            document.items().iter().map(|item| format!("{}:{}", file.name, item.mark.line)).collect::<Vec<_>>();
        let mut content = document.to_value();
        for case in content.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            let has_own = ["authConfig", "config", "configText"].iter().any(|name| case.contains_key(*name));
            if let (false, Some(subject)) = (has_own, subject) {
                case.insert("config".to_owned(), subject.clone());
            }
        }
        let entries = Entry::all_of(name, content).map_err(|error| format!("{}: {error}", file.name))?;
        all.extend(places.into_iter().zip(entries));
    }
    Ok(all)
}

fn run_one(place: String, mut entry: Entry, number: usize, covered: &mut Coverage) -> Ran {
    let began = Instant::now();
    let mut steps = Vec::new();
    entry.number = number;
    let failure = entry.prepare().and_then(|prepared| {
        let now = Timestamp::from_secs(u64::try_from(prepare::now()).unwrap_or_default());
        covered.begin(&prepared, &place);
        native::watch(&prepared, now, &mut |decided| {
            covered.see(&prepared, decided);
            steps.extend(told(decided));
        })
    });
    Ran { place, id: entry.id, took: began.elapsed(), steps, failure: failure.err() }
}

/// Each request, what became of it, and the steps that led there.
fn told(Decided { first, requests, outcomes, .. }: &Decided<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, (request, outcome)) in requests.iter().zip(*outcomes).enumerate() {
        let what = decision(outcome);
        lines.push(format!("request {} {} {}: {what}", first + index + 1, request.method, request.path));
        lines.extend(outcome.trace.iter().flatten().map(|step| format!("  {step}")));
    }
    lines
}

/// What was done with a request, in a line.
pub fn decision(outcome: &outcome::Outcome) -> String {
    let by = outcome.auth_config.as_deref().unwrap_or("no AuthConfig");
    match &outcome.decision {
        Decision::Allowed { .. } => format!("allowed by {by}"),
        Decision::Served { status, .. } => format!("served {status}"),
        Decision::Denied { status, kind, rule: Some(rule), .. } => format!("denied {status} {kind} by {by}: {rule}"),
        Decision::Denied { status, kind, rule: None, .. } => format!("denied {status} {kind} by {by}"),
    }
}

fn print(ran: &[Ran], explain: bool) {
    let (good, bad) = (AnsiColor::Green.on_default(), AnsiColor::Red.on_default().bold());
    let word = |style: Style, text: &str| format!("{style}{text}{}", style.render_reset());
    for Ran { place, id, steps, failure, .. } in ran {
        let verdict = if failure.is_some() { word(bad, "FAILED") } else { word(good, "ok") };
        let place = if failure.is_some() { format!("{place}: ") } else { String::new() };
        line!("{verdict} {place}{}", printable(id));
        if explain {
            steps.iter().for_each(|line| line!("    {}", printable(line)));
        }
        for line in failure.iter().flat_map(|failure| failure.lines()) {
            line!("    {}", printable(line));
        }
    }
    let failed = ran.iter().filter(|case| case.failure.is_some()).count();
    line!("{} passed, {failed} failed", ran.len() - failed);
}

/// Counts in the plural.
fn of(count: usize, all: usize, what: &str) -> String {
    format!("{count} of {all} {what}{}", if all == 1 { "" } else { "s" })
}
