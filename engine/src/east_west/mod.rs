//! Policies over the identity of who calls: tiers of rules, for HTTP requests and for connections alike.
//!
//! A configuration may be one for a whole mesh. [`Mesh::compile`] reads all of it; [`Mesh::select`] compiles what is about one
//! workload, once; [`WorkloadPolicy::decide`] decides by that, without asking anybody.

use std::collections::BTreeMap;
use std::rc::Rc;

use sidegate_config::{self as config, Document, EastWestOptions, PeerAddress, Problem};

mod atom;
mod block;
#[cfg(feature = "x509")]
mod certificate;
mod document;
pub mod explain;
pub mod host;
mod http;
mod identity;
mod index;
pub mod istio;
mod list;
mod member;
pub mod object;
pub mod path;
mod paths;
mod pattern;
mod rule;
mod ruling;
pub mod spiffe;
mod tcp;
mod who;
mod workload;
mod xfcc;

pub use block::{Block, address};
pub use identity::{Identities, Identity, Peer, Told};
pub use index::{Facts, Http};
pub use object::{Object, Workload};
pub use pattern::{PathPattern, Pattern, Template};
pub use ruling::{Decider, Reason, Ruling, Shadow};
pub use spiffe::SpiffeId;
pub use workload::WorkloadPolicy;

/// The trust domain of a workload that does not say its own.
const TRUST_DOMAIN: &str = "cluster.local";

/// The label by which Kubernetes names each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// What the policies decide about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// HTTP requests.
    Http,
    /// Connections.
    Tcp,
}

/// Choices, compiled.
#[derive(Debug)]
pub struct Settings {
    /// As they are written.
    pub options: EastWestOptions,
    /// How it is told who calls.
    pub identities: Identities,
}

/// The policies of a mesh.
#[derive(Debug, Clone)]
pub struct Mesh {
    settings: Rc<Settings>,
    objects: Vec<Rc<Object>>,
    /// Labels by namespace.
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// The workload of the configuration.
    workload: Option<config::Workload>,
    left_out: Vec<Problem>,
    notes: Vec<Problem>,
}

