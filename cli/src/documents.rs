//! Puts documents of many files together to one configuration, and finds its problems in the files again.

use crate::files::File;
use crate::report::{Finding, Level};
use crate::yaml::{self, Kind, Mark, Member, Node};

/// Groups whose kinds are ours to judge; documents of others are left out.
const GROUPS: [&str; 3] = ["authorino.kuadrant.io/", "sidegate.dev/", "gateway.networking.x-k8s.io/"];
/// Kinds that are ours to judge, whatever their group.
const KINDS: [&str; 5] = ["AuthConfig", "Secret", "ReferenceGrant", "Namespace", "PluginConfig"];
/// Istio's group, which has kinds of ours and others.
const ISTIO: &str = "security.istio.io/";
/// Kinds that are in no namespace.
const CLUSTER_WIDE: [&str; 2] = ["ClusterAuthorizationPolicy", "Namespace"];

/// All documents, as one `PluginConfig`.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The `PluginConfig`, each part of which knows its file.
    pub root: Node,
    /// Documents that are none of ours, such as Deployments.
    pub others: Vec<Node>,
    /// What is wrong with the files themselves.
    pub findings: Vec<Finding>,
}

impl Configuration {
    /// Puts the documents of files together.
    pub fn of(files: &[File]) -> Self {
        let mark = Mark { file: files.first().map_or("", |file| &file.name).into(), line: 1, column: 1 };
        let mut collected = Collected::default();
        for file in files {
            match yaml::parse(&file.name, &file.text) {
                Ok(documents) => documents.into_iter().for_each(|document| collected.document(document, file.found)),
                Err(mistake) => collected.findings.push(Finding::of_yaml(mistake)),
            }
        }
        let Collected { settings, resources, others, findings } = collected;
        let mark = resources.first().map_or(mark, |first| first.mark.clone());
        let member =
            |name: &str, kind| Member { name: name.to_owned(), mark: mark.clone(), value: Node::new(&mark, kind) };
        let mut members = settings.unwrap_or_else(|| {
            vec![
                member("apiVersion", Kind::String("sidegate.dev/v1alpha1".to_owned())),
                member("kind", Kind::String("PluginConfig".to_owned())),
            ]
        });
        members.retain(|member| member.name != "resources");
        members.push(member("resources", Kind::List(resources)));
        Self { root: Node::new(&mark, Kind::Object(members)), others, findings }
    }

    /// The same with the resources of another, in the place of those of their names.
    pub fn with(mut self, added: Self) -> Result<Self, String> {
        let is_resources = |member: &Member| ["apiVersion", "kind", "resources"].contains(&member.name.as_str());
        if !added.root.members().iter().all(is_resources) {
            return Err(
                "what is added are documents: a `PluginConfig` with more than these goes with `--diff`".to_owned()
            );
        }
        let labels: Vec<String> = added.resources().iter().map(label).collect();
        self.change(|resources| {
            resources.retain(|resource| !labels.contains(&label(resource)));
            resources.extend_from_slice(added.resources());
        });
        self.others.extend(added.others);
        self.findings.extend(added.findings);
        Ok(self)
    }

    /// The same without the resource of a name, with slashes for the spaces of [`label`]; Istio's need not be called so.
    pub fn without(mut self, name: &str) -> Result<Self, String> {
        let names = |resource: &Node| {
            let label = label(resource).replace(' ', "/");
            let short = label.strip_prefix("Istio/").map(ToOwned::to_owned);
            let wanted = name.replace(' ', "/");
            let wanted = wanted.strip_prefix('X').unwrap_or(&wanted);
            label == wanted || short.as_deref() == Some(wanted)
        };
        match self.resources().iter().filter(|resource| names(resource)).count() {
            0 => return Err(format!("there is no `{name}`: a document is named as in `AuthorizationPolicy/prod/api`")),
            1 => self.change(|resources| resources.retain(|resource| !names(resource))),
            _ => return Err(format!("there is more than one `{name}`: one of Istio's is `Istio/{name}`")),
        }
        Ok(self)
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<Node>)) {
        let Kind::Object(members) = &mut self.root.kind else { return };
        for member in members.iter_mut().filter(|member| member.name == "resources") {
            if let Kind::List(resources) = &mut member.value.kind {
                return change(resources);
            }
        }
    }

    /// As the engine reads it.
    pub fn text(&self) -> String {
        self.root.to_json()
    }

    /// Its resources.
    pub fn resources(&self) -> &[Node] {
        self.root.member("resources").map(Node::items).unwrap_or_default()
    }

    /// How many resources of a kind there are.
    pub fn count(&self, kind: &str) -> usize {
        self.resources().iter().filter(|resource| resource.text("kind") == Some(kind)).count()
    }

    /// Where in the files a document and a path in it are; and the two as a user knows them.
    pub fn locate(&self, document: &str, path: &str) -> (Mark, String, String) {
        // Of two documents with one name, the later is too many.
        if let Some(resource) = self.resources().iter().rev().find(|resource| label(resource) == document) {
            return (resource.locate(path).clone(), document.to_owned(), path.to_owned());
        }
        let mark = self.root.locate(path).clone();
        let Some((index, rest)) = path.strip_prefix("resources[").and_then(|path| path.split_once(']')) else {
            return (mark, document.to_owned(), path.to_owned());
        };
        let resource = index.parse().ok().and_then(|index: usize| self.resources().get(index));
        let name = resource.and_then(|resource| resource.member("metadata")?.text("name"));
        let document = match (resource, name) {
            (Some(resource), Some(_)) => label(resource),
            (resource, _) => {
                let kind = resource.and_then(|resource| resource.text("kind")).unwrap_or("document");
                format!("{kind} without a name")
            }
        };
        (mark, document, rest.trim_start_matches('.').to_owned())
    }
}

