//! What the types of our own document's fields cannot say.

use std::collections::BTreeMap;

use crate::plugin_config::{HostOverride, Options, RouteMetadataKey, Settings, Upstream, Workload};
use crate::reader::Finding;

/// Everything that is wrong with the settings.
pub fn settings(settings: &Settings) -> Vec<Finding> {
    let Settings { upstreams, workload, options } = settings;
    let mut findings = Findings(Vec::new());
    findings.upstreams(upstreams);
    if let Some(workload) = workload {
        findings.workload(workload);
    }
    findings.options(options);
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push((path.into(), message.into()));
    }

    fn not_empty(&mut self, path: &str, text: Option<&String>) {
        if text.is_some_and(|text| text.trim().is_empty()) {
            self.add(path, "must not be empty");
        }
    }

    fn upstreams(&mut self, upstreams: &[Upstream]) {
        let mut seen = BTreeMap::new();
        for (index, Upstream { url, cluster }) in upstreams.iter().enumerate() {
            let path = format!("upstreams[{index}].url");
            if let Err(reason) = check_url(url) {
                self.add(&path, reason);
            } else if let Some(first) = seen.insert(normal(url), index) {
                self.add(&path, format!("is the same as `upstreams[{first}].url`: keep one"));
            }
            self.not_empty(&format!("upstreams[{index}].cluster"), Some(cluster));
        }
    }

    fn workload(&mut self, workload: &Workload) {
        let Workload { namespace, labels: _, service_account, trust_domain } = workload;
        self.not_empty("workload.namespace", namespace.as_ref());
        self.not_empty("workload.serviceAccount", service_account.as_ref());
        self.not_empty("workload.trustDomain", trust_domain.as_ref());
    }

    fn options(&mut self, options: &Options) {
        let Options {
            when_errors: _,
            host_override,
            host_port: _,
            trusted_forwarders,
            dynamic_metadata_header,
            plain_header_format: _,
            timeout,
            token_cache_size: _,
        } = options;
        if let Some(host_override) = host_override {
            self.host_override(host_override);
        }
        for (index, forwarder) in trusted_forwarders.iter().enumerate() {
            self.not_empty(&format!("options.trustedForwarders[{index}]"), Some(forwarder));
        }
        if dynamic_metadata_header.as_ref().is_some_and(|name| !is_header_name(name)) {
            self.add("options.dynamicMetadataHeader", "is no header name: use letters, digits and `-`");
        }
        if *timeout == Some(0) {
            self.add("options.timeout", "must be more than 0 milliseconds");
        }
    }

    fn host_override(&mut self, host_override: &HostOverride) {
        let path = "options.hostOverride";
        let HostOverride { route_metadata, virtual_host_name } = host_override;
        if *virtual_host_name == Some(false) {
            self.add(format!("{path}.virtualHostName"), "must be `true`; leave the field out otherwise");
        }
        if route_metadata.is_some() == virtual_host_name.is_some() {
            self.add(path, "exactly one of `routeMetadata` and `virtualHostName` is needed");
        }
        if let Some(RouteMetadataKey { namespace, key }) = route_metadata {
            self.not_empty(&format!("{path}.routeMetadata.namespace"), namespace.as_ref());
            self.not_empty(&format!("{path}.routeMetadata.key"), key.as_ref());
        }
    }
}

/// Whether a URL says nothing but scheme, authority and path.
fn check_url(url: &str) -> Result<(), &'static str> {
    let scheme = |scheme: &str| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = scheme("https://").or_else(|| scheme("http://")).ok_or("must start with `https://` or `http://`")?;
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("must not have spaces");
    }
    if rest.contains(['?', '#', '@']) {
        return Err("must have no user, query or fragment: write `https://host[:port][/path-prefix]`");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() {
        return Err("must name a host");
    }
    if port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err()) {
        return Err("must have a port from 0 to 65535, or none");
    }
    Ok(())
}

/// Scheme and authority in lower case, the path as it is.
fn normal(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let path = url.splitn(4, '/').nth(3).map_or(url.len(), |path| url.len() - path.len());
    let (server, path) = url.split_at(path);
    format!("{}{path}", server.to_ascii_lowercase())
}

/// A token of RFC 9110 section 5.6.2.
fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}
