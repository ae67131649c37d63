//! What schemas are after serde and the docs have been asked: what the reader, and editors, know beyond that.
//!
//! Docs have fixed words, which are read here so that nothing is said twice: `Default VALUE.`, `Exactly one of …`,
//! `Exactly one field.`, `At most one field.` and `At least one field.`

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::problem::Place;
use crate::reader::{NEWER_OPERATORS, is_newer};

type Members = Map<String, Value>;

/// Calls a function with each schema within a schema, inner ones first.
pub fn each(schema: &mut Value, visit: &mut dyn FnMut(&mut Members)) {
    let Value::Object(members) = schema else { return };
    for (name, value) in &mut *members {
        match (name.as_str(), value) {
            ("properties" | "$defs", Value::Object(named)) => named.values_mut().for_each(|inner| each(inner, visit)),
            ("anyOf" | "oneOf" | "allOf", Value::Array(list)) => list.iter_mut().for_each(|inner| each(inner, visit)),
            ("items" | "additionalProperties" | "if" | "then" | "else", inner) => each(inner, visit),
            _ => {}
        }
    }
    visit(members);
}

/// Makes a schema say what the reader does.
pub fn apply(schema: &mut Value) {
    each(schema, &mut |members| {
        drop_null(members);
        unwrap_lines(members);
        list_values(members);
        // Numbers are judged by `minimum`; nobody else knows these words.
        if members.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
            members.remove("format");
        }
        count_fields(members);
        if members.contains_key("properties") && !members.contains_key("additionalProperties") {
            members.insert("additionalProperties".to_owned(), false.into());
        }
    });
    let values = values(schema);
    each(schema, &mut |members| set_default(members, &values));
    metadata(schema);
}

/// Takes out of an AuthConfig what came with `v1beta3`.
pub fn without_newer(mut schema: Value) -> Value {
    each(&mut schema, &mut drop_null);
    each(&mut schema, &mut |members| {
        // One or many: it was one.
        if let Some(Value::Object(one)) = members.remove("else") {
            members.retain(|key, _| !["if", "then"].contains(&key.as_str()));
            members.extend(one);
        }
    });
    let definitions = schema.get_mut("$defs").and_then(Value::as_object_mut);
    for (name, definition) in definitions.into_iter().flatten() {
        let Some(definition) = definition.as_object_mut() else { continue };
        if name == "Operator" {
            let older = |value: &Value| {
                !value.get("const").and_then(Value::as_str).is_some_and(|value| NEWER_OPERATORS.contains(&value))
            };
            definition.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().for_each(|list| list.retain(older));
        }
        let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        if name != "ObjectMeta" {
            properties.retain(|field, _| !is_newer(&place(name), field));
        }
        if let (true, true, Some(Value::Object(value))) =
            (properties.contains_key("selector"), properties.contains_key("operator"), properties.get_mut("value"))
        {
            value.insert("type".to_owned(), "string".into());
        }
    }
    drop_unused(&mut schema);
    schema
}

/// Takes out definitions that nothing refers to any more.
fn drop_unused(schema: &mut Value) {
    loop {
        let mut used = BTreeSet::new();
        each(schema, &mut |members| {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
            used.extend(name.map(str::to_owned));
        });
        let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) else { return };
        let before = definitions.len();
        definitions.retain(|name, _| used.contains(name));
        if definitions.len() == before {
            return;
        }
    }
}

/// Where in an AuthConfig a type stands, as far as the reader asks.
fn place(definition: &str) -> Place<'static> {
    const SPEC: Place<'static> = Place::Member(&Place::Root, "spec");
    const RESPONSE: Place<'static> = Place::Member(&SPEC, "response");
    match definition {
        "DenyWithSpec" => Place::Member(&RESPONSE, "unauthorized"),
        "JwtSpec" => Place::Member(&SPEC, "jwt"),
        "ResourceAttributesSpec" => Place::Member(&SPEC, "resourceAttributes"),
        _ => SPEC,
    }
}

/// A field that may be left out may not be null: the reader refuses that.
fn drop_null(members: &mut Members) {
    let is_null = |schema: &Value| *schema == json!({ "type": "null" });
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            members.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(values)) = members.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let Some(Value::Array(either)) = members.get_mut("anyOf") else { return };
    either.retain(|schema| !is_null(schema));
    if let [Value::Object(one)] = either.as_slice() {
        let one = one.clone();
        members.remove("anyOf");
        members.extend(one);
    }
}

/// Docs are broken into lines where the source is.
fn unwrap_lines(members: &mut Members) {
    if let Some(Value::String(description)) = members.get_mut("description") {
        let paragraphs: Vec<_> = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
        *description = paragraphs.join("\n\n");
    }
}

/// Values of an enumeration stand in one list, which gives better messages than one schema for each, and their docs in the
/// description.
fn list_values(members: &mut Members) {
    let Some(Value::Array(choices)) = members.get("oneOf") else { return };
    let value = |choice: &Value| choice.get("const").cloned();
    let Some(values) = choices.iter().map(value).collect::<Option<Vec<_>>>() else { return };
    let line = |choice: &Value| {
        let (value, description) = (choice.get("const")?.as_str()?, choice.get("description")?.as_str()?);
        Some(format!("\n- `{value}`: {description}"))
    };
    let lines: String = choices.iter().filter_map(line).collect();
    let description = members.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{description}\n{lines}");
    members.insert("description".to_owned(), description.into());
    members.insert("type".to_owned(), "string".into());
    members.insert("enum".to_owned(), values.into());
    members.remove("oneOf");
}

