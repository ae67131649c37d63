//! `sidegate migrate`: AuthConfigs of earlier versions to `v1beta3`.
//!
//! `v1beta2` is `v1beta3` by another name, so only that word of the text changes. `v1beta1` is another shape: such a document is
//! written anew, and loses its comments, which is told.

mod fields;
mod v1beta1;

use std::fs;

use serde_json::Value;

use crate::args::Migrate;
use crate::documents::Configuration;
use crate::files::File;
use crate::report::{Finding, Level};
use crate::yaml::{Kind, Mark, Node};
use crate::{Outcome, emit, files, validate, yaml};

const V1BETA1: &str = "authorino.kuadrant.io/v1beta1";
const V1BETA2: &str = "authorino.kuadrant.io/v1beta2";
const V1BETA3: &str = "authorino.kuadrant.io/v1beta3";

pub fn run(Migrate { files: crate::args::Files { files: names }, write }: &Migrate) -> Outcome {
    if *write && names.iter().any(|name| name.as_os_str() == "-") {
        return Err("standard input cannot be written to: leave out `--write`".to_owned());
    }
    let before = files::read(names)?;
    let (mut after, mut notes) = (Vec::new(), Vec::new());
    for file in &before {
        let (text, told) = migrated(file)?;
        after.push(File { text, ..file.clone() });
        notes.extend(told);
    }
    let refused = refused(&after);
    notes.iter().chain(&refused).for_each(|finding| anstream::eprintln!("{finding}"));
    if *write {
        for (file, old) in after.iter().zip(&before).filter(|(file, old)| file.text != old.text) {
            fs::write(&file.name, &file.text).map_err(|error| format!("{}: {error}", old.name))?;
            anstream::eprintln!("{}: migrated", file.name);
        }
    } else {
        for (index, file) in after.iter().enumerate() {
            let separate = index > 0 && !file.text.starts_with("---");
            print!("{}{}", if separate { "---\n" } else { "" }, file.text);
        }
    }
    Ok(refused.is_empty())
}

/// What the engine says of the outcome. Which Secrets there are is no matter of this command.
fn refused(files: &[File]) -> Vec<Finding> {
    let mut findings = validate::check(&Configuration::of(files));
    let elsewhere = ["there is no Secret `", "there is no AuthConfig in it"];
    findings.retain(|finding| {
        finding.level == Level::Error && !elsewhere.iter().any(|start| finding.message.starts_with(start))
    });
    findings
}

/// The text of a file with its AuthConfigs as `v1beta3`, and what a person must look at.
fn migrated(file: &File) -> Result<(String, Vec<Finding>), String> {
    let mistake = |mistake: yaml::Mistake| format!("{}:{}: {}", file.name, mistake.mark.line, mistake.message);
    let documents = yaml::parse(&file.name, &file.text).map_err(mistake)?;
    let (mut text, mut notes) = (String::new(), Vec::new());
    for Chunk { first, lines } in chunks(&file.text) {
        let within = |node: &&Node| (first..first + lines.len()).contains(&node.mark.line);
        match documents.iter().find(within) {
            Some(document) if has_version(document, V1BETA1) => text += &rewritten(document, first, &lines, &mut notes),
            Some(document) => text += &renamed(document, first, &lines),
            None => text += &lines.concat(),
        }
    }
    Ok((text, notes))
}

/// Lines of one document, with the line that separates it from the one before.
struct Chunk<'a> {
    /// Number of the first line, from 1.
    first: usize,
    lines: Vec<&'a str>,
}

fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks: Vec<Chunk<'_>> = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let separates =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\n', '\r']));
        match chunks.last_mut() {
            Some(chunk) if !separates => chunk.lines.push(line),
            _ => chunks.push(Chunk { first: index + 1, lines: vec![line] }),
        }
    }
    chunks
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

fn has_version(document: &Node, version: &str) -> bool {
    auth_configs(document).iter().any(|document| document.text("apiVersion") == Some(version))
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

/// The document written anew; what stands before it is kept.
fn rewritten(document: &Node, first: usize, lines: &[&str], notes: &mut Vec<Finding>) -> String {
    let before = document.mark.line.saturating_sub(first).min(lines.len());
    let (head, body) = lines.split_at(before);
    let comments =
        body.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with('#') || line.contains(" #"));
    let numbers: Vec<String> = comments.map(|(index, _)| (document.mark.line + index).to_string()).collect();
    if !numbers.is_empty() {
        let message =
            format!("comments are lost where the document is written anew: look at lines {}", numbers.join(", "));
        notes.push(note(&document.mark, String::new(), String::new(), message));
    }
    let value = converted(document, notes);
    let is_json = body.first().is_some_and(|line| line.starts_with('{'));
    let text = if is_json { format!("{value:#}\n") } else { emit::document(&value) };
    head.concat() + &text
}

/// The value of a document with all AuthConfigs in it converted.
fn converted(document: &Node, notes: &mut Vec<Finding>) -> Value {
    let mut value = document.to_value();
    match (document.text("kind"), document.text("apiVersion")) {
        (Some("AuthConfig"), Some(V1BETA1)) => value = v1beta1::convert(document, value, notes),
        (Some("List" | "AuthConfigList" | "PluginConfig"), version) => {
            for name in ["items", "resources"] {
                let items = document.member(name).map(Node::items).unwrap_or_default();
                if let Some(Value::Array(values)) = value.get_mut(name) {
                    values.iter_mut().zip(items).for_each(|(value, item)| *value = converted(item, notes));
                }
            }
            if matches!(version, Some(V1BETA1 | V1BETA2)) {
                value["apiVersion"] = V1BETA3.into();
            }
        }
        (Some("AuthConfig"), Some(V1BETA2)) => value["apiVersion"] = V1BETA3.into(),
        _ => {}
    }
    value
}

/// What a person must look at.
fn note(mark: &Mark, document: String, path: String, message: String) -> Finding {
    Finding { level: Level::Note, rule: "migrate", mark: mark.clone(), document, path, message }
}
