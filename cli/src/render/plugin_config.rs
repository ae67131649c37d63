//! The `PluginConfig`: what rules read of the documents, and no more, since whoever reads a proxy's configuration reads it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sidegate_config::{
    ApiKeySpec, AuthConfig, AuthConfigSpec, AuthorizationSpec, Documents, HmacSpec, HttpSpec, ObjectMeta, SecretKeyRef,
    SecretRef, SigningKeyRef, X509Spec,
};

use super::servers::Server;
use crate::documents::Configuration;
use crate::effective::Secrets;
use crate::validate::auth_configs;
use crate::yaml::Node;

/// What decisions see of a document's metadata.
const METADATA: [&str; 6] = ["name", "namespace", "uid", "labels", "annotations", "creationTimestamp"];

/// Where `kubectl apply` keeps a copy of the document: of a Secret, with all its data.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The configuration with its Secrets resolved; of API keys their digests, unless they are to be kept.
pub fn of(configuration: &Configuration, documents: &Documents, keep_keys: bool) -> Value {
    let read = Read::by(documents);
    let mut resources = Vec::new();
    for resource in configuration.resources() {
        match resource.text("kind") {
            Some("Secret") => resources.extend(read.secret(resource, keep_keys)),
            // Another kind of document is taken as it stands.
            _ => resources.push(cleaned(resource)),
        }
    }
    let members = configuration.root.members().iter().filter(|member| member.name != "resources");
    let mut rendered: Map<String, Value> =
        members.map(|member| (member.name.clone(), member.value.to_value())).collect();
    rendered.insert("resources".to_owned(), resources.into());
    Value::Object(rendered)
}

/// Says which cluster carries calls to which server, where the documents do not.
pub fn add_upstreams(rendered: &mut Value, servers: &[Server]) {
    let new: Vec<Value> = (servers.iter())
        .filter(|server| !server.named)
        .map(|server| json!({ "url": server.origin(), "cluster": server.cluster }))
        .collect();
    if new.is_empty() {
        return;
    }
    let upstreams = rendered.as_object_mut().map(|members| members.entry("upstreams").or_insert_with(|| json!([])));
    if let Some(Value::Array(upstreams)) = upstreams {
        new.into_iter().for_each(|upstream| {
            if !upstreams.contains(&upstream) {
                upstreams.push(upstream)
            }
        });
    }
}

fn cleaned(resource: &Node) -> Value {
    let mut value = resource.to_value();
    if let Some(members) = value.as_object_mut() {
        members.remove("status");
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.retain(|name, value| METADATA.contains(&name.as_str()) && !value.is_null());
            if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                annotations.remove(LAST_APPLIED);
            }
            metadata.retain(|_, value| value.as_object().is_none_or(|members| !members.is_empty()));
        }
    }
    value
}

/// Entries of Secrets that rules read: by namespace and name.
#[derive(Default)]
struct Read {
    entries: BTreeMap<(String, String), BTreeSet<String>>,
    /// Whose `api_key` is an API key.
    keys: BTreeSet<(String, String)>,
}

impl Read {
    fn by(documents: &Documents) -> Self {
        let mut read = Self::default();
        let secrets = Secrets::of(documents);
        for document in auth_configs(documents) {
            read.named(document);
            for rule in document.spec.authentication.values() {
                if let Some(ApiKeySpec { selector, all_namespaces, namespaces }) = rule.api_key.as_deref() {
                    let found = secrets.selected(document, selector, *all_namespaces, namespaces);
                    let keys = read.selected(found, &["api_key", "api_key_sha256"]);
                    read.keys.extend(keys);
                }
                if let Some(HmacSpec { selector, all_namespaces, namespaces, .. }) = rule.hmac.as_deref() {
                    let found = secrets.selected(document, selector, *all_namespaces, namespaces);
                    read.selected(found, &["hmac_key"]);
                }
                if let Some(X509Spec { selector, all_namespaces, namespaces, source: _ }) = rule.x509.as_deref() {
                    let found = secrets.selected(document, selector, *all_namespaces, namespaces);
                    read.selected(found, &["tls.crt", "ca.crt"]);
                }
            }
        }
        let token = documents.settings.options.kubernetes.as_ref().and_then(|kubernetes| kubernetes.token_ref.as_ref());
        if let Some(token) = token {
            read.entry(
                token.namespace.as_deref().unwrap_or("default"),
                &token.name,
                token.key.as_deref().unwrap_or("token"),
            );
        }
        read
    }

