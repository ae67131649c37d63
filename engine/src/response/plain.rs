//! `plain`: one value.

use serde_json::Value;
use sidegate_config::ValueOrSelector;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::Dynamic;
use crate::session::Cx;

/// One value.
#[derive(Debug)]
pub struct Plain(Dynamic);

impl Plain {
    pub(super) fn compile(spec: &ValueOrSelector, compiler: &mut Compiler<'_>) -> Self {
        Self(Dynamic::compile(spec, compiler))
    }

    pub(super) fn evaluate(&self, cx: &Cx) -> Result<Value, StepError> {
        Ok(self.0.value(&cx.view())?)
    }
}
