//! Selectors: gjson paths into the Authorization JSON.
// INTERIM

use serde_json::Value;

use crate::compile::Compiler;
use crate::view::View;

/// A compiled path.
#[derive(Debug)]
pub struct Selector(());

impl Selector {
    /// Compiles a path; a path that leads nowhere is no problem, as in gjson.
    pub fn compile(_source: &str, _compiler: &mut Compiler<'_>) -> Self {
        todo!()
    }

    /// The typed value; `null` if there is none.
    pub fn value(&self, _view: &View) -> Value {
        todo!()
    }

    /// The value as text.
    pub fn text(&self, _view: &View) -> String {
        todo!()
    }
}
