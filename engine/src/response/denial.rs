//! What a client that is denied is told: the one place that turns reasons into an answer.

use std::rc::Rc;

use sidegate_config::{DenyWithSpec, OneOrMany};

use super::{Response, header};
use crate::compile::Compiler;
use crate::expression::Dynamic;
use crate::expression::condition::{Condition, Held};
use crate::session::Cx;
use crate::verdict::{DenialStatus, LocalReply};
use crate::view::View;

/// The header that tells the reason.
const REASON: &str = "X-Ext-Auth-Reason";

/// A request that is denied, and why.
#[derive(Debug, Clone)]
pub struct Denial {
    /// What kind of no.
    pub status: DenialStatus,
    /// The rule that decided, if it was one.
    pub rule: Option<Rc<str>>,
    /// Why; the client is told.
    pub reason: String,
    /// Values of `WWW-Authenticate`.
    pub challenges: Vec<String>,
    /// How the rule that decided words it.
    pub with: Option<Rc<DenyWith>>,
}

impl Denial {
    /// Without rule and challenges.
    pub fn new(status: DenialStatus, reason: impl Into<String>) -> Self {
        Self { status, rule: None, reason: reason.into(), challenges: Vec::new(), with: None }
    }
}

/// `response.unauthenticated`, `response.unauthorized`, or the `denyWith` of a rule, compiled.
#[derive(Debug, Default)]
pub struct DenyWith(Vec<Wording>);

/// One wording of a denial.
#[derive(Debug)]
struct Wording {
    when: Condition,
    code: Option<u16>,
    message: Option<Dynamic>,
    headers: Vec<(String, Dynamic)>,
    body: Option<Dynamic>,
}

impl DenyWith {
    /// Compiles; absent changes nothing.
    pub fn compile(source: Option<&OneOrMany<DenyWithSpec>>, compiler: &mut Compiler<'_>) -> Self {
        let several = |(index, source): (usize, &DenyWithSpec)| {
            compiler.at(format_args!("[{index}]"), |compiler| Wording::compile(source, compiler))
        };
        Self(match source {
            None => Vec::new(),
            Some(OneOrMany::Many(sources)) => sources.iter().enumerate().map(several).collect(),
            Some(OneOrMany::One(source)) => vec![Wording::compile(source, compiler)],
        })
    }

    /// Compiles the `denyWith` of a rule.
    pub fn compile_rule(source: Option<&OneOrMany<DenyWithSpec>>, compiler: &mut Compiler<'_>) -> Option<Rc<Self>> {
        source.map(|source| Rc::new(compiler.at("denyWith", |compiler| Self::compile(Some(source), compiler))))
    }

    /// The first whose conditions hold; those that cannot be evaluated do not.
    fn chosen(&self, view: &View) -> Option<&Wording> {
        self.0.iter().find(|wording| wording.when.evaluate(view) == Ok(Held::Yes))
    }
}

impl Wording {
    fn compile(source: &DenyWithSpec, compiler: &mut Compiler<'_>) -> Self {
        let DenyWithSpec { code, message, headers, body, when } = source;
        let when = compiler.at("when", |compiler| Condition::compile(when, compiler));
        let code = match u16::try_from(*code) {
            Ok(0) => None,
            Ok(code @ 300..=599) => Some(code),
            _ => {
                compiler.at("code", |compiler| compiler.problem(format!("`{code}` is not from 300 to 599")));
                None
            }
        };
        for name in headers.keys() {
            let lower = name.to_ascii_lowercase();
            if let Err(reason) = header::check_name(&lower) {
                compiler.at("headers", |compiler| compiler.problem(format!("`{name}` {reason}")));
            }
        }
        let mut dynamic = |field, source: &Option<_>| {
            source.as_ref().map(|source| compiler.at(field, |compiler| Dynamic::compile(source, compiler)))
        };
        let (message, body) = (dynamic("message", message), dynamic("body", body));
        let headers = compiler.at("headers", |compiler| Dynamic::compile_map(headers, compiler));
        Self { when, code, message, headers, body }
    }
}

/// The answer to a denied request, as the rule that decided words it, and where it is silent the AuthConfig. What cannot be
/// evaluated is empty.
#[inline(never)]
pub fn reply(response: &Response, denial: Denial, cx: &Cx) -> LocalReply {
    let general = match denial.status {
        DenialStatus::Unauthenticated => &response.unauthenticated,
        DenialStatus::PermissionDenied => &response.unauthorized,
        DenialStatus::NotFound | DenialStatus::TooLarge | DenialStatus::Unavailable => return standard(denial),
    };
    let view = cx.view();
    let text = |dynamic: &Dynamic| dynamic.text(&view).unwrap_or_default();
    let with = denial.with.clone();
    let wordings = [with.as_ref().and_then(|own| own.chosen(&view)), general.chosen(&view)];
    let wordings = || wordings.into_iter().flatten();
    let told = wordings().find_map(|wording| wording.message.as_ref()).map(&text);
    let mut reply = answer(denial, told);
    reply.code = wordings().find_map(|wording| wording.code).unwrap_or(reply.code);
    reply.body = wordings().find_map(|wording| wording.body.as_ref()).map(&text).unwrap_or_default();
    if let Some(headers) = wordings().map(|wording| &wording.headers).find(|headers| !headers.is_empty()) {
        let own = headers.iter().map(|(name, value)| (name.clone(), header::to_value(&text(value))));
        let reason = reply.headers.pop();
        reply.headers = own.chain(reason).collect();
    }
    reply
}

/// The answer to a denied request in which no AuthConfig has a say.
pub fn standard(denial: Denial) -> LocalReply {
    answer(denial, None)
}

fn answer(denial: Denial, told: Option<String>) -> LocalReply {
    let Denial { status, rule, reason, challenges, with: _ } = denial;
    let challenges = if status == DenialStatus::Unauthenticated { challenges } else { Vec::new() };
    let mut headers: Vec<_> =
        challenges.into_iter().map(|challenge| ("WWW-Authenticate".to_owned(), header::to_value(&challenge))).collect();
    headers.push((REASON.to_owned(), header::to_value(told.as_ref().unwrap_or(&reason))));
    LocalReply { status, code: status.code(), headers, body: String::new(), rule, reason }
}