/// `AuthConfig default/talker-api`, as problems name a document.
pub fn label(resource: &Node) -> String {
    let metadata = |name: &str| resource.member("metadata").and_then(|metadata| metadata.text(name));
    let namespace = metadata("namespace").filter(|namespace| !namespace.is_empty()).unwrap_or("default");
    let (kind, name) = (resource.text("kind").unwrap_or_default(), metadata("name").unwrap_or_default());
    let istio = resource.text("apiVersion").is_some_and(|version| version.starts_with(ISTIO));
    match kind {
        kind if CLUSTER_WIDE.contains(&kind) => format!("{kind} {name}"),
        "AuthorizationPolicy" if istio => format!("{} {namespace}/{name}", sidegate_config::istio::WORD),
        "XAuthorizationPolicy" => format!("AuthorizationPolicy {namespace}/{name}"),
        kind => format!("{kind} {namespace}/{name}"),
    }
}

#[derive(Default)]
struct Collected {
    /// The members of the one `PluginConfig`.
    settings: Option<Vec<Member>>,
    resources: Vec<Node>,
    others: Vec<Node>,
    findings: Vec<Finding>,
}

impl Collected {
    fn document(&mut self, document: Node, found: bool) {
        if matches!(document.kind, Kind::Null) {
            return;
        }
        let (api_version, kind) = (document.text("apiVersion"), document.text("kind"));
        match (api_version, kind) {
            (_, Some("PluginConfig")) => self.plugin_config(document),
            (_, Some(kind)) if is_list(kind) => self.list(document, found),
            (api_version, kind) if is_ours(api_version, kind, found) => self.resources.push(document),
            (_, kind) => {
                let what = kind.map_or_else(|| "a document without `kind`".to_owned(), |_| label(&document));
                self.findings.push(Finding {
                    level: Level::Note,
                    rule: "left-out",
                    mark: document.mark.clone(),
                    document: what,
                    path: String::new(),
                    message: "is none of ours: left out".to_owned(),
                });
                self.others.push(document);
            }
        }
    }

    fn plugin_config(&mut self, document: Node) {
        let Kind::Object(members) = document.kind else { return };
        let resources = members.iter().find(|member| member.name == "resources").map(|member| member.value.clone());
        match resources.map(|resources| resources.kind) {
            // Whatever a `PluginConfig` has is meant for us.
            Some(Kind::List(items)) => items.into_iter().for_each(|item| match item.text("kind") {
                Some(kind) if is_list(kind) => self.list(item, false),
                _ => self.resources.push(item),
            }),
            Some(other) => self.error(&document.mark, "resources", other.must_be_list()),
            None => {}
        }
        match self.settings {
            None => self.settings = Some(members),
            Some(_) => self.error(&document.mark, "", "there is more than one: put them together".to_owned()),
        }
    }

    fn list(&mut self, list: Node, found: bool) {
        let typed = list.text("kind").and_then(|kind| kind.strip_suffix("List")).filter(|kind| !kind.is_empty());
        let (typed, api_version) = (typed.map(ToOwned::to_owned), list.text("apiVersion").map(ToOwned::to_owned));
        let items = list.member("items").cloned();
        match items.map(|items| items.kind) {
            Some(Kind::List(items)) => {
                for mut item in items {
                    let mark = item.mark.clone();
                    if let (Kind::Object(members), Some(kind), Some(api_version)) =
                        (&mut item.kind, &typed, &api_version)
                    {
                        for (name, value) in [("apiVersion", api_version), ("kind", kind)] {
                            if members.iter().all(|member| member.name != name) {
                                let value = Node::new(&mark, Kind::String(value.clone()));
                                members.push(Member { name: name.to_owned(), mark: mark.clone(), value });
                            }
                        }
                    }
                    self.document(item, found);
                }
            }
            Some(other) => self.error(&list.mark, "items", other.must_be_list()),
            None => self.error(&list.mark, "items", "is required but missing".to_owned()),
        }
    }

    fn error(&mut self, mark: &Mark, path: &str, message: String) {
        self.findings.push(Finding {
            level: Level::Error,
            rule: "configuration",
            mark: mark.clone(),
            document: "PluginConfig".to_owned(),
            path: path.to_owned(),
            message,
        });
    }
}

impl Kind {
    fn must_be_list(&self) -> String {
        let kind = match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        };
        format!("must be a list, not {kind}: put it in `[…]`")
    }
}

/// Whether a kind is one of lists that we look into. Those of others are theirs.
fn is_list(kind: &str) -> bool {
    let of = kind.strip_suffix("List");
    of.is_some_and(|of| of.is_empty() || of.ends_with("AuthorizationPolicy") || KINDS.contains(&of))
}

/// A document without `kind` is a mistake in a file that was named, and somebody else's in one that was found.
fn is_ours(api_version: Option<&str>, kind: Option<&str>, found: bool) -> bool {
    match (api_version, kind) {
        (Some(api_version), Some("AuthorizationPolicy")) if api_version.starts_with(ISTIO) => true,
        (Some(api_version), _) if GROUPS.iter().any(|group| api_version.starts_with(group)) => true,
        (_, Some(kind)) => KINDS.contains(&kind),
        (_, None) => !found,
    }
}
