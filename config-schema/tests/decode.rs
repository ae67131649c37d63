//! Whole configurations: what is accepted, and what exactly is said of what is not.

use serde_json::{Value, json};
use sidegate_config::{
    AuthConfig, AuthConfigWhenError, Document, Documents, HostPort, LabelOperator, OneOrMany, Operator,
    PlainHeaderFormat, RuleWhenError, Secret, decode,
};

fn accepted(configuration: &Value) -> Documents {
    decode(configuration.to_string().as_bytes()).unwrap_or_else(|broken| panic!("{:#?}", broken.problems))
}

#[track_caller]
fn refused(configuration: &Value, problems: &[&str]) {
    refused_text(&configuration.to_string(), problems);
}

#[track_caller]
fn refused_text(configuration: &str, problems: &[&str]) {
    let got = decode(configuration.as_bytes()).expect_err("must be refused").problems;
    assert_eq!(got.iter().map(ToString::to_string).collect::<Vec<_>>(), problems);
}

fn auth_config(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "authorino.kuadrant.io/v1beta3",
        "kind": "AuthConfig",
        "metadata": {"name": name},
        "spec": spec,
    })
}

fn fine(name: &str) -> Value {
    auth_config(name, &json!({"hosts": [format!("{name}.example.com")]}))
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"api_key": "s3cr3t"}})
}

fn plugin_config(resources: &Value) -> Value {
    json!({"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": resources})
}

fn list(items: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
}

fn auth_configs(documents: &Documents) -> Vec<&AuthConfig> {
    let found = documents.resources.iter().filter_map(|document| match document {
        Document::AuthConfig(found) => Some(&**found),
        _ => None,
    });
    found.collect()
}

fn secrets(documents: &Documents) -> Vec<&Secret> {
    let found = documents.resources.iter().filter_map(|document| match document {
        Document::Secret(found) => Some(&**found),
        _ => None,
    });
    found.collect()
}

mod forms {
    use super::*;

