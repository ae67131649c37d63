//! Callbacks: who is told of the decision, whichever it was. They change nothing about it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::CallbackSpec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::exec;
use crate::metadata::http::Http;
use crate::session::Cx;
use crate::step::{self, Common, Method, Ran, Step};
use crate::trace::Stage;

/// One callback.
#[derive(Debug)]
pub enum Callback {
    /// `http`.
    Http(Box<Http>),
}

/// Compiles `spec.callbacks`.
pub fn compile(specs: &BTreeMap<String, CallbackSpec>, compiler: &mut Compiler<'_>) -> Vec<Step<Callback>> {
    let rules = specs.iter().map(|(name, spec)| compiler.at(name, |compiler| compile_rule(name, spec, compiler)));
    step::ordered(rules.collect())
}

fn compile_rule(name: &str, spec: &CallbackSpec, compiler: &mut Compiler<'_>) -> Step<Callback> {
    let CallbackSpec { priority, metrics, when, cache: _, http } = spec;
    let method = compiler.at("http", |compiler| Http::compile("callback server", http, compiler));
    // Every request is told of, so nothing is kept.
    let common = Common { name, priority: *priority, metrics: *metrics, when, cache: None };
    Step::compile(Stage::Callback, "CALLBACK_HTTP", common, Callback::Http(Box::new(method)), compiler)
}

impl Method for Callback {
    async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        match self {
            Self::Http(method) => method.evaluate(cx).await,
        }
    }

    fn is_worth_keeping(&self) -> bool {
        match self {
            Self::Http(_) => false,
        }
    }
}

/// Calls everybody: groups of equal priority one after another, in a group all at once.
pub async fn call_all(callbacks: &[Step<Callback>], cx: &Cx) {
    for group in step::groups(callbacks) {
        let _: ControlFlow<()> = exec::each(step::run_all(group, cx), |(callback, ran)| {
            if let Ran::Ok(value) = ran {
                cx.update(|auth| drop(auth.callbacks.insert(Rc::clone(&callback.name), value)));
            }
            ControlFlow::Continue(())
        })
        .await;
    }
}
