//! Two sets of documents: whose access changes from one to the other.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidegate_cases::outcome::Decision;
use sidegate_config::{Document, Documents, EastWestOptions, ObjectMeta, Settings, Workload};
use sidegate_engine::east_west::explain::{AccessChange, Candidates, access_change, labels_not_known};
use sidegate_engine::east_west::{Chain, Mesh};

use super::{Subject, decision, options, policy, workload};
use crate::Outcome;
use crate::args::{Explain, ExplainFormat};
use crate::effective::{self, Effective, Secrets};
use crate::report::printable;
use crate::workloads::Pods;

/// Prints whose access changes; true if nobody's does, as far as is known.
pub fn explain(before: &Subject, after: &Subject, arguments: &Explain) -> Outcome {
    let mut told = Told { options: options::changed(before, after), ..Told::default() };
    if let Some(name) = &arguments.workload {
        let known =
            [workload::known([before, after], name, arguments)?, workload::known([after, before], name, arguments)?];
        let meshes = meshes(before, after)?;
        if let Some(text) = meshes.iter().zip(&known).find_map(|(mesh, known)| workload::not_known(mesh, known)) {
            anstream::eprintln!("warning: {}", printable(&text));
        }
        if arguments.from.is_some() {
            let (old, new) =
                (workload::asked(before, &known[0], arguments)?, workload::asked(after, &known[1], arguments)?);
            return Ok(one(arguments, &old.0, &new.0, old.1.as_deref(), new.1.as_deref()));
        }
        let namespace = meshes[1].workload(&known[1]).namespace;
        told.not_known.extend(labels_not_known([&meshes[0], &meshes[1]], &namespace));
        told.changes.push(change(&meshes, [&known[0], &known[1]], arguments)?);
        return Ok(told.print(arguments));
    }
    if arguments.is_request() {
        return request(before, after, arguments);
    }
    told.hosts = auth_configs(before, after, arguments.host.as_deref());
    // Policies over identity hold whatever the host.
    if before.policy.mesh().is_some() || after.policy.mesh().is_some() {
        of_all_workloads(before, after, arguments, &mut told)?;
    }
    Ok(told.print(arguments))
}

/// What changes for workloads that selectors tell apart, and for those that the documents have.
fn of_all_workloads(before: &Subject, after: &Subject, arguments: &Explain, told: &mut Told) -> Result<(), String> {
    let meshes = meshes(before, after)?;
    let Candidates { mut workloads, not_known } = Candidates::of([&meshes[0], &meshes[1]]);
    told.not_known.extend(not_known);
    for pods in Pods::each(before.configuration.others.iter().chain(&after.configuration.others)) {
        workloads.insert((pods.workload.namespace.unwrap_or_default(), pods.workload.labels));
    }
    for (namespace, labels) in workloads {
        let known = Workload { namespace: Some(namespace), labels, ..Workload::default() };
        told.changes.push(change(&meshes, [&known, &known], arguments)?);
    }
    told.changes.retain(|change| !change.is_nothing());
    // A workload without labels of its own has what all others have, too.
    told.changes.dedup_by(|a, b| a.to_json() == b.to_json());
    Ok(())
}

/// One request of an AuthConfig.
fn request(before: &Subject, after: &Subject, arguments: &Explain) -> Outcome {
    let of = |subject: &Subject| -> Result<(String, Option<String>), String> {
        let host = arguments.host.as_deref().or_else(|| subject.only_host());
        let host = host.ok_or("say by `--host` which host the request is for")?;
        let decided = decision::decided(subject, host, arguments)?;
        let failed = decision::first_failed(&decided).map(|step| format!("{} {}", step.stage, step.name));
        let allowed = !matches!(decided.decision, Decision::Denied { .. });
        let verdict = format!("{}: {}", word(allowed), crate::test::decision(&decided));
        Ok((verdict, failed))
    };
    let (old, new) = (of(before)?, of(after)?);
    Ok(one(arguments, &old.0, &new.0, old.1.as_deref(), new.1.as_deref()))
}

pub const fn word(allowed: bool) -> &'static str {
    if allowed { "ALLOW" } else { "DENY" }
}

