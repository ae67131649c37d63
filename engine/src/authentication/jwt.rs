//! `jwt`: JSON Web Tokens.

use std::rc::Rc;

use serde_json::Value;
use sidegate_config::{self as config, JwtSpec};

use crate::compile::Compiler;
use crate::credentials::Credentials;
use crate::error::StepError;
use crate::session::Cx;

/// Verifies a token by the issuer's keys.
#[derive(Debug)]
pub struct Jwt {
    credentials: Credentials,
}

impl Jwt {
    pub(super) fn compile(
        _spec: &JwtSpec,
        placement: Option<&config::Credentials>,
        compiler: &mut Compiler<'_>,
    ) -> Self {
        Self { credentials: Credentials::compile(placement, compiler) }
    }

    pub(super) fn challenge(&self) -> &str {
        self.credentials.challenge()
    }

    pub(super) async fn evaluate(&self, _cx: &Cx) -> Result<Rc<Value>, StepError> {
        todo!()
    }
}
