//! What Istio says of the `wasmplugin.yaml`s: its CustomResourceDefinitions, if `./build.sh istio` has brought them.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use serde::Deserialize as _;
use serde_json::Value;
use sidegate_tests::scene::{self, Example};

pub fn trials() -> Vec<Trial> {
    let definitions = definitions();
    if definitions.is_none() {
        println!("left out: what Istio's own definitions say of the WasmPlugins; `./build.sh istio` brings them");
    }
    let known: Vec<Value> = definitions.and_then(|file| documents(&file).ok()).unwrap_or_default();
    let all = Example::all().into_iter().flat_map(|name| files(&scene::examples().join(name)));
    let trial = |file: PathBuf| {
        let title = file.strip_prefix(scene::examples()).unwrap_or(&file).display().to_string();
        let known = known.clone();
        Trial::test(title, move || {
            documents(&file)?.iter().try_for_each(|manifest| check(manifest, &known)).map_err(Failed::from)
        })
    };
    all.map(trial).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| path.to_string_lossy().ends_with("wasmplugin.yaml")).collect()
}

fn definitions() -> Option<PathBuf> {
    let tools = fs::read_dir(scene::examples().join("../.tools")).ok()?.flatten().map(|entry| entry.path());
    let istio = tools.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("istio-")));
    let modules = istio.filter_map(|path| fs::read_dir(path.join("istio.io")).ok()).flatten().flatten();
    let files = modules.map(|module| module.path().join("manifests/charts/base/files/crd-all.gen.yaml"));
    files.into_iter().find(|path| path.is_file())
}

fn documents(file: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let read = yaml_serde::Deserializer::from_str(&text).map(Value::deserialize).collect::<Result<Vec<_>, _>>();
    read.map_err(|error| format!("{}: {error}", file.display()))
}

/// The fields that we rely on, and all of them if there are definitions.
fn check(manifest: &Value, definitions: &[Value]) -> Result<(), String> {
    let spec = &manifest["spec"];
    if manifest["kind"] == "WasmPlugin" {
        let is = |name: &str, value: &str| match spec[name] == value {
            true => Ok(()),
            false => Err(format!("{name} is {}, and must be {value}", spec[name])),
        };
        is("phase", "AUTHZ")?;
        is("failStrategy", "FAIL_RELOAD")?;
        is("pluginName", if spec["type"] == "NETWORK" { "sidegate_tcp" } else { "sidegate" })?;
    }
    if definitions.is_empty() {
        return Ok(());
    }
    let (group, version) =
        manifest["apiVersion"].as_str().and_then(|text| text.split_once('/')).ok_or("no apiVersion")?;
    let definition = definitions
        .iter()
        .find(|known| known["spec"]["group"] == group && known["spec"]["names"]["kind"] == manifest["kind"])
        .ok_or_else(|| format!("Istio has no {}", manifest["kind"]))?;
    let mut versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let schema = versions.find(|known| known["name"] == version).map(|version| &version["schema"]["openAPIV3Schema"]);
    let schema = schema.ok_or_else(|| format!("Istio has no version {version}"))?;
    let fields = &schema["properties"]["spec"]["properties"];
    if let Some(field) = spec.as_object().into_iter().flatten().find(|(name, _)| fields[name.as_str()].is_null()) {
        return Err(format!("Istio has no field `{}`", field.0));
    }
    let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
    validator.validate(manifest).map_err(|error| format!("{}: {error}", error.instance_path()))
}
