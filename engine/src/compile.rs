//! What every compiling function needs: the document at hand, where in it we are, and a place for problems.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use sidegate_config::{Options, PatternExpression, Problem, Settings};

use crate::authentication::{Proof, api_key};
use crate::compose::{Origin, Origins};
use crate::grants::Referent;
use crate::kubernetes::Kubernetes;
use crate::remote::RemoteDocumentsBuilder;
use crate::request::{Attribute, Needs};
use crate::resources::Resources;
use crate::secret::Secret;
use crate::url::Upstreams;

/// Of an AuthConfig that imports nothing.
static NO_ORIGINS: Origins = Origins::new();

/// What the compilers of all AuthConfigs share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Which Envoy cluster carries calls to which server.
    pub upstreams: Rc<Upstreams>,
    /// The documents of servers that rules asked for so far.
    pub remote: RemoteDocumentsBuilder,
    /// The API keys of each selector so far.
    pub api_keys: api_key::Shared,
    /// The Kubernetes API server; none if the options are wrong about it.
    pub kubernetes: Option<Kubernetes>,
}

impl Shared {
    /// Nothing asked for yet.
    #[inline(never)]
    pub fn new(settings: &Settings, resources: &Resources, problems: &mut Vec<Problem>) -> Self {
        let upstreams = Rc::new(Upstreams::compile(&settings.upstreams, problems));
        Self {
            remote: RemoteDocumentsBuilder::new(Rc::clone(&upstreams)),
            api_keys: BTreeMap::new(),
            kubernetes: Kubernetes::compile(settings.options.kubernetes.as_ref(), resources, &upstreams, problems),
            upstreams,
        }
    }
}

/// What is said of a part that was left out of this module, which another one has.
pub fn left_out(what: &str) -> String {
    format!("`{what}` is not in this build of Sidegate: use `sidegate.wasm`, which has it")
}

