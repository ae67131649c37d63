//! `defaults` and `overrides`: properties that a rule adds to the identity it found.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::ValueOrSelector;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::Dynamic;
use crate::session::Cx;

/// Properties for the identity.
#[derive(Debug)]
pub struct Extension {
    defaults: Vec<(String, Dynamic)>,
    overrides: Vec<(String, Dynamic)>,
}

impl Extension {
    pub(super) fn compile(
        defaults: &BTreeMap<String, ValueOrSelector>,
        overrides: &BTreeMap<String, ValueOrSelector>,
        compiler: &mut Compiler<'_>,
    ) -> Self {
        let mut compile = |field: &str, properties: &BTreeMap<String, ValueOrSelector>| {
            compiler.at(field, |compiler| Dynamic::compile_map(properties, compiler))
        };
        Self { defaults: compile("defaults", defaults), overrides: compile("overrides", overrides) }
    }

    /// The identity with its properties. All of them see the identity as it was before.
    pub(super) fn apply(&self, identity: Rc<Value>, cx: &Cx) -> Result<Rc<Value>, StepError> {
        let Self { defaults, overrides } = self;
        if defaults.is_empty() && overrides.is_empty() {
            return Ok(identity);
        }
        let Value::Object(mut properties) = Value::clone(&identity) else {
            return Err(StepError::failed(
                "the identity is no object, so it cannot have `defaults` or `overrides`".to_owned(),
            ));
        };
        let view = cx.view().with_identity(identity);
        for (name, value) in defaults {
            if !properties.contains_key(name) {
                properties.insert(name.clone(), value.value(&view)?);
            }
        }
        for (name, value) in overrides {
            properties.insert(name.clone(), value.value(&view)?);
        }
        Ok(Rc::new(Value::Object(properties)))
    }
}
