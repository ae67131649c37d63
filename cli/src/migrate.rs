//! `sidegate migrate`: AuthConfigs of earlier versions to `v1beta3`, and policies of other meshes to ours.
//!
//! `v1beta2` is `v1beta3` by another name, so only that word of the text changes. Others are of another shape: such a document is
//! written anew, with its comments beside what they stood at.

mod comments;
mod fields;
mod istio;
mod linkerd;
mod moved;
mod v1beta1;

pub use istio::is_tried_out;

use std::fs;

use serde_json::Value;
use sidegate_config::Broken;

use crate::args::Migrate;
use crate::documents::Configuration;
use crate::files::File;
use crate::report::{Finding, Level};
use crate::workloads::{is_list, leaves};
use crate::yaml::{Kind, Mark, Node};
use crate::{Outcome, emit, files, validate, yaml};
use istio::Migrated;
use linkerd::{Fate, Linkerd};
use moved::{Moved, Turned};

const V1BETA1: &str = "authorino.kuadrant.io/v1beta1";
const V1BETA2: &str = "authorino.kuadrant.io/v1beta2";
const V1BETA3: &str = "authorino.kuadrant.io/v1beta3";

/// Where `kubectl apply` keeps a copy of the document.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub fn run(Migrate { files: crate::args::Files { files: names }, write, assume }: &Migrate) -> Outcome {
    if *write && names.iter().any(|name| name.as_os_str() == "-") {
        return Err("standard input cannot be written to: leave out `--write`".to_owned());
    }
    let before = files::read(names)?;
    let mut parsed = Vec::new();
    for file in &before {
        let mistake = |mistake: yaml::Mistake| format!("{}:{}: {}", file.name, mistake.mark.line, mistake.message);
        parsed.push(yaml::parse(&file.name, &file.text).map_err(mistake)?);
    }
    let text = Configuration::of(&before).text();
    let documents = sidegate_config::decode(text.as_bytes()).unwrap_or_else(|Broken { rest, .. }| *rest);
    let mut migration = Migration {
        istio: istio::Mesh::of(&documents, assume),
        linkerd: Linkerd::of(&parsed.iter().flatten().flat_map(leaves).collect::<Vec<_>>()),
        notes: Vec::new(),
    };
    migration.linkerd.tell_of_defaults(&mut migration.notes);
    let texts = before.iter().zip(&parsed);
    let texts: Vec<String> = texts.map(|(file, documents)| migration.file(file, documents)).collect();
    let after: Vec<File> = before.iter().zip(texts).map(|(file, text)| File { text, ..file.clone() }).collect();
    let refused = refused(&after);
    let mut notes = migration.notes;
    notes.sort_by(|a, b| (&a.mark, &a.path).cmp(&(&b.mark, &b.path)));
    notes.dedup_by(|a, b| a.mark == b.mark && a.path == b.path && a.message == b.message);
    notes.iter().chain(&refused).for_each(|finding| anstream::eprintln!("{finding}"));
    if *write {
        for (file, old) in after.iter().zip(&before).filter(|(file, old)| file.text != old.text) {
            fs::write(&file.name, &file.text).map_err(|error| format!("{}: {error}", old.name))?;
            anstream::eprintln!("{}: migrated", file.name);
        }
    } else {
        let texts: Vec<&str> = after.iter().map(|file| &*file.text).filter(|text| !text.is_empty()).collect();
        for (index, text) in texts.iter().enumerate() {
            let separate = index > 0 && !text.starts_with("---");
            let is_ended = text.ends_with('\n') || index + 1 == texts.len();
            print!("{}{text}{}", if separate { "---\n" } else { "" }, if is_ended { "" } else { "\n" });
        }
    }
    Ok(refused.is_empty())
}

/// What the engine says of the outcome. Which Secrets there are is no matter of this command, nor that nothing of ours is left.
fn refused(files: &[File]) -> Vec<Finding> {
    let mut findings = validate::check(&Configuration::of(files));
    let elsewhere = ["there is no Secret `", "there is no AuthConfig in it"];
    findings.retain(|finding| {
        finding.level == Level::Error && !elsewhere.iter().any(|start| finding.message.starts_with(start))
    });
    findings
}

/// What is migrated, and what is said of it.
struct Migration<'a> {
    istio: istio::Mesh,
    linkerd: Linkerd<'a>,
    notes: Vec<Finding>,
}

