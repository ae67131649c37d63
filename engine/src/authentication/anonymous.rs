//! `anonymous`: everyone.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::error::StepError;
use crate::session::Cx;

/// Lets everyone in, as `{"anonymous":true}`.
#[derive(Debug)]
pub struct Anonymous;

impl Anonymous {
    pub(super) const fn challenge(&self) -> &'static str {
        "Bearer"
    }

    pub(super) fn evaluate(&self, _cx: &Cx) -> Result<Rc<Value>, StepError> {
        Ok(Rc::new(json!({ "anonymous": true })))
    }
}
