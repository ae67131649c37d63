//! The examples of `envoy-examples/`, with servers of ours in the place of theirs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// An example: what is in its folder.
#[derive(Debug, Clone)]
pub struct Example {
    /// Its folder.
    pub folder: PathBuf,
    /// `policy.yaml`.
    pub policy: Value,
    /// `envoy.yaml`.
    pub envoy: Value,
}

impl Example {
    /// Reads one by the name of its folder.
    ///
    /// # Errors
    /// A file is missing, or no YAML.
    pub fn load(name: &str) -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy-examples").join(name);
        let read = |file: &str| {
            let text = fs::read_to_string(folder.join(file)).map_err(|error| format!("{name}/{file}: {error}"))?;
            yaml_serde::from_str(&text).map_err(|error| format!("{name}/{file}: {error}"))
        };
        Ok(Self { policy: read("policy.yaml")?, envoy: read("envoy.yaml")?, folder })
    }

    /// The plugin configuration that stands in `envoy.yaml`.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn policy_in_envoy(&mut self) -> Result<Value, String> {
        let text = self.plugin()["configuration"]["value"].as_str().unwrap_or_default().to_owned();
        serde_json::from_str(&text).map_err(|error| format!("the configuration in envoy.yaml: {error}"))
    }

    /// Envoy's configuration with our module, our ports and our servers, and with the policy of `policy.yaml`.
    #[must_use]
    pub fn bootstrap(mut self, module: &Path, listener: u16, clusters: &[(&str, SocketAddr)]) -> Value {
        let policy = self.policy.to_string();
        let plugin = self.plugin();
        plugin["vm_config"]["code"]["local"]["filename"] = json!(module);
        plugin["configuration"]["value"] = json!(policy);
        let loopback = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
        self.envoy["admin"]["address"] = loopback(0);
        self.envoy["static_resources"]["listeners"][0]["address"] = loopback(listener);
        for cluster in self.envoy["static_resources"]["clusters"].as_array_mut().into_iter().flatten() {
            let ours = clusters.iter().find(|(name, _)| cluster["name"] == *name);
            if let Some((_, address)) = ours {
                cluster["type"] = json!("STATIC");
                cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] =
                    loopback(address.port());
            }
        }
        self.envoy
    }

    fn plugin(&mut self) -> &mut Value {
        let chain = &mut self.envoy["static_resources"]["listeners"][0]["filter_chains"][0];
        &mut chain["filters"][0]["typed_config"]["http_filters"][0]["typed_config"]["config"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_the_same_in_both_files() {
        for name in ["quickstart", "composition"] {
            let mut example = Example::load(name).unwrap();
            assert_eq!(example.policy_in_envoy().unwrap(), example.policy, "{name}");
        }
    }
}