/// Prints what becomes of one call, `ALLOW` or `DENY` and more in words; true if it is the same.
fn one(arguments: &Explain, old: &str, new: &str, failed: Option<&str>, fails: Option<&str>) -> bool {
    let verdict = |text: &str| text.split([':', ' ']).next().unwrap_or_default().to_owned();
    let same = verdict(old) == verdict(new);
    match arguments.output {
        ExplainFormat::Json => {
            let side = |text: &str, failed: Option<&str>| json!({ "decision": verdict(text), "by": text, "firstFailed": failed });
            line!("{:#}", json!({ "before": side(old, failed), "after": side(new, fails), "changed": !same }));
        }
        ExplainFormat::Text => {
            for (side, text, failed) in [("before", old, failed), ("after", new, fails)] {
                line!("{side}: {}", printable(text));
                failed.iter().for_each(|step| line!("  first that failed: {}", printable(step)));
            }
            line!("{}", if same { "the call is decided the same" } else { "the call is decided otherwise" });
        }
    }
    same
}

/// What changes for the hosts of an AuthConfig.
struct HostChange {
    id: String,
    hosts: Vec<String>,
    what: &'static str,
    removed: Vec<String>,
    added: Vec<String>,
}

/// A line, and what it does not show.
type Line = (String, String);

/// Hosts and lines by AuthConfig.
type Lines = BTreeMap<String, (Vec<String>, Vec<Line>)>;

fn auth_configs(before: &Subject, after: &Subject, host: Option<&str>) -> Vec<HostChange> {
    let all = |subject: &Subject| -> Lines {
        let effective = match host {
            Some(host) => subject.selected(host),
            None => effective::all(&subject.documents),
        };
        effective.iter().map(|one| (one.id(), (one.document.spec.hosts.clone(), lines(subject, one)))).collect()
    };
    let (old, new) = (all(before), all(after));
    let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let keys = rotated(before, after);
    let mut changes = Vec::new();
    for id in ids {
        let none = (Vec::new(), Vec::new());
        let (was, is) = (old.get(id).unwrap_or(&none), new.get(id).unwrap_or(&none));
        let has = |lines: &[Line], text: &str| lines.iter().any(|(line, _)| line == text);
        let missing = |from: &[Line], of: &[Line]| -> Vec<String> {
            of.iter().filter(|(line, _)| !has(from, line)).map(|(line, _)| line.clone()).collect()
        };
        let (removed, mut added) = (missing(&is.1, &was.1), missing(&was.1, &is.1));
        let hidden =
            is.1.iter().filter(|(line, whole)| has(&was.1, line) && !was.1.contains(&(line.clone(), whole.clone())));
        added.extend(hidden.map(|(line, _)| format!("{line}: otherwise in what this line does not show")));
        if old.contains_key(id) && new.contains_key(id) {
            let selected = |secret: &&String| is.1.iter().any(|(line, _)| line.ends_with(&format!(" Secret {secret}")));
            added.extend(keys.iter().filter(selected).map(|secret| format!("another key in Secret {secret}")));
        }
        let what = match (old.contains_key(id), new.contains_key(id)) {
            (false, _) => "is new",
            (_, false) => "is gone, and its hosts are denied with 404 unless another has them",
            _ => "is otherwise",
        };
        if !removed.is_empty() || !added.is_empty() {
            let hosts = if is.0.is_empty() { was.0.clone() } else { is.0.clone() };
            changes.push(HostChange { id: id.clone(), hosts, what, removed, added });
        }
    }
    changes
}

/// What holds for the hosts of an AuthConfig, each line for itself.
fn lines(subject: &Subject, effective: &Effective<'_>) -> Vec<Line> {
    let mut lines = policy::lines(effective);
    let secrets = Secrets::of(&subject.documents);
    for (name, rule) in &effective.spec.authentication {
        let by_key = rule.api_key.as_ref().map(|spec| (&spec.selector, spec.all_namespaces, &spec.namespaces));
        let by_hmac = rule.hmac.as_ref().map(|spec| (&spec.selector, spec.all_namespaces, &spec.namespaces));
        let by_ca = rule.x509.as_ref().map(|spec| (&spec.selector, spec.all_namespaces, &spec.namespaces));
        for (selector, all, namespaces) in [by_key, by_hmac, by_ca].into_iter().flatten() {
            let found = secrets.selected(effective.document, selector, all, namespaces);
            let line = |ObjectMeta { namespace, name: secret, .. }: &ObjectMeta| {
                (format!("authentication {name}: lets in Secret {namespace}/{secret}"), String::new())
            };
            lines.extend(found.iter().map(line));
        }
    }
    lines
}

