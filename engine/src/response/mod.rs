//! What upstream and client are told.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde_json::Value;
use sidegate_config::{PlainHeaderFormat, ResponseSpec, SuccessItemSpec, SuccessSpec};

use crate::authorization::Granted;
use crate::compile::Compiler;
use crate::error::StepError;
use crate::exec;
use crate::session::Cx;
use crate::step::{self, Common, Ran, Step};
use crate::trace::Stage;
use crate::verdict::Allowed;
use crate::well_known::Wristband;

pub mod denial;
pub(crate) mod header;
mod json;
pub mod owned;
mod plain;
#[cfg(feature = "wristband")]
mod wristband;

/// `spec.response`, compiled.
#[derive(Debug)]
pub struct Response {
    /// `unauthenticated`.
    pub unauthenticated: denial::DenyWith,
    /// `unauthorized`.
    pub unauthorized: denial::DenyWith,
    items: Vec<Step<Item>>,
    /// Headers that an item may set.
    owned_headers: Vec<String>,
    plain_header_format: PlainHeaderFormat,
}

/// One item of `response.success`.
#[derive(Debug)]
struct Item {
    key: String,
    target: Target,
    method: Method,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Header,
    DynamicMetadata,
}

#[derive(Debug)]
enum Method {
    Plain(plain::Plain),
    Json(json::Json),
    #[cfg(feature = "wristband")]
    Wristband(wristband::Wristband),
}

impl Response {
    /// Compiles `spec.response`.
    pub fn compile(source: &ResponseSpec, compiler: &mut Compiler<'_>) -> Self {
        let ResponseSpec { unauthenticated, unauthorized, success } = source;
        let SuccessSpec { headers, dynamic_metadata } = success;
        let mut items = Vec::new();
        compiler.at("success", |compiler| {
            for (field, target, specs) in
                [("headers", Target::Header, headers), ("dynamicMetadata", Target::DynamicMetadata, dynamic_metadata)]
            {
                compiler.at(field, |compiler| items.extend(compile_items(specs, target, compiler)));
            }
        });
        let headers = items.iter().filter(|item| item.method.target == Target::Header);
        let mut owned: Vec<String> = headers.map(|item| item.method.key.clone()).collect();
        owned.extend(compiler.options.dynamic_metadata_header.iter().map(|name| name.to_ascii_lowercase()));
        Self {
            unauthenticated: compiler
                .at("unauthenticated", |c| denial::DenyWith::compile(unauthenticated.as_deref(), c)),
            unauthorized: compiler.at("unauthorized", |c| denial::DenyWith::compile(unauthorized.as_deref(), c)),
            items: step::ordered(items),
            owned_headers: owned,
            plain_header_format: compiler.options.plain_header_format,
        }
    }

    /// Headers that an item may set, and the carrier of dynamic metadata.
    #[must_use]
    pub fn owned_headers(&self) -> &[String] {
        &self.owned_headers
    }

    /// Whether it comes to the same whenever its expressions do, and to headers alone, whose size is bounded. If in doubt, it does not: then
    /// nothing is remembered of what was granted.
    #[must_use]
    pub fn is_pure_and_small(&self) -> bool {
        self.items.iter().all(|item| match &item.method.method {
            Method::Plain(_) | Method::Json(_) => item.method.target == Target::Header,
            #[cfg(feature = "wristband")]
            Method::Wristband(_) => false,
        })
    }

    /// What others need to verify the wristbands.
    #[must_use]
    pub fn wristbands(&self) -> Vec<Wristband> {
        let published = |item: &Step<Item>| match &item.method.method {
            #[cfg(feature = "wristband")]
            Method::Wristband(method) => Some(Wristband {
                name: Rc::clone(&item.name),
                discovery: method.discovery(),
                key_set: method.key_set(),
            }),
            Method::Plain(_) | Method::Json(_) => None,
        };
        self.items.iter().filter_map(published).collect()
    }
}

fn compile_items(
    specs: &BTreeMap<String, SuccessItemSpec>,
    target: Target,
    compiler: &mut Compiler<'_>,
) -> Vec<Step<Item>> {
    let mut items: Vec<Step<Item>> = Vec::new();
    for (name, spec) in specs {
        if let Some(item) = compiler.at(name, |compiler| compile_item(name, spec, target, compiler)) {
            if items.iter().any(|other| other.method.key == item.method.key) {
                compiler
                    .at(name, |compiler| compiler.problem(format!("`{}` is set by another item too", item.method.key)));
            }
            items.push(item);
        }
    }
    items
}

