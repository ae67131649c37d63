//! Workloads: as the command line names them, and as documents of Kubernetes have them.

use std::collections::BTreeMap;

use sidegate_config::Workload;

use crate::yaml::{Kind, Node};

/// Labels that Kubernetes gives to each pod, or each generation of pods.
const OF_ITS_OWN: [&str; 5] = [
    "pod-template-hash",
    "pod-template-generation",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// `NAMESPACE` or `NAMESPACE/NAME`: with what the documents have of that name, of the first ones that have it, or else an account of
/// that name.
pub fn known<'a>(
    text: &str,
    labels: &[String],
    documents: impl IntoIterator<Item = &'a [Node]>,
) -> Result<Workload, String> {
    let named = named(text, labels)?;
    for documents in documents {
        let is_it = |pods: &Pods<'_>| {
            pods.workload.namespace == named.namespace && named.service_account.as_ref() == Some(&pods.name)
        };
        let mut found: Vec<Workload> = Vec::new();
        for pods in Pods::each(documents).into_iter().filter(is_it) {
            if !found.contains(&pods.workload) {
                found.push(pods.workload);
            }
        }
        match found.pop() {
            Some(_) if !found.is_empty() => {
                return Err(format!(
                    "`{text}` is the name of several documents: say by `--label` which pods are meant, and leave out the name"
                ));
            }
            Some(mut one) => {
                one.labels.extend(named.labels);
                return Ok(one);
            }
            None => {}
        }
    }
    Ok(named)
}

/// `NAMESPACE` or `NAMESPACE/SERVICEACCOUNT`, and labels as `name=value`.
fn named(workload: &str, labels: &[String]) -> Result<Workload, String> {
    let (namespace, service_account) = match workload.split_once('/') {
        Some((namespace, account)) => (namespace, Some(account.to_owned())),
        None => (workload, None),
    };
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(format!("`{text}`: a label is written as `name=value`")),
    };
    let labels = labels.iter().map(pair).collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(Workload { namespace: Some(namespace.to_owned()), labels, service_account, ..Workload::default() })
}

/// A document that is a pod, or says what pods it makes.
#[derive(Debug, Clone)]
pub struct Pods<'a> {
    /// Its name.
    pub name: String,
    /// Of which namespace, with which labels and account.
    pub workload: Workload,
    /// The `spec` of a pod.
    spec: Option<&'a Node>,
}

impl<'a> Pods<'a> {
    /// All among documents, and in lists of them; those that are alike once.
    pub fn of(documents: impl IntoIterator<Item = &'a Node>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for pods in Self::each(documents) {
            if all.iter().all(|known| known.workload != pods.workload) {
                all.push(pods);
            }
        }
        all
    }

    /// All among documents, and in lists of them.
    pub fn each(documents: impl IntoIterator<Item = &'a Node>) -> Vec<Self> {
        documents.into_iter().flat_map(leaves).filter_map(Self::read).collect()
    }

    fn read(document: &'a Node) -> Option<Self> {
        let template = |document: &'a Node| document.member("spec")?.member("template");
        let pod = match document.text("kind")? {
            "Pod" => document,
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
                template(document)?
            }
            "CronJob" => template(document.member("spec")?.member("jobTemplate")?)?,
            _ => return None,
        };
        let text = |name: &str| document.member("metadata").and_then(|metadata| metadata.text(name));
        let labels = pod.member("metadata").and_then(|metadata| metadata.member("labels")).map(Node::members);
        let labels = labels.unwrap_or_default().iter().filter(|member| !OF_ITS_OWN.contains(&&*member.name));
        let labels = labels.filter_map(|member| match &member.value.kind {
            Kind::String(value) => Some((member.name.clone(), value.clone())),
            _ => None,
        });
        let spec = pod.member("spec");
        let account = spec.and_then(|spec| spec.text("serviceAccountName").or_else(|| spec.text("serviceAccount")));
        let workload = Workload {
            namespace: Some(text("namespace").unwrap_or("default").to_owned()),
            labels: labels.collect(),
            service_account: Some(account.unwrap_or("default").to_owned()),
            ..Workload::default()
        };
        Some(Self { name: text("name").unwrap_or_default().to_owned(), workload, spec })
    }

    /// The numbers of its ports of a name.
    pub fn ports(&self, name: &str) -> Vec<u64> {
        let containers = self.spec.and_then(|spec| spec.member("containers")).map(Node::items).unwrap_or_default();
        let ports = containers.iter().filter_map(|container| container.member("ports")).flat_map(Node::items);
        let numbers = ports.filter(|port| port.text("name") == Some(name)).filter_map(|port| {
            match &port.member("containerPort")?.kind {
                Kind::Number(number) => number.as_u64(),
                _ => None,
            }
        });
        numbers.collect()
    }
}

/// A document, or those in a list of them.
pub fn leaves(document: &Node) -> Vec<&Node> {
    match document.text("kind") {
        Some(kind) if is_list(kind) => {
            let lists = ["items", "resources"].iter().filter_map(|name| document.member(name));
            lists.flat_map(Node::items).flat_map(leaves).collect()
        }
        _ => vec![document],
    }
}

/// Whether a kind is one of lists of documents.
pub fn is_list(kind: &str) -> bool {
    kind == "PluginConfig" || kind.ends_with("List")
}
