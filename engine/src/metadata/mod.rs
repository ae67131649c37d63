//! External metadata: what servers say of the request. It never denies; what cannot be had is left out.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::MetadataSpec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::exec;
use crate::session::Cx;
use crate::step::{self, Method, Ran, Step};

/// One source.
#[derive(Debug)]
pub enum Metadata {}

/// Compiles `spec.metadata`.
pub fn compile(specs: &BTreeMap<String, MetadataSpec>, compiler: &mut Compiler<'_>) -> Vec<Step<Metadata>> {
    let rules =
        specs.iter().filter_map(|(name, spec)| compiler.at(name, |compiler| compile_rule(name, spec, compiler)));
    step::ordered(rules.collect())
}

fn compile_rule(_name: &str, spec: &MetadataSpec, compiler: &mut Compiler<'_>) -> Option<Step<Metadata>> {
    let MetadataSpec { priority: _, metrics: _, when: _, cache: _, http, user_info, uma } = spec;
    let given = [("http", http.is_some()), ("userInfo", user_info.is_some()), ("uma", uma.is_some())];
    for (field, _) in given.iter().filter(|(_, given)| *given) {
        compiler.at(field, |compiler| compiler.missing(field));
    }
    if given.iter().filter(|(_, given)| *given).count() != 1 {
        compiler.problem("exactly one method is needed: `http`, `userInfo` or `uma`");
    }
    None
}

impl Method for Metadata {
    async fn evaluate(&self, _cx: &Cx) -> Result<Rc<Value>, StepError> {
        match *self {}
    }

    fn is_worth_keeping(&self) -> bool {
        true
    }
}

/// Asks every source: groups of equal priority one after another, in a group all at once.
pub async fn gather(sources: &[Step<Metadata>], cx: &Cx) {
    for group in step::groups(sources) {
        let running = group.iter().map(|source| async move { (source, source.run(cx).await) });
        let _: ControlFlow<()> = exec::each(running, |(source, ran)| {
            if let Ran::Ok(value) = ran {
                cx.update(|auth| drop(auth.metadata.insert(Rc::clone(&source.name), value)));
            }
            ControlFlow::Continue(())
        })
        .await;
    }
}