impl Migration<'_> {
    /// The text of a file with all that it can be.
    fn file(&mut self, file: &File, documents: &[Node]) -> String {
        let mut text = String::new();
        for Chunk { first, lines } in chunks(&file.text) {
            let within = |node: &&Node| (first..first + lines.len()).contains(&node.mark.line);
            match documents.iter().find(within) {
                Some(document) if is_rewritten(document) => text += &self.rewritten(document, first, &lines),
                Some(document) => text += &renamed(document, first, &lines),
                None => text += &lines.concat(),
            }
        }
        text
    }

    /// The document written anew; what stands before it is kept.
    fn rewritten(&mut self, document: &Node, first: usize, lines: &[&str]) -> String {
        let before = document.mark.line.saturating_sub(first).min(lines.len());
        let (head, body) = lines.split_at(before);
        let (value, turned) = self.converted(document);
        let Some(value) = value else { return String::new() };
        if value == document.to_value() {
            return lines.concat();
        }
        let moved = Moved::of(document, &turned);
        let rank = |path: &str, name: &str| moved.rank(path, name);
        let text = if body.first().is_some_and(|line| line.starts_with('{')) {
            emit::ordered_json(&value, &rank)
        } else {
            let comments = comments::of(document, document.mark.line, body);
            comments::put(&emit::ordered(&value, &rank), &comments, |path| moved.path(path))
        };
        // What stands on the lines of the document that separate it from others.
        let begin = if body.first().is_some_and(|line| line.starts_with("---")) { "---\n" } else { "" };
        let end = if body.last().is_some_and(|line| ends(line)) { "...\n" } else { "" };
        let text = [begin, &text, end].concat();
        let is_windows = body.first().is_some_and(|line| line.ends_with("\r\n"));
        head.concat() + &if is_windows { text.replace('\n', "\r\n") } else { text }
    }

    /// What becomes of a document, unless it is in others, and how.
    fn converted(&mut self, document: &Node) -> (Option<Value>, Turned) {
        let mut value = document.to_value();
        let mut turned = Turned::default();
        match (document.text("kind"), document.text("apiVersion")) {
            (Some("AuthConfig"), Some(V1BETA1)) => {
                value = v1beta1::convert(document, value, &mut self.notes);
                turned.is_anew = true;
            }
            (Some("AuthConfig"), Some(V1BETA2)) => value["apiVersion"] = V1BETA3.into(),
            (Some(kind), version) if is_list(kind) => turned = self.list(document, &mut value, version),
            _ if istio::is_one(document) => {
                if let Some(Migrated { value: policy, rules }) = istio::convert(document, &self.istio, &mut self.notes)
                {
                    value = policy;
                    turned = Turned { is_anew: true, rules, ..Turned::default() };
                }
            }
            _ if linkerd::is_one(document) => match self.linkerd.fate(document, &mut self.notes) {
                Fate::Policy(policy) => {
                    value = policy;
                    turned.is_anew = true;
                }
                Fate::Within => return (None, turned),
                Fate::Stays => {}
            },
            _ => {}
        }
        (Some(value), turned)
    }

    fn list(&mut self, list: &Node, value: &mut Value, version: Option<&str>) -> Turned {
        let mut turned = Turned::default();
        for name in ["items", "resources"] {
            let items = list.member(name).map(Node::items).unwrap_or_default();
            if value.get(name).is_some_and(Value::is_array) {
                let mut new = Vec::new();
                let how = items.iter().map(|item| {
                    let (item, how) = self.converted(item);
                    let place = item.map(|item| new.push(item)).map(|()| new.len() - 1);
                    place.map(|place| (place, how))
                });
                turned.items.insert(name, how.collect());
                value[name] = new.into();
            }
        }
        match (version, list.text("kind")) {
            (Some(V1BETA1 | V1BETA2), _) => value["apiVersion"] = V1BETA3.into(),
            // One list may now have several kinds.
            (Some(version), Some("AuthorizationPolicyList")) if version.starts_with("security.istio.io/") => {
                value["apiVersion"] = "v1".into();
                value["kind"] = "List".into();
            }
            _ => {}
        }
        turned
    }
}

/// Whether a document has something that is of another shape.
fn is_rewritten(document: &Node) -> bool {
    let anew = |leaf: &&Node| {
        let old = leaf.text("kind") == Some("AuthConfig") && leaf.text("apiVersion") == Some(V1BETA1);
        old || istio::is_one(leaf) || linkerd::is_one(leaf)
    };
    leaves(document).iter().any(anew)
}

/// Lines of one document, with the line that separates it from the one before.
struct Chunk<'a> {
    /// Number of the first line, from 1.
    first: usize,
    lines: Vec<&'a str>,
}

fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks: Vec<Chunk<'_>> = Vec::new();
    let mut ended = false;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let separates =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\n', '\r']));
        match chunks.last_mut() {
            Some(chunk) if !separates && !ended => chunk.lines.push(line),
            _ => chunks.push(Chunk { first: index + 1, lines: vec![line] }),
        }
        ended = ends(line);
    }
    chunks
}

/// Whether a line ends a document.
fn ends(line: &str) -> bool {
    line.trim_end() == "..."
}

/// The AuthConfigs of a document: itself, the items of a list, the resources of a `PluginConfig`.
fn auth_configs(document: &Node) -> Vec<&Node> {
    match document.text("kind") {
        Some("AuthConfig") => vec![document],
        Some("List" | "AuthConfigList" | "PluginConfig") => {
            let items = ["items", "resources"].iter().filter_map(|name| document.member(name));
            items.flat_map(Node::items).flat_map(auth_configs).chain([document]).collect()
        }
        _ => Vec::new(),
    }
}

/// The text as it is, but for the versions.
fn renamed(document: &Node, first: usize, lines: &[&str]) -> String {
    let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    for version in auth_configs(document).iter().filter_map(|document| document.member("apiVersion")) {
        if matches!(&version.kind, Kind::String(text) if text == V1BETA2) {
            let line = version.mark.line.checked_sub(first).and_then(|index| lines.get_mut(index));
            if let Some(line) = line {
                let start = line.char_indices().nth(version.mark.column - 1).map_or(line.len(), |(start, _)| start);
                let rest = line.split_off(start);
                line.push_str(&rest.replacen(V1BETA2, V1BETA3, 1));
            }
        }
    }
    lines.concat()
}

/// What a person must look at.
fn note(mark: &Mark, document: String, path: String, message: String) -> Finding {
    Finding { level: Level::Note, rule: "migrate", mark: mark.clone(), document, path, message }
}
