//! What is called: `to`, and what `when` says of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sidegate_config::istio::{Condition, Operation, Rule};

use super::{Reader, source};
use crate::args::Assumption;

/// Ports, and attributes of the request.
type Called = (Option<BTreeSet<u16>>, Map<String, Value>);

impl Reader<'_> {
    /// What may be called: one of these.
    pub fn operations(&mut self, path: &str, rule: &Rule) -> Vec<Called> {
        let mut all = match &rule.to {
            None => vec![Called::default()],
            Some(to) => {
                let mut all = Vec::new();
                for (index, to) in to.iter().enumerate() {
                    let path = format!("{path}.to[{index}].operation");
                    all.extend(to.operation.as_ref().map(|operation| self.operation(&path, operation)));
                }
                all
            }
        };
        for (index, condition) in rule.when.iter().enumerate() {
            let path = format!("{path}.when[{index}]");
            let Condition { key, values, not_values } = condition;
            if source::is_source(key) {
                continue;
            }
            if key == "destination.port" {
                let ports = self.ports(&path, values, not_values);
                all.iter_mut().for_each(|(own, _)| {
                    *own = Some(
                        own.take().map_or_else(|| ports.clone(), |own| own.intersection(&ports).copied().collect()),
                    );
                });
            } else if let Some(name) = key.strip_prefix("request.headers[").and_then(|rest| rest.strip_suffix(']')) {
                let headers = self.header(&path, name, condition);
                for (_, attributes) in &mut all {
                    let known = attributes.entry("headers").or_insert_with(|| json!([]));
                    known.as_array_mut().into_iter().for_each(|known| known.extend(headers.iter().cloned()));
                }
            } else {
                self.stays(format!("{path}.key"), format!("`{key}` is nothing that ours look at"));
            }
        }
        // Ports that exclude one another fit nothing.
        all.retain(|(ports, _)| ports.as_ref().is_none_or(|ports| !ports.is_empty()));
        all
    }

    fn operation(&mut self, path: &str, operation: &Operation) -> Called {
        let Operation { hosts, not_hosts, ports, not_ports, methods, not_methods, paths, not_paths } = operation;
        for (name, values) in [("notHosts", not_hosts), ("notMethods", not_methods), ("notPaths", not_paths)] {
            if !values.is_empty() {
                self.stays(format!("{path}.{name}"), "ours say what is meant, not what is not");
            }
        }
        let mut attributes = Map::new();
        let mut give = |name: &str, values: Vec<Value>| {
            if !values.is_empty() {
                attributes.insert(name.to_owned(), values.into());
            }
        };
        give("hosts", self.each(&format!("{path}.hosts"), hosts, Self::host));
        give("methods", self.each(&format!("{path}.methods"), methods, Self::method));
        give("paths", self.each(&format!("{path}.paths"), paths, Self::path));
        let given = !ports.is_empty() || !not_ports.is_empty();
        let ports = given.then(|| self.ports(&format!("{path}.ports"), ports, not_ports));
        (ports, attributes)
    }

    fn each(&mut self, path: &str, values: &[String], read: fn(&mut Self, &str, &str) -> Option<Value>) -> Vec<Value> {
        let values = values.iter().enumerate();
        values.filter_map(|(index, text)| read(self, &format!("{path}[{index}]"), text)).collect()
    }

    fn ports(&mut self, path: &str, values: &[String], not_values: &[String]) -> BTreeSet<u16> {
        if !not_values.is_empty() {
            self.stays(path, "ours say which ports are meant, not which are not");
        }
        let ports: BTreeSet<u16> =
            values.iter().filter_map(|port| port.parse().ok()).filter(|port| *port > 0).collect();
        if ports.len() < values.iter().collect::<BTreeSet<_>>().len() {
            self.stays(path, "has a port that nothing listens on");
        }
        ports
    }

    fn host(&mut self, path: &str, text: &str) -> Option<Value> {
        let domain = text.strip_prefix("*.").unwrap_or(text);
        let plain = !domain.contains(['*', ':', '[']) && !domain.ends_with('.');
        if text == "*" || (plain && self.mesh.assumes(Assumption::NormalForms)) {
            return Some(text.into());
        }
        if plain {
            let message = "ours compare hosts without port, so that `a:8443` is `a`, and Istio as they come: see `--assume \
                           normal-forms`";
            self.stays(path, message);
            return None;
        }
        self.stays(path, format!("`{text}` is neither a host without port nor `*.suffix`"));
        None
    }

    fn method(&mut self, path: &str, text: &str) -> Option<Value> {
        if text.contains('*') {
            self.stays(path, "ours name methods in full");
            return None;
        }
        Some(text.into())
    }

    fn path(&mut self, path: &str, text: &str) -> Option<Value> {
        if !self.mesh.assumes(Assumption::NormalForms) {
            let message = "ours compare paths in their normal form, so that `//a` is `/a`, and Istio as they come: see \
                           `--assume normal-forms`";
            self.stays(path, message);
            return None;
        }
        let kind = |kind: &str, value: &str| Some(json!({ "type": kind, "value": value }));
        if text.contains(['{', '}']) {
            if self.allows() {
                self.stays(
                    path,
                    "in a template of ours `{*}` and `{**}` have any characters, in one of Istio's not all of them",
                );
                return None;
            }
            return kind("Template", text);
        }
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => kind("PathPrefix", "/"),
            (None, Some(start)) if start.starts_with('/') => kind("StringPrefix", start),
            (Some(end), None) => kind("Suffix", end),
            (None, None) if text.starts_with('/') => kind("Exact", text),
            _ => {
                self.stays(path, format!("`{text}` is nothing that a path can be"));
                None
            }
        }
    }

    fn header(&mut self, path: &str, name: &str, Condition { values, not_values, .. }: &Condition) -> Vec<Value> {
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            self.stays(format!("{path}.key"), format!("`{name}` is a part of the request that ours have fields for"));
            return Vec::new();
        }
        let mut headers = Vec::new();
        match values.as_slice() {
            [] => {}
            [star] if star == "*" => headers.push(json!({ "name": name, "present": true })),
            values if values.iter().any(|value| value.contains('*') || value.trim() != *value) => {
                self.stays(format!("{path}.values"), "ours name values of headers in full");
            }
            values => headers.push(json!({ "name": name, "values": values })),
        }
        match not_values.as_slice() {
            [] => {}
            [star] if star == "*" => headers.push(json!({ "name": name, "absent": true })),
            _ => self.stays(format!("{path}.notValues"), "ours say which values are meant, not which are not"),
        }
        headers
    }
}
