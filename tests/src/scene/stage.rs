//! The servers of scenes: one Envoy that is all of theirs at once, since it takes seconds to compile the module, and others
//! who stand in for what is no Envoy.

use std::any::Any;
use std::fmt::Debug;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Place, Scene, text};
use crate::compose::{self, Service};
use crate::envoy::{Envoy, Paths};
use crate::servers::keycloak::Keycloak;
use crate::servers::talker::Talker;

/// What a database of MySQL's kind says first.
const GREETING: &[u8] = b"\x4a\0\0\0\x0a11.8.2-MariaDB\0\x07\0\0\0saltsalt\0\xfe\xf7\x2d\x02\0\xff\xa1\x15\0\0\0\0\0\0";

/// Who stands in for images that are no Envoy.
pub trait StandIns {
    /// Starts it, at the port that it has in its container. It ends when this is dropped.
    ///
    /// # Errors
    /// There is nobody for this image, or the address is not to be had.
    fn start(
        &self,
        runtime: &Runtime,
        service: &Service,
        folder: &Path,
        address: Ipv4Addr,
    ) -> Result<Box<dyn Any + Send + Sync>, String>;
}

/// Those of the rig.
#[derive(Debug, Clone, Copy)]
pub struct Theirs;

/// The servers; they end when this is dropped.
pub struct Stage {
    envoy: Envoy,
    _others: Vec<Box<dyn Any + Send + Sync>>,
    _runtime: Runtime,
}

impl StandIns for Theirs {
    fn start(
        &self,
        runtime: &Runtime,
        service: &Service,
        folder: &Path,
        address: Ipv4Addr,
    ) -> Result<Box<dyn Any + Send + Sync>, String> {
        let at = |port: u16| SocketAddr::from((address, port));
        match service.image.split(':').next().unwrap_or_default() {
            "quay.io/keycloak/keycloak" => {
                let (url, realm) = keycloak(service, folder)?;
                Ok(Box::new(runtime.block_on(Keycloak::start(at(8080), &url, realm)).map_err(text)?))
            }
            "mariadb" => Ok(Box::new(runtime.block_on(Talker::start_at(at(3306), GREETING)).map_err(text)?)),
            image => Err(format!("nobody stands in for the image `{image}`")),
        }
    }
}

/// The URL by which Keycloak names itself, and the realm that it imports.
///
/// # Errors
/// The service does not say so.
pub fn keycloak(service: &Service, folder: &Path) -> Result<(String, Value), String> {
    let url = service.environment.get("KC_HOSTNAME").ok_or("Keycloak is not told its KC_HOSTNAME")?;
    let realm = compose::mounted(&service.mounts(folder)?, "/opt/keycloak/data/import/realm.json")
        .ok_or("Keycloak has no realm to import")?;
    let realm = fs::read_to_string(realm).map_err(text)?;
    Ok((url.clone(), serde_json::from_str(&realm).map_err(text)?))
}

impl Stage {
    /// Starts those of all these scenes.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start(paths: &Paths, scenes: &[Scene], stand_ins: &dyn StandIns) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(text)?;
        let (mut bootstraps, mut others) = (Vec::new(), Vec::new());
        for scene in scenes {
            let folder = scene.example.folder();
            for place in &scene.places {
                let Place { name, service, address } = place;
                let ours = match service.image.starts_with("envoyproxy/envoy:") {
                    true => bootstrap(&folder, scene, place).map(|bootstrap| bootstraps.push(bootstrap)),
                    false => stand_ins.start(&runtime, service, &folder, *address).map(|other| others.push(other)),
                };
                ours.map_err(|error| format!("{}: {name}: {error}", scene.example.name))?;
            }
        }
        let issuers: Vec<(String, String)> = bootstraps.iter().flat_map(issuers).collect();
        let merged = merged(bootstraps)?;
        let envoy = Envoy::start(&paths.envoy, 1, |_| Ok(merged))?;
        issuers.iter().try_for_each(|(plugin, issuer)| envoy.wait_for_keys(plugin, issuer))?;
        Ok(Self { envoy, _others: others, _runtime: runtime })
    }

    /// What Envoy has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.envoy.log()
    }
}

