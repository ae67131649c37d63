//! The workload of this proxy, by the metadata of its node.

use prost::Message;
use prost_types::Struct;
use prost_types::value::Kind;
use sidegate_engine::gather::try_gathered;
use sidegate_engine::{Problem, Workload};

use crate::host::{self, HostError};

/// Where the node is in attributes: in an Envoy of today, and in older ones.
const NODE: [&[u8]; 2] = [b"xds\0node", b"node"];

/// What is read of an `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, optional, tag = "3")]
    metadata: Option<Struct>,
}

/// What Envoy knows of the workload, as Istio writes it into the metadata of the node.
///
/// # Errors
/// It cannot be read, or has something else than text: a label that is overlooked could be the one that a policy asks for.
pub fn known() -> Result<Workload, Problem> {
    let node = NODE.into_iter().map(host::property).find(|node| *node != Err(HostError::NotFound));
    let node = match node {
        Some(Ok(bytes)) => Node::decode(bytes.as_slice()).map_err(|_| problem("", "is no message of its kind"))?,
        Some(Err(error)) => return Err(problem("", error.name())),
        None => Node::default(),
    };
    let metadata = node.metadata.unwrap_or_default();
    let labels = match metadata.fields.get("LABELS").and_then(|labels| labels.kind.as_ref()) {
        Some(Kind::StructValue(labels)) => labels,
        None | Some(Kind::NullValue(_)) => &Struct::default(),
        Some(_) => return Err(problem(".LABELS", "is no object")),
    };
    let labels = labels.fields.keys().map(|name| match text(labels, name, ".LABELS")? {
        Some(value) => Ok((name.clone(), value.to_owned())),
        None => Err(problem(&format!(".LABELS.{name}"), "is null")),
    });
    let fact = |name| Ok(text(&metadata, name, "")?.filter(|text| !text.is_empty()).map(str::to_owned));
    Ok(Workload {
        labels: try_gathered(labels)?,
        namespace: fact("NAMESPACE")?,
        service_account: fact("SERVICE_ACCOUNT")?,
        // Istio's mesh has the name of its trust domain unless somebody has given it another one.
        trust_domain: fact("TRUST_DOMAIN")?.or(fact("MESH_ID")?),
    })
}

fn text<'a>(values: &'a Struct, name: &str, place: &str) -> Result<Option<&'a str>, Problem> {
    match values.fields.get(name).and_then(|value| value.kind.as_ref()) {
        None | Some(Kind::NullValue(_)) => Ok(None),
        Some(Kind::StringValue(text)) => Ok(Some(text)),
        Some(_) => Err(problem(&format!("{place}.{name}"), "is no text; put it into quotes")),
    }
}

fn problem(path: &str, message: &str) -> Problem {
    Problem { document: "Envoy's node".to_owned(), path: format!("metadata{path}"), message: message.to_owned() }
}
