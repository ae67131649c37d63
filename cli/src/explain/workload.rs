//! Policies over identity: what is in force for a workload, and what becomes of one call.

use serde_json::Value;
use sidegate_config::Workload;
use sidegate_engine::Problem;
use sidegate_engine::east_west::explain::{Explanation, Question, explain as ask_engine};
use sidegate_engine::east_west::{Chain, Mesh};

use super::Subject;
use super::call::Call;
use crate::Outcome;
use crate::args::{Explain, ExplainFormat};
use crate::report::printable;
use crate::workloads;

/// Prints what is in force for a workload; false if the call is denied.
pub fn explain(subject: &Subject, known: &Workload, arguments: &Explain) -> Outcome {
    let mesh = subject.policy.mesh().ok_or("there are no policies over identity in the documents")?;
    if let Some(text) = not_known(mesh, known) {
        anstream::eprintln!("warning: {}", printable(&text));
    }
    let explained = ask(subject, mesh, known, arguments)?;
    let json = explained.to_json();
    match arguments.output {
        ExplainFormat::Text => explained.to_string().lines().for_each(|text| line!("{}", printable(text))),
        ExplainFormat::Json => line!("{json:#}"),
    }
    Ok(json.pointer("/decision/decision").and_then(Value::as_str) != Some("DENY"))
}

/// What becomes of the call, in words, and the first criterion that failed; without policies over identity it is let in.
pub fn asked(subject: &Subject, known: &Workload, arguments: &Explain) -> Result<(String, Option<String>), String> {
    let Some(mesh) = subject.policy.mesh() else { return Ok(("ALLOW: there are no policies".to_owned(), None)) };
    let json = ask(subject, mesh, known, arguments)?.to_json();
    let text = |path: &str| json.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let decision = format!("{} by {}", text("/decision/decision"), text("/decision/decider"));
    let looks = json["trace"].as_array().into_iter().flatten();
    let failed = looks.filter(|look| look["takes"] == false).find_map(|look| {
        let allows = look["effect"] == "Allow";
        allows.then(|| Some(format!("{}: {}", look["rule"].as_str()?, look["failing"].as_str()?))).flatten()
    });
    Ok((decision, failed.filter(|_| text("/decision/decision") == "DENY")))
}

fn ask(subject: &Subject, mesh: &Mesh, known: &Workload, arguments: &Explain) -> Result<Explanation, String> {
    let workload = mesh.workload(known);
    let options = subject.documents.settings.options.east_west.clone().unwrap_or_default();
    let call = Call::read(arguments, &options)?;
    let chain = if arguments.tcp { Chain::Tcp } else { Chain::Http };
    let call = arguments.from.is_some().then(|| call.facts());
    ask_engine(mesh, &Question { workload, chain, port: arguments.port, call }).map_err(in_lines)
}

/// The workload that the command line names, as the documents have it. Labels that the PluginConfig does not name are no other
/// workload's; they do not count, nor do they in the proxy.
///
/// # Errors
/// There are several, or the first documents are those of another one, which is all that they decide about.
pub fn known(subjects: [&Subject; 2], workload: &str, arguments: &Explain) -> Result<Workload, String> {
    let documents = subjects.map(|subject| subject.configuration.others.as_slice());
    let known = workloads::known(workload, &arguments.labels.labels, documents)?;
    let own = subjects[0].documents.settings.workload.as_ref();
    let other = own.is_some_and(|own| {
        let is_otherwise = |(name, value)| known.labels.get(name).is_some_and(|known| known != value);
        (own.namespace.is_some() && own.namespace != known.namespace) || own.labels.iter().any(is_otherwise)
    });
    match other {
        true => Err(format!(
            "the documents name another workload than `{workload}`: leave out `workload` of the PluginConfig"
        )),
        false => Ok(known),
    }
}

/// What is not known of a workload, though policies look at it.
pub fn not_known(mesh: &Mesh, known: &Workload) -> Option<String> {
    let workload = mesh.workload(known);
    if workload.labels.is_empty() && mesh.selects_pods(&workload.namespace) {
        return Some(
            "no `--label` is given, nor a Deployment or the like of that name: policies that select pods by labels are not seen"
                .to_owned(),
        );
    }
    mesh.labels_not_known(&workload.namespace)
}

pub fn in_lines(problems: Vec<Problem>) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