    #[test]
    fn one_auth_config_as_kubectl_prints_it() {
        let mut document = fine("talker-api");
        document["metadata"] = json!({
            "name": "talker-api", "namespace": "demo", "uid": "u", "generation": 3, "resourceVersion": "17",
            "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"manager": "kubectl"}], "labels": {"a": "b"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}, "ownerReferences": [], "selfLink": null,
        });
        document["status"] = json!({"conditions": [{"type": "Ready"}], "summary": {"ready": true}});
        let documents = accepted(&document);
        let [found] = auth_configs(&documents)[..] else { panic!("{documents:?}") };
        assert_eq!((found.metadata.namespace.as_str(), found.metadata.name.as_str()), ("demo", "talker-api"));
        assert_eq!(found.metadata.creation_timestamp.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(found.metadata.labels["a"], "b");
        assert_eq!(found.spec.hosts, ["talker-api.example.com"]);
        assert_eq!(found.api_version, "authorino.kuadrant.io/v1beta3");
    }

    #[test]
    fn no_namespace_is_default() {
        for metadata in
            [json!({"name": "a"}), json!({"name": "a", "namespace": ""}), json!({"name": "a", "namespace": null})]
        {
            let mut document = fine("a");
            document["metadata"] = metadata;
            assert_eq!(auth_configs(&accepted(&document))[0].metadata.namespace, "default");
        }
    }

    #[test]
    fn a_list_keeps_its_order() {
        let documents = accepted(&list(&json!([fine("b"), secret("s"), fine("a")])));
        let names: Vec<_> = auth_configs(&documents).iter().map(|found| found.metadata.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(secrets(&documents)[0].string_data["api_key"], "s3cr3t");
        assert!(matches!(documents.resources[1], Document::Secret(_)));
    }

    #[test]
    fn items_of_typed_lists_need_no_type_of_their_own() {
        let mut item = fine("a");
        item.as_object_mut().unwrap().retain(|key, _| key != "apiVersion" && key != "kind");
        for version in ["v1beta2", "v1beta3"] {
            let version = format!("authorino.kuadrant.io/{version}");
            let list = json!({"apiVersion": version, "kind": "AuthConfigList", "items": [item]});
            assert_eq!(auth_configs(&accepted(&list))[0].api_version, version);
        }
        let key = json!({"metadata": {"name": "key", "namespace": "n"}, "data": {"api_key": "cw=="}, "type": "Opaque"});
        let keys = json!({"apiVersion": "v1", "kind": "SecretList", "items": [key]});
        let documents = accepted(&plugin_config(&json!([keys, fine("a")])));
        assert_eq!(secrets(&documents)[0].metadata.namespace, "n");
        assert_eq!(secrets(&documents)[0].data["api_key"], "cw==");
    }

    #[test]
    fn a_whole_plugin_config() {
        let mut configuration = plugin_config(&json!([fine("a"), secret("s")]));
        configuration["upstreams"] = json!([
            {"url": "https://idp.example.com", "cluster": "idp"},
            {"url": "https://idp.example.com:8443/realms/A", "cluster": "realms-upper"},
            {"url": "https://idp.example.com:8443/realms/a", "cluster": "realms-lower"},
            {"url": "HTTP://[::1]:80/", "cluster": "local"},
            {"url": "http://[::1]", "cluster": "local"},
        ]);
        configuration["workload"] =
            json!({"namespace": "n", "labels": {"app": "x"}, "serviceAccount": "sa", "trustDomain": "td"});
        configuration["options"] = json!({
            "whenErrors": {"authConfig": "Skip", "rule": "Fail"}, "hostPort": "Authorino",
            "hostOverride": {"routeMetadata": {"namespace": "x", "key": "y"}}, "trustedForwarders": ["spiffe://td/gw", "*"],
            "dynamicMetadataHeader": "x-sidegate-metadata", "plainHeaderFormat": "Authorino", "timeout": 1.5e3,
            "tokenCacheSize": 0,
        });
        let settings = accepted(&configuration).settings;
        assert_eq!(settings.upstreams[1].cluster, "realms-upper");
        assert_eq!(settings.workload.unwrap().service_account.as_deref(), Some("sa"));
        assert_eq!(settings.options.when_errors.auth_config, AuthConfigWhenError::Skip);
        assert_eq!(settings.options.when_errors.rule, RuleWhenError::Fail);
        assert_eq!(settings.options.host_port, HostPort::Authorino);
        assert_eq!(settings.options.plain_header_format, PlainHeaderFormat::Authorino);
        assert_eq!(settings.options.host_override.unwrap().route_metadata.unwrap().key.as_deref(), Some("y"));
        assert_eq!((settings.options.timeout, settings.options.token_cache_size), (Some(1500), Some(0)));
    }

    #[test]
    fn every_default_is_the_safe_one() {
        let options = accepted(&fine("a")).settings.options;
        assert_eq!(options.when_errors.auth_config, AuthConfigWhenError::Enforce);
        assert_eq!(options.when_errors.rule, RuleWhenError::Skip);
        assert_eq!(options.host_port, HostPort::ExactFirst);
        assert_eq!(options.plain_header_format, PlainHeaderFormat::Json);
        assert!(options.trusted_forwarders.is_empty() && options.host_override.is_none());
    }

    #[test]
    fn every_field_of_a_spec_is_read() {
        let document = auth_config(
            "a",
            &json!({
                "hosts": ["a"],
                "patterns": {"admin": [{"selector": "auth.identity.admin", "operator": "eq", "value": "true"}]},
                "when": [{"patternRef": "admin"}, {"any": [{"predicate": "true"}, {"all": [
                    {"selector": "request.path", "operator": "matches"}]}]}],
                "authentication": {"key": {
                    "priority": -1, "metrics": true, "credentials": {"cookie": {"name": "KEY"}},
                    "defaults": {"a": {"value": {"any": ["json", 1.5, null]}}}, "overrides": {"b": {"expression": "1"}},
                    "apiKey": {"allNamespaces": true, "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
                        {"key": "k", "operator": "NotIn", "values": ["v"]}]}},
                }, "jwt": {"jwt": {"jwksUrl": "u", "issuer": "i", "audiences": ["x"], "ttl": -1, "timeout": 0}}},
                "authorization": {"r": {"patternMatching": {"patterns": []}}},
                "response": {
                    "unauthenticated": {"code": 302, "message": {"value": "m"}, "headers": {"l": {"selector": "s"}}, "body": {}},
                    "success": {"headers": {"h": {"key": "x-h", "json": {"properties": {"p": {"selector": "s"}}}}},
                                "dynamicMetadata": {"d": {"plain": {"value": null}}}},
                },
            }),
        );
        let documents = accepted(&document);
        let spec = &auth_configs(&documents)[0].spec;
        assert_eq!(spec.patterns["admin"][0].operator, Operator::Eq);
        assert_eq!(spec.when[1].any.as_ref().unwrap()[1].all.as_ref().unwrap()[0].operator, Some(Operator::Matches));
        let key = &spec.authentication["key"];
        assert_eq!((key.priority, key.metrics), (-1, true));
        assert_eq!(key.defaults["a"].value, Some(json!({"any": ["json", 1.5, null]})));
        let selector = &key.api_key.as_ref().unwrap().selector;
        assert_eq!(selector.match_expressions[0].operator, LabelOperator::NotIn);
        let jwt = spec.authentication["jwt"].jwt.as_ref().unwrap();
        assert_eq!((jwt.ttl, jwt.timeout, jwt.audiences.as_slice()), (-1, Some(0), &["x".to_owned()][..]));
        let unauthenticated = spec.response.unauthenticated.as_deref();
        assert!(matches!(unauthenticated, Some(OneOrMany::One(denial)) if denial.code == 302), "{unauthenticated:?}");
        assert_eq!(spec.response.success.headers["h"].key.as_deref(), Some("x-h"));
        assert_eq!(spec.response.success.dynamic_metadata["d"].plain.as_ref().unwrap().value, Some(Value::Null));
    }

