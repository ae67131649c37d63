//! One workload's part: of policies over identity those that are about it.

use serde_json::{Map, Value, json};
use sidegate_config::Workload;
use sidegate_engine::Policy;

use crate::args::{Render, Target};
use crate::workloads::{self, Pods};
use crate::yaml::Node;

/// For whom something is rendered.
#[derive(Debug)]
pub struct Of {
    /// The name of the document that makes its pods, if it is one of several.
    pub name: Option<String>,
    pub workload: Workload,
}

/// For whom: each once; none: for all together.
pub fn all(arguments: &Render, documents: &[Node]) -> Result<Vec<Option<Of>>, String> {
    let Render { workload, labels, split_by_workload, output, .. } = arguments;
    if let Some(text) = workload {
        return Ok(vec![Some(Of { name: None, workload: workloads::known(text, &labels.labels, [documents])? })]);
    }
    if !split_by_workload {
        return Ok(vec![None]);
    }
    if !matches!(output, Target::PluginConfig | Target::Wasmplugin | Target::Trafficextension) {
        return Err("this target is for one workload: name it by `--workload`".to_owned());
    }
    let mut pods = Pods::of(documents);
    if pods.is_empty() {
        return Err(
            "there are no workloads among the documents: give Pods, Deployments and the like by `-f`, too".to_owned()
        );
    }
    pods.sort_by(|a, b| (&a.workload.namespace, &a.name).cmp(&(&b.workload.namespace, &b.name)));
    tell_of_overlaps(&pods);
    Ok(pods.into_iter().map(|pods| Some(Of { name: Some(pods.name), workload: pods.workload })).collect())
}

/// A selector that fits the pods of another workload gives these two plugins, which must both let in.
fn tell_of_overlaps(pods: &[Pods<'_>]) {
    for a in pods {
        let within = |b: &&Pods<'_>| {
            let labels = a.workload.labels.iter().all(|(name, value)| b.workload.labels.get(name) == Some(value));
            labels && a.workload.namespace == b.workload.namespace && a.name != b.name
        };
        for b in pods.iter().filter(within) {
            let (namespace, a, b) = (a.workload.namespace.as_deref().unwrap_or_default(), &a.name, &b.name);
            anstream::eprintln!(
                "note: all labels of {namespace}/{a} are those of {namespace}/{b} too, whose pods get both plugins"
            );
        }
    }
}

/// The configuration with what is about a workload, which is named in it.
pub fn only(mut plugin_config: Value, of: Option<&Of>) -> Result<Value, String> {
    let Some(Of { workload, .. }) = of else { return Ok(plugin_config) };
    let own = plugin_config.get("workload").and_then(|own| own.get("namespace"));
    if own.is_some_and(|own| !own.is_null()) {
        return Err("the documents name a workload already: leave out `workload` of the PluginConfig".to_owned());
    }
    let policy = Policy::compile(plugin_config.to_string().as_bytes())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let selected: Vec<String> = policy.mesh().map_or_else(Vec::new, |mesh| {
        let workload = mesh.workload(workload);
        mesh.objects().filter(|object| object.target.selects(&workload).is_ok()).map(|object| object.label()).collect()
    });
    let namespace = workload.namespace.as_deref().unwrap_or_default();
    if let Some(resources) = plugin_config.get_mut("resources").and_then(Value::as_array_mut) {
        resources.retain(|resource| match label(resource) {
            Some(label) => selected.contains(&label),
            None => resource["kind"] != "Namespace" || resource["metadata"]["name"] == namespace,
        });
    }
    // Where no policy is about it, that is no mistake: it is decided as where all of them are.
    let is_policy = |resource: &Value| label(resource).is_some() || resource["kind"] == "AuthConfig";
    let has_policy = plugin_config["resources"].as_array().into_iter().flatten().any(is_policy);
    if policy.mesh().is_some() && !has_policy && plugin_config["options"].get("eastWest").is_none() {
        plugin_config["options"]["eastWest"] = json!({});
    }
    let mut known: Map<String, Value> =
        plugin_config.get("workload").and_then(Value::as_object).cloned().unwrap_or_default();
    known.insert("namespace".to_owned(), namespace.into());
    known.insert("labels".to_owned(), json!(workload.labels));
    known.extend(workload.service_account.iter().map(|account| ("serviceAccount".to_owned(), account.as_str().into())));
    plugin_config["workload"] = known.into();
    Ok(plugin_config)
}

/// How the engine calls a policy over identity; none of another document.
fn label(resource: &Value) -> Option<String> {
    let metadata = |name: &str| resource["metadata"][name].as_str().filter(|text| !text.is_empty());
    let (namespace, name) = (metadata("namespace").unwrap_or("default"), metadata("name").unwrap_or_default());
    let istio = resource["apiVersion"].as_str().is_some_and(|version| version.starts_with("security.istio.io/"));
    match resource["kind"].as_str()? {
        "AuthorizationPolicy" if istio => Some(format!("Istio AuthorizationPolicy {namespace}/{name}")),
        "AuthorizationPolicy" | "XAuthorizationPolicy" => Some(format!("AuthorizationPolicy {namespace}/{name}")),
        "ClusterAuthorizationPolicy" => Some(format!("ClusterAuthorizationPolicy {name}")),
        _ => None,
    }
}
