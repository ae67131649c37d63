//! Whom policies call, and how a proxy gets there.

use std::collections::BTreeMap;

use sidegate_config::{
    AuthConfig, AuthConfigSpec, AuthenticationSpec, AuthorizationSpec, Documents, HttpSpec, MetadataSpec, Problem,
};
use sidegate_engine::url::{Upstreams, Url};

use crate::validate::auth_configs;

/// The Kubernetes API server, unless the options say another.
const KUBERNETES: &str = "https://kubernetes.default.svc";

/// Where SpiceDB's service is.
const SPICEDB: &str = "/authzed.api.v1.PermissionsService";

/// A server that policies call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Scheme, host and port.
    pub url: Url,
    /// The cluster that carries the calls.
    pub cluster: String,
    /// `upstreams` names the cluster.
    pub named: bool,
    /// It speaks gRPC.
    pub grpc: bool,
    /// It is the API server of Kubernetes, whose certificates are of the cluster's own CA.
    pub kubernetes: bool,
    /// At the same host and port something else is spoken, too.
    pub beside: bool,
}

impl Server {
    /// Gives a name to the cluster if nobody has.
    pub fn name_by(&mut self, name: fn(&Self) -> String) {
        if !self.named {
            self.cluster = name(self);
        }
    }

    /// `host:port`, and where that has two meanings, what is spoken: one cluster speaks one protocol.
    pub fn plain_name(&self) -> String {
        let protocol = match (self.beside, self.grpc, self.is_tls()) {
            (true, true, _) => "/grpc",
            (true, false, false) => "/http",
            _ => "",
        };
        format!("{}:{}{protocol}", self.url.host, self.url.port)
    }

    /// Istio's name for the service.
    pub fn istio_name(&self) -> String {
        format!("outbound|{}||{}", self.url.port, self.istio_host())
    }

    /// The host as Istio knows it: of a service the whole name.
    pub fn istio_host(&self) -> String {
        let Url { host, .. } = &self.url;
        if host.ends_with(".svc") { format!("{host}.cluster.local") } else { host.clone() }
    }

    /// It is a service of the cluster, which the mesh knows by itself.
    pub fn is_in_cluster(&self) -> bool {
        self.istio_host().ends_with(".svc.cluster.local")
    }

    pub fn is_tls(&self) -> bool {
        self.url.scheme == "https"
    }

    /// The URL of its root, as `upstreams` has it; of a service beside others its own.
    pub fn origin(&self) -> String {
        let path = if self.beside && self.grpc { &*self.url.path } else { "" };
        format!("{}://{}{path}", self.url.scheme, self.url.authority())
    }
}

/// All servers in the order of their URLs, and the places of those that only a request decides on.
pub fn called(documents: &Documents) -> (Vec<Server>, Vec<String>) {
    let mut calls = Calls::default();
    for document in auth_configs(documents) {
        calls.of_document(document);
    }
    if calls.kubernetes {
        let url = documents.settings.options.kubernetes.as_ref().and_then(|kubernetes| kubernetes.url.as_deref());
        calls.add("options.kubernetes.url", url.unwrap_or(KUBERNETES), false, true);
    }
    let upstreams = &documents.settings.upstreams;
    let named = Upstreams::compile(upstreams, &mut Vec::<Problem>::new());
    let Calls { servers, unknown, .. } = calls;
    let servers = servers.into_values().map(|mut server| {
        let clusters = named.clusters(&server.url);
        if let ([cluster], true) = (clusters.as_slice(), !upstreams.is_empty()) {
            server.cluster.clone_from(cluster);
            server.named = true;
        }
        server
    });
    let mut all: Vec<Server> = Vec::new();
    let servers: Vec<Server> = servers.collect();
    let other = |server: &Server, other: &Server| {
        let place = |server: &Server| (server.url.host.clone(), server.url.port);
        !other.named && place(server) == place(other) && (server.grpc, server.is_tls()) != (other.grpc, other.is_tls())
    };
    let beside: Vec<bool> = servers.iter().map(|server| servers.iter().any(|known| other(server, known))).collect();
    // Two paths of one server may have two clusters; one cluster is needed once.
    for (server, beside) in servers.into_iter().zip(beside) {
        let server = Server { beside: beside && !server.named, ..server };
        if !all.iter().any(|other| {
            other.named == server.named && other.cluster == server.cluster && other.origin() == server.origin()
        }) {
            all.push(server);
        }
    }
    (all, unknown)
}

