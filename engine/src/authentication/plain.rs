//! `plain`: an identity that somebody in front has already verified.

use std::rc::Rc;

use serde_json::Value;
use sidegate_config::{PlainSpec, ValueOrSelector};

use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::Dynamic;
use crate::session::Cx;

/// Takes what a selector or expression yields.
#[derive(Debug)]
pub struct Plain {
    value: Dynamic,
    source: String,
}

impl Plain {
    pub(super) fn compile(spec: &PlainSpec, compiler: &mut Compiler<'_>) -> Self {
        let PlainSpec { selector, expression } = spec.clone();
        if selector.is_some() == expression.is_some() {
            compiler.problem("exactly one of `selector` and `expression` is needed");
        }
        let source = expression.clone().or_else(|| selector.clone()).unwrap_or_default();
        let value = Dynamic::compile(&ValueOrSelector { selector, expression, ..Default::default() }, compiler);
        Self { value, source }
    }

    pub(super) fn challenge(&self) -> &str {
        &self.source
    }

    pub(super) fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        match self.value.value(&cx.view())? {
            Value::Null => Err(StepError::absent("could not retrieve identity object or null")),
            identity => Ok(Rc::new(identity)),
        }
    }
}
