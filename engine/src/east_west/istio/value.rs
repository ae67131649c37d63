//! Values as Istio's policies write them. What is not valid says why.

use std::rc::Rc;

use crate::east_west::block::Block;
use crate::east_west::object::{Form, Member, Principal, Value, Who};
use crate::east_west::pattern::{Glob, PathPattern, Pattern, Template};
use crate::east_west::spiffe;

/// Most of a ServiceAccount's two names together.
const MAX_ACCOUNT: usize = 320;

/// A text, or with one star its beginning or end; further stars are stars.
pub fn pattern(text: &str) -> Pattern {
    match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(""), _) => Pattern::Any,
        (Some(suffix), _) => Pattern::Suffix(suffix.into()),
        (None, Some(prefix)) => Pattern::Prefix(prefix.into()),
        (None, None) => Pattern::Exact(text.into()),
    }
}

/// Whether a text has a star that is not the one at its beginning or end.
pub fn has_inner_star(text: &str) -> bool {
    match pattern(text) {
        Pattern::Exact(part) | Pattern::Prefix(part) | Pattern::Suffix(part) => part.contains('*'),
        Pattern::Any => false,
    }
}

pub fn principal(text: &str) -> Value {
    Value::Who(Who::Name(pattern(text)))
}

/// Whatever the trust domain; `loose`: wherever in the ID the namespace stands.
pub fn namespace(text: &str, loose: bool) -> Value {
    let glob = Glob::new(text);
    Value::Who(if loose { Who::LooseNamespace(glob) } else { Who::AnyNamespace(glob) })
}

/// `name` or `namespace/name`.
pub fn account(text: &str, own: &Rc<str>, loose: bool) -> Result<Value, String> {
    let (namespace, name): (Rc<str>, &str) = match text.split_once('/') {
        Some((namespace, name)) => (namespace.into(), name),
        None => (Rc::clone(own), text),
    };
    if text.contains('*') || namespace.is_empty() || name.is_empty() || name.contains('/') {
        return Err(format!("`{text}` is neither `name` nor `namespace/name`; there is no `*`"));
    }
    if text.len() > MAX_ACCOUNT {
        return Err(format!("a ServiceAccount has at most {MAX_ACCOUNT} characters"));
    }
    let who = if loose { Who::LooseAccount } else { Who::AnyAccount };
    Ok(Value::Who(who(namespace, name.into())))
}

pub fn trust_domain(text: &str) -> Result<Value, String> {
    let pattern = Pattern::parse(text).map_err(|reason| format!("`{text}` {reason}"))?;
    if let Pattern::Exact(part) | Pattern::Prefix(part) | Pattern::Suffix(part) = &pattern {
        spiffe::check_trust_domain(part).map_err(|reason| format!("`{text}`: {reason}"))?;
    }
    Ok(Value::Who(Who::TrustDomain(pattern)))
}

/// `iss/sub`, of which the last slash stands between both, with a star at the beginning or end of the whole.
pub fn request_principal(text: &str) -> Value {
    let exact = |text: &str| Pattern::Exact(text.into());
    let (issuer, subject) = match (text.rsplit_once('/'), text.strip_prefix('*'), text.strip_suffix('*')) {
        (None, Some(""), _) => (Pattern::Any, Pattern::Any),
        (None, Some(end), _) => (Pattern::Any, Pattern::Suffix(end.into())),
        (None, None, Some(beginning)) => (Pattern::Prefix(beginning.into()), Pattern::Any),
        (None, None, None) => (exact(text), exact("")),
        (Some(("*", subject)), _, _) => (Pattern::Any, exact(subject)),
        (Some((issuer, subject)), Some(_), _) => {
            (Pattern::Suffix(issuer.strip_prefix('*').unwrap_or(issuer).into()), exact(subject))
        }
        (Some((issuer, subject)), None, Some(_)) => (exact(issuer), pattern_at_end(subject)),
        (Some((issuer, subject)), None, None) => (exact(issuer), exact(subject)),
    };
    Value::Principal(Rc::new(Principal { issuer, subject }))
}

/// A star at the end is one; another is none.
fn pattern_at_end(text: &str) -> Pattern {
    match text.strip_suffix('*') {
        Some("") => Pattern::Any,
        Some(beginning) => Pattern::Prefix(beginning.into()),
        None => Pattern::Exact(text.into()),
    }
}

/// A claim of a token: a text, or a list that has it.
pub fn claim(path: &[Box<str>], text: &str) -> Value {
    Value::Member(Rc::new(Member { path: path.to_vec(), form: Form::Either, pattern: pattern(text) }))
}

/// A text in the metadata of a filter, or `[text]` for a list that has it.
pub fn metadata(path: &[Box<str>], text: &str) -> Value {
    let list = text.starts_with('[') && text.ends_with(']');
    let (form, text) = if list { (Form::List, text.trim_matches(['[', ']'])) } else { (Form::Text, text) };
    Value::Member(Rc::new(Member { path: path.to_vec(), form, pattern: pattern(text) }))
}

/// An address, or a block of them; what is beyond its length does not count.
pub fn block(text: &str) -> Result<Value, String> {
    Block::parse_masked(text).map(Value::Block).map_err(|reason| format!("`{text}` {reason}"))
}

pub fn port(text: &str) -> Result<Value, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| digits);
    port.map(Value::Port).ok_or_else(|| format!("`{text}` is no port: they are from 0 to 65535"))
}

/// `raw`: with port and dot, as it comes. So it is also where the policy itself has them.
pub fn host(text: &str, raw: bool) -> Value {
    let pattern = pattern(&text.to_ascii_lowercase());
    let as_it_comes = match &pattern {
        Pattern::Any => true,
        Pattern::Prefix(part) => part.contains([':', '[']),
        Pattern::Exact(part) | Pattern::Suffix(part) => part.contains([':', '[']) || part.ends_with('.'),
    };
    if raw || as_it_comes { Value::Authority(pattern) } else { Value::Text(pattern) }
}

/// A path, or with `{*}` or `{**}` a template.
pub fn path(text: &str) -> Result<PathPattern, String> {
    if text.contains("{*}") || text.contains("{**}") {
        return Template::parse(text).map(PathPattern::Template).map_err(|reason| format!("`{text}`: {reason}"));
    }
    if text.contains(['{', '}']) {
        return Err(format!("`{text}` has braces: `{{*}}` and `{{**}}` are all that there are"));
    }
    Ok(match pattern(text) {
        Pattern::Exact(text) => PathPattern::Exact(text),
        Pattern::Prefix(text) => PathPattern::Prefix(text),
        Pattern::Suffix(text) => PathPattern::Suffix(text),
        Pattern::Any => PathPattern::Any,
    })
}

/// The name in `[name]`.
pub fn bracketed(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']').filter(|name| !name.is_empty())
}

/// The names in `[a][b]…`; what is not of that form, but in brackets, is one name.
pub fn nested(text: &str) -> Option<Vec<Box<str>>> {
    let whole = bracketed(text)?;
    let parts: Vec<&str> = whole.split("][").collect();
    if parts.iter().any(|part| part.is_empty() || part.contains(['[', ']'])) {
        return Some(vec![whole.into()]);
    }
    Some(parts.into_iter().map(Into::into).collect())
}
