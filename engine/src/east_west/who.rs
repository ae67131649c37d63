//! From who calls to the values by which rules name that.

use std::collections::HashMap;

use super::atom::{Atom, Numbers, Texts};
use super::identity::Identity;
use super::istio::Names;
use super::object::Who;
use super::pattern::Pattern;
use super::spiffe::SpiffeId;

/// Values by which rules name who calls.
#[derive(Debug, Default)]
pub struct WhoIndex {
    /// The workload's own trust domain, and its aliases.
    own: Vec<String>,
    /// By trust domain; all of the own ones are the first of them.
    domains: HashMap<Box<str>, Domain>,
    namespaces: Texts,
    trust_domains: Texts,
    own_domain: Option<Atom>,
    nobody: Option<Atom>,
    istio: Names,
}

#[derive(Debug, Default)]
struct Domain {
    exact: HashMap<Box<str>, Atom>,
    below: HashMap<Box<str>, Atom>,
}

impl WhoIndex {
    /// For a workload with these trust domains, its own first.
    pub fn new(own: Vec<String>) -> Self {
        Self { own, ..Self::default() }
    }

    /// The name under which IDs of a trust domain are kept.
    fn canonical<'a>(&'a self, domain: &'a str) -> &'a str {
        if self.is_own(domain) { self.own.first().map_or(domain, String::as_str) } else { domain }
    }

    fn is_own(&self, domain: &str) -> bool {
        self.own.iter().any(|own| own == domain)
    }

    fn domain(&mut self, name: &str) -> &mut Domain {
        let name: Box<str> = self.canonical(name).into();
        self.domains.entry(name).or_default()
    }

    /// The number of a value; none if it is not valid.
    pub fn atom(&mut self, who: &Who, numbers: &mut Numbers) -> Option<Atom> {
        let number = |atoms: &mut HashMap<Box<str>, Atom>, path: &str, numbers: &mut Numbers| match atoms.get(path) {
            Some(atom) => *atom,
            None => {
                let atom = numbers.next();
                atoms.insert(path.into(), atom);
                atom
            }
        };
        Some(match who {
            Who::Exact(id) => number(&mut self.domain(id.trust_domain()).exact, id.path(), numbers),
            Who::ServiceAccount(namespace, name) => {
                let own = self.own.first().cloned().unwrap_or_default();
                number(&mut self.domain(&own).exact, &format!("/ns/{namespace}/sa/{name}"), numbers)
            }
            Who::Below(domain, path) => number(&mut self.domain(domain).below, path, numbers),
            Who::Namespace(pattern) => self.namespaces.atom(pattern, numbers),
            Who::TrustDomain(Pattern::Exact(domain)) if self.is_own(domain) => {
                *self.own_domain.get_or_insert_with(|| numbers.next())
            }
            Who::TrustDomain(pattern) => self.trust_domains.atom(pattern, numbers),
            Who::Nobody => *self.nobody.get_or_insert_with(|| numbers.next()),
            Who::Name(_)
            | Who::AnyAccount(..)
            | Who::AnyNamespace(_)
            | Who::LooseAccount(..)
            | Who::LooseNamespace(_) => self.istio.atom(who, numbers)?,
        })
    }

    /// The values that fit who calls; none if that cannot be told.
    #[inline(never)]
    pub fn find(&self, identity: &Identity, found: &mut dyn FnMut(Atom)) -> Option<()> {
        let id: &SpiffeId = match identity {
            Identity::Known(id) => id,
            Identity::Absent => {
                self.nobody.into_iter().for_each(found);
                return Some(());
            }
            Identity::Invalid(_) => return None,
        };
        let (domain, path) = (id.trust_domain(), id.path());
        let own = self.is_own(domain);
        if let Some(ids) = self.domains.get(self.canonical(domain)) {
            ids.exact.get(path).into_iter().for_each(|atom| found(*atom));
            if !ids.below.is_empty() {
                for (slash, text) in path.match_indices('/') {
                    let before = path.get(..slash.saturating_add(text.len()));
                    before.and_then(|before| ids.below.get(before)).into_iter().for_each(|atom| found(*atom));
                }
            }
        }
        if own {
            self.own_domain.into_iter().for_each(&mut *found);
            if let Some((namespace, _)) = id.service_account() {
                self.namespaces.find(namespace, &mut *found);
            }
        }
        self.trust_domains.find(domain, &mut *found);
        self.istio.find(id, found);
        Some(())
    }
}
