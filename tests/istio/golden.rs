//! Istio's golden files as pairs of policies and what Istio has Envoy do for them.
//!
//! Names that no certificate, method or path can have are given others on both sides, and the whole rules, of which no request fits
//! all at once, are also taken apart, a value each.

use std::fs;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Value, json};
use sidegate_engine::east_west::Chain;

use crate::connections;

/// Policies, and the filters that Istio makes of them.
#[derive(Debug, Clone)]
pub struct Pair {
    pub name: String,
    /// The file that it is of.
    pub file: String,
    /// Istio's documents.
    pub policies: Vec<Value>,
    /// Envoy's filters.
    pub filters: Vec<Value>,
    /// Trust domain, and aliases.
    pub domains: &'static [&'static str],
    /// What it decides about.
    pub chain: Chain,
}

/// A golden test: input, outputs, trust domains.
type Golden = (&'static str, &'static [&'static str], &'static [&'static str]);

pub const LOCAL: &[&str] = &["cluster.local"];

/// As Istio's `builder_test.go` pairs them; of `CUSTOM` what chooses whom the provider is asked about.
const GOLDEN: [Golden; 23] = [
    ("allow-empty-rule", &["allow-empty-rule-out"], LOCAL),
    ("allow-full-rule", &["allow-full-rule-out"], LOCAL),
    ("allow-nil-rule", &["allow-nil-rule-out"], LOCAL),
    ("allow-path", &["allow-path-out"], LOCAL),
    ("allow-host-before-111", &["allow-host-before-111-out"], LOCAL),
    ("audit-full-rule", &["audit-full-rule-out"], LOCAL),
    ("custom-simple-http", &["custom-grpc-provider-out1"], LOCAL),
    ("custom-simple-http", &["custom-grpc-provider-no-namespace-out1"], LOCAL),
    ("custom-simple-http", &["custom-http-provider-out1"], LOCAL),
    ("custom-simple-http", &["custom-bad-out"], LOCAL),
    (
        "custom-bad-multiple-providers",
        &["custom-bad-multiple-providers-out1", "custom-bad-multiple-providers-out2"],
        LOCAL,
    ),
    ("deny-and-allow", &["deny-and-allow-out1", "deny-and-allow-out2"], LOCAL),
    ("deny-empty-rule", &["deny-empty-rule-out"], LOCAL),
    ("dry-run-allow-and-deny", &["dry-run-allow-and-deny-out1", "dry-run-allow-and-deny-out2"], LOCAL),
    ("dry-run-allow", &["dry-run-allow-out"], LOCAL),
    ("dry-run-mix", &["dry-run-mix-out"], LOCAL),
    ("multiple-policies", &["multiple-policies-out"], LOCAL),
    ("single-policy", &["single-policy-out"], LOCAL),
    ("simple-policy-td-aliases", &["simple-policy-td-aliases-out"], &["td1", "cluster.local"]),
    (
        "simple-policy-multiple-td-aliases",
        &["simple-policy-multiple-td-aliases-out"],
        &["td1", "cluster.local", "some-td"],
    ),
    ("simple-policy-principal-with-wildcard", &["simple-policy-principal-with-wildcard-out"], &["td1", "foobar"]),
    ("td-aliases-source-principal", &["td-aliases-source-principal-out"], &["new-td", "old-td", "some-trustdomain"]),
    ("trust-domains", &["trust-domains-out"], LOCAL),
];

/// All of them, and parts of some.
///
/// # Errors
/// A file is not as it is known.
pub fn pairs(folder: &Path) -> Result<Vec<Pair>, String> {
    let mut pairs = Vec::new();
    for (name, outputs, domains) in GOLDEN {
        let policies = documents(&folder.join(format!("http/{name}-in.yaml")))?;
        let mut filters = Vec::new();
        for output in outputs {
            filters.extend(documents(&folder.join(format!("http/{output}.yaml")))?);
        }
        if name.starts_with("custom") {
            filters.iter_mut().for_each(enforce);
        }
        pairs.push(Pair {
            name: name.to_owned(),
            file: name.to_owned(),
            policies,
            filters,
            domains,
            chain: Chain::Http,
        });
    }
    let slices: Vec<Pair> = pairs.iter().filter(|pair| pair.name == "allow-full-rule").flat_map(slices).collect();
    if slices.len() < 100 {
        return Err(format!("the whole rule falls into {} parts alone", slices.len()));
    }
    let of_connections: Vec<Pair> = slices.iter().filter_map(connections::of_connections).collect();
    if of_connections.len() < 100 {
        return Err(format!("{} parts alone are about connections", of_connections.len()));
    }
    pairs.extend(slices.into_iter().chain(connections::pairs(folder)?).chain(of_connections));
    Ok(pairs)
}

/// Of `CUSTOM`, Envoy finds by shadow rules whom the provider is asked about. In the place of a provider that denies they hold.
pub fn enforce(filter: &mut Value) {
    if let Some(typed) = filter.get_mut("typedConfig").and_then(Value::as_object_mut)
        && let Some(rules) = typed.remove("shadowRules")
    {
        typed.insert("rules".to_owned(), rules);
    }
}

/// The documents of a file, with names that can be had.
///
/// # Errors
/// It cannot be read.
pub fn documents(path: &Path) -> Result<Vec<Value>, String> {
    let why = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| why(&error))?;
    let mut documents = Vec::new();
    for document in yaml_serde::Deserializer::from_str(&renamed(&text)) {
        let mut value = Value::deserialize(document).map_err(|error| why(&error))?;
        reachable(&mut value, None);
        // After the last `---` there may be nothing.
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

/// `rule[0]` is in no SPIFFE ID and no method.
fn renamed(text: &str) -> String {
    let mut text = text.to_owned();
    for digit in 0..10 {
        for (from, to) in [
            (format!("\\[{digit}\\]"), format!("\\.{digit}")),
            (format!("]-rule[{digit}]"), format!("]-rule<{digit}>")),
            (format!("[{digit}]"), format!(".{digit}")),
            (format!("]-rule<{digit}>"), format!("]-rule[{digit}]")),
        ] {
            text = text.replace(&from, &to);
        }
    }
    text
}

/// Paths begin with a slash, and SPIFFE IDs have a path: on both sides.
fn reachable(value: &mut Value, field: Option<&str>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(path)) = members.get_mut("path").and_then(|path| path.get_mut("exact"))
                && !path.starts_with('/')
            {
                path.insert(0, '/');
            }
            if let Some(Value::String(id)) = members.get_mut("principalName").and_then(|name| name.get_mut("exact"))
                && !id.trim_start_matches("spiffe://").contains('/')
            {
                id.push_str("/x");
            }
            let principals = members.get("key").and_then(Value::as_str) == Some("source.principal");
            for (name, member) in members.iter_mut().filter(|(name, _)| *name != "key") {
                let field = if principals { "principals" } else { name.as_str() };
                reachable(member, Some(field));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| reachable(item, field)),
        Value::String(text) => match field {
            Some("principals" | "notPrincipals") if !text.contains(['/', '*']) => text.push_str("/x"),
            Some("paths" | "notPaths") if !text.starts_with(['/', '*']) => text.insert(0, '/'),
            _ => {}
        },
        _ => {}
    }
}

/// A field of the whole rule: where it stands in the policy, and what Envoy has for it.
struct Field {
    name: String,
    /// Of `from`, of `to`, or a key of `when`.
    place: &'static str,
    negated: bool,
    values: Vec<Value>,
    element: Value,
}

/// Of each field each value alone, with each action.
fn slices(pair: &Pair) -> Vec<Pair> {
    let rules = &pair.policies[0]["spec"]["rules"];
    let policies = &pair.filters[0]["typedConfig"]["rules"]["policies"];
    let mut slices = Vec::new();
    for rule in [0, 1] {
        for kind in ["principals", "permissions"] {
            for field in fields(&rules[rule], &policies[format!("ns[foo]-policy[httpbin-1]-rule[{rule}]")], kind) {
                for (index, value) in field.values.iter().enumerate() {
                    for action in ["ALLOW", "DENY"] {
                        slices.extend(slice(&field, kind, index, value, action));
                    }
                }
            }
        }
    }
    slices
}

/// The order in which Istio writes the fields that are given.
const PRINCIPALS: [&str; 7] =
    ["principals", "requestPrincipals", "serviceAccounts", "trustDomains", "namespaces", "remoteIpBlocks", "ipBlocks"];
const PERMISSIONS: [&str; 4] = ["hosts", "methods", "paths", "ports"];

fn fields(rule: &Value, policy: &Value, kind: &str) -> Vec<Field> {
    let (given, place, list, names): (&Value, _, _, &[&str]) = match kind {
        "principals" => (&rule["from"][0]["source"], "from", "/principals/0/andIds/ids", &PRINCIPALS),
        _ => (&rule["to"][0]["operation"], "to", "/permissions/0/andRules/rules", &PERMISSIONS),
    };
    let mut wanted: Vec<(String, &'static str, bool, Vec<Value>)> = Vec::new();
    let values = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for name in names {
        let not = format!("not{}{}", name[..1].to_uppercase(), &name[1..]);
        wanted.push(((*name).to_owned(), place, false, values(&given[*name])));
        wanted.push(((*name).to_owned(), place, true, values(&given[not])));
    }
    for condition in rule["when"].as_array().into_iter().flatten() {
        let key = condition["key"].as_str().unwrap_or_default();
        let permission = ["destination.", "connection.", "experimental."].iter().any(|start| key.starts_with(start));
        if permission == (kind == "permissions") {
            wanted.push((key.to_owned(), "when", false, values(&condition["values"])));
            wanted.push((key.to_owned(), "when", true, values(&condition["notValues"])));
        }
    }
    wanted.retain(|(.., values)| !values.is_empty());
    let elements = policy.pointer(list).map(values).unwrap_or_default();
    let fields = wanted.into_iter().zip(elements);
    fields.map(|((name, place, negated, values), element)| Field { name, place, negated, values, element }).collect()
}

fn slice(field: &Field, kind: &str, index: usize, value: &Value, action: &str) -> Option<Pair> {
    let Field { name, place, negated, element, .. } = field;
    let not = if kind == "principals" { "notId" } else { "notRule" };
    let inner = if *negated { &element[not] } else { element };
    let one = inner
        .pointer("/orIds/ids")
        .or_else(|| inner.pointer("/orRules/rules"))
        .map_or_else(|| one_of_metadata(inner, index), |list| list.get(index).cloned())?;
    let one = if *negated { json!({ not: one }) } else { one };
    let any = json!({ "any": true });
    let (principal, permission) = if kind == "principals" { (one, any) } else { (any, one) };
    let mut rbac = json!({ "policies": { "slice": {
        "principals": [{ "andIds": { "ids": [principal] } }],
        "permissions": [{ "andRules": { "rules": [permission] } }],
    } } });
    if action == "DENY" {
        rbac["action"] = json!("DENY");
    }
    let mut capital = name.clone();
    if *negated {
        capital = format!("not{}{}", name[..1].to_uppercase(), &name[1..]);
    }
    let rule = match *place {
        "from" => json!({ "from": [{ "source": { capital: [value] } }] }),
        "to" => json!({ "to": [{ "operation": { capital: [value] } }] }),
        _ => json!({ "when": [{ "key": name, if *negated { "notValues" } else { "values" }: [value] }] }),
    };
    Some(Pair {
        name: format!("allow-full-rule: {action} {}{name} {}", if *negated { "not " } else { "" }, value.as_str()?),
        file: "allow-full-rule, a value each".to_owned(),
        policies: vec![json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": { "name": "slice", "namespace": "foo" }, "spec": { "action": action, "rules": [rule] },
        })],
        filters: vec![json!({ "name": "envoy.filters.http.rbac", "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC", "rules": rbac,
        } })],
        domains: LOCAL,
        chain: Chain::Http,
    })
}

