//! `sidegate render`: from documents to what a proxy, or who configures proxies, takes.

mod compose;
mod envoy;
mod gateway;
mod istio;
mod plugin_config;
mod servers;
mod workload;

use serde_json::{Map, Value, json};
use sidegate_config::{Document, Documents};
use sidegate_engine::Policy;

use crate::args::{self, Files, Render, Target, Upstream};
use crate::documents::Configuration;
use crate::{Outcome, emit, files, validate};
use servers::Server;
use workload::Of;

/// What is rendered.
struct Subject<'a> {
    /// The `PluginConfig`, with nothing in it that no rule reads.
    plugin_config: Value,
    /// Who policies call.
    servers: Vec<Server>,
    documents: &'a Documents,
    arguments: &'a Render,
    /// For whom; none: for all.
    of: Option<&'a Of>,
}

pub fn run(arguments: &Render) -> Outcome {
    let Render { files: Files { files }, output, keep_keys, .. } = arguments;
    let files = files::read(files)?;
    let configuration = Configuration::of(&files);
    let documents = match validate::whole(&configuration) {
        Ok(documents) => documents,
        Err(findings) => {
            findings.iter().for_each(|finding| anstream::eprintln!("{finding}"));
            return Ok(false);
        }
    };
    can_have_connections(arguments)?;
    let servers = servers(&documents, *output);
    let mut plugin_config = plugin_config::of(&configuration, &documents, *keep_keys);
    if *output != Target::PluginConfig {
        plugin_config::add_upstreams(&mut plugin_config, &servers);
    }
    check_identity(&documents, arguments)?;
    tell_of_reach(arguments);
    let mut rendered: Vec<Value> = Vec::new();
    for of in workload::all(arguments, &configuration.others)? {
        let plugin_config = workload::only(plugin_config.clone(), of.as_ref())?;
        // What was left out, nobody may miss.
        if let Err(problems) = Policy::compile(plugin_config.to_string().as_bytes()) {
            problems
                .iter()
                .for_each(|problem| anstream::eprintln!("sidegate: rendered, it would be refused: {problem}"));
            return Ok(false);
        }
        let subject =
            Subject { plugin_config, servers: servers.clone(), documents: &documents, arguments, of: of.as_ref() };
        rendered.extend(manifests(&subject, *output)?);
    }
    print(&istio::each_once(rendered), *output);
    Ok(true)
}

/// Not every target has a place for the filter of connections.
fn can_have_connections(arguments: &Render) -> Result<(), String> {
    let Render { tcp, output, target, .. } = arguments;
    let why = match output {
        _ if tcp.is_empty() => return Ok(()),
        Target::PluginConfig => "the plugin configuration is the same for requests and for connections",
        Target::DockerCompose => "the upstream of a project knows HTTP alone: use `-o envoy`",
        Target::EnvoyExtensionPolicy => "Envoy Gateway has no filters for connections",
        Target::Wasmplugin | Target::Trafficextension if target.is_some() => {
            "ports of connections are those of a sidecar: use `--selector`"
        }
        Target::Envoy | Target::Wasmplugin | Target::Trafficextension => return Ok(()),
    };
    Err(format!("`--tcp`: {why}"))
}

/// Policies over identity need to know who calls, and hold for connections only where their filter is.
fn check_identity(documents: &Documents, arguments: &Render) -> Result<(), String> {
    let Render { output, tcp, cert_file, workload, .. } = arguments;
    let about_identity = |document: &Document| {
        matches!(
            document,
            Document::AuthorizationPolicy(_)
                | Document::ClusterAuthorizationPolicy(_)
                | Document::IstioAuthorizationPolicy(_)
        )
    };
    if !documents.resources.iter().any(about_identity) {
        return Ok(());
    }
    let of_documents = documents.settings.workload.as_ref().and_then(|workload| workload.namespace.as_ref());
    match output {
        // A mesh's Envoys know it by their node.
        Target::Envoy | Target::DockerCompose if workload.is_none() && of_documents.is_none() => {
            return Err("policies over identity are about workloads: say by `--workload` which this is".to_owned());
        }
        Target::Wasmplugin | Target::Trafficextension if tcp.is_empty() => anstream::eprintln!(
            "note: policies over identity hold for requests; for connections that are no HTTP name their ports by `--tcp`"
        ),
        Target::Envoy | Target::DockerCompose if cert_file.is_none() => {
            anstream::eprintln!("note: without `--cert-file` nobody who calls has an identity");
        }
        _ => {}
    }
    Ok(())
}

/// Whom Istio gives it to if nobody says it.
fn tell_of_reach(Render { output, selector, target, workload, split_by_workload, .. }: &Render) {
    let said = !selector.is_empty() || target.is_some() || workload.is_some() || *split_by_workload;
    if matches!(output, Target::Wasmplugin | Target::Trafficextension) && !said {
        anstream::eprintln!(
            "note: without `--selector` or `--target` it is for all pods of its namespace, and in Istio's root namespace for \
             those of the mesh"
        );
    }
}

