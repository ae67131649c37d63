//! Our own document's choices: what the types of its fields cannot say. `upstreams` are compiled with the key sets.

use sidegate_config::{HostOverride, Options, Problem, RouteMetadataKey, Settings, Workload};

use crate::response::header;

/// Most of `options.maxRequestBytes`: a VM has 1 GiB, and a thousand requests may wait with their bodies.
const MAX_REQUEST_BYTES: usize = 128 << 10;

/// Says what is wrong with the settings.
#[inline(never)]
pub fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    let Settings { upstreams: _, workload, options } = settings;
    let mut checker = Checker(problems);
    if let Some(workload) = workload {
        checker.workload(workload);
    }
    checker.options(options);
}

struct Checker<'p>(&'p mut Vec<Problem>);

impl Checker<'_> {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let document = "PluginConfig".to_owned();
        self.0.push(Problem { document, path: path.into(), message: message.into() });
    }

    fn not_empty(&mut self, path: impl Into<String>, text: Option<&String>) {
        if text.is_some_and(|text| text.trim().is_empty()) {
            self.problem(path, "must not be empty");
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
            allow_on_headers_stop_iteration: _,
            max_request_bytes,
            max_response_bytes,
            kubernetes: _,
            callbacks: _,
            evaluator_cache_size: _,
            // See `well_known`.
            wristband_discovery: _,
            token_cache_size: _,
            // See `east_west`.
            east_west: _,
        } = options;
        if let Some(host_override) = host_override {
            self.host_override(host_override);
        }
        for (index, forwarder) in trusted_forwarders.iter().enumerate() {
            self.not_empty(format!("options.trustedForwarders[{index}]"), Some(forwarder));
        }
        if let Some(name) = dynamic_metadata_header
            && let Err(reason) = header::check_name(&name.to_ascii_lowercase())
        {
            self.problem("options.dynamicMetadataHeader", format!("`{name}` {reason}"));
        }
        if max_request_bytes.is_some_and(|most| most > MAX_REQUEST_BYTES) {
            self.problem("options.maxRequestBytes", format!("must not be more than {MAX_REQUEST_BYTES}"));
        }
        if *max_response_bytes == Some(0) {
            self.problem("options.maxResponseBytes", "must be more than 0 bytes");
        }
        if *timeout == Some(0) {
            self.problem("options.timeout", "must be more than 0 milliseconds");
        }
    }

    fn host_override(&mut self, host_override: &HostOverride) {
        let path = "options.hostOverride";
        let HostOverride { route_metadata, virtual_host_name } = host_override;
        if *virtual_host_name == Some(false) {
            self.problem(format!("{path}.virtualHostName"), "must be `true`; leave the field out otherwise");
        }
        if route_metadata.is_some() == virtual_host_name.is_some() {
            self.problem(path, "exactly one of `routeMetadata` and `virtualHostName` is needed");
        }
        if let Some(RouteMetadataKey { namespace, key }) = route_metadata {
            self.not_empty(format!("{path}.routeMetadata.namespace"), namespace.as_ref());
            self.not_empty(format!("{path}.routeMetadata.key"), key.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(settings: &str, expected: &[&str]) {
        let mut configuration: serde_json::Value = serde_json::from_str(settings).unwrap();
        configuration["apiVersion"] = "sidegate.dev/v1alpha1".into();
        configuration["kind"] = "PluginConfig".into();
        configuration["resources"] = serde_json::json!([{
            "apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": {"name": "a"},
            "spec": {"hosts": ["a"]},
        }]);
        let documents = sidegate_config::decode(configuration.to_string().as_bytes()).unwrap();
        let mut problems = Vec::new();
        check(&documents.settings, &mut problems);
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{settings}");
    }

    #[test]
    fn decent_settings_pass() {
        refused("{}", &[]);
        refused(
            r#"{"workload": {"namespace": "n", "labels": {"": ""}},
                "options": {"hostOverride": {"virtualHostName": true}, "trustedForwarders": ["*", "spiffe://td/gw"],
                            "dynamicMetadataHeader": "X-Meta", "timeout": 1, "tokenCacheSize": 0}}"#,
            &[],
        );
    }

    #[test]
    fn exactly_one_host_override() {
        let one_of =
            "PluginConfig: options.hostOverride: exactly one of `routeMetadata` and `virtualHostName` is needed";
        refused(r#"{"options": {"hostOverride": {}}}"#, &[one_of]);
        refused(r#"{"options": {"hostOverride": {"routeMetadata": {}, "virtualHostName": true}}}"#, &[one_of]);
        refused(
            r#"{"options": {"hostOverride": {"virtualHostName": false}}}"#,
            &["PluginConfig: options.hostOverride.virtualHostName: must be `true`; leave the field out otherwise"],
        );
        refused(
            r#"{"options": {"hostOverride": {"routeMetadata": {"namespace": "x", "key": ""}}}}"#,
            &["PluginConfig: options.hostOverride.routeMetadata.key: must not be empty"],
        );
    }

    #[test]
    fn empty_and_unusable_values() {
        refused(
            r#"{"workload": {"namespace": "", "serviceAccount": " ", "trustDomain": "td"},
                "options": {"trustedForwarders": ["*", ""], "dynamicMetadataHeader": "x y", "timeout": 0}}"#,
            &[
                "PluginConfig: workload.namespace: must not be empty",
                "PluginConfig: workload.serviceAccount: must not be empty",
                "PluginConfig: options.trustedForwarders[1]: must not be empty",
                "PluginConfig: options.dynamicMetadataHeader: `x y` is no header name",
                "PluginConfig: options.timeout: must be more than 0 milliseconds",
            ],
        );
        refused(
            r#"{"options": {"dynamicMetadataHeader": "Host"}}"#,
            &["PluginConfig: options.dynamicMetadataHeader: `Host` is a header that frames or routes the request: a \
               policy cannot set it"],
        );
    }
}