    #[test]
    fn a_thousand_auth_configs_take_no_time() {
        let rule =
            json!({"jwt": {"issuerUrl": "https://idp.example.com/realms/a"}, "overrides": {"tier": {"value": 1}}});
        let spec = json!({"hosts": ["h"], "authentication": {"a": rule, "b": rule}, "authorization": {"r": {
            "patternMatching": {"patterns": [{"selector": "auth.identity.realm_access.roles", "operator": "incl",
                "value": "admin"}]}}}});
        let items: Vec<_> = (0..1000).map(|index| auth_config(&format!("a{index}"), &spec)).collect();
        let bytes = list(&items.into()).to_string();
        let start = std::time::Instant::now();
        assert_eq!(decode(bytes.as_bytes()).unwrap().resources.len(), 1000);
        assert!(start.elapsed().as_millis() < 1000, "{:?} for {} bytes", start.elapsed(), bytes.len());
    }
}

mod documents {
    use super::*;

    const FORMS: &str =
        "give one AuthConfig, a Kubernetes `List`, or a `PluginConfig` of `sidegate.dev/v1alpha1`, as JSON";

    #[test]
    fn nothing_and_other_things_than_objects() {
        for text in ["", " \n\t"] {
            refused_text(text, &[&format!("configuration: it is empty: {FORMS}")]);
        }
        for (text, kind) in
            [("[]", "a list"), ("null", "null"), ("\"x\"", "a string"), ("1", "a number"), ("true", "a boolean")]
        {
            refused_text(text, &[&format!("configuration: it must be an object, not {kind}: {FORMS}")]);
        }
        refused_text(
            "kind: AuthConfig\n",
            &[&format!("configuration: it is not JSON: expected value at line 1 column 1; {FORMS}")],
        );
        refused_text(
            "\n\u{18}\n\u{4}kind\u{12}\u{10}\u{1a}\u{a}AuthConfig",
            &["configuration: it is binary, not JSON: in Envoy's configuration, write it as text in a \
               `google.protobuf.StringValue`"],
        );
        refused_text(
            "{\"kind\": \"AuthConfig\",\n",
            &["configuration: it is not JSON: EOF while parsing a value at line 2 column 0"],
        );
        refused_text(
            &format!("{}{}", "{\"a\":".repeat(200), "1"),
            &["configuration: it is not JSON: recursion limit exceeded at line 1 column 636"],
        );
        assert!(decode(b"{\"kind\": \"\xff\"}").is_err());
    }

    #[test]
    fn kinds_and_versions() {
        refused(&json!({}), &[&format!("configuration: kind: is required but missing: {FORMS}")]);
        refused(
            &json!({"kind": "AuthConfig"}),
            &[&format!("configuration: apiVersion: is required but missing: {FORMS}")],
        );
        refused(&json!({"kind": 1}), &["configuration: kind: must be a string, not a number"]);
        refused(
            &json!({"apiVersion": "v1", "kind": "Authconfig"}),
            &["configuration: kind: unknown kind `Authconfig`; did you mean `AuthConfig`?"],
        );
        refused(
            &json!({"apiVersion": "v1", "kind": "ConfigMap"}),
            &["configuration: kind: unknown kind `ConfigMap`; known are `AuthConfig`, `Secret`, `List`, \
               `AuthConfigList`, `SecretList`, `PluginConfig`, `ReferenceGrant`, `AuthorizationPolicy`, `XAuthorizationPolicy`, \
                 `ClusterAuthorizationPolicy`, `Namespace`"],
        );
        refused(
            &json!({"apiVersion": "authorino.kuadrant.io/v1beta1", "kind": "AuthConfig"}),
            &["configuration: apiVersion: `authorino.kuadrant.io/v1beta1` is not supported for `AuthConfig`; convert \
               the document to `authorino.kuadrant.io/v1beta3`, where rules are objects by name"],
        );
        refused(
            &json!({"apiVersion": "sidegate.dev/v1", "kind": "PluginConfig"}),
            &["configuration: apiVersion: `sidegate.dev/v1` is not supported for `PluginConfig`; known are \
               `sidegate.dev/v1alpha1`"],
        );
    }

