//! Callers as Istio's policies name them, found by a SPIFFE ID.

use std::collections::HashMap;

use crate::east_west::atom::{Atom, Numbers, Texts};
use crate::east_west::object::Who;
use crate::east_west::pattern::Glob;
use crate::east_west::spiffe::SpiffeId;

/// Callers that rules compare with.
#[derive(Debug, Default)]
pub struct Names {
    names: Texts,
    /// By path.
    accounts: HashMap<Box<str>, Atom>,
    namespaces: Texts,
    /// Those that are no pattern.
    namespace_globs: HashMap<Glob, Atom>,
    /// Namespaces by name.
    loose_accounts: HashMap<Box<str>, Vec<(Box<str>, Atom)>>,
    loose_namespaces: HashMap<Box<str>, Atom>,
    /// Of whole IDs.
    loose_globs: HashMap<Glob, Atom>,
}

impl Names {
    /// The number of one of them; none of what others keep.
    pub fn atom(&mut self, who: &Who, numbers: &mut Numbers) -> Option<Atom> {
        let mut next = || numbers.next();
        Some(match who {
            Who::Name(pattern) => self.names.atom(pattern, numbers),
            Who::AnyAccount(namespace, name) => {
                let path = format!("/ns/{namespace}/sa/{name}");
                *self.accounts.entry(path.into()).or_insert_with(next)
            }
            Who::AnyNamespace(glob) => match glob.pattern() {
                Some(pattern) => self.namespaces.atom(&pattern, numbers),
                None => *self.namespace_globs.entry(glob.clone()).or_insert_with(next),
            },
            Who::LooseAccount(namespace, name) => {
                let of = self.loose_accounts.entry((**name).into()).or_default();
                match of.iter().find(|(known, _)| **known == **namespace) {
                    Some((_, atom)) => *atom,
                    None => {
                        let atom = next();
                        of.push(((**namespace).into(), atom));
                        atom
                    }
                }
            }
            Who::LooseNamespace(glob) if glob.as_str().contains(['*', '/']) => {
                let whole = Glob::new(&format!("*/ns/{glob}/*"));
                *self.loose_globs.entry(whole).or_insert_with(next)
            }
            Who::LooseNamespace(glob) => *self.loose_namespaces.entry(glob.as_str().into()).or_insert_with(next),
            _ => return None,
        })
    }

    /// Those that an ID fits.
    #[inline(never)]
    pub fn find(&self, id: &SpiffeId, found: &mut dyn FnMut(Atom)) {
        let name = id.as_str().strip_prefix("spiffe://").unwrap_or_default();
        self.names.find(name, &mut *found);
        self.accounts.get(id.path()).into_iter().for_each(|atom| found(*atom));
        if let Some((namespace, _)) = id.service_account() {
            self.namespaces.find(namespace, &mut *found);
            fitting(&self.namespace_globs, namespace, found);
        }
        fitting(&self.loose_globs, id.as_str(), found);
        if !self.loose_namespaces.is_empty() || !self.loose_accounts.is_empty() {
            self.find_loose(&name.split('/').collect::<Vec<_>>(), found);
        }
    }

    /// By the segments of an ID, of which the first one is the trust domain.
    fn find_loose(&self, segments: &[&str], found: &mut dyn FnMut(Atom)) {
        // Something comes after the namespace.
        let namespaces = segments.iter().zip(segments.iter().skip(1)).zip(segments.iter().skip(2));
        for ((_, namespace), _) in namespaces.filter(|((key, _), _)| **key == "ns") {
            self.loose_namespaces.get(*namespace).into_iter().for_each(|atom| found(*atom));
        }
        for (at, pair) in segments.windows(2).enumerate() {
            let ["sa", name] = pair else { continue };
            let before = segments.get(1..at).unwrap_or_default();
            for (namespace, atom) in self.loose_accounts.get(*name).into_iter().flatten() {
                if before.windows(2).any(|pair| pair == ["ns", &**namespace]) {
                    found(*atom);
                }
            }
        }
    }
}

fn fitting(globs: &HashMap<Glob, Atom>, text: &str, found: &mut dyn FnMut(Atom)) {
    globs.iter().filter(|(glob, _)| glob.fits(text)).for_each(|(_, atom)| found(*atom));
}
