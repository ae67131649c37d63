//! What is rendered for control planes, by their own definitions: with `ISTIO_CRDS` a file of Istio's, with `GATEWAY_CRDS` a folder of
//! Envoy Gateway's. `./build.sh schemas` gets both.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};

use crate::sidegate;

/// Schemas by `apiVersion` and kind.
type Schemas = BTreeMap<(String, String), Value>;

fn documents(text: &str) -> Vec<Value> {
    let texts = text.split("\n---").map(|text| text.trim_start_matches("---")).filter(|text| !text.trim().is_empty());
    texts.map(|text| yaml_serde::from_str(text).unwrap()).collect()
}

fn add(text: &str, schemas: &mut Schemas) {
    for definition in documents(text).iter().filter(|document| document["kind"] == "CustomResourceDefinition") {
        let (group, kind) = (&definition["spec"]["group"], &definition["spec"]["names"]["kind"]);
        for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
            let name = format!("{}/{}", group.as_str().unwrap(), version["name"].as_str().unwrap());
            let schema = closed(&version["schema"]["openAPIV3Schema"]);
            schemas.insert((name, kind.as_str().unwrap().to_owned()), schema);
        }
    }
}

/// A schema in which what is not named is wrong: the API server drops it.
fn closed(schema: &Value) -> Value {
    let Some(members) = schema.as_object() else { return schema.clone() };
    let mut closed: serde_json::Map<String, Value> = members
        .iter()
        .filter(|(name, _)| *name != "format")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(Value::Object(properties)) = closed.get_mut("properties") {
        properties.values_mut().for_each(|property| *property = self::closed(property));
        let open = members.get("x-kubernetes-preserve-unknown-fields").is_some_and(|open| open == true);
        if !open && !members.contains_key("additionalProperties") {
            closed.insert("additionalProperties".to_owned(), json!(false));
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(value) = closed.get(name).filter(|value| value.is_object()).cloned() {
            closed.insert(name.to_owned(), self::closed(&value));
        }
    }
    closed.into()
}

fn problems(schemas: &Schemas, document: &Value) -> Vec<String> {
    let key = (document["apiVersion"].as_str().unwrap().to_owned(), document["kind"].as_str().unwrap().to_owned());
    let Some(schema) = schemas.get(&key) else { return vec![format!("{key:?} is not defined")] };
    let mut schema = schema.clone();
    for name in ["apiVersion", "kind", "metadata"] {
        schema["properties"][name] = json!({});
    }
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn rendered(target: &str, more: &[&str]) -> Vec<Value> {
    let module = ["--module", "oci://registry.example.com/sidegate:0.1.0", "--sha256", HASH];
    let ran = sidegate(&[&["render", "-f", "documents/calls.yaml", "-o", target][..], &module, more].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    documents(&ran.out)
}

/// The manifests of a workload that has connections, too.
fn rendered_for_connections(target: &str) -> Vec<Value> {
    let module = ["--module", "oci://registry.example.com/sidegate:0.1.0", "--selector", "app=api", "--tcp", "3306"];
    let ran = sidegate(&[&["render", "-f", "documents/mesh.yaml", "-o", target][..], &module].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    documents(&ran.out)
}

const HASH: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

#[test]
fn istio_takes_what_is_rendered_for_it() {
    let Some(path) = env::var_os("ISTIO_CRDS") else { return eprintln!("ISTIO_CRDS is not set: Istio is not asked") };
    let mut schemas = Schemas::new();
    add(&fs::read_to_string(path).unwrap(), &mut schemas);
    for (target, kind) in [("wasmplugin", "WasmPlugin"), ("trafficextension", "TrafficExtension")] {
        for place in [&["--selector", "app=calls", "-n", "demo"], &["--target", "Gateway/edge", "-n", "demo"]] {
            let documents = rendered(target, place);
            let kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
            assert!(["ServiceEntry", "DestinationRule", kind].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
            for document in &documents {
                assert_eq!(problems(&schemas, document), Vec::<String>::new(), "{document:#}");
            }
            // And a field that is none of theirs is one.
            let mut wrong = documents[0].clone();
            wrong["spec"]["failStrategie"] = "FAIL_OPEN".into();
            assert_eq!(problems(&schemas, &wrong).len(), 1);
        }
        let documents = rendered_for_connections(target);
        let kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, [kind, kind, "EnvoyFilter"]);
        for document in &documents {
            assert_eq!(problems(&schemas, document), Vec::<String>::new(), "{document:#}");
        }
    }
}

#[test]
fn envoy_gateway_takes_what_is_rendered_for_it() {
    let Some(folder) = env::var_os("GATEWAY_CRDS") else {
        return eprintln!("GATEWAY_CRDS is not set: Envoy Gateway is not asked");
    };
    let mut schemas = Schemas::new();
    for entry in fs::read_dir(Path::new(&folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            add(&fs::read_to_string(path).unwrap(), &mut schemas);
        }
    }
    for target in ["Gateway/edge", "HTTPRoute/calls"] {
        for document in rendered("envoy-extension-policy", &["--target", target, "-n", "demo"]) {
            assert_eq!(problems(&schemas, &document), Vec::<String>::new(), "{document:#}");
            let mut wrong = document.clone();
            wrong["spec"]["wasm"][0]["failOpened"] = true.into();
            assert_eq!(problems(&schemas, &wrong).len(), 1);
        }
    }
}
