//! `x509`: client certificates.

use std::rc::Rc;

use serde_json::Value;
use sidegate_config::X509Spec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::session::Cx;

/// Verifies a client certificate by trusted CAs.
#[derive(Debug)]
pub struct X509 {}

impl X509 {
    pub(super) fn compile(_spec: &X509Spec, _compiler: &mut Compiler<'_>) -> Self {
        Self {}
    }

    pub(super) const fn challenge(&self) -> &'static str {
        "Certificate"
    }

    pub(super) async fn evaluate(&self, _cx: &Cx) -> Result<Rc<Value>, StepError> {
        todo!()
    }
}
