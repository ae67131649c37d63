//! Documents that Sidegate serves itself, before any AuthConfig is asked: what others need to verify wristbands. All that
//! is in them is public.

use std::collections::HashMap;
use std::rc::Rc;

use percent_encoding::percent_decode_str;
use serde_json::Value;
use sidegate_config::{HostPort, Options, Problem, WristbandDiscovery};

use crate::compile;
use crate::expression::text;
use crate::hosts::Hosts;
use crate::policy::AuthConfig;
use crate::request::Request;
use crate::verdict::{Published, Served, WellKnownDocument};

/// How long others may keep a document, in seconds.
const MAX_AGE: &str = "public, max-age=300";

/// Where documents are served, and which.
#[derive(Debug, Default)]
pub struct WellKnown(Option<Place>);

#[derive(Debug)]
struct Place {
    /// None: on every host.
    host: Option<Hosts<()>>,
    /// Without the slash at its end.
    prefix: String,
    by_path: HashMap<String, Page>,
}

#[derive(Debug)]
struct Page {
    published: Rc<Published>,
    body: String,
}

impl WellKnown {
    /// Compiles `options.wristbandDiscovery`; nothing is served yet.
    #[inline(never)]
    pub fn compile(options: &Options, problems: &mut Vec<Problem>) -> Self {
        let Some(WristbandDiscovery { host, path_prefix }) = &options.wristband_discovery else {
            return Self::default();
        };
        let mut problem = |field: &str, message: String| {
            let path = format!("options.wristbandDiscovery{field}");
            problems.push(Problem { document: "PluginConfig".to_owned(), path, message });
        };
        if cfg!(not(feature = "wristband")) {
            problem("", compile::left_out("wristband"));
        }
        let prefix = path_prefix.as_deref().unwrap_or("/");
        if !prefix.starts_with('/')
            || !prefix.bytes().all(|byte| byte.is_ascii_graphic())
            || prefix.contains(['?', '#', '%'])
        {
            problem(".pathPrefix", format!("`{prefix}` is no path: write `/wristbands`"));
        }
        let prefix = prefix.trim_end_matches('/').to_owned();
        if host.is_none() && prefix.is_empty() {
            problem("", "would take every request: give a `host` of its own, a `pathPrefix`, or both".to_owned());
        }
        let host = host.as_ref().map(|host| {
            let mut hosts = Hosts::default();
            if let Err(reason) = hosts.insert(host, ()) {
                problem(".host", format!("`{host}` {reason}"));
            }
            hosts
        });
        Self(Some(Place { host, prefix, by_path: HashMap::new() }))
    }

    /// Adds what an AuthConfig publishes.
    pub fn add(&mut self, auth_config: &AuthConfig, problems: &mut Vec<Problem>) {
        let Some(Place { by_path, .. }) = &mut self.0 else { return };
        let AuthConfig { id, response, .. } = auth_config;
        for Wristband { name, discovery, key_set } in response.wristbands() {
            for (document, path, value) in [
                (WellKnownDocument::Discovery, "openid-configuration", discovery),
                (WellKnownDocument::KeySet, "openid-connect/certs", key_set),
            ] {
                let published =
                    Rc::new(Published { auth_config: Rc::clone(id), wristband: Rc::clone(&name), document });
                let page = Page { published, body: text::to_json(&value) };
                let path = format!("/{id}/{name}/.well-known/{path}");
                if by_path.get(&path).is_some_and(|other| other.body != page.body) {
                    problems.push(Problem {
                        document: format!("AuthConfig {id}"),
                        path: "spec.response.success".to_owned(),
                        message: format!("two wristbands `{name}` would have their documents at one place: rename one"),
                    });
                }
                by_path.insert(path, page);
            }
        }
    }

    /// The answer to a request that is for a document; none if it is for others to answer.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Option<Served> {
        let place = self.0.as_ref()?;
        let path = place.path_below(request)?;
        let page = percent_decode_str(&path).decode_utf8().ok();
        let Some(Page { published, body }) = page.and_then(|path| place.by_path.get(path.as_ref())) else {
            let headers = [("content-type", "text/plain"), ("cache-control", "no-store")];
            return Some(served(404, &headers, "Not found", None));
        };
        let published = Some(Rc::clone(published));
        Some(match request.headers.text(":method").as_deref() {
            Some("GET" | "HEAD") => {
                served(200, &[("content-type", "application/json"), ("cache-control", MAX_AGE)], body, published)
            }
            _ => served(405, &[("allow", "GET, HEAD"), ("content-type", "text/plain")], "", published),
        })
    }
}

impl Place {
    /// The path of a request from the prefix on; none if it is not for this place.
    fn path_below(&self, request: &Request) -> Option<String> {
        if let Some(host) = &self.host {
            let authority = request.headers.text(":authority").or_else(|| request.headers.text("host"))?;
            host.find(&authority, HostPort::ExactFirst)?;
        }
        let path = request.headers.text(":path")?;
        let below = path.split(['?', '#']).next()?.strip_prefix(self.prefix.as_str())?;
        (below.is_empty() || below.starts_with('/')).then(|| below.to_owned())
    }
}

fn served(code: u16, headers: &[(&str, &str)], body: &str, published: Option<Rc<Published>>) -> Served {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Served { code, headers, body: body.to_owned(), published }
}

/// What others need to verify the wristbands of one response item.
#[derive(Debug)]
pub struct Wristband {
    /// Name of the item.
    pub name: Rc<str>,
    /// Its discovery document.
    pub discovery: Value,
    /// Its keys.
    pub key_set: Value,
}
