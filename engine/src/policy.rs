//! The compiled configuration.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sidegate_config::{
    self as config, AuthConfigWhenError, AuthenticationStrategy, Broken, Document, Documents, HostOverride, Options,
    Problem,
};

use crate::authentication::Authentication;
#[cfg(feature = "x509")]
use crate::authentication::x509::CertificateMemory;
use crate::authorization::Authorization;
use crate::callbacks::Callback;
use crate::compile::{Compiler, Shared};
use crate::compose::{Composed, Composition};
#[cfg(feature = "wristband")]
use crate::crypto::Signer;
use crate::crypto::{RustCrypto, Verifier};
use crate::east_west::{Chain, Mesh, Ruling, WorkloadPolicy};
use crate::expression::condition::{self, Condition};
use crate::grants::Grants;
use crate::hosts::Hosts;
use crate::metadata::Metadata;
use crate::remote::RemoteDocuments;
use crate::request::{Attribute, Attributes, Needs, Request};
use crate::resources::Resources;
use crate::response::Response;
use crate::response::owned::OwnedHeaders;
use crate::step::Step;
use crate::token::TokenMemory;
use crate::url::Upstreams;
use crate::well_known::WellKnown;
use crate::{authentication, authorization, callbacks, metadata, outbound, settings};

/// Default of `options.timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Default of `options.maxRequestBytes`.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Default of `options.tokenCacheSize`.
const TOKENS: usize = 10_000;

/// Everything that requests are decided by.
#[derive(Debug)]
pub struct Policy {
    hosts: Hosts<Rc<AuthConfig>>,
    has_auth_configs: bool,
    owned_headers: OwnedHeaders,
    options: Options,
    upstreams: Rc<Upstreams>,
    remote_documents: RemoteDocuments,
    well_known: WellKnown,
    mesh: Option<Mesh>,
    workload: Option<WorkloadPolicy>,
    chain: Chain,
    revision: Rc<str>,
    verifier: Box<dyn Verifier>,
    #[cfg(feature = "wristband")]
    signer: Box<dyn Signer>,
    tokens: TokenMemory,
    #[cfg(feature = "x509")]
    certificates: CertificateMemory,
}

/// One compiled AuthConfig.
#[derive(Debug)]
pub struct AuthConfig {
    /// `namespace/name`.
    pub id: Rc<str>,
    /// What it reads of a request.
    pub needs: Needs,
    /// Whether it has a say in a request.
    pub when: Condition,
    /// What an error in `when` means.
    pub when_error: AuthConfigWhenError,
    /// Ways to prove an identity, in order.
    pub authentication: Vec<Step<Authentication>>,
    /// How many of them must succeed.
    pub authentication_strategy: AuthenticationStrategy,
    /// Sources of external metadata, in order.
    pub metadata: Vec<Step<Metadata>>,
    /// Rules that must grant, in order.
    pub authorization: Vec<Step<Authorization>>,
    /// What client and upstream are told.
    pub response: Response,
    /// Who is told of the decision, in order.
    pub callbacks: Vec<Step<Callback>>,
    /// Attributes that those read.
    pub read_by_callbacks: Needs,
    /// Whether what it grants depends on a credential alone, see [`crate::token::grant`].
    pub is_by_credential_alone: bool,
}

impl Policy {
    /// Compiles a plugin configuration. Signatures are checked and made by [`RustCrypto`]; see [`Policy::with_verifier`].
    ///
    /// # Errors
    /// Every problem found; a configuration with problems is refused whole.
    pub fn compile(configuration: &[u8]) -> Result<Self, Vec<Problem>> {
        Self::compile_for(Chain::Http, configuration)
    }

