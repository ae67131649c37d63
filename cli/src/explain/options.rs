//! Options of two sets of documents: lines of those that are otherwise.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Subject;

/// Lines that are no more, and lines that are new; none if both come to the same.
pub fn changed(before: &Subject, after: &Subject) -> Vec<String> {
    // What is written out may be what holds without it.
    let settings = |subject: &Subject| format!("{:?}", subject.documents.settings);
    if settings(before) == settings(after) {
        return Vec::new();
    }
    let (old, new) = (lines(before), lines(after));
    let missing = |mark: char, of: &BTreeMap<String, String>, from: &BTreeMap<String, String>| -> Vec<String> {
        let lines = of.iter().filter(|(name, value)| from.get(*name) != Some(value));
        lines.map(|(name, value)| format!("{mark} {name}: {value}")).collect()
    };
    [missing('-', &old, &new), missing('+', &new, &old)].concat()
}

/// By path all that a configuration says beside its resources.
fn lines(subject: &Subject) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    if let Value::Object(members) = subject.configuration.root.to_value() {
        let ours = members.into_iter().filter(|(name, _)| ["upstreams", "workload", "options"].contains(&&**name));
        ours.for_each(|(name, value)| collect(name, &value, &mut lines));
    }
    lines
}

fn collect(path: String, value: &Value, lines: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(name, value)| collect(format!("{path}.{name}"), value, lines));
        }
        value => drop(lines.insert(path, value.to_string())),
    }
}
