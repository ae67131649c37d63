//! The checked-in schemas are those of the types, and they say of documents what Sidegate says: `cargo test -p sidegate-tests
//! --test schemas`. With `UPDATE_GOLDEN=1` the files are written.

use std::collections::BTreeMap;
use std::fs;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use sidegate_tests::case::Runner;
use sidegate_tests::corpus;
use sidegate_tests::schemas::{checked_in, folder, problems, sorted, validate};

/// Messages about the shape of a document, which its schema knows. All others are about what it means.
const ABOUT_SHAPE: [&str; 8] = [
    "unknown field",
    "unknown kind",
    "unknown value",
    "is not supported for",
    "is required but missing",
    "must be a string, not",
    "must be a list, not",
    "is not in `v1beta2`",
];

fn main() {
    let mut trials: Vec<Trial> = files().into_iter().map(|(name, text)| golden(name, text)).collect();
    trials.push(trial("no file is left over".to_owned(), no_file_is_left_over));
    for (name, schema) in sidegate_config::schema::schemas() {
        trials.push(trial(format!("defaults and examples of {name}"), move || defaults_and_examples(&name, &schema)));
    }
    let cases = corpus::load(Runner::Native).unwrap_or_else(|error| panic!("{error}"));
    trials.extend(cases.into_iter().map(|entry| trial(entry.id.clone(), move || case(&entry))));
    trials.extend(broken());
    trials.extend(examples());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(name: String, run: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::test(name, move || run().map_err(Failed::from))
}

/// What is checked in, by its path.
fn files() -> BTreeMap<String, String> {
    let schemas = sidegate_config::schema::schemas()
        .into_iter()
        .map(|(name, schema)| (format!("schemas/{name}"), format!("{:#}\n", sorted(&schema))));
    let manifests = sidegate_config::schema::manifests().into_iter().map(|(name, manifest)| {
        let text = yaml_serde::to_string(&sorted(&manifest)).unwrap_or_else(|error| panic!("{name}: {error}"));
        (
            format!("crds/{name}"),
            format!("# Made by `UPDATE_GOLDEN=1 cargo test -p sidegate-tests --test schemas`.\n{text}"),
        )
    });
    schemas.chain(manifests).collect()
}

fn golden(name: String, made: String) -> Trial {
    trial(name.clone(), move || {
        let path = folder().join(&name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(|error| error.to_string())?;
            return fs::write(&path, made).map_err(|error| format!("{name}: {error}"));
        }
        match fs::read_to_string(&path) {
            Ok(text) if text == made => Ok(()),
            Ok(_) => Err(format!("{name} is not what the types say: `UPDATE_GOLDEN=1` writes it")),
            Err(error) => Err(format!("{name}: {error}: `UPDATE_GOLDEN=1` writes it")),
        }
    })
}

fn no_file_is_left_over() -> Result<(), String> {
    let made = files();
    for part in ["schemas", "crds"] {
        for entry in fs::read_dir(folder().join(part)).map_err(|error| format!("{part}: {error}"))?.flatten() {
            let name = format!("{part}/{}", entry.file_name().to_string_lossy());
            if !made.contains_key(&name) {
                return Err(format!("nothing makes {name}"));
            }
        }
    }
    Ok(())
}

/// What a schema gives as a default or an example is valid where it stands.
fn defaults_and_examples(name: &str, schema: &Value) -> Result<(), String> {
    let mut found = 0;
    check_values(schema, schema.get("$defs").unwrap_or(&Value::Null), &mut found)?;
    if found == 0 && name != "sidegate.json" { Err("there are none".to_owned()) } else { Ok(()) }
}

fn check_values(schema: &Value, definitions: &Value, found: &mut usize) -> Result<(), String> {
    if let Value::Array(items) = schema {
        return items.iter().try_for_each(|item| check_values(item, definitions, found));
    }
    let Value::Object(members) = schema else { return Ok(()) };
    let examples = members.get("examples").and_then(Value::as_array).into_iter().flatten();
    let values: Vec<_> = examples.chain(members.get("default").filter(|value| !value.is_object())).collect();
    if !values.is_empty() {
        let mut alone = schema.clone();
        alone["$defs"] = definitions.clone();
        let validator = jsonschema::draft202012::new(&alone).map_err(|error| error.to_string())?;
        values.iter().try_for_each(|value| problems(&validator, value))?;
        *found += values.len();
    }
    // Definitions of definitions refer to what is beside them in the whole, and are checked in files of their own.
    let inner = members.iter().filter(|(_, value)| value.get("$schema").is_none() && value.get("$defs").is_none());
    inner.filter(|(key, _)| *key != "examples").try_for_each(|(_, value)| check_values(value, definitions, found))
}

/// A configuration that Sidegate takes validates; one that is wrong in its shape does not.
fn case(entry: &corpus::Entry) -> Result<(), String> {
    let prepared = entry.prepare()?;
    // Some cases are about bytes that are no JSON.
    let Ok(configuration) = serde_json::from_str::<Value>(&prepared.configuration) else { return Ok(()) };
    if prepared.case.config_errors.is_empty() {
        let left_out = sidegate_config::decode(prepared.configuration.as_bytes()).map(|documents| documents.left_out);
        // `options.eastWest.lenient` takes what is not valid.
        return if left_out.is_ok_and(|left_out| !left_out.is_empty()) { Ok(()) } else { validate(&configuration) };
    }
    let about_shape = prepared
        .case
        .config_errors
        .iter()
        .find(|error| ABOUT_SHAPE.iter().any(|message| error.message.contains(message)));
    match (about_shape, validate(&configuration)) {
        (Some(error), Ok(())) => Err(format!("the schema takes it, though {}: {}", error.path, error.message)),
        _ => Ok(()),
    }
}

/// Documents that no schema takes, each with a part of what is said of it: `config-schema/tests/broken`.
fn broken() -> Vec<Trial> {
    let name = "broken documents";
    let folder = folder().join("tests/broken");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{name}: {error}")).flatten();
    let documents = files.flat_map(|file| {
        let text = fs::read_to_string(file.path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let cases: Vec<Value> = yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        cases.into_iter().map(move |case| (file.file_name().to_string_lossy().into_owned(), case))
    });
    let trials = documents.map(|(file, case)| {
        let text = |name: &str| case.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (title, schema, problem) = (text("title"), text("schema"), text("problem"));
        let document = case.get("document").cloned().unwrap_or_default();
        trial(format!("{name}: {file}: {title}"), move || {
            if problem.is_empty() {
                return Err("it must say a part of the problem".to_owned());
            }
            for schema in [schema.as_str(), "sidegate.json"] {
                match problems(&checked_in(schema)?, &document) {
                    Ok(()) => return Err(format!("{schema} takes it")),
                    Err(said) if said.contains(&problem) => {}
                    Err(said) => return Err(format!("{schema} says\n{said}\nand not `{problem}`")),
                }
            }
            // It is Sidegate that has the last word.
            match sidegate_config::decode(resource(&document).to_string().as_bytes()) {
                Ok(_) => Err("Sidegate takes it".to_owned()),
                Err(_) => Ok(()),
            }
        })
    });
    trials.collect()
}

/// A configuration that has the document, and else nothing that could be wrong.
fn resource(document: &Value) -> Value {
    if document.get("kind") == Some(&json!("PluginConfig")) {
        return document.clone();
    }
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": [document],
        "options": { "eastWest": {} },
    })
}