#[derive(Default)]
struct Calls {
    servers: BTreeMap<String, Server>,
    unknown: Vec<String>,
    kubernetes: bool,
}

impl Calls {
    fn add(&mut self, place: &str, url: &str, grpc: bool, kubernetes: bool) {
        // Placeholders in the path are no matter, in the host they are.
        let end = url.split_once("://").and_then(|(scheme, rest)| Some(scheme.len() + 3 + rest.find(['/', '?'])?));
        let (authority, path) = url.split_at(end.unwrap_or(url.len()));
        let path = path.split(['{', '?']).next().unwrap_or_default();
        match Url::parse(&format!("{authority}{path}")) {
            Ok(url) if !authority.contains('{') => {
                let server = Server { url, cluster: String::new(), named: false, grpc, kubernetes, beside: false };
                self.servers.entry(format!("{} {grpc}", server.url)).or_insert(server);
            }
            _ => self.unknown.push(place.to_owned()),
        }
    }

    fn http(&mut self, place: &str, HttpSpec { url, oauth2, .. }: &HttpSpec) {
        match url {
            Some(url) => self.add(place, url, false, false),
            None => self.unknown.push(place.to_owned()),
        }
        if let Some(oauth2) = oauth2 {
            self.add(&format!("{place}.oauth2"), &oauth2.token_url, false, false);
        }
    }

    fn of_document(&mut self, AuthConfig { metadata, spec, .. }: &AuthConfig) {
        let AuthConfigSpec { authentication, metadata: external, authorization, callbacks, .. } = spec;
        let at = |path: String| format!("AuthConfig {}/{}: {path}", metadata.namespace, metadata.name);
        for (name, rule) in authentication {
            self.authentication(&at(format!("spec.authentication.{name}")), rule);
        }
        for (name, MetadataSpec { http, user_info, uma, .. }) in external {
            let place = at(format!("spec.metadata.{name}"));
            http.iter().for_each(|http| self.http(&format!("{place}.http"), http));
            let url = user_info.as_ref().and_then(|spec| spec.user_info_url.as_ref());
            let urls = url.into_iter().chain(uma.as_ref().map(|uma| &uma.endpoint));
            urls.for_each(|url| self.add(&place, url, false, false));
        }
        for (name, rule) in authorization {
            self.authorization(&at(format!("spec.authorization.{name}")), rule);
        }
        for (name, callback) in callbacks {
            self.http(&at(format!("spec.callbacks.{name}.http")), &callback.http);
        }
    }

    fn authentication(&mut self, place: &str, rule: &AuthenticationSpec) {
        let AuthenticationSpec { jwt, oauth2_introspection, kubernetes_token_review, .. } = rule;
        let urls = jwt.iter().flat_map(|jwt| jwt.issuer_url.iter().chain(&jwt.jwks_url));
        let urls = urls.chain(oauth2_introspection.as_ref().map(|spec| &spec.endpoint));
        urls.for_each(|url| self.add(place, url, false, false));
        self.kubernetes |= kubernetes_token_review.is_some();
    }

    fn authorization(&mut self, place: &str, rule: &AuthorizationSpec) {
        let AuthorizationSpec { opa, kubernetes_subject_access_review, spicedb, .. } = rule;
        if let Some(external) = opa.as_ref().and_then(|opa| opa.external_policy.as_ref()) {
            self.add(place, &external.url, false, false);
        }
        if let Some(spicedb) = spicedb {
            let scheme = if spicedb.insecure { "http" } else { "https" };
            self.add(place, &format!("{scheme}://{}{SPICEDB}", spicedb.endpoint), true, false);
        }
        self.kubernetes |= kubernetes_subject_access_review.is_some();
    }
}
