//! Rows of policies over identity, a request, and what is decided: `tests/east-west/*.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A file of rows.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Table {
    /// Namespace of policies that say none.
    pub namespace: String,
    /// Trust domain of workloads.
    pub trust_domain: String,
    /// `options.eastWest`.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// Labels of namespaces.
    #[serde(default)]
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// What a request is like where the row does not say otherwise.
    pub request: Call,
    /// Policies by name.
    #[serde(default)]
    pub policies: BTreeMap<String, Policy>,
    /// `spec` of cluster-wide policies by name.
    #[serde(default)]
    pub cluster: BTreeMap<String, Value>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// An `AuthorizationPolicy`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Its namespace.
    pub namespace: Option<String>,
    /// It is Istio's.
    #[serde(default)]
    pub istio: bool,
    /// Its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Its `spec`.
    pub spec: Value,
}

/// One row.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Row {
    /// A name of its own.
    pub id: String,
    /// Names of the policies that there are.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Names of the cluster-wide policies that there are.
    #[serde(default)]
    pub cluster: Vec<String>,
    /// Trust domain of the workload.
    pub trust_domain: Option<String>,
    /// Over the options of the table.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// Over the request of the table.
    #[serde(default)]
    pub request: Call,
    /// `ALLOW` or `DENY`, and by whom.
    pub want: String,
    /// `allow` or `deny`, as it would be with policies of `mode: Audit`, and by whom.
    pub shadow: Option<String>,
}

/// A connection, or a request over it. What is left out is as in the table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// It is no HTTP.
    pub connection: Option<bool>,
    /// Who is called.
    pub workload: Option<Workload>,
    /// URI SANs of the caller's certificate.
    pub identities: Option<Vec<String>>,
    /// The port that is called.
    pub port: Option<u16>,
    /// Address of who has opened the connection.
    pub peer: Option<String>,
    /// Address of the client.
    pub client: Option<String>,
    /// Address that is called.
    pub destination: Option<String>,
    /// The name that the client's TLS asks for.
    pub server_name: Option<String>,
    /// Dynamic metadata by filter.
    pub metadata: Option<Value>,
    /// Method. Default `GET`.
    pub method: Option<String>,
    /// Path. Default `/`.
    pub path: Option<String>,
    /// `:authority`. Default `api.test`.
    pub host: Option<String>,
    /// Headers.
    pub headers: Option<Vec<(String, String)>>,
    /// Payload of a verified token.
    pub token: Option<Value>,
}

/// A workload.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// All tables by the name of their file.
///
/// # Errors
/// A file cannot be read.
pub fn load() -> Result<Vec<(String, Table)>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("east-west");
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        tables.push((name.clone(), yaml_serde::from_str(&text).map_err(|error| format!("{name}: {error}"))?));
    }
    tables.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(tables)
}

impl Table {
    /// What a row asks, with what it leaves out.
    #[must_use]
    pub fn call(&self, row: &Row) -> Call {
        let (own, all) = (row.request.clone(), self.request.clone());
        Call {
            connection: own.connection.or(all.connection),
            workload: own.workload.or(all.workload),
            identities: own.identities.or(all.identities),
            port: own.port.or(all.port),
            peer: own.peer.or(all.peer),
            client: own.client.or(all.client),
            destination: own.destination.or(all.destination),
            server_name: own.server_name.or(all.server_name),
            metadata: own.metadata.or(all.metadata),
            method: own.method.or(all.method),
            path: own.path.or(all.path),
            host: own.host.or(all.host),
            headers: own.headers.or(all.headers),
            token: own.token.or(all.token),
        }
    }

    /// The plugin configuration of a row.
    ///
    /// # Errors
    /// It names a policy that there is not.
    pub fn configuration(&self, row: &Row) -> Result<Value, String> {
        let unknown = |name: &String| format!("there is no policy `{name}`");
        let mut resources = Vec::new();
        for name in &row.policies {
            let Policy { namespace, istio, annotations, spec } =
                self.policies.get(name).ok_or_else(|| unknown(name))?;
            let namespace = namespace.as_ref().unwrap_or(&self.namespace);
            let (api_version, kind) = match istio {
                true => ("security.istio.io/v1", "AuthorizationPolicy"),
                false => ("gateway.networking.x-k8s.io/v1alpha1", "XAuthorizationPolicy"),
            };
            resources.push(json!({
                "apiVersion": api_version, "kind": kind,
                "metadata": { "name": name, "namespace": namespace, "annotations": annotations }, "spec": spec,
            }));
        }
        for name in &row.cluster {
            let spec = self.cluster.get(name).ok_or_else(|| unknown(name))?;
            resources.push(json!({
                "apiVersion": "sidegate.dev/v1alpha1", "kind": "ClusterAuthorizationPolicy",
                "metadata": { "name": name }, "spec": spec,
            }));
        }
        resources.extend(self.namespaces.iter().map(|(name, labels)| {
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
        }));
        let mut options = self.options.clone();
        options.extend(row.options.clone());
        let workload = self.call(row).workload.ok_or("a row needs a workload")?;
        Ok(json!({
            "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": resources,
            "workload": {
                "namespace": workload.namespace, "labels": workload.labels,
                "trustDomain": row.trust_domain.as_ref().unwrap_or(&self.trust_domain),
            },
            "options": { "eastWest": options },
        }))
    }
}