    /// Compiles what a plugin configuration says of HTTP requests, or of connections: these have no AuthConfigs.
    ///
    /// # Errors
    /// Every problem found; a configuration with problems is refused whole.
    #[inline(never)]
    pub fn compile_for(chain: Chain, configuration: &[u8]) -> Result<Self, Vec<Problem>> {
        // Documents that are whole are compiled even if others are not, so that one look finds all problems.
        let (documents, problems) = match config::decode(configuration) {
            Ok(documents) => (documents, Vec::new()),
            Err(Broken { problems, rest }) => (*rest, problems),
        };
        let mut policy = Self::from_parts(documents, problems, chain)?;
        policy.revision = revision(configuration);
        policy.remote_documents.bind(configuration);
        Ok(policy)
    }

    /// Compiles decoded documents.
    ///
    /// # Errors
    /// Every problem found.
    pub fn from_documents(documents: Documents) -> Result<Self, Vec<Problem>> {
        Self::from_parts(documents, Vec::new(), Chain::Http)
    }

    #[inline(never)]
    fn from_parts(documents: Documents, mut problems: Vec<Problem>, chain: Chain) -> Result<Self, Vec<Problem>> {
        let Documents { resources, settings, left_out } = documents;
        settings::check(&settings, &mut problems);
        let mesh = Mesh::compile(&resources, &settings, left_out, &mut problems);
        let own = mesh.as_ref().and_then(|mesh| Some((mesh, mesh.own_workload()?)));
        let workload = own.and_then(|(mesh, workload)| match mesh.select(workload, chain) {
            Ok(selected) => Some(selected),
            Err(found) => {
                problems.extend(found);
                None
            }
        });
        if chain == Chain::Tcp && mesh.is_none() && problems.is_empty() {
            problems.push(Problem {
                document: "PluginConfig".to_owned(),
                path: "resources".to_owned(),
                message: "has no policy over identity, and nothing else is asked about connections; `options.eastWest: {}` says \
                          that there shall be none"
                    .to_owned(),
            });
        }
        let mut auth_configs = Vec::new();
        let mut secrets = Vec::new();
        let mut grants = Vec::new();
        for document in resources {
            match document {
                Document::AuthConfig(document) if chain == Chain::Http => auth_configs.push(document),
                Document::Secret(document) => secrets.push(*document),
                Document::ReferenceGrant(document) => grants.push(*document),
                Document::AuthConfig(_)
                | Document::AuthorizationPolicy(_)
                | Document::ClusterAuthorizationPolicy(_)
                | Document::IstioAuthorizationPolicy(_)
                | Document::Namespace(_) => {}
            }
        }
        let resources = Resources::new(secrets, &mut problems).with_grants(Grants::new(grants));
        let mut shared = Shared::new(&settings, &resources, &mut problems);
        let mut hosts = HostTable::default();
        let mut owned_headers = OwnedHeaders::default();
        let mut well_known = WellKnown::compile(&settings.options, &mut problems);
        let mut composition = Composition::new(auth_configs.iter().map(AsRef::as_ref), resources.grants());
        problems.extend(composition.take_problems());
        for document in &auth_configs {
            let composed = composition.of(document);
            let compiled =
                AuthConfig::compile(document, composed, &resources, &settings.options, &mut shared, &mut problems);
            if composition.is_imported(document) {
                // It was compiled for what is wrong with it.
                continue;
            }
            compiled.response.owned_headers().iter().for_each(|name| owned_headers.add(name));
            well_known.add(&compiled, &mut problems);
            hosts.add(document, &Rc::new(compiled), &mut problems);
        }
        if problems.is_empty() {
            let options = settings.options;
            let remembered = options.token_cache_size.unwrap_or(TOKENS);
            Ok(Self {
                hosts: hosts.hosts,
                has_auth_configs: !auth_configs.is_empty(),
                owned_headers,
                options,
                upstreams: shared.upstreams,
                remote_documents: shared.remote.build(),
                well_known,
                mesh,
                workload,
                chain,
                revision: Rc::default(),
                verifier: Box::new(RustCrypto),
                #[cfg(feature = "wristband")]
                signer: Box::new(RustCrypto),
                tokens: TokenMemory::new(remembered),
                #[cfg(feature = "x509")]
                certificates: CertificateMemory::new(remembered),
            })
        } else {
            // A named pattern tells its problem wherever it is used.
            let mut told = BTreeSet::new();
            problems.retain(|problem| told.insert(problem.clone()));
            Err(problems)
        }
    }

