//! Callbacks: who is told of the decision, whichever it was. They change nothing about it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::CallbackSpec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::exec;
use crate::session::Cx;
use crate::step::{self, Method, Ran, Step};

/// One callback.
#[derive(Debug)]
pub enum Callback {}

/// Compiles `spec.callbacks`.
pub fn compile(specs: &BTreeMap<String, CallbackSpec>, compiler: &mut Compiler<'_>) -> Vec<Step<Callback>> {
    let rules =
        specs.iter().filter_map(|(name, spec)| compiler.at(name, |compiler| compile_rule(name, spec, compiler)));
    step::ordered(rules.collect())
}

fn compile_rule(_name: &str, spec: &CallbackSpec, compiler: &mut Compiler<'_>) -> Option<Step<Callback>> {
    let CallbackSpec { priority: _, metrics: _, when: _, cache: _, http: _ } = spec;
    compiler.at("http", |compiler| compiler.missing("http"));
    None
}

impl Method for Callback {
    async fn evaluate(&self, _cx: &Cx) -> Result<Rc<Value>, StepError> {
        match *self {}
    }

    fn is_worth_keeping(&self) -> bool {
        false
    }
}

/// Calls everybody: groups of equal priority one after another, in a group all at once.
pub async fn call_all(callbacks: &[Step<Callback>], cx: &Cx) {
    for group in step::groups(callbacks) {
        let running = group.iter().map(|callback| async move { (callback, callback.run(cx).await) });
        let _: ControlFlow<()> = exec::each(running, |(callback, ran)| {
            if let Ran::Ok(value) = ran {
                cx.update(|auth| drop(auth.callbacks.insert(Rc::clone(&callback.name), value)));
            }
            ControlFlow::Continue(())
        })
        .await;
    }
}
