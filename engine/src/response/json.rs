//! `json`: an object of values.

use serde_json::Value;
use sidegate_config::JsonSpec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::Dynamic;
use crate::gather::try_gathered;
use crate::session::Cx;

/// An object of values.
#[derive(Debug)]
pub struct Json {
    properties: Vec<(String, Dynamic)>,
}

impl Json {
    pub(super) fn compile(spec: &JsonSpec, compiler: &mut Compiler<'_>) -> Self {
        let JsonSpec { properties } = spec;
        Self { properties: compiler.at("properties", |compiler| Dynamic::compile_map(properties, compiler)) }
    }

    pub(super) fn evaluate(&self, cx: &Cx) -> Result<Value, StepError> {
        let view = cx.view();
        let members =
            self.properties.iter().map(|(name, value)| Ok::<_, StepError>((name.clone(), value.value(&view)?)));
        Ok(Value::Object(try_gathered(members)?))
    }
}