/// How many fields there must be. Of three or more, editors tell only the first as missing; those are left to the engine.
fn count_fields(members: &mut Members) {
    let Some(description) = members.get("description").and_then(Value::as_str) else { return };
    let Some(Value::Object(properties)) = members.get("properties") else { return };
    let (at_least, at_most) = (description.contains("At least one field."), description.contains("At most one field."));
    let exactly = description.contains("Exactly one field.");
    let named = description.split_once("Exactly one of ").map(|(_, rest)| rest.split('.').next().unwrap_or_default());
    let named: Vec<_> = named.into_iter().flat_map(|named| named.split('`').skip(1).step_by(2)).collect();
    let is_pair = named.len() == 2;
    let known: Vec<_> = named.iter().filter(|name| properties.contains_key(**name)).map(ToString::to_string).collect();
    if at_least || exactly {
        members.insert("minProperties".to_owned(), 1.into());
    }
    if at_most || exactly {
        members.insert("maxProperties".to_owned(), 1.into());
    }
    match known.as_slice() {
        [one] if is_pair => members.insert("required".to_owned(), json!([one])),
        [one, other] if is_pair => {
            members.insert("oneOf".to_owned(), json!([{ "required": [one] }, { "required": [other] }]))
        }
        _ => None,
    };
}

/// Values of enumerations, by the reference to each.
fn values(schema: &Value) -> BTreeMap<String, Vec<Value>> {
    let definitions = schema.get("$defs").and_then(Value::as_object).into_iter().flatten();
    let values = |(name, definition): (&String, &Value)| {
        Some((format!("#/$defs/{name}"), definition.get("enum")?.as_array()?.clone()))
    };
    definitions.filter_map(values).collect()
}

/// The default is the one that the docs tell; else serde's, if it is more than nothing.
fn set_default(members: &mut Members, values: &BTreeMap<String, Vec<Value>>) {
    let fits = |value: &Value| match (members.get("type").and_then(Value::as_str), members.get("$ref")) {
        (Some("string"), _) => value.is_string(),
        (Some("integer"), _) => value.is_i64(),
        (Some("boolean"), _) => value.is_boolean(),
        (None, Some(Value::String(reference))) => values.get(reference).is_some_and(|values| values.contains(value)),
        _ => false,
    };
    let description = members.get("description").and_then(Value::as_str).unwrap_or_default();
    if let Some(told) = told_default(description).filter(fits) {
        members.insert("default".to_owned(), told);
    }
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => true,
        Value::Bool(_) | Value::Number(_) => false,
    };
    if members.get("default").is_some_and(says_nothing) {
        members.remove("default");
    }
}

/// `Default 60.`, ``Default: `Bearer`.``, `Default, also for 0: 5000.`
fn told_default(description: &str) -> Option<Value> {
    let (_, rest) = description.split_once("Default")?;
    let rest = [", also for 0", ", also when empty"].iter().find_map(|also| rest.strip_prefix(also)).unwrap_or(rest);
    let rest = rest.strip_prefix(':').unwrap_or(rest).trim_start();
    if let Some(quoted) = rest.strip_prefix('`') {
        return quoted.split_once('`').map(|(text, _)| text.into());
    }
    let word = rest.split([' ', '.', ',', ';']).next()?;
    serde_json::from_str(word).ok().filter(|value: &Value| value.is_number() || value.is_boolean())
}

/// Within `metadata` the reader is as lenient as Kubernetes, but a name there must be.
fn metadata(schema: &mut Value) {
    let Some(metadata) = schema.pointer_mut("/$defs/ObjectMeta") else { return };
    nullable(metadata);
    super::require(metadata, &["name"]);
    if let Some(Value::Object(name)) = metadata.pointer_mut("/properties/name") {
        name.insert("type".to_owned(), "string".into());
        name.insert("minLength".to_owned(), 1.into());
    }
}

/// Fields that may be left out may be null as well, as for the API server.
pub fn allow_null(schema: &mut Value) {
    nullable(schema);
    let definitions = schema.get_mut("$defs").and_then(Value::as_object_mut);
    for (name, definition) in definitions.into_iter().flatten() {
        if name != "ObjectMeta" {
            nullable(definition);
        }
    }
}

fn nullable(schema: &mut Value) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|required| required.iter().any(|own| own == name));
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let Some(property) = property.as_object_mut().filter(|_| !is_required(name)) else { continue };
        if let Some(reference) = property.remove("$ref") {
            // Not one of two, of which nobody could say which was meant.
            property.insert("if".to_owned(), json!({ "type": "null" }));
            property.insert("else".to_owned(), json!({ "$ref": reference }));
        } else if let Some(kind) = property.get_mut("type") {
            *kind = json!([kind, "null"]);
        }
    }
}