/// Envoy's configuration of a service with addresses and files of ours, and names that no other one has.
fn bootstrap(folder: &Path, scene: &Scene, place: &Place) -> Result<Value, String> {
    let mounts = place.service.mounts(folder)?;
    let file = compose::mounted(&mounts, "/etc/envoy/envoy.yaml").ok_or("no `/etc/envoy/envoy.yaml` is mounted")?;
    let mut bootstrap: Value = yaml_serde::from_str(&fs::read_to_string(&file).map_err(text)?).map_err(text)?;
    for listener in bootstrap["static_resources"]["listeners"].as_array_mut().into_iter().flatten() {
        let address = &mut listener["address"]["socket_address"]["address"];
        if *address != "0.0.0.0" {
            return Err(format!("a listener at {address} is not found from outside of its container"));
        }
        *address = json!(place.address);
    }
    let find = |host: &str| {
        let mut places = scene.places.iter();
        places.find(|place| place.service.names(&place.name).any(|name| name == host))
    };
    for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().into_iter().flatten() {
        let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        let address = &mut endpoint["address"]["socket_address"]["address"];
        // Whom the project does not have, nobody finds: no name ends with `invalid`.
        *address = match find(address.as_str().unwrap_or_default()) {
            Some(place) => json!(place.address),
            None => json!("nobody.invalid"),
        };
    }
    let prefix = format!("{}/{}/", scene.example.name, place.name);
    rewrite(&mut bootstrap, &prefix, &|path| compose::mounted(&mounts, path));
    Ok(bootstrap)
}

/// Files of ours; names with a prefix, those that the plugin knows too.
fn rewrite(value: &mut Value, prefix: &str, ours: &dyn Fn(&str) -> Option<PathBuf>) {
    if let Value::Array(items) = value {
        return items.iter_mut().for_each(|item| rewrite(item, prefix, ours));
    }
    let Value::Object(members) = value else { return };
    let is_plugin = members.contains_key("vm_config");
    let is_named = is_plugin || members.contains_key("load_assignment") || members.contains_key("filter_chains");
    for (name, member) in members {
        match (name.as_str(), member.as_str()) {
            ("filename", Some(path)) => {
                if let Some(file) = ours(path) {
                    *member = json!(file);
                }
            }
            ("cluster" | "cluster_name", Some(cluster)) => *member = json!(format!("{prefix}{cluster}")),
            // Lines of the log begin with it. That of connections must be as it is.
            ("root_id", Some("sidegate")) => *member = json!(format!("{prefix}sidegate")),
            ("name", Some(own)) if is_named => *member = json!(format!("{prefix}{own}")),
            ("value", Some(text)) => {
                if let Some(mut configuration) = configuration(text) {
                    for upstream in
                        configuration.get_mut("upstreams").and_then(Value::as_array_mut).into_iter().flatten()
                    {
                        let cluster = upstream["cluster"].as_str().unwrap_or_default();
                        upstream["cluster"] = json!(format!("{prefix}{cluster}"));
                    }
                    *member = json!(configuration.to_string());
                }
            }
            _ => rewrite(member, prefix, ours),
        }
    }
}

/// One configuration with the listeners and clusters of all. Only one may say which workload it is.
fn merged(bootstraps: Vec<Value>) -> Result<Value, String> {
    let (mut listeners, mut clusters, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    for mut bootstrap in bootstraps {
        let mut take = |name: &str| bootstrap["static_resources"][name].as_array_mut().map(std::mem::take);
        listeners.extend(take("listeners").unwrap_or_default());
        clusters.extend(take("clusters").unwrap_or_default());
        nodes.extend(bootstrap.get("node").cloned());
    }
    let node = match nodes.len() {
        0 => json!({ "id": "examples", "cluster": "examples" }),
        1 => nodes.remove(0),
        _ => return Err("two examples have a node, and there is one Envoy: let one have a `workload`".to_owned()),
    };
    Ok(json!({
        "node": node,
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    }))
}

/// Plugins by name, and the issuers whose keys they fetch.
fn issuers(bootstrap: &Value) -> Vec<(String, String)> {
    match bootstrap {
        Value::Object(members) if members.contains_key("vm_config") => {
            let name = bootstrap["root_id"].as_str().unwrap_or_default();
            let configurations = plugin_configurations(&bootstrap["configuration"]);
            let resources =
                configurations.iter().filter_map(|configuration| configuration["resources"].as_array()).flatten();
            let rules = resources.filter_map(|resource| resource["spec"]["authentication"].as_object()).flatten();
            let issuers = rules.filter_map(|(_, rule)| rule["jwt"]["issuerUrl"].as_str());
            issuers.map(|issuer| (name.to_owned(), issuer.to_owned())).collect()
        }
        Value::Object(members) => members.values().flat_map(issuers).collect(),
        Value::Array(items) => items.iter().flat_map(issuers).collect(),
        _ => Vec::new(),
    }
}

/// The configurations of the plugin in one of Envoy.
#[must_use]
pub fn plugin_configurations(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(members) => members.values().flat_map(plugin_configurations).collect(),
        Value::Array(items) => items.iter().flat_map(plugin_configurations).collect(),
        Value::String(text) => configuration(text).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn configuration(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(|value: &Value| value["kind"] == "PluginConfig")
}
