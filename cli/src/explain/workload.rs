//! Policies over identity: what is in force for a workload, and what becomes of one call.

use serde_json::Value;
use sidegate_config::Workload;
use sidegate_engine::east_west::explain::{Explanation, Question, explain as ask_engine};
use sidegate_engine::east_west::{Chain, Facts, Http, Identity, Mesh, SpiffeId};
use sidegate_engine::{Headers, Problem};

use super::Subject;
use crate::Outcome;
use crate::args::{Explain, ExplainFormat};
use crate::report::printable;
use crate::workloads;

/// Who has no identity, as `--from` says it.
const NOBODY: &str = "nobody";

/// Prints what is in force for a workload; false if the call is denied.
pub fn explain(subject: &Subject, workload: &str, arguments: &Explain) -> Outcome {
    let mesh = subject.policy.mesh().ok_or("there are no policies over identity in the documents")?;
    let explained = ask(mesh, workload, arguments)?;
    let json = explained.to_json();
    match arguments.output {
        ExplainFormat::Text => explained.to_string().lines().for_each(|text| line!("{}", printable(text))),
        ExplainFormat::Json => line!("{json:#}"),
    }
    Ok(json.pointer("/decision/decision").and_then(Value::as_str) != Some("DENY"))
}

/// What becomes of the call, in words, and the first criterion that failed; without policies over identity it is let in.
pub fn asked(subject: &Subject, workload: &str, arguments: &Explain) -> Result<(String, Option<String>), String> {
    let Some(mesh) = subject.policy.mesh() else { return Ok(("ALLOW: there are no policies".to_owned(), None)) };
    let json = ask(mesh, workload, arguments)?.to_json();
    let text = |path: &str| json.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let decision = format!("{} by {}", text("/decision/decision"), text("/decision/decider"));
    let looks = json["trace"].as_array().into_iter().flatten();
    let failed = looks.filter(|look| look["takes"] == false).find_map(|look| {
        let allows = look["effect"] == "Allow";
        allows.then(|| Some(format!("{}: {}", look["rule"].as_str()?, look["failing"].as_str()?))).flatten()
    });
    Ok((decision, failed.filter(|_| text("/decision/decision") == "DENY")))
}

fn ask(mesh: &Mesh, workload: &str, arguments: &Explain) -> Result<Explanation, String> {
    let workload = mesh.workload(&known(workload, arguments)?);
    let identity = match arguments.from.as_deref() {
        None | Some(NOBODY) => Identity::Absent,
        Some(text) => Identity::Known(SpiffeId::parse(text).map_err(|reason| format!("`{text}` {reason}"))?),
    };
    let headers = Headers::from_pairs(pairs(arguments)?);
    let http = (!arguments.tcp).then_some(Http { headers: &headers, tokens: Some(&[]) });
    let facts = Facts { port: arguments.port, http, ..Facts::of(&identity) };
    let chain = if arguments.tcp { Chain::Tcp } else { Chain::Http };
    let call = arguments.from.is_some().then_some(facts);
    ask_engine(mesh, &Question { workload, chain, port: arguments.port, call }).map_err(in_lines)
}

/// The workload that the command line names.
pub fn known(workload: &str, arguments: &Explain) -> Result<Workload, String> {
    workloads::named(workload, &arguments.labels)
}

fn pairs(Explain { host, method, path, headers, .. }: &Explain) -> Result<Vec<(String, Vec<u8>)>, String> {
    let pseudo = [(":authority", host, ""), (":method", method, "GET"), (":path", path, "/")];
    let mut pairs: Vec<(String, Vec<u8>)> = (pseudo.iter())
        .map(|(name, given, default)| ((*name).to_owned(), given.as_deref().unwrap_or(default).as_bytes().to_vec()))
        .collect();
    for header in headers {
        let (name, value) = header.split_once(':').ok_or("a header is written as `name: value`")?;
        pairs.push((name.trim().to_ascii_lowercase(), value.trim().as_bytes().to_vec()));
    }
    Ok(pairs)
}

pub fn in_lines(problems: Vec<Problem>) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
