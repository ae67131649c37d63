//! Which rules of policies no case has reached.

use std::collections::{BTreeMap, BTreeSet};

use sidegate_cases::native::Decided;
use sidegate_cases::prepare::Prepared;
use sidegate_config::{AuthConfigSpec, Broken, ResponseSpec};
use sidegate_engine::trace::{Outcome, Stage};

use super::of;
use crate::args::TestFormat;
use crate::effective;

/// What cases have reached.
#[derive(Default)]
pub struct Coverage(BTreeMap<Key, Reached>);

/// An AuthConfig, and the configuration that it is in: cases with the same one add up.
type Key = (String, String);

/// A rule: its stage and its name.
type Rule = (&'static str, String);

#[derive(Default)]
struct Reached {
    /// The first case that is about it.
    place: String,
    rules: BTreeSet<Rule>,
    evaluated: BTreeSet<Rule>,
    denied: BTreeSet<Rule>,
}

impl Coverage {
    /// Notes the rules of a case's policy; one that is refused has none.
    pub fn begin(&mut self, prepared: &Prepared, place: &str) {
        let configuration = normal(prepared);
        let documents =
            sidegate_config::decode(prepared.configuration.as_bytes()).unwrap_or_else(|Broken { rest, .. }| *rest);
        if !prepared.case.config_errors.is_empty() {
            return;
        }
        for effective in effective::all(&documents) {
            let reached = self.0.entry((effective.id(), configuration.clone())).or_default();
            if reached.rules.is_empty() {
                *reached = Reached { place: place.to_owned(), rules: rules(&effective.spec), ..Reached::default() };
            }
        }
    }

    /// Notes what requests have reached.
    pub fn see(&mut self, prepared: &Prepared, decided: &Decided<'_>) {
        let configuration = normal(prepared);
        for outcome in decided.outcomes {
            let Some(id) = &outcome.auth_config else { continue };
            let Some(reached) = self.0.get_mut(&(id.clone(), configuration.clone())) else { continue };
            for step in &outcome.steps {
                let rule = (stage(step.stage), step.name.to_string());
                match step.outcome {
                    Outcome::Skipped | Outcome::Cancelled => continue,
                    Outcome::Denied | Outcome::Failed => drop(reached.denied.insert(rule.clone())),
                    Outcome::Ok => {}
                }
                reached.evaluated.insert(rule);
            }
        }
    }

    /// Says what no case has reached, beside the results if those are for people.
    pub fn print(&self, output: TestFormat) {
        let (mut all, mut reached) = (0, 0);
        let mut lines = Vec::new();
        for ((id, _), Reached { place, rules, evaluated, denied }) in &self.0 {
            all += rules.len();
            reached += rules.intersection(evaluated).count();
            let mut line = |rule: &Rule, what| {
                lines.push(format!("  {place}: AuthConfig {id}: {} {}: {what}", rule.0, rule.1));
            };
            rules.difference(evaluated).for_each(|rule| line(rule, "never reached"));
            let granting = rules.intersection(evaluated).filter(|(stage, _)| *stage == "authorization");
            granting.filter(|rule| !denied.contains(*rule)).for_each(|rule| line(rule, "never denied"));
        }
        lines.insert(0, format!("coverage: {} reached", of(reached, all, "rule")));
        match output {
            TestFormat::Text => lines.iter().for_each(|line| line!("{line}")),
            TestFormat::Junit => lines.iter().for_each(|line| anstream::eprintln!("{line}")),
        }
    }
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::EastWest => "east-west",
        Stage::Selection => "selection",
        Stage::Authentication => "authentication",
        Stage::Metadata => "metadata",
        Stage::Authorization => "authorization",
        Stage::Response => "response",
        Stage::Callback => "callback",
    }
}

fn rules(spec: &AuthConfigSpec) -> BTreeSet<Rule> {
    let AuthConfigSpec { authentication, metadata, authorization, response, callbacks, .. } = spec;
    let ResponseSpec { success, .. } = response;
    let named = [
        ("authentication", authentication.keys().collect::<Vec<_>>()),
        ("metadata", metadata.keys().collect()),
        ("authorization", authorization.keys().collect()),
        ("response", success.headers.keys().chain(success.dynamic_metadata.keys()).collect()),
        ("callback", callbacks.keys().collect()),
    ];
    named.into_iter().flat_map(|(stage, names)| names.into_iter().map(move |name| (stage, name.clone()))).collect()
}

/// The documents of a case without what differs between cases that are about the same ones: the hosts of their services.
fn normal(prepared: &Prepared) -> String {
    let configuration: serde_json::Value = serde_json::from_str(&prepared.configuration).unwrap_or_default();
    let numbered = prepared.services.iter().filter(|(_, service)| service.url.is_none());
    numbered.fold(configuration["resources"].to_string(), |text, (authority, _)| {
        text.replace(authority, prepared.service_name(authority).unwrap_or_default())
    })
}
