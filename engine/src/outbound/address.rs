//! URLs that depend on the request.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::Endpoint;
use crate::compile::Compiler;
use crate::error::StepError;
use crate::expression::Dynamic;
use crate::expression::template::Template;
use crate::session::Cx;
use crate::url::{self, Url, shown};

/// Longest URL that is made of a request, in bytes.
const MAX_BYTES: usize = 2048;

/// What a URL cannot have as it is.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ');

/// Where a server is.
#[derive(Debug)]
pub struct Address {
    source: Source,
    /// What it is, to be said to clients and in logs.
    what: &'static str,
    timeout: Duration,
}

#[derive(Debug)]
enum Source {
    /// Not dependent on the request.
    Fixed(Endpoint),
    /// Scheme, host and port are fixed, what follows has placeholders.
    Template(Template),
    /// What CEL computes.
    Expression(Dynamic),
    /// The configuration is refused.
    None,
}

impl Address {
    /// Compiles `url` and `urlExpression`.
    pub fn compile(
        what: &'static str,
        (url, expression): (Option<&str>, Option<&str>),
        timeout: Option<u64>,
        compiler: &mut Compiler<'_>,
    ) -> Self {
        let source = match (url, expression) {
            (Some(url), None) => compiler.at("url", |compiler| Source::compile(what, url, timeout, compiler)),
            (None, Some(source)) => {
                Source::Expression(compiler.at("urlExpression", |compiler| Dynamic::compile_cel(source, compiler)))
            }
            _ => {
                compiler.problem("exactly one of `url` and `urlExpression` is needed");
                Source::None
            }
        };
        Self { source, what, timeout: super::timeout(timeout) }
    }

    /// The server for a request.
    ///
    /// # Errors
    /// No URL can be made of the request. It is not said: it may have secrets.
    pub fn resolve(&self, cx: &Cx) -> Result<Cow<'_, Endpoint>, StepError> {
        let url = match &self.source {
            Source::Fixed(endpoint) => return Ok(Cow::Borrowed(endpoint)),
            Source::Template(template) => parse(&template.text_with(&cx.view(), url::component)),
            Source::Expression(expression) => match expression.value(&cx.view())? {
                Value::String(text) => parse(&text),
                _ => Err("is no text"),
            },
            Source::None => Err("is not known"),
        };
        let url = url.map_err(|reason| StepError::failed(format!("the URL of the {} {reason}", self.what)))?;
        Ok(Cow::Owned(Endpoint::new(self.what, url, cx.policy.upstreams(), self.timeout)))
    }
}

impl Source {
    fn compile(what: &'static str, url: &str, timeout: Option<u64>, compiler: &mut Compiler<'_>) -> Self {
        let template = Template::compile(url, compiler);
        let Some(prefix) = template.prefix() else {
            let endpoint = Endpoint::compile(what, &template.text_of(""), timeout, compiler);
            return endpoint.map_or(Self::None, Self::Fixed);
        };
        let authority_ends = prefix.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?']));
        if !authority_ends {
            compiler.problem(
                "a placeholder must stand after the host and a `/` or `?`: what clients send would choose the server. \
                 To choose it on purpose, use `urlExpression`",
            );
        } else if let Err(reason) = Url::parse(&template.text_of("x")) {
            compiler.problem(format!("`{}` {reason}; write `https://host[:port]/path`", shown(url)));
        }
        Self::Template(template)
    }
}

/// A URL that was made of a request.
fn parse(text: &str) -> Result<Url, &'static str> {
    if text.len() > MAX_BYTES {
        return Err("is longer than 2048 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("has control characters");
    }
    // The fragment is never sent to a server.
    let text = text.split('#').next().unwrap_or_default();
    let url = Url::parse(&utf8_percent_encode(text, UNSAFE).to_string())?;
    if url.climbs() {
        return Err("has a path with `.` or `..`");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_requests_are_checked() {
        let parsed = |text: &str| parse(text).map(|url| url.to_string());
        assert_eq!(parsed("http://a/b c?d=é#f"), Ok("http://a/b%20c?d=%C3%A9".to_owned()));
        assert_eq!(parsed("https://a:8443?x=.."), Ok("https://a:8443/?x=..".to_owned()));
        for (text, part) in [
            (format!("http://a/{}", "x".repeat(2048)).as_str(), "longer"),
            ("http://a/\r\nx: y", "control"),
            ("http://a/\u{85}", "control"),
            ("http://a/b/../c", "`..`"),
            ("http://a/%2E.", "`..`"),
            ("http://a/./c", "`..`"),
            ("ftp://a/", "begin"),
            ("//a/b", ""),
            ("", "URL"),
            ("http://u:p@a/", "user"),
            ("http:///b", ""),
            ("http://ü/", ""),
            ("http://a b/", ""),
            ("http://a%20b/", ""),
        ] {
            let refused = parsed(text).expect_err(text);
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