    fn entry(&mut self, namespace: &str, name: &str, entry: &str) {
        self.entries.entry((namespace.to_owned(), name.to_owned())).or_default().insert(entry.to_owned());
    }

    /// Those whose labels fit.
    fn selected(&mut self, found: Vec<ObjectMeta>, entries: &[&str]) -> Vec<(String, String)> {
        for ObjectMeta { namespace, name, .. } in &found {
            entries.iter().for_each(|entry| self.entry(namespace, name, entry));
        }
        found.into_iter().map(|secret| (secret.namespace, secret.name)).collect()
    }

    /// Those that are named.
    fn named(&mut self, AuthConfig { metadata, spec, .. }: &AuthConfig) {
        let clients = spec.authentication.values().filter_map(|rule| rule.oauth2_introspection.as_ref());
        let clients = clients.map(|spec| &spec.credentials_ref);
        let uma = spec.metadata.values().filter_map(|source| source.uma.as_ref()).map(|spec| &spec.credentials_ref);
        for SecretRef { name, namespace } in clients.chain(uma) {
            let namespace = namespace.as_ref().unwrap_or(&metadata.namespace);
            ["clientID", "clientSecret"].iter().for_each(|entry| self.entry(namespace, name, entry));
        }
        for SecretKeyRef { name, namespace, key } in keys_of(spec) {
            self.entry(namespace.as_ref().unwrap_or(&metadata.namespace), name, key);
        }
        let success = &spec.response.success;
        for item in success.headers.values().chain(success.dynamic_metadata.values()) {
            for SigningKeyRef { name, namespace, .. } in
                item.wristband.iter().flat_map(|wristband| &wristband.signing_key_refs)
            {
                self.entry(namespace.as_ref().unwrap_or(&metadata.namespace), name, "key.pem");
            }
        }
    }

    /// A Secret with those entries that are read; none if there are none.
    fn secret(&self, resource: &Node, keep_keys: bool) -> Option<Value> {
        let metadata = resource.member("metadata")?;
        let namespace = metadata.text("namespace").filter(|namespace| !namespace.is_empty()).unwrap_or("default");
        let id = (namespace.to_owned(), metadata.text("name")?.to_owned());
        let read = self.entries.get(&id)?;
        let mut value = cleaned(resource);
        let members = value.as_object_mut()?;
        ["immutable", "type"].iter().for_each(|name| drop(members.remove(*name)));
        let digest = (self.keys.contains(&id) && !keep_keys).then(|| digest(resource)).flatten();
        for part in ["data", "stringData"] {
            if let Some(Value::Object(entries)) = members.get_mut(part) {
                entries.retain(|name, _| read.contains(name));
                if digest.is_some() {
                    entries.remove("api_key");
                }
                if entries.is_empty() {
                    members.remove(part);
                }
            }
        }
        if let Some(digest) = digest {
            let entries = members.entry("stringData").or_insert_with(|| json!({}));
            entries["api_key_sha256"] = digest.into();
        }
        (members.contains_key("data") || members.contains_key("stringData")).then_some(value)
    }
}

/// All references to an entry of a Secret.
fn keys_of(spec: &AuthConfigSpec) -> Vec<&SecretKeyRef> {
    let mut keys = Vec::new();
    let sources = spec.metadata.values().filter_map(|source| source.http.as_deref());
    for HttpSpec { shared_secret_ref, oauth2, .. } in
        sources.chain(spec.callbacks.values().map(|callback| &callback.http))
    {
        keys.extend(shared_secret_ref.iter().chain(oauth2.as_ref().map(|oauth2| &oauth2.client_secret_ref)));
    }
    for AuthorizationSpec { opa, spicedb, .. } in spec.authorization.values() {
        let external = opa.as_ref().and_then(|opa| opa.external_policy.as_ref());
        keys.extend(external.and_then(|external| external.shared_secret_ref.as_ref()));
        keys.extend(spicedb.as_ref().and_then(|spicedb| spicedb.shared_secret_ref.as_ref()));
    }
    keys
}

/// The digest of a Secret's `api_key`, in hex; none if it has none, or an empty one.
fn digest(resource: &Node) -> Option<String> {
    let entry = |part: &str| resource.member(part)?.text("api_key").map(ToOwned::to_owned);
    let key = match entry("stringData") {
        Some(text) => text.into_bytes(),
        None => STANDARD.decode(entry("data")?).ok()?,
    };
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
    (!key.is_empty()).then(|| hex(&Sha256::digest(key)))
}