/// Whom policies call, and by which clusters.
fn servers(documents: &Documents, output: Target) -> Vec<Server> {
    let (mut servers, unknown) = servers::called(documents);
    for place in unknown {
        anstream::eprintln!(
            "note: {place}: whom it calls is known only when it is called: name a cluster in `upstreams`"
        );
    }
    let is_istio = matches!(output, Target::Wasmplugin | Target::Trafficextension);
    if is_istio {
        for Server { url, .. } in servers.iter().filter(|server| server.beside && server.grpc) {
            let message = "is called by gRPC and by HTTP, and Istio's cluster of a port speaks one of them: name another cluster \
                           in `upstreams`";
            anstream::eprintln!("note: {}:{} {message}", url.host, url.port);
        }
    }
    match output {
        Target::PluginConfig => {}
        _ if is_istio => servers.iter_mut().for_each(|server| server.name_by(Server::istio_name)),
        _ => servers.iter_mut().for_each(|server| server.name_by(Server::plain_name)),
    }
    servers
}

fn manifests(subject: &Subject<'_>, output: Target) -> Result<Vec<Value>, String> {
    Ok(match output {
        Target::PluginConfig => vec![subject.plugin_config.clone()],
        Target::Envoy => vec![envoy::bootstrap(subject)],
        Target::DockerCompose => vec![compose::project(subject)?],
        Target::Wasmplugin => istio::wasm_plugin(subject)?,
        Target::Trafficextension => istio::traffic_extension(subject)?,
        Target::EnvoyExtensionPolicy => vec![gateway::extension_policy(subject)?],
    })
}

/// The plugin configuration as JSON, since that is what Envoy takes; manifests as YAML.
fn print(rendered: &[Value], output: Target) {
    if output == Target::PluginConfig {
        return rendered.iter().for_each(|value| line!("{value:#}"));
    }
    for (index, value) in rendered.iter().enumerate() {
        print!("{}{}", if index > 0 { "---\n" } else { "" }, emit::document(value));
    }
}

impl Subject<'_> {
    /// Where the module is; only its owner knows.
    fn module(&self) -> Result<&str, String> {
        self.arguments.module.as_deref().ok_or_else(|| "say by `--module` where the module is".to_owned())
    }

    /// Whether a rule reads the bodies of requests, for which Envoy must be told to let the filter wait.
    fn reads_bodies(&self) -> bool {
        self.documents.settings.options.allow_on_headers_stop_iteration
    }

    /// Why a control plane that has no setting for it cannot do with bodies.
    fn without_bodies(&self, who: &str) -> Result<(), String> {
        match self.reads_bodies() {
            true => Err(format!(
                "{who} has no setting for `options.allowOnHeadersStopIteration`, so no rule can read a body"
            )),
            false => Ok(()),
        }
    }

    /// Host and port of what is protected.
    fn upstream(&self) -> (&str, u16) {
        let Upstream { host, port } = &self.arguments.upstream;
        (host, *port)
    }

    /// The port of requests, if there are any.
    fn requests(&self) -> Option<u16> {
        let Render { listen, tcp, .. } = self.arguments;
        listen.or_else(|| tcp.is_empty().then_some(envoy::LISTEN))
    }

    /// The CAs that a server is believed by.
    fn ca_file(&self, server: &Server) -> &str {
        if server.kubernetes { &self.arguments.kubernetes_ca_file } else { &self.arguments.ca_file }
    }

    /// Of the manifest itself, or of one that goes with it for a server.
    fn metadata(&self, server: Option<&Server>) -> Value {
        let Render { name, namespace, .. } = self.arguments;
        let (name, namespace) = match (server, self.of) {
            (Some(server), _) => {
                let name = format!("{name}-{}", server.plain_name().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
                (name, namespace.as_ref())
            }
            // What is about pods stands in their namespace.
            (None, Some(Of { name: Some(own), workload })) => (format!("{name}-{own}"), workload.namespace.as_ref()),
            (None, Some(Of { name: None, workload })) => {
                (name.clone(), namespace.as_ref().or(workload.namespace.as_ref()))
            }
            (None, None) => (name.clone(), namespace.as_ref()),
        };
        match namespace {
            Some(namespace) => json!({ "name": name, "namespace": namespace }),
            None => json!({ "name": name }),
        }
    }

    /// `--target Kind/name` as a reference.
    fn target(&self) -> Result<Option<Value>, String> {
        let Some(target) = &self.arguments.target else { return Ok(None) };
        let (kind, name) = target.split_once('/').ok_or("a target is written as `Kind/name`")?;
        args::name(name).map_err(|error| format!("`{target}`: {error}"))?;
        let group = match kind {
            "Gateway" | "GatewayClass" | "HTTPRoute" | "GRPCRoute" => "gateway.networking.k8s.io",
            "Service" => "",
            "ServiceEntry" => "networking.istio.io",
            _ => return Err(format!("`{kind}` is no kind of target that is known")),
        };
        Ok(Some(json!({ "group": group, "kind": kind, "name": name })))
    }

    /// `--selector name=value` as labels, else those of the workload.
    fn selector(&self) -> Result<Map<String, Value>, String> {
        if let (Some(Of { workload, .. }), [], None) = (self.of, &*self.arguments.selector, &self.arguments.target) {
            return Ok(workload.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect());
        }
        let pair = |text: &String| match text.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.into())),
            None => Err(format!("`{text}`: a label is written as `name=value`")),
        };
        self.arguments.selector.iter().map(pair).collect()
    }
}