    /// Selects the policies over identity that are about this workload, for a configuration that does not name it: `known` is what
    /// the proxy knows of itself. Does nothing if they are selected already, or there are none.
    ///
    /// # Errors
    /// It is not known which namespace it is of, or the policies ask for what is not to be had.
    #[inline(never)]
    pub fn with_workload(self, known: &config::Workload) -> Result<Self, Vec<Problem>> {
        let Some(mesh) = self.mesh.as_ref().filter(|_| self.workload.is_none()) else { return Ok(self) };
        let workload = mesh.workload(known);
        if workload.namespace.is_empty() {
            return Err(vec![Problem {
                document: "PluginConfig".to_owned(),
                path: "workload.namespace".to_owned(),
                message: "is needed to select the policies of this workload: Envoy's node metadata has no `NAMESPACE`"
                    .to_owned(),
            }]);
        }
        let selected = mesh.select(workload, self.chain)?;
        Ok(Self { workload: Some(selected), ..self })
    }

    /// Whether policies over identity are still to be selected, by [`Policy::with_workload`]; until then everybody is kept out.
    #[must_use]
    pub const fn wants_workload(&self) -> bool {
        self.mesh.is_some() && self.workload.is_none()
    }

    /// The policies over identity of all workloads; none if the configuration has none.
    #[must_use]
    pub const fn mesh(&self) -> Option<&Mesh> {
        self.mesh.as_ref()
    }

    /// The policies over identity that are about this workload.
    #[must_use]
    pub const fn workload(&self) -> Option<&WorkloadPolicy> {
        self.workload.as_ref()
    }

    /// What policies over identity say of a request; none if there are none.
    #[must_use]
    pub fn rule(&self, request: &Request) -> Option<Ruling> {
        let ruling = match (&self.workload, &self.mesh) {
            (Some(workload), _) => workload.judge(request),
            (None, Some(_)) => Ruling::unselected(),
            (None, None) => return None,
        };
        Some(Ruling { revision: Rc::clone(&self.revision), ..ruling })
    }

    /// What policies over identity say of a connection, of which the attributes of [`Policy::lookup_needs`] are known.
    #[must_use]
    pub fn rule_connection(&self, attributes: &Attributes) -> Ruling {
        let workload = self.workload.as_ref();
        let ruling = workload.map_or_else(Ruling::unselected, |workload| workload.judge_connection(attributes));
        Ruling { revision: Rc::clone(&self.revision), ..ruling }
    }

    /// Which configuration it is of: the first twelve digits of its SHA-256.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// What it decides about.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// Whether there is no AuthConfig, so that policies over identity decide alone.
    #[must_use]
    pub fn is_east_west_alone(&self) -> bool {
        self.mesh.is_some() && !self.has_auth_configs
    }

    /// Has signatures checked by somebody else, such as the host.
    #[must_use]
    pub fn with_verifier(self, verifier: Box<dyn Verifier>) -> Self {
        Self { verifier, ..self }
    }

    /// Has signatures made by somebody else, such as the host.
    #[cfg(feature = "wristband")]
    #[must_use]
    pub fn with_signer(self, signer: Box<dyn Signer>) -> Self {
        Self { signer, ..self }
    }

