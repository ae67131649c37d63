//! What an AuthConfig takes over from another.
//!
//! Here, not where imports are followed, since it is a matter of fields alone.

use std::collections::BTreeMap;

use crate::auth_config::{AuthConfigSpec, PatternExpressionOrRef};

/// A path in a document, step by step: `spec`, `when`, `[0]`.
pub type Path = Vec<String>;

/// Hears where something stands now, and where it stood in the document that it is from.
type Note<'a> = &'a mut dyn FnMut(Path, Path);

impl AuthConfigSpec {
    /// Takes over all that another says; where both say something the other wins. Conditions are added, since all of them
    /// must hold.
    pub fn take_over(&mut self, other: &Self, note: Note<'_>) {
        let Self {
            hosts,
            patterns,
            when,
            authentication,
            metadata,
            authorization,
            response,
            callbacks,
            imports: _,
            authentication_strategy,
        } = other;
        hosts.clone_into(&mut self.hosts);
        conditions(&mut self.when, when, note);
        entries(&["patterns"], &mut self.patterns, patterns, note);
        entries(&["authentication"], &mut self.authentication, authentication, note);
        entries(&["metadata"], &mut self.metadata, metadata, note);
        entries(&["authorization"], &mut self.authorization, authorization, note);
        entries(&["callbacks"], &mut self.callbacks, callbacks, note);
        let (ours, theirs) = (&mut self.response, response);
        entries(&["response", "success", "headers"], &mut ours.success.headers, &theirs.success.headers, note);
        let (facts, other_facts) = (&mut ours.success.dynamic_metadata, &theirs.success.dynamic_metadata);
        entries(&["response", "success", "dynamicMetadata"], facts, other_facts, note);
        whole(&["response", "unauthenticated"], &mut ours.unauthenticated, theirs.unauthenticated.as_ref(), note);
        whole(&["response", "unauthorized"], &mut ours.unauthorized, theirs.unauthorized.as_ref(), note);
        let strategy = authentication_strategy.as_ref();
        whole(&["authenticationStrategy"], &mut self.authentication_strategy, strategy, note);
    }
}

fn entries<T: Clone>(at: &[&str], to: &mut BTreeMap<String, T>, from: &BTreeMap<String, T>, note: Note<'_>) {
    for (name, value) in from {
        to.insert(name.clone(), value.clone());
        let mut path = path(at);
        path.push(name.clone());
        note(path.clone(), path);
    }
}

fn whole<T: Clone>(at: &[&str], to: &mut Option<T>, from: Option<&T>, note: Note<'_>) {
    if let Some(value) = from {
        *to = Some(value.clone());
        note(path(at), path(at));
    }
}

fn conditions(to: &mut Vec<PatternExpressionOrRef>, from: &[PatternExpressionOrRef], note: Note<'_>) {
    for (index, condition) in from.iter().enumerate() {
        let place = |index: usize| [path(&["when"]), vec![format!("[{index}]")]].concat();
        note(place(to.len()), place(index));
        to.push(condition.clone());
    }
}

fn path(steps: &[&str]) -> Path {
    ["spec"].iter().chain(steps).map(|step| (*step).to_owned()).collect()
}