    #[test]
    fn a_configuration_protects_something() {
        let nothing = "configuration: there is no AuthConfig in it, so every request would be denied";
        refused(&list(&json!([])), &[nothing]);
        refused(&plugin_config(&json!([secret("s")])), &[nothing]);
        refused(&secret("s"), &[nothing]);
    }

    #[test]
    fn lists_hold_resources_and_nothing_else() {
        refused(&json!({"apiVersion": "v1", "kind": "List"}), &["List: items: is required but missing"]);
        refused(&list(&json!({})), &["List: items: must be a list, not an object"]);
        refused(
            &list(&json!([1, list(&json!([])), {"apiVersion": "v1", "kind": "Pod"}, {"kind": "Secret"}])),
            &[
                "List: items[0]: must be an object, not a number",
                "List: items[1].kind: must be a single resource here, such as `AuthConfig` or `Secret`",
                "List: items[2].kind: unknown kind `Pod`; known are `AuthConfig`, `Secret`, `List`, `AuthConfigList`, \
                 `SecretList`, `PluginConfig`, `ReferenceGrant`, `AuthorizationPolicy`, `XAuthorizationPolicy`, \
                 `ClusterAuthorizationPolicy`, `Namespace`",
                &format!("List: items[3].apiVersion: is required but missing: {FORMS}"),
            ],
        );
        refused(
            &plugin_config(&json!([plugin_config(&json!([])), list(&json!([list(&json!([]))]))])),
            &[
                "PluginConfig: resources[0].kind: must be a single resource here, such as `AuthConfig` or `Secret`",
                "PluginConfig: resources[1].items[0].kind: must be a single resource here, such as `AuthConfig` or `Secret`",
            ],
        );
    }

    #[test]
    fn documents_have_names_of_their_own() {
        let mut nameless = fine("a");
        nameless["metadata"] = json!({"namespace": "n"});
        nameless["spec"] = json!({"hosts": [1]});
        refused(
            &nameless,
            &[
                "configuration: spec.hosts[0]: must be a string, not a number: put it in quotes",
                "configuration: metadata.name: a name is required",
            ],
        );
        refused(
            &list(&json!([fine("a"), nameless])),
            &[
                "List: items[1].spec.hosts[0]: must be a string, not a number: put it in quotes",
                "List: items[1].metadata.name: a name is required",
            ],
        );
        let mut elsewhere = fine("a");
        elsewhere["metadata"]["namespace"] = json!("n");
        refused(
            &plugin_config(&json!([fine("a"), elsewhere, secret("a"), fine("a"), secret("a")])),
            &[
                "AuthConfig default/a: there is more than one of this name: keep one",
                "Secret default/a: there is more than one of this name: keep one",
            ],
        );
    }

    #[test]
    fn metadata_is_checked_only_where_we_read_it() {
        let mut document = fine("a");
        document["metadata"] =
            json!({"name": "a", "labels": {"on": true, "n": "x"}, "annotations": [], "finalizers": 5});
        document["sepc"] = json!({});
        refused(
            &document,
            &[
                "AuthConfig default/a: sepc: unknown field `sepc`; did you mean `spec`?",
                "AuthConfig default/a: metadata.annotations: must be an object, not a list: write its entries as \
                 `{\"name\": …}`",
                "AuthConfig default/a: metadata.labels.on: must be a string, not a boolean: put it in quotes",
            ],
        );
    }

    #[test]
    fn what_a_document_says_makes_no_lines_of_its_own() {
        refused(
            &json!({"apiVersion": "v1", "kind": format!("x\n{}", "y".repeat(100))}),
            &[&format!(
                "configuration: kind: unknown kind `x\\n{}…`; known are `AuthConfig`, `Secret`, `List`, \
                 `AuthConfigList`, `SecretList`, `PluginConfig`, `ReferenceGrant`, `AuthorizationPolicy`, `XAuthorizationPolicy`, \
                 `ClusterAuthorizationPolicy`, `Namespace`",
                "y".repeat(58)
            )],
        );
    }
}

mod specs {
    use super::*;