    /// The AuthConfig for a request: by the host override if there is one, else by the request's host.
    #[must_use]
    pub fn auth_config_for(&self, request: &Request) -> Option<&Rc<AuthConfig>> {
        let host = match request.attributes.text(Attribute::HostOverride) {
            Some(overriding) => overriding,
            None => {
                request.headers.text(":authority").or_else(|| request.headers.text("host")).unwrap_or(Cow::Borrowed(""))
            }
        };
        self.hosts.find(&host, self.options.host_port)
    }

    /// What the client sent of the headers that only the policy may set.
    #[must_use]
    pub fn owned_headers_in(&self, request: &Request) -> Vec<String> {
        self.owned_headers.sent(&request.headers)
    }

    /// The attributes that must be read of each request, whichever AuthConfig it is for, or of each connection.
    #[must_use]
    pub fn lookup_needs(&self) -> Needs {
        let mut needs = Needs::default();
        if self.options.host_override.is_some() && self.chain == Chain::Http {
            needs.add(Attribute::HostOverride);
        }
        if let Some(workload) = &self.workload {
            needs.extend(match self.chain {
                Chain::Http => workload.needs(),
                Chain::Tcp => workload.connection_needs(),
            });
        }
        needs
    }

    /// Those of [`Policy::lookup_needs`] that may make others needless.
    #[must_use]
    pub fn first_needs(&self) -> Needs {
        let mut first = Needs::default();
        if self.lookup_needs().has(Attribute::PeerCertificateDigest) {
            first.add(Attribute::PeerCertificateDigest);
        }
        first
    }

    /// Those of [`Policy::lookup_needs`] that must be read beside [`Policy::first_needs`], whose values are known.
    #[must_use]
    pub fn lookup_needs_beside(&self, first: &Attributes) -> Needs {
        let needs = self.lookup_needs().without(Attribute::PeerCertificateDigest);
        let digest = first.bytes(Attribute::PeerCertificateDigest).unwrap_or_default();
        // Whether the certificate is valid is asked each time.
        match &self.workload {
            Some(workload) if workload.identities().knows(digest) => {
                [Attribute::Mtls, Attribute::PeerCertificate, Attribute::PeerUriSan]
                    .into_iter()
                    .fold(needs, Needs::without)
            }
            _ => needs,
        }
    }

    /// What the operator chose.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// What stands in for the request's host.
    #[must_use]
    pub const fn host_override(&self) -> Option<&HostOverride> {
        self.options.host_override.as_ref()
    }

    /// Which Envoy cluster carries calls to which server.
    #[must_use]
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// The documents of servers, to be kept fresh by the root context.
    #[must_use]
    pub const fn remote_documents(&self) -> &RemoteDocuments {
        &self.remote_documents
    }

    /// Tokens that were found good.
    #[must_use]
    pub const fn tokens(&self) -> &TokenMemory {
        &self.tokens
    }

    /// Client certificates that were verified.
    #[cfg(feature = "x509")]
    #[must_use]
    pub(crate) const fn certificates(&self) -> &CertificateMemory {
        &self.certificates
    }

    /// What is served without asking an AuthConfig.
    #[must_use]
    pub const fn well_known(&self) -> &WellKnown {
        &self.well_known
    }

    /// Who makes signatures.
    #[cfg(feature = "wristband")]
    #[must_use]
    pub fn signer(&self) -> &dyn Signer {
        self.signer.as_ref()
    }

    /// Who checks signatures.
    #[must_use]
    pub fn verifier(&self) -> &dyn Verifier {
        self.verifier.as_ref()
    }

    /// Bytes that a body may have which is read.
    #[must_use]
    pub fn max_request_bytes(&self) -> usize {
        self.options.max_request_bytes.unwrap_or(MAX_REQUEST_BYTES)
    }

    /// Bytes that the answers to all calls of a request may have together.
    #[must_use]
    pub fn max_response_bytes(&self) -> usize {
        outbound::max_response_bytes_of_all(&self.options)
    }

    /// How long all calls of a request together may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.options.timeout.map_or(TIMEOUT, Duration::from_millis)
    }
}