/// Compiles one AuthConfig. Problems are collected, not returned, so that all of them are reported at once: a function
/// that finds one says so and goes on with a stand-in, which is never used since the configuration is refused.
#[derive(Debug)]
pub struct Compiler<'a> {
    /// The other documents.
    pub resources: &'a Resources,
    /// Choices that hold for all documents.
    pub options: &'a Options,
    /// `spec.patterns` of the AuthConfig.
    pub patterns: &'a BTreeMap<String, Vec<PatternExpression>>,
    /// Namespace of the AuthConfig.
    pub namespace: &'a str,
    /// Name of the AuthConfig.
    pub name: &'a str,
    /// What all AuthConfigs share.
    pub shared: &'a mut Shared,
    /// What later stages may ask of each rule of authentication.
    pub proofs: BTreeMap<String, Rc<Proof>>,
    /// What the AuthConfig reads of a request.
    pub needs: Needs,
    /// Where imported parts were written.
    origins: &'a Origins,
    path: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Compiler<'a> {
    /// For one AuthConfig.
    pub fn new(
        (namespace, name): (&'a str, &'a str),
        patterns: &'a BTreeMap<String, Vec<PatternExpression>>,
        resources: &'a Resources,
        options: &'a Options,
        shared: &'a mut Shared,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        let path = vec!["spec".to_owned()];
        let (proofs, needs) = (BTreeMap::new(), Needs::default());
        Self {
            resources,
            options,
            patterns,
            namespace,
            name,
            shared,
            proofs,
            needs,
            origins: &NO_ORIGINS,
            path,
            problems,
        }
    }

    /// For one that is put together from several.
    #[must_use]
    pub fn with_origins(self, origins: &'a Origins) -> Self {
        Self { origins, ..self }
    }

    /// Runs `compile` one step deeper in the document: a field name, a map key, or an index as `[0]`.
    pub fn at<T>(&mut self, step: impl Display, compile: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.to_string());
        let result = match self.origins.get(self.path.as_slice()) {
            Some(origin) => self.where_it_was_written(origin, compile),
            None => compile(self),
        };
        self.path.pop();
        result
    }

    fn where_it_was_written<T>(&mut self, origin: &'a Origin, compile: impl FnOnce(&mut Self) -> T) -> T {
        let Origin { namespace, name, step } = origin;
        if let (Some(last), Some(step)) = (self.path.last_mut(), step) {
            last.clone_from(step);
        }
        let here = (std::mem::replace(&mut self.namespace, namespace), std::mem::replace(&mut self.name, name));
        let result = compile(self);
        (self.namespace, self.name) = here;
        result
    }

    /// Runs `compile` at a place counted from `spec`, for what is written there and used here.
    pub fn at_spec<T>(&mut self, compile: impl FnOnce(&mut Self) -> T) -> T {
        let here = std::mem::replace(&mut self.path, vec!["spec".to_owned()]);
        let result = compile(self);
        self.path = here;
        result
    }

    /// Says what is wrong at this place, and what to write instead.
    pub fn problem(&mut self, message: impl Into<String>) {
        let path = self.path.iter().enumerate().fold(String::new(), |mut path, (depth, step)| {
            if depth > 0 && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
            path
        });
        let document = format!("AuthConfig {}/{}", self.namespace, self.name);
        self.problems.push(Problem { document, path, message: message.into() });
    }

    /// An entry of a Secret; if it is not there, is no text, or may not be referred to, the problem is told.
    pub fn secret(&mut self, namespace: Option<&str>, name: &str, key: &str) -> Option<Secret> {
        let namespace = self.namespace_of_secret(namespace, name)?;
        self.resources.text(namespace, name, key).map_err(|message| self.problem(message)).ok()
    }

    /// The bytes of an entry of a Secret; if it is not there, or may not be referred to, the problem is told.
    pub fn secret_entry(&mut self, namespace: Option<&str>, name: &str, key: &str) -> Option<&'a [u8]> {
        let namespace = self.namespace_of_secret(namespace, name)?;
        self.resources.bytes(namespace, name, key).map_err(|message| self.problem(message)).ok()
    }

    /// The namespace of a Secret that is referred to. That one may not refer to it says nothing of whether it is there.
    fn namespace_of_secret<'n>(&mut self, namespace: Option<&'n str>, name: &str) -> Option<&'n str>
    where
        'a: 'n,
    {
        let namespace = namespace.unwrap_or(self.namespace);
        let permitted = self.resources.grants().permit(self.namespace, Referent::Secret, namespace, name);
        if !permitted {
            self.problem(format!(
                "Secret `{namespace}/{name}` may not be referred to from namespace `{}`: a ReferenceGrant in `{namespace}` \
                 must allow it",
                self.namespace
            ));
        }
        permitted.then_some(namespace)
    }

    /// Says that what stands here was left out of this module, which another one has.
    #[cfg(not(all(feature = "cel", feature = "opa", feature = "wristband", feature = "x509")))]
    pub fn left_out(&mut self, what: &str) {
        self.problem(left_out(what));
    }

    /// Compiles a part, and says which attributes this part reads.
    pub fn with_needs<T>(&mut self, compile: impl FnOnce(&mut Self) -> T) -> (T, Needs) {
        let others = std::mem::take(&mut self.needs);
        let part = compile(self);
        let needs = self.needs;
        self.needs.extend(others);
        (part, needs)
    }

    /// Notes that the AuthConfig reads an attribute.
    pub fn need(&mut self, attribute: Attribute) {
        let mut needs = Needs::default();
        needs.add(attribute);
        self.need_all(needs);
    }

    /// Notes that the AuthConfig reads something of a request that is always at hand.
    pub fn need_what_is_at_hand(&mut self) {
        self.needs.add_what_is_at_hand();
    }

    /// Notes what the AuthConfig reads of a request.
    pub fn need_all(&mut self, needs: Needs) {
        if needs.has(Attribute::Body) && !self.options.allow_on_headers_stop_iteration {
            self.problem(
                "reads the request's body, for which Envoy must let the filter wait: set \
                 `allow_on_headers_stop_iteration: true` beside the plugin's configuration in Envoy, and then \
                 `options.allowOnHeadersStopIteration: true` in the `PluginConfig`",
            );
        }
        self.needs.extend(needs);
    }
}
