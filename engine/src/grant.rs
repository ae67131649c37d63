//! What was granted to a token, remembered with it.
//!
//! Where an AuthConfig has a `jwt` rule and no other, asks nobody, and reads nothing of a request but what the token says, it
//! grants the same to the same token for as long as that is good. [`crate::token::TokenMemory`] says whether it is, each time
//! anew. Denials are not remembered.

use std::rc::Rc;

use crate::policy::AuthConfig;
use crate::session::Cx;
use crate::trace::{Stage, StepRecord};
use crate::verdict::Allowed;

/// What came of a request that was let through.
#[derive(Debug)]
pub struct Grant {
    /// By which AuthConfig: others may take the same token, and grant something else.
    auth_config: Rc<str>,
    set_headers: Vec<(String, String)>,
    steps: Vec<StepRecord>,
}

impl Grant {
    /// Bytes that it takes to remember it, about.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self.set_headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let details = self.steps.iter().filter_map(|step| step.detail.as_ref()).map(String::len);
        headers.chain(details).fold(size_of_val(self.steps.as_slice()), usize::saturating_add)
    }
}

/// Lets a request through if its token was let through before and that depended on nothing else.
pub fn recall(policy: &AuthConfig, cx: &Cx) -> Option<Allowed> {
    let fingerprint = policy.fingerprint(cx)?;
    let granted = cx.policy.tokens().granted(&fingerprint, cx.policy.remote_documents(), cx.time)?;
    let Grant { auth_config, set_headers, steps } = &*granted;
    if !Rc::ptr_eq(auth_config, &policy.id) {
        return None;
    }
    steps.iter().cloned().for_each(|step| cx.record(step));
    Some(Allowed::new(cx.policy.owned_headers_in(&cx.request), set_headers.clone(), Vec::new()))
}

/// Remembers what a token was let through with.
pub fn remember(policy: &AuthConfig, allowed: &Allowed, cx: &Cx) {
    let Allowed { remove_headers: _, set_headers, dynamic_metadata } = allowed;
    // Of those nobody knows how large they are.
    if !dynamic_metadata.is_empty() {
        return;
    }
    let Some(fingerprint) = policy.fingerprint(cx) else { return };
    // Whether the AuthConfig applies is found out before each time.
    let steps = cx.steps().into_iter().filter(|step| step.stage != Stage::Selection).collect();
    let grant = Grant { auth_config: Rc::clone(&policy.id), set_headers: set_headers.clone(), steps };
    cx.policy.tokens().grant(&fingerprint, grant);
}

impl AuthConfig {
    /// The fingerprint of the token that all depends on, if it does and there is one.
    fn fingerprint(&self, cx: &Cx) -> Option<crate::token::Fingerprint> {
        let rule = self.authentication.first().filter(|_| self.is_by_token_alone)?;
        rule.method.fingerprint(cx)
    }
}
