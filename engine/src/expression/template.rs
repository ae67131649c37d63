//! Templates: text with `{path}` placeholders.
// INTERIM

use crate::compile::Compiler;
use crate::view::View;

/// A compiled template.
#[derive(Debug)]
pub struct Template(());

/// Whether a selector is a template rather than a path.
pub fn is_template(_source: &str) -> bool {
    todo!()
}

impl Template {
    /// Compiles a template.
    pub fn compile(_source: &str, _compiler: &mut Compiler<'_>) -> Self {
        todo!()
    }

    /// The text with the placeholders filled in.
    pub fn text(&self, _view: &View) -> String {
        todo!()
    }
}