impl AuthConfig {
    #[inline(never)]
    fn compile(
        document: &config::AuthConfig,
        composed: Option<&Composed>,
        resources: &Resources,
        options: &Options,
        shared: &mut Shared,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let config::AuthConfig { api_version: _, kind: _, metadata, spec } = document;
        let spec = composed.map_or(spec, |composed| &composed.spec);
        let config::AuthConfigSpec {
            hosts: _,
            patterns,
            when,
            authentication,
            metadata: external,
            authorization,
            response,
            callbacks,
            imports: _,
            authentication_strategy,
        } = spec;
        let name = (metadata.namespace.as_str(), metadata.name.as_str());
        let id = format!("{}/{}", metadata.namespace, metadata.name).into();
        let mut compiler = Compiler::new(name, patterns, resources, options, shared, problems);
        if let Some(Composed { origins, .. }) = composed {
            compiler = compiler.with_origins(origins);
        }
        let compiler = &mut compiler;
        condition::check_named(compiler);
        let when = compiler.at("when", |compiler| Condition::compile(when, compiler));
        let authentication =
            compiler.at("authentication", |compiler| authentication::compile(authentication, compiler));
        let authentication_strategy = authentication_strategy.unwrap_or_default();
        // Where all must know who it is, a rule that is left out for an error would ask for less than was written.
        let authentication = match authentication_strategy {
            AuthenticationStrategy::Any => authentication,
            AuthenticationStrategy::All => authentication.into_iter().map(Step::strict).collect(),
        };
        let metadata = compiler.at("metadata", |compiler| metadata::compile(external, compiler));
        let authorization = compiler.at("authorization", |compiler| authorization::compile(authorization, compiler));
        let response = compiler.at("response", |compiler| Response::compile(response, compiler));
        let (callbacks, read_by_callbacks) = compiler
            .with_needs(|compiler| compiler.at("callbacks", |compiler| callbacks::compile(callbacks, compiler)));
        let needs = compiler.needs;
        let is_by_credential_alone = options.token_cache_size != Some(0)
            && needs.is_empty()
            && authentication.len() == 1
            && metadata.is_empty()
            && authorization.iter().all(|rule| rule.method.is_pure())
            && response.is_pure_and_small()
            && callbacks.is_empty();
        Self {
            id,
            needs,
            when,
            when_error: options.when_errors.auth_config,
            authentication,
            authentication_strategy,
            metadata,
            authorization,
            response,
            callbacks,
            read_by_callbacks,
            is_by_credential_alone,
        }
    }
}

fn revision(configuration: &[u8]) -> Rc<str> {
    let digest = format!("{:x}", Sha256::digest(configuration));
    digest.get(..12).unwrap_or_default().into()
}

/// Hosts and who claimed them.
#[derive(Default)]
struct HostTable {
    hosts: Hosts<Rc<AuthConfig>>,
    owners: BTreeMap<String, Rc<str>>,
}

impl HostTable {
    #[inline(never)]
    fn add(&mut self, document: &config::AuthConfig, compiled: &Rc<AuthConfig>, problems: &mut Vec<Problem>) {
        for (index, host) in document.spec.hosts.iter().enumerate() {
            let mut problem = |message| {
                let document = format!("AuthConfig {}", compiled.id);
                problems.push(Problem { document, path: format!("spec.hosts[{index}]"), message });
            };
            match self.owners.insert(host.to_ascii_lowercase(), Rc::clone(&compiled.id)) {
                Some(owner) if owner == compiled.id => {
                    problem(format!("host `{host}` is listed twice, or two documents have this name"));
                }
                Some(owner) => problem(format!("host `{host}` is already taken by AuthConfig `{owner}`")),
                None => {
                    if let Err(reason) = self.hosts.insert(host, Rc::clone(compiled)) {
                        problem(format!("`{host}` {reason}"));
                    }
                }
            }
        }
    }
}
