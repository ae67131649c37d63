//! What was granted to a token or an API key, remembered with it.
//!
//! Where an AuthConfig has one rule of authentication, by `jwt` or `apiKey`, asks nobody, and reads nothing of a request but that
//! credential, it grants the same to the same credential for as long as that is good. [`TokenMemory`](super::TokenMemory) says
//! whether it is, each time anew. Denials are not remembered. See docs/decisions/0015.

use std::rc::Rc;

use super::Known;
use crate::policy::AuthConfig;
use crate::session::Cx;
use crate::trace::{Stage, StepRecord};
use crate::verdict::Allowed;

/// What came of a request that was let through.
#[derive(Debug)]
pub struct Grant {
    /// By which AuthConfig: others may take the same credential, and grant something else.
    auth_config: Rc<str>,
    set_headers: Vec<(String, String)>,
    steps: Vec<StepRecord>,
}

impl Grant {
    /// Bytes that it takes to remember it, about.
    pub(crate) fn bytes(&self) -> usize {
        let Self { auth_config: _, set_headers, steps } = self;
        let texts = set_headers.iter().flat_map(|(name, value)| [name, value]);
        let texts = texts.chain(steps.iter().filter_map(|step| step.detail.as_ref())).map(String::len);
        let tables = [size_of::<Self>(), size_of_val(set_headers.as_slice()), size_of_val(steps.as_slice())];
        tables.into_iter().chain(texts).fold(0, usize::saturating_add)
    }
}

/// Lets a request through if its credential was let through before and that depended on nothing else.
pub fn recall(policy: &AuthConfig, cx: &Cx) -> Option<Allowed> {
    let known = policy.known(cx)?;
    let granted = cx.policy.tokens().granted(known, cx.policy.remote_documents(), cx.time)?;
    let Grant { auth_config, set_headers, steps } = &*granted;
    if !Rc::ptr_eq(auth_config, &policy.id) {
        return None;
    }
    steps.iter().cloned().for_each(|step| cx.record(step));
    Some(Allowed::new(cx.policy.owned_headers_in(&cx.request), set_headers.clone(), Vec::new()))
}

/// Remembers what a credential was let through with.
pub fn remember(policy: &AuthConfig, allowed: &Allowed, cx: &Cx) {
    let Allowed { remove_headers: _, set_headers, dynamic_metadata: _ } = allowed;
    let Some(known) = policy.known(cx) else { return };
    // Whether the AuthConfig applies is found out before each time.
    let steps = cx.steps().into_iter().filter(|step| step.stage != Stage::Selection).collect();
    let grant = Grant { auth_config: Rc::clone(&policy.id), set_headers: set_headers.clone(), steps };
    cx.policy.tokens().grant(known, grant);
}

impl AuthConfig {
    /// The credential that all depends on, if it does and there is one.
    fn known(&self, cx: &Cx) -> Option<Known> {
        self.authentication.first().filter(|_| self.is_by_credential_alone)?.method.known(cx)
    }
}
