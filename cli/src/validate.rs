//! `sidegate validate`: everything that the engine refuses, and what it takes though it is dangerous.

use sidegate_config::{Broken, Document, Documents};
use sidegate_engine::{Policy, Problem};

use crate::args::{Files, Validate};
use crate::documents::Configuration;
use crate::report::{Finding, Level};
use crate::{Outcome, files, lint, report};

pub fn run(Validate { files: Files { files }, strict, without_secrets, output }: &Validate) -> Outcome {
    let configuration = Configuration::of(&files::read(files)?);
    let mut findings = check(&configuration);
    for finding in &mut findings {
        if *without_secrets && is_missing_secret(finding) {
            finding.level = Level::Warning;
            finding.rule = "missing-secret";
        }
        // What is not here on purpose is no error for those who say so.
        if *strict && finding.level == Level::Warning && finding.rule != "missing-secret" {
            finding.level = Level::Error;
        }
    }
    report::print(&mut findings, *output, &summary(&configuration));
    Ok(findings.iter().all(|finding| finding.level != Level::Error))
}

/// All that there is to say of a configuration.
pub fn check(configuration: &Configuration) -> Vec<Finding> {
    let text = configuration.text();
    let mut findings = configuration.findings.clone();
    let (mut problems, policy) = match Policy::compile(text.as_bytes()) {
        Ok(policy) => (Vec::new(), Some(policy)),
        Err(problems) => (problems, None),
    };
    // What a file has that is no YAML, nobody knows.
    if findings.iter().any(|finding| finding.rule == "yaml") {
        problems.retain(|problem| !problem.message.starts_with("there is no AuthConfig in it"));
    }
    if let Some(mesh) = policy.as_ref().and_then(Policy::mesh) {
        let warning =
            |rule: &'static str| move |problem: &Problem| finding(configuration, Level::Warning, rule, problem.clone());
        findings.extend(mesh.left_out().iter().map(warning("east-west")));
        findings.extend(mesh.notes().iter().map(warning("import")));
    }
    findings.extend(problems.into_iter().map(|problem| finding(configuration, Level::Error, "configuration", problem)));
    // What is whole of a broken configuration is looked into too.
    let documents = sidegate_config::decode(text.as_bytes()).unwrap_or_else(|Broken { rest, .. }| *rest);
    let warnings = lint::all(&documents).into_iter();
    findings.extend(warnings.map(|(rule, problem)| finding(configuration, Level::Warning, rule, problem)));
    findings
}

/// A configuration that the engine takes, or what is to be said of it.
pub fn whole(configuration: &Configuration) -> Result<Documents, Vec<Finding>> {
    let mut findings = check(configuration);
    findings.retain(|finding| finding.level == Level::Error);
    match sidegate_config::decode(configuration.text().as_bytes()) {
        Ok(documents) if findings.is_empty() => Ok(documents),
        _ => Err(findings),
    }
}

fn finding(configuration: &Configuration, level: Level, rule: &'static str, problem: Problem) -> Finding {
    let Problem { document, path, mut message } = problem;
    if message.contains("; convert the document to") {
        message += ": `sidegate migrate` does it";
    }
    let (mark, document, path) = configuration.locate(&document, &path);
    Finding { level, rule, mark, document, path, message }
}

fn is_missing_secret(Finding { message, .. }: &Finding) -> bool {
    message.starts_with("there is no Secret `") || message == lint::SELECTS_NONE
}

/// What was looked at. Another kind of document is counted here.
fn summary(configuration: &Configuration) -> String {
    let count = |kind| match configuration.count(kind) {
        1 => format!("1 {kind}"),
        many => format!("{many} {kind}s"),
    };
    let policies = ["AuthorizationPolicy", "XAuthorizationPolicy", "ClusterAuthorizationPolicy"];
    match policies.iter().map(|kind| configuration.count(kind)).sum::<usize>() {
        0 => format!("{} and {}", count("AuthConfig"), count("Secret")),
        1 => format!("{}, {} and 1 policy over identity", count("AuthConfig"), count("Secret")),
        many => format!("{}, {} and {many} policies over identity", count("AuthConfig"), count("Secret")),
    }
}

/// The AuthConfigs of a configuration.
pub fn auth_configs(documents: &Documents) -> impl Iterator<Item = &sidegate_config::AuthConfig> {
    documents.resources.iter().filter_map(|document| match document {
        Document::AuthConfig(document) => Some(&**document),
        _ => None,
    })
}