fn compile_item(name: &str, spec: &SuccessItemSpec, target: Target, compiler: &mut Compiler<'_>) -> Option<Step<Item>> {
    let SuccessItemSpec { key, priority, metrics, when, cache, plain, json, wristband } = spec;
    let mut key = key.clone().filter(|key| !key.is_empty()).unwrap_or_else(|| name.to_owned());
    if target == Target::Header {
        key.make_ascii_lowercase();
        if let Err(reason) = header::check_name(&key) {
            compiler.problem(format!("`{key}` {reason}"));
        }
    }
    #[cfg(not(feature = "wristband"))]
    if wristband.is_some() {
        compiler.at("wristband", |compiler| compiler.left_out("wristband"));
    }
    if [plain.is_some(), json.is_some(), wristband.is_some()].into_iter().filter(|given| *given).count() != 1 {
        compiler.problem("exactly one of `plain`, `json` and `wristband` is needed");
    }
    let (kind, method) = match (plain, json, wristband) {
        (Some(spec), ..) => {
            let method = compiler.at("plain", |compiler| plain::Plain::compile(spec, compiler));
            ("RESPONSE_PLAIN", Method::Plain(method))
        }
        (None, Some(spec), _) => {
            let method = compiler.at("json", |compiler| json::Json::compile(spec, compiler));
            ("RESPONSE_JSON", Method::Json(method))
        }
        #[cfg(feature = "wristband")]
        (None, None, Some(spec)) => {
            let method = compiler.at("wristband", |compiler| wristband::Wristband::compile(spec, compiler));
            if let Some(cache) = cache {
                method.check_cache(cache, compiler);
            }
            ("RESPONSE_WRISTBAND", Method::Wristband(method))
        }
        _ => return None,
    };
    let common = Common { name, priority: *priority, metrics: *metrics, when, cache: cache.as_deref() };
    Some(Step::compile(Stage::Response, kind, common, Item { key, target, method }, compiler))
}

impl step::Method for Item {
    fn evaluate_at_once(&self, cx: &Cx) -> Option<Result<Rc<Value>, StepError>> {
        let value = match &self.method {
            Method::Plain(method) => method.evaluate(cx),
            Method::Json(method) => method.evaluate(cx),
            // It may have been kept.
            #[cfg(feature = "wristband")]
            Method::Wristband(_) => return None,
        };
        Some(value.map(Rc::new))
    }

    async fn evaluate(&self, cx: &Cx) -> Result<Rc<Value>, StepError> {
        match &self.method {
            Method::Plain(_) | Method::Json(_) => step::done(self, cx),
            #[cfg(feature = "wristband")]
            Method::Wristband(method) => method.evaluate(cx).map(Rc::new),
        }
    }

    fn is_worth_keeping(&self) -> bool {
        match &self.method {
            Method::Plain(_) | Method::Json(_) => false,
            #[cfg(feature = "wristband")]
            Method::Wristband(_) => true,
        }
    }

    fn credential<'r>(&self, _cx: &'r Cx) -> Result<Option<Cow<'r, [u8]>>, StepError> {
        Ok(match &self.method {
            Method::Plain(_) | Method::Json(_) => None,
            #[cfg(feature = "wristband")]
            Method::Wristband(method) => Some(method.holder(_cx)),
        })
    }
}

impl Item {
    /// Whether the value is none: a wristband that was not issued.
    fn is_left_out(&self, value: &Value) -> bool {
        let may_be_none = match &self.method {
            Method::Plain(_) | Method::Json(_) => false,
            #[cfg(feature = "wristband")]
            Method::Wristband(_) => true,
        };
        may_be_none && value.is_null()
    }

    /// The value as a header; `None` leaves the header out.
    fn header_value(&self, value: &Value, format: PlainHeaderFormat) -> Option<String> {
        let text = match &self.method {
            Method::Plain(_) => header::plain(value, format),
            Method::Json(_) => Some(crate::expression::text::to_json(value)),
            #[cfg(feature = "wristband")]
            Method::Wristband(_) => value.as_str().map(ToOwned::to_owned),
        };
        text.filter(|text| header::is_value(text))
    }
}

/// Builds the response to a request that every rule granted. An item that fails is left out.
pub async fn build(response: &Response, _granted: Granted, cx: &Cx) -> Allowed {
    let mut set_headers = Vec::new();
    let mut dynamic_metadata = Vec::new();
    for group in step::groups(&response.items) {
        let _: ControlFlow<()> = exec::each(step::run_all(group, cx), |(item, ran)| {
            if let Ran::Ok(value) = ran {
                let Item { key, target, .. } = &item.method;
                match target {
                    Target::Header => {
                        let text = item.method.header_value(&value, response.plain_header_format);
                        set_headers.extend(text.map(|text| (key.clone(), text)));
                    }
                    Target::DynamicMetadata if item.method.is_left_out(&value) => {}
                    Target::DynamicMetadata => dynamic_metadata.push((key.clone(), Value::clone(&value))),
                }
                cx.update(|auth| drop(auth.response.insert(Rc::clone(&item.name), value)));
            }
            ControlFlow::Continue(())
        })
        .await;
    }
    Allowed::new(cx.policy.owned_headers_in(&cx.request), set_headers, dynamic_metadata)
}

/// The response to a request in which the AuthConfig has no say: only what the client may not send is taken out.
pub fn untouched(cx: &Cx) -> Allowed {
    Allowed::new(cx.policy.owned_headers_in(&cx.request), Vec::new(), Vec::new())
}