/// One of several texts that metadata may be, or a list may have.
fn one_of_metadata(element: &Value, index: usize) -> Option<Value> {
    let mut element = element.clone();
    let matchers = element.pointer_mut("/metadata/value/orMatch/valueMatchers")?.as_array_mut()?;
    if let Some(list) = matchers.first().and_then(|first| first.pointer("/listMatch/oneOf/orMatch/valueMatchers")) {
        let in_list = list.get(index)?.clone();
        let text = matchers.get(1)?.pointer("/orMatch/valueMatchers")?.get(index)?.clone();
        *matchers = vec![json!({ "listMatch": { "oneOf": in_list } }), text];
    } else {
        let one = matchers.get(index)?.clone();
        *element.pointer_mut("/metadata/value")? = one;
    }
    Some(element)
}

/// Replaces numbers and addresses, which are given as they are in the files, on both sides.
pub fn replace(value: &mut Value, port: &mut impl FnMut(u16) -> u16) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(address)) = members.get_mut("addressPrefix") {
                *address = loopback(address);
            }
            if let Some(number) = members.get("destinationPort").and_then(Value::as_u64) {
                let number = port(u16::try_from(number).unwrap_or_default());
                members.insert("destinationPort".to_owned(), json!(number));
            }
            let key = members.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
            for (name, member) in members.iter_mut() {
                match (name.as_str(), key.as_str()) {
                    ("ports" | "notPorts", _) | (_, "destination.port") => ports(member, port),
                    (name, _) if name.to_lowercase().ends_with("ipblocks") => addresses(member),
                    (_, "source.ip" | "remote.ip" | "destination.ip") => addresses(member),
                    _ => replace(member, port),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, port)),
        _ => {}
    }
}