/// Secrets that are in both sets with other contents, as `namespace/name`.
fn rotated(before: &Subject, after: &Subject) -> Vec<String> {
    let all = |documents: &Documents| -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        let secrets = documents.resources.iter().filter_map(|document| match document {
            Document::Secret(secret) => {
                let decoded =
                    secret.data.iter().map(|(name, value)| (name, STANDARD.decode(value).unwrap_or_default()));
                let plain = secret.string_data.iter().map(|(name, value)| (name, value.clone().into_bytes()));
                let entries = decoded.chain(plain).map(|(name, value)| (name.clone(), value)).collect();
                Some((format!("{}/{}", secret.metadata.namespace, secret.metadata.name), entries))
            }
            _ => None,
        });
        secrets.collect()
    };
    let (old, new) = (all(&before.documents), all(&after.documents));
    new.into_iter()
        .filter(|(name, entries)| old.get(name).is_some_and(|was| was != entries))
        .map(|(name, _)| name)
        .collect()
}

/// The policies over identity of both; of documents that have none, none that decides.
fn meshes(before: &Subject, after: &Subject) -> Result<[Mesh; 2], String> {
    let of = |subject: &Subject| -> Result<Mesh, String> {
        if let Some(mesh) = subject.policy.mesh() {
            return Ok(mesh.clone());
        }
        let mut settings: Settings = subject.documents.settings.clone();
        settings.options.east_west = Some(EastWestOptions::default());
        Mesh::compile([], &settings, Vec::new(), &mut Vec::new()).ok_or_else(|| "there are no policies".to_owned())
    };
    Ok([of(before)?, of(after)?])
}

fn change(meshes: &[Mesh; 2], known: [&Workload; 2], arguments: &Explain) -> Result<AccessChange, String> {
    let [before, after] = meshes;
    let workloads = [before.workload(known[0]), after.workload(known[1])];
    let chain = if arguments.tcp { Chain::Tcp } else { Chain::Http };
    access_change([before, after], workloads, chain, arguments.port).map_err(workload::in_lines)
}

/// What is told of all that changes.
#[derive(Default)]
struct Told {
    /// Lines of options that are no more and that are new.
    options: Vec<String>,
    hosts: Vec<HostChange>,
    changes: Vec<AccessChange>,
    /// What was not compared.
    not_known: Vec<String>,
}

impl Told {
    /// Prints it; true if nobody's access changes, as far as is known.
    fn print(&self, arguments: &Explain) -> bool {
        let Self { options, hosts, changes, not_known } = self;
        let changed = !options.is_empty() || !hosts.is_empty() || changes.iter().any(AccessChange::changes_access);
        let complete = not_known.is_empty() && !changes.iter().any(AccessChange::is_partly);
        if arguments.output == ExplainFormat::Json {
            let host = |HostChange { id, hosts, what, removed, added }: &HostChange| json!({ "authConfig": id, "hosts": hosts, "what": what, "removed": removed, "added": added });
            let hosts: Vec<Value> = hosts.iter().map(host).collect();
            let workloads: Vec<Value> = changes.iter().map(AccessChange::to_json).collect();
            line!(
                "{:#}",
                json!({
                    "options": options, "authConfigs": hosts, "workloads": workloads, "notKnown": not_known,
                    "changed": changed, "complete": complete,
                })
            );
            return !changed && complete;
        }
        if !options.is_empty() {
            line!("options are otherwise, for all that the documents are about");
            options.iter().for_each(|text| line!("  {}", printable(text)));
        }
        for HostChange { id, hosts, what, removed, added } in hosts {
            line!("AuthConfig {} {what}: {}", printable(id), printable(&hosts.join(", ")));
            removed.iter().for_each(|text| line!("  - {}", printable(text)));
            added.iter().for_each(|text| line!("  + {}", printable(text)));
        }
        for change in changes {
            change.to_string().lines().for_each(|text| line!("{}", printable(text)));
        }
        not_known.iter().for_each(|text| line!("not known: {}", printable(text)));
        match (changed, complete) {
            (false, true) => line!("nobody's access changes"),
            (false, false) => line!("whether anybody's access changes is not known"),
            (true, _) => {}
        }
        !changed && complete
    }
}