/// The examples of the schemas and those of `envoy-examples` are taken.
fn examples() -> Vec<Trial> {
    let schemas = sidegate_config::schema::schemas().into_iter().map(|(name, schema)| {
        trial(format!("Sidegate takes the examples of {name}"), move || {
            for example in schema.get("examples").and_then(Value::as_array).into_iter().flatten() {
                sidegate_config::decode(resource(example).to_string().as_bytes())
                    .map_err(|broken| format!("{:?}", broken.problems))?;
                problems(&checked_in(&name)?, example)?;
                validate(example)?;
            }
            Ok(())
        })
    });
    let folder = folder().join("../envoy-examples");
    let scenes = fs::read_dir(folder).unwrap_or_else(|error| panic!("envoy-examples: {error}")).flatten();
    let files = scenes.flat_map(|scene| fs::read_dir(scene.path()).into_iter().flatten().flatten());
    let policies = files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with("policy.yaml"));
    let policies = policies.map(|path| {
        let name = path.display().to_string();
        let name = name.rsplit("../").next().unwrap_or_default().to_owned();
        trial(name, move || {
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            for document in yaml_serde::Deserializer::from_str(&text) {
                validate(&serde::Deserialize::deserialize(document).map_err(|error| format!("{error}"))?)?;
            }
            Ok(())
        })
    });
    schemas.chain(policies).collect()
}
