//! External metadata: what servers say of the request. It never denies; what cannot be had is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::MetadataSpec;

use crate::compile::Compiler;
use crate::error::StepError;
use crate::exec;
use crate::session::Cx;
use crate::step::{self, Common, Method, Ran, Step};
use crate::trace::Stage;

pub mod http;
mod uma;
mod user_info;

/// One source.
#[derive(Debug)]
pub enum Metadata {
    /// `http`.
    Http(Box<http::Http>),
    /// `userInfo`.
    UserInfo(user_info::UserInfo),
    /// `uma`.
    Uma(uma::Uma),
}

/// Compiles `spec.metadata`.
pub fn compile(specs: &BTreeMap<String, MetadataSpec>, compiler: &mut Compiler<'_>) -> Vec<Step<Metadata>> {
    let rules =
        specs.iter().filter_map(|(name, spec)| compiler.at(name, |compiler| compile_rule(name, spec, compiler)));
    step::ordered(rules.collect())
}

fn compile_rule(name: &str, spec: &MetadataSpec, compiler: &mut Compiler<'_>) -> Option<Step<Metadata>> {
    let MetadataSpec { priority, metrics, when, cache, http, user_info, uma } = spec;
    let mut methods: Vec<(&'static str, Metadata)> = Vec::new();
    if let Some(spec) = http {
        let method = compiler.at("http", |compiler| http::Http::compile("metadata server", spec, compiler));
        methods.push(("METADATA_GENERIC_HTTP", Metadata::Http(Box::new(method))));
    }
    if let Some(spec) = user_info {
        let method = compiler.at("userInfo", |compiler| user_info::UserInfo::compile(spec, compiler));
        methods.push(("METADATA_USERINFO", Metadata::UserInfo(method)));
    }
    if let Some(spec) = uma {
        let method = compiler.at("uma", |compiler| uma::Uma::compile(spec, compiler));
        methods.push(("METADATA_UMA", Metadata::Uma(method)));
    }
    if methods.len() != 1 {
        compiler.problem("exactly one method is needed: `http`, `userInfo` or `uma`");
    }
    let (kind, method) = methods.into_iter().next()?;
    let common = Common { name, priority: *priority, metrics: *metrics, when, cache: cache.as_deref() };
    Some(Step::compile(Stage::Metadata, kind, common, method, compiler))
}

impl Method for Metadata {
    async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        match self {
            Self::Http(method) => method.evaluate(cx).await,
            Self::UserInfo(method) => method.evaluate(cx).await,
            Self::Uma(method) => method.evaluate(cx).await,
        }
    }

    fn is_worth_keeping(&self) -> bool {
        match self {
            Self::Http(_) | Self::UserInfo(_) | Self::Uma(_) => true,
        }
    }

    fn credential<'r>(&self, cx: &'r Cx) -> Result<Option<Cow<'r, [u8]>>, StepError> {
        match self {
            Self::Http(_) => Ok(None),
            // Resources are those of the path.
            Self::Uma(_) => Ok(cx.request.headers.joined(":path")),
            // What is said of one is never taken for another, whatever the key of the cache says.
            Self::UserInfo(method) => method.credential(cx).map(Some),
        }
    }
}

/// Asks every source: groups of equal priority one after another, in a group all at once.
pub async fn gather(sources: &[Step<Metadata>], cx: &Cx) {
    for group in step::groups(sources) {
        let _: ControlFlow<()> = exec::each(step::run_all(group, cx), |(source, ran)| {
            if let Ran::Ok(value) = ran {
                cx.update(|auth| drop(auth.metadata.insert(Rc::clone(&source.name), value)));
            }
            ControlFlow::Continue(())
        })
        .await;
    }
}