    #[track_caller]
    fn spec(spec: &Value, problems: &[&str]) {
        let problems: Vec<_> = problems.iter().map(|problem| format!("AuthConfig default/a: {problem}")).collect();
        refused(&auth_config("a", spec), &problems.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn unknown_fields() {
        spec(
            &json!({"hosts": ["a"], "authentication": {
                "jwt": {"jwt": {"issuerURL": "https://i"}, "credentials": {"customHeader": {"name": "x", "prefix": "p"}}},
                "key": {"apiKey": {"selector": {"matchLabel": {}}}, "queryString": {"name": "k"}},
                "all": {"anonymous": {"x": 1}},
            }, "authorization": {"r": {"patternMatching": {"patterns": [], "rules": []}}}, "identity": []}),
            &[
                "spec.identity: unknown field `identity`; known are `hosts`, `patterns`, `when`, `authentication`, \
                 `metadata`, `authorization`, `response`, `callbacks`, `imports`, `authenticationStrategy`",
                "spec.authentication.all.anonymous.x: unknown field `x`; none is known here",
                "spec.authentication.jwt.credentials.customHeader.prefix: unknown field `prefix`; known are `name`",
                "spec.authentication.jwt.jwt.issuerURL: unknown field `issuerURL`; did you mean `issuerUrl`?",
                "spec.authentication.key.queryString: unknown field `queryString`; known are `priority`, `metrics`, \
                 `when`, `cache`, `credentials`, `defaults`, `overrides`, `apiKey`, `jwt`, `oauth2Introspection`, \
                 `x509`, `kubernetesTokenReview`, `plain`, `anonymous`, `hmac`, \
                 `denyWith`",
                "spec.authentication.key.apiKey.selector.matchLabel: unknown field `matchLabel`; did you mean \
                 `matchLabels`?",
                "spec.authorization.r.patternMatching.rules: unknown field `rules`; known are `patterns`",
            ],
        );
    }

    #[test]
    fn missing_fields_are_all_named() {
        spec(&json!({}), &["spec.hosts: is required but missing"]);
        spec(
            &json!({"hosts": ["a"], "patterns": {"p": [{"value": "x"}, {"selector": "s", "operator": "eq"}, {}]},
                    "authorization": {"r": {"patternMatching": {}}},
                    "response": {"success": {"headers": {"h": {"json": {}}}}},
                    "authentication": {"k": {"apiKey": {}}, "c": {"credentials": {"cookie": {}}}}}),
            &[
                "spec.authentication.c.credentials.cookie.name: is required but missing",
                "spec.authentication.k.apiKey.selector: is required but missing",
                "spec.authorization.r.patternMatching.patterns: is required but missing",
                "spec.patterns.p[0].selector: is required but missing",
                "spec.patterns.p[0].operator: is required but missing",
                "spec.patterns.p[2].selector: is required but missing",
                "spec.patterns.p[2].operator: is required but missing",
                "spec.response.success.headers.h.json.properties: is required but missing",
            ],
        );
        let mut document = fine("a");
        document.as_object_mut().unwrap().remove("spec");
        refused(&document, &["AuthConfig default/a: spec: is required but missing"]);
    }

    #[test]
    fn very_many_missing_fields_are_named_in_part() {
        let document = auth_config("a", &json!({"hosts": ["a"], "patterns": {"p": vec![json!({}); 5000]}}));
        let problems = decode(document.to_string().as_bytes()).unwrap_err().problems;
        assert!((10..100).contains(&problems.len()), "{}", problems.len());
    }

    #[test]
    fn values_of_the_wrong_type() {
        spec(
            &json!({
                "hosts": "a",
                "when": {"predicate": "true"},
                "patterns": {"p": [{"selector": "s", "operator": "equals", "value": 1}]},
                "authentication": {
                    "a": {"priority": "1", "metrics": "yes", "anonymous": null},
                    "b": {"priority": 1.5, "jwt": {"audiences": "x", "ttl": "60", "timeout": -1, "issuerUrl": 7}},
                    "c": {"apiKey": {"selector": {"matchExpressions": [{"key": "k", "operator": "in"}]}}},
                    "d": [],
                },
                "authorization": [],
                "response": {"unauthorized": {"code": 1e300, "body": "x"}},
            }),
            &[
                "spec.authentication.a.anonymous: must be an object, not null: give a value or leave the field out",
                "spec.authentication.a.metrics: must be a boolean, not a string: write `true` or `false`, without quotes",
                "spec.authentication.a.priority: must be a whole number, not a string: write it without quotes",
                "spec.authentication.b.jwt.audiences: must be a list, not a string: put it in `[…]`",
                "spec.authentication.b.jwt.issuerUrl: must be a string, not a number: put it in quotes",
                "spec.authentication.b.jwt.timeout: must not be negative",
                "spec.authentication.b.jwt.ttl: must be a whole number, not a string: write it without quotes",
                "spec.authentication.b.priority: must be a whole number, not this one",
                "spec.authentication.c.apiKey.selector.matchExpressions[0].operator: unknown value `in`; did you mean \
                 `In`?",
                "spec.authentication.d: must be an object, not a list: write its entries as `{\"name\": …}`",
                "spec.authorization: must be an object, not a list: write its entries as `{\"name\": …}`",
                "spec.hosts: must be a list, not a string: put it in `[…]`",
                "spec.patterns.p[0].operator: unknown value `equals`; known are `eq`, `neq`, `incl`, `excl`, `matches`, \
                 `in`, `notIn`, `gt`, `ge`, `lt`, `le`",
                "spec.response.unauthorized.body: must be an object, not a string",
                "spec.response.unauthorized.code: must be a whole number, not this one",
                "spec.when: must be a list, not an object: put it in `[…]`",
            ],
        );
    }

    #[test]
    fn a_null_is_no_way_to_leave_a_rule_out() {
        spec(
            &json!({"hosts": ["a"], "authorization": null}),
            &["spec.authorization: must be an object, not null: give a value or leave the field out"],
        );
    }

    #[test]
    fn members_that_are_there_more_than_once() {
        refused_text(
            r#"{"apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": {"name": "a"},
                "spec": {"hosts": ["a"], "authorization": {"r": {"opa": {}}, "r": {"opa": {"rego": 1, "rego": 2}}},
                         "hosts": ["b"], "authentication": {"x": {"plain": {"selector": "a", "selector": "b"}}}}}"#,
            &[
                "AuthConfig default/a: spec.hosts: is there more than once: keep one",
                "AuthConfig default/a: spec.authorization.r: is there more than once: keep one",
                "AuthConfig default/a: spec.authentication.x.plain.selector: is there more than once: keep one",
            ],
        );
    }

    #[test]
    fn v1beta2_has_no_newer_fields() {
        let document = |version| {
            let mut document = auth_config(
                "a",
                &json!({
                    "hosts": ["a"],
                    "when": [{"predicate": "true"}],
                    "authentication": {
                        "timeout": {"jwt": {"jwksUrl": "u", "timeout": 1, "issuer": "i", "audiences": ["a"]}},
                        "x": {"x509": {"selector": {}, "source": {"expression": "e"}}},
                        "y": {"anonymous": {}, "defaults": {"template": {"template": "t"}}},
                    },
                    "authorization": {"version": {"patternMatching": {"patterns": []}}},
                    "response": {"success": {"headers": {"source": {"plain": {"expression": "e"}}}}},
                }),
            );
            document["apiVersion"] = json!(format!("authorino.kuadrant.io/{version}"));
            document
        };
        accepted(&document("v1beta3"));
        let paths = [
            "spec.authentication.timeout.jwt.audiences",
            "spec.authentication.timeout.jwt.issuer",
            "spec.authentication.timeout.jwt.jwksUrl",
            "spec.authentication.timeout.jwt.timeout",
            "spec.authentication.x.x509.source",
            "spec.authentication.x.x509.source.expression",
            "spec.authentication.y.defaults.template.template",
            "spec.response.success.headers.source.plain.expression",
            "spec.when[0].predicate",
        ];
        let problems = paths.map(|path| {
            format!(
                "AuthConfig default/a: {path}: is not in `v1beta2`: change `apiVersion` to \
                 `authorino.kuadrant.io/v1beta3`, which every `v1beta2` document can do as it is"
            )
        });
        refused(&document("v1beta2"), &problems.each_ref().map(String::as_str));

        let mut old = auth_config(
            "a",
            &json!({
                "hosts": ["a"],
                "authentication": {
                    "unauthorized": {"anonymous": {}, "when": [{"selector": "a", "operator": "eq", "value": "b"}]},
                    "action": {"apiKey": {"selector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}}},
                },
                "authorization": {"namespace": {"kubernetesSubjectAccessReview": {
                    "user": {"value": 1}, "resourceAttributes": {"namespace": {"value": "n"}},
                }}},
                "response": {"unauthorized": {"code": 418}, "success": {"headers": {"template": {"plain": {"value": [1]}}}}},
            }),
        );
        old["apiVersion"] = json!("authorino.kuadrant.io/v1beta2");
        accepted(&old);
    }
}

mod secret_documents {
    use super::*;

    #[test]
    fn a_secret_prints_without_its_data() {
        let documents = accepted(&list(&json!([fine("a"), secret("s")])));
        assert!(!format!("{documents:?}").contains("s3cr3t"));
    }

    #[test]
    fn the_copy_of_the_data_that_kubectl_apply_leaves_is_dropped() {
        let mut document = secret("s");
        let copy = json!({"stringData": {"api_key": "s3cr3t"}}).to_string();
        document["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/last-applied-configuration": copy, "plan": "gold"});
        let documents = accepted(&list(&json!([fine("a"), document])));
        let metadata = &secrets(&documents)[0].metadata;
        assert_eq!(metadata.annotations, [("plan".to_owned(), "gold".to_owned())].into());
    }

    #[test]
    fn problems_tell_nothing_of_the_data() {
        for (field, value, problem) in [
            ("data", json!({"api_key": 5_513_771}), "data.api_key: must be a string, not a number: put it in quotes"),
            ("data", json!({"api_key": ["s3cr3t"]}), "data.api_key: must be a string, not a list"),
            ("data", json!("s3cr3t"), "data: must be an object, not a string"),
            (
                "stringData",
                json!({"api_key": {"s3cr3t": "s3cr3t"}}),
                "stringData.api_key: must be a string, not an object",
            ),
            (
                "stringdata",
                json!({"api_key": "s3cr3t"}),
                "stringdata: unknown field `stringdata`; did you mean `stringData`?",
            ),
            (
                "immutable",
                json!("s3cr3t"),
                "immutable: must be a boolean, not a string: write `true` or `false`, without quotes",
            ),
        ] {
            let mut document = secret("s");
            document[field] = value;
            refused(&list(&json!([fine("a"), document])), &[&format!("Secret default/s: {problem}")]);
        }
    }
}

mod settings {
    use super::*;

    #[track_caller]
    fn settings(field: &str, value: Value, problems: &[&str]) {
        let mut configuration = plugin_config(&json!([fine("a")]));
        configuration[field] = value;
        let problems: Vec<_> = problems.iter().map(|problem| format!("PluginConfig: {problem}")).collect();
        refused(&configuration, &problems.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn the_document() {
        settings(
            "metadata",
            json!({}),
            &["metadata: unknown field `metadata`; known are `apiVersion`, `kind`, \
            `resources`, `upstreams`, `workload`, `options`"],
        );
        settings(
            "status",
            json!({}),
            &["status: unknown field `status`; known are `apiVersion`, `kind`, `resources`, \
            `upstreams`, `workload`, `options`"],
        );
        settings("option", json!({}), &["option: unknown field `option`; did you mean `options`?"]);
        settings("resources", json!({}), &["resources: must be a list, not an object"]);
        refused(
            &json!({"apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "upstreams": [{}]}),
            &[
                "PluginConfig: resources: is required but missing",
                "PluginConfig: upstreams[0].url: is required but missing",
                "PluginConfig: upstreams[0].cluster: is required but missing",
            ],
        );
        settings(
            "workload",
            json!({"namespace": "", "labels": {"a": 1}}),
            &["workload.labels.a: must be a string, not a number: put it in quotes"],
        );
    }

    #[test]
    fn options() {
        let options = |value: Value, problems: &[&str]| {
            let problems: Vec<_> = problems.iter().map(|problem| format!("options.{problem}")).collect();
            settings("options", value, &problems.iter().map(String::as_str).collect::<Vec<_>>());
        };
        options(
            json!({"whenErrors": {"authConfig": "skip", "rule": "Enforce"}, "timeout": -1, "tokenCacheSize": "1", "hostPort": 1}),
            &[
                "hostPort: must be a string, not a number: put it in quotes",
                "timeout: must not be negative",
                "tokenCacheSize: must be a whole number, not a string: write it without quotes",
                "whenErrors.authConfig: unknown value `skip`; did you mean `Skip`?",
                "whenErrors.rule: unknown value `Enforce`; known are `Skip`, `Fail`",
            ],
        );
    }
}

mod policies {
    use super::*;

    fn policy(name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XAuthorizationPolicy",
            "metadata": {"name": name, "namespace": "prod"}, "spec": spec, "status": {"ancestors": []},
        })
    }

    fn open() -> Value {
        json!({"targetRefs": [{"kind": "Pod", "selector": {}}], "action": "ALLOW", "enforcementLevel": "Network"})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut spec = open();
        spec[field] = value;
        spec
    }

    #[test]
    fn what_is_left_out_is_not_what_is_empty() {
        let rules = json!([{}, {"sources": null}, {"sources": []}, {"networkAttributes": {"ports": []}}, {"networkAttributes": {}}]);
        let documents = accepted(&policy("a", &with("rules", rules)));
        let [Document::AuthorizationPolicy(policy)] = &documents.resources[..] else { panic!("{documents:?}") };
        let sources: Vec<_> = policy.spec.rules.iter().map(|rule| rule.sources.as_ref().map(Vec::len)).collect();
        assert_eq!(sources, [None, None, Some(0), None, None]);
        let ports = |index: usize| {
            policy.spec.rules[index].network_attributes.as_ref().map(|it| it.ports.as_ref().map(Vec::len))
        };
        assert_eq!((ports(0), ports(3), ports(4)), (None, Some(Some(0)), Some(None)));
    }

    #[test]
    fn what_no_policy_has_is_refused_by_its_path() {
        let mut typo = open();
        typo["targetRefs"][0]["selector"]["matchExpression"] = json!([]);
        refused(
            &policy("a", &typo),
            &[
                "AuthorizationPolicy prod/a: spec.targetRefs[0].selector.matchExpression: unknown field `matchExpression`; did you \
               mean `matchExpressions`?",
            ],
        );
        refused(
            &policy("a", &with("rules", json!([{"sources": [{"type": "spiffe"}]}]))),
            &[
                "AuthorizationPolicy prod/a: spec.rules[0].sources[0].type: unknown value `spiffe`; did you mean `SPIFFE`?",
            ],
        );
        refused(
            &policy("a", &json!({"targetRefs": [], "rules": []})),
            &[
                "AuthorizationPolicy prod/a: spec.action: is required but missing",
                "AuthorizationPolicy prod/a: spec.enforcementLevel: is required but missing",
            ],
        );
        let twins = json!([policy("a", &open()), policy("a", &open())]);
        refused(&plugin_config(&twins), &["AuthorizationPolicy prod/a: there is more than one of this name: keep one"]);
    }

    #[test]
    fn policies_that_are_not_valid_are_left_out_if_the_operator_says_so() {
        let mut configuration =
            plugin_config(&json!([policy("good", &open()), policy("bad", &with("rule", json!([])))]));
        refused(
            &configuration,
            &["AuthorizationPolicy prod/bad: spec.rule: unknown field `rule`; did you mean `rules`?"],
        );
        configuration["options"] = json!({"eastWest": {"lenient": true}});
        let documents = accepted(&configuration);
        assert_eq!((documents.resources.len(), documents.left_out.len()), (1, 1));
    }

    fn istio(name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": "prod", "annotations": {"istio.io/dry-run": "true"}},
            "spec": spec, "status": {"conditions": []},
        })
    }

    #[test]
    fn istios_policies_are_read_as_they_are() {
        let rules = json!([{}, {"from": [{"source": {"notPrincipals": ["*"]}}], "to": [], "when": null}]);
        let mut old = istio("b", &json!(null));
        old["apiVersion"] = json!("security.istio.io/v1beta1");
        let documents = accepted(&plugin_config(&json!([
            istio("a", &json!({"action": "CUSTOM", "provider": {"name": "x"}, "rules": rules})),
            old,
            policy("a", &open()),
        ])));
        let [Document::IstioAuthorizationPolicy(a), Document::IstioAuthorizationPolicy(b), _] =
            &documents.resources[..]
        else {
            panic!("{documents:?}")
        };
        assert_eq!(a.metadata.annotations["istio.io/dry-run"], "true");
        assert_eq!(a.spec.action, sidegate_config::istio::Action::Custom);
        let rule = &a.spec.rules[1];
        assert_eq!((a.spec.rules.len(), rule.to.as_ref().map(Vec::len), rule.when.len()), (2, Some(0), 0));
        assert!(b.spec.rules.is_empty() && b.spec.selector.is_none());
    }

    #[test]
    fn what_istios_policies_do_not_have_is_refused_whoever_asks_for_leniency() {
        let mut configuration = plugin_config(&json!([
            istio("a", &json!({"selector": {"matchExpressions": []}})),
            istio(
                "b",
                &json!({"rules": [{"from": [{"source": {"principal": ["x"]}}], "to": [{"operation": {"ports": [80]}}]}]})
            ),
            istio("c", &json!({"rules": [null], "action": "REFUSE"})),
        ]));
        configuration["options"] = json!({"eastWest": {"lenient": true, "istio": {"mode": "Strikt"}}});
        refused(
            &configuration,
            &[
                "PluginConfig: options.eastWest.istio.mode: unknown value `Strikt`; did you mean `Strict`?",
                "Istio AuthorizationPolicy prod/a: spec.selector.matchExpressions: unknown field `matchExpressions`; known are \
                 `matchLabels`",
                "Istio AuthorizationPolicy prod/b: spec.rules[0].from[0].source.principal: unknown field `principal`; did you \
               mean `principals`?",
                "Istio AuthorizationPolicy prod/b: spec.rules[0].to[0].operation.ports[0]: must be a string, not a number: put \
               it in quotes",
                "Istio AuthorizationPolicy prod/c: spec.action: unknown value `REFUSE`; known are `ALLOW`, `DENY`, `AUDIT`, \
               `CUSTOM`",
                "Istio AuthorizationPolicy prod/c: spec.rules[0]: must be an object, not null: give a value or leave the field \
               out",
            ],
        );
    }

    #[test]
    fn cluster_policies_and_namespaces_have_no_namespace() {
        let documents = accepted(&plugin_config(&json!([
            {"apiVersion": "sidegate.dev/v1alpha1", "kind": "ClusterAuthorizationPolicy", "metadata": {"name": "a"},
             "spec": {"tier": "Admin", "priority": 1, "rules": [{"action": "Pass"}]}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "labels": {"env": "prod"}},
             "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
        ])));
        assert!(matches!(
            &documents.resources[..],
            [Document::ClusterAuthorizationPolicy(policy), Document::Namespace(namespace)]
                if policy.metadata.namespace.is_empty() && namespace.metadata.labels["env"] == "prod"
        ));
    }
}