impl Mesh {
    /// Reads the policies of a configuration; none if it has neither policies nor options for them. `left_out` are problems of
    /// policies that were left out already.
    #[inline(never)]
    pub fn compile<'d>(
        documents: impl IntoIterator<Item = &'d Document>,
        settings: &config::Settings,
        left_out: Vec<Problem>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let options = settings.options.east_west.clone();
        let mut reader = document::Reader::new(options.clone().unwrap_or_default(), left_out);
        let mut namespaces = BTreeMap::new();
        for document in documents {
            match document {
                Document::AuthorizationPolicy(document) => reader.authorization_policy(document),
                Document::ClusterAuthorizationPolicy(document) => reader.cluster_authorization_policy(document),
                Document::Namespace(document) => {
                    drop(namespaces.insert(document.metadata.name.clone(), document.metadata.labels.clone()));
                }
                Document::IstioAuthorizationPolicy(document) => reader.istio_authorization_policy(document),
                Document::AuthConfig(_) | Document::Secret(_) | Document::ReferenceGrant(_) => {}
            }
        }
        let document::Reader { options: read, objects, left_out, problems: found, notes, .. } = reader;
        let is_nothing = objects.is_empty() && left_out.is_empty() && notes.is_empty() && found.is_empty();
        if options.is_none() && is_nothing {
            return None;
        }
        problems.extend(found);
        let settings_of = Settings::compile(read, problems);
        Some(Self {
            settings: Rc::new(settings_of),
            objects: objects.into_iter().map(Rc::new).collect(),
            namespaces,
            workload: settings.workload.clone(),
            left_out,
            notes,
        })
    }

    /// What is wrong with policies that were left out, or with rules that let nobody in.
    #[must_use]
    pub fn left_out(&self) -> &[Problem] {
        &self.left_out
    }

    /// What is not carried over of policies of another kind, or not as it is there.
    #[must_use]
    pub fn notes(&self) -> &[Problem] {
        &self.notes
    }

    /// All policies.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().map(Rc::as_ref)
    }

    /// The workload that the configuration names, if that is enough to select policies by.
    #[must_use]
    pub fn own_workload(&self) -> Option<Workload> {
        let named = self.workload.as_ref().filter(|workload| workload.namespace.is_some());
        match named {
            Some(workload) => Some(self.workload(workload)),
            // Where there are no policies it does not matter.
            None if self.objects.is_empty() => Some(self.workload(&self.workload.clone().unwrap_or_default())),
            None => None,
        }
    }

    /// A workload with what the configuration knows of it; what the configuration says of it itself stands over `known`.
    #[must_use]
    pub fn workload(&self, known: &config::Workload) -> Workload {
        let own = self.workload.clone().unwrap_or_default();
        let namespace = own.namespace.or_else(|| known.namespace.clone()).unwrap_or_default();
        let mut namespace_labels = self.namespaces.get(&namespace).cloned().unwrap_or_default();
        namespace_labels.entry(NAMESPACE_NAME.to_owned()).or_insert_with(|| namespace.clone());
        let trust_domain = own.trust_domain.or_else(|| known.trust_domain.clone());
        Workload {
            labels: if own.labels.is_empty() { known.labels.clone() } else { own.labels },
            namespace_labels,
            namespace,
            trust_domain: trust_domain.unwrap_or_else(|| TRUST_DOMAIN.to_owned()),
            service_account: own.service_account.or_else(|| known.service_account.clone()),
        }
    }

    /// Compiles the policies that are about a workload.
    ///
    /// # Errors
    /// They ask for what is not to be had there.
    #[inline(never)]
    pub fn select(&self, workload: Workload, chain: Chain) -> Result<WorkloadPolicy, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(reason) = spiffe::check_trust_domain(&workload.trust_domain) {
            problems.push(problem("workload.trustDomain", reason));
        }
        let policy = WorkloadPolicy::compile(Rc::clone(&self.settings), &self.objects_of(&workload, chain), workload);
        if chain == Chain::Http && self.settings.options.peer_address.is_none() {
            problems.extend(policy.objects().filter(|object| looks_at_peers(object)).map(|object| Problem {
                document: object.label(),
                path: "spec.rules".to_owned(),
                message: "has a CIDR of the peer, whose address an HTTP filter cannot see by itself: any client may choose \
                          `source.address` by `X-Forwarded-For`; see `options.eastWest.peerAddress`"
                    .to_owned(),
            }));
        }
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }

    /// The policies that are about a workload.
    fn objects_of(&self, workload: &Workload, chain: Chain) -> Vec<Rc<Object>> {
        let aliases = self.settings.options.trust_domain_aliases.iter().cloned();
        let domains: Vec<String> = std::iter::once(workload.trust_domain.clone()).chain(aliases).collect();
        let objects = self.objects.iter().filter(|object| object.target.selects(workload).is_ok());
        objects.map(|object| istio::of_workload(object, &domains, chain)).collect()
    }
}

fn looks_at_peers(object: &Object) -> bool {
    let terms = object.rules.iter().flat_map(|rule| &rule.groups).flatten().flatten();
    terms.into_iter().any(|term| term.dimension == object::Dimension::Peer)
}

fn problem(path: &str, message: impl Into<String>) -> Problem {
    Problem { document: "PluginConfig".to_owned(), path: path.to_owned(), message: message.into() }
}

impl Settings {
    #[inline(never)]
    fn compile(options: EastWestOptions, problems: &mut Vec<Problem>) -> Self {
        let mut tell = |path: String, message: String| {
            problems.push(problem(&format!("options.eastWest.{path}"), message));
        };
        for (index, alias) in options.trust_domain_aliases.iter().enumerate() {
            if let Err(reason) = spiffe::check_trust_domain(alias) {
                tell(format!("trustDomainAliases[{index}]"), reason.to_owned());
            }
        }
        if let Some(PeerAddress { filter_state, source_address }) = &options.peer_address {
            if filter_state.is_some() == source_address.is_some() {
                tell("peerAddress".to_owned(), "exactly one of `filterState` and `sourceAddress` is needed".to_owned());
            }
            if *source_address == Some(false) {
                tell(
                    "peerAddress.sourceAddress".to_owned(),
                    "must be `true`; leave the field out otherwise".to_owned(),
                );
            }
            if filter_state.as_ref().is_some_and(String::is_empty) {
                tell("peerAddress.filterState".to_owned(), "must not be empty".to_owned());
            }
        }
        let identities = Identities::compile(&options, &mut tell);
        Self { options, identities }
    }
}