fn ports(list: &mut Value, port: &mut impl FnMut(u16) -> u16) {
    for text in list.as_array_mut().into_iter().flatten() {
        if let Some(number) = text.as_str().and_then(|text| text.parse().ok()) {
            *text = json!(port(number).to_string());
        }
    }
}

fn addresses(list: &mut Value) {
    for text in list.as_array_mut().into_iter().flatten() {
        let Some((address, rest)) = text.as_str().map(|text| text.split_once('/').unwrap_or((text, ""))) else {
            continue;
        };
        let slash = if rest.is_empty() { "" } else { "/" };
        *text = json!(format!("{}{slash}{rest}", loopback(address)));
    }
}

/// The first two numbers of addresses in the files, each of which gets one of its own in 127.0.0.0/8.
const NETWORKS: [(u8, u8); 24] = [
    (1, 2),
    (5, 6),
    (9, 0),
    (9, 2),
    (10, 10),
    (192, 168),
    (90, 10),
    (90, 168),
    (10, 0),
    (10, 1),
    (192, 0),
    (192, 1),
    (172, 16),
    (172, 17),
    (10, 99),
    (10, 80),
    (172, 22),
    (172, 21),
    (172, 18),
    (172, 19),
    (10, 250),
    (10, 133),
    (10, 90),
    (1, 1),
];

/// An address that can be had, in the place of another.
pub fn loopback(address: &str) -> String {
    let parts: Vec<u8> = address.split('.').filter_map(|part| part.parse().ok()).collect();
    let [a, b, c, d] = parts[..] else { return address.to_owned() };
    let network = NETWORKS.iter().position(|known| *known == (a, b));
    let network = network.unwrap_or_else(|| panic!("{address} has no place in NETWORKS"));
    format!("127.{}.{c}.{d}", network + 10)
}

/// Ports that a document names, as they are in the files.
pub fn named_ports(value: &Value) -> Vec<u16> {
    let mut named = Vec::new();
    replace(&mut value.clone(), &mut |port| {
        named.push(port);
        port
    });
    named.sort_unstable();
    named.dedup();
    named
}
