//! `sidegate validate`.

use serde_json::Value;

use crate::{fed, golden, sidegate};

#[test]
fn good_documents_are_code_0() {
    let ran = sidegate(&["validate", "-f", "documents/good.yaml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    golden("validate/good.txt", &ran.out);
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let ran = sidegate(&["validate", "-f", "documents/broken.yaml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    golden("validate/broken.txt", &ran.out);
}

#[test]
fn what_is_dangerous_is_a_warning_and_with_strict_an_error() {
    let ran = sidegate(&["validate", "-f", "documents/dangerous.yaml"]);
    assert_eq!(ran.code, Some(0));
    golden("validate/dangerous.txt", &ran.out);
    let strict = sidegate(&["validate", "-f", "documents/dangerous.yaml", "--strict"]);
    assert_eq!(strict.code, Some(1));
    assert!(!strict.out.contains("warning: "), "{}", strict.out);
    // What is safe stays silent.
    assert!(!ran.out.contains("default/careful"), "{}", ran.out);
}

#[test]
fn machines_get_json_and_sarif() {
    for format in ["json", "sarif"] {
        let ran =
            sidegate(&["validate", "-f", "documents/broken.yaml", "-f", "documents/dangerous.yaml", "-o", format]);
        assert_eq!(ran.code, Some(1));
        golden(&format!("validate/findings.{format}"), &ran.out);
    }
    let ran = sidegate(&["validate", "-f", "documents/good.yaml", "-o", "sarif"]);
    let sarif: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (sarif["version"].as_str(), sarif["runs"][0]["results"].as_array().map(Vec::len)),
        (Some("2.1.0"), Some(0))
    );
}

/// With `SARIF_SCHEMA`, which `./build.sh schemas` gets: the schema that OASIS publishes takes all reports.
#[test]
fn sarif_is_what_its_schema_says() {
    let Some(path) = std::env::var_os("SARIF_SCHEMA") else {
        return eprintln!("SARIF_SCHEMA is not set: the reports are not validated");
    };
    let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    // Its regular expression, of a field that is none of ours, has a bracket that nothing opens.
    schema["definitions"]["run"]["properties"]["language"].as_object_mut().unwrap().remove("pattern");
    schema["definitions"]["toolComponent"]["properties"]["language"].as_object_mut().unwrap().remove("pattern");
    let validator = jsonschema::validator_for(&schema).unwrap();
    for file in ["good", "broken", "dangerous", "not-http", "mesh", "composed", "folder"] {
        let file = if file == "folder" { "documents/folder".to_owned() } else { format!("documents/{file}.yaml") };
        let ran = sidegate(&["validate", "-f", &file, "-o", "sarif"]);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let problems: Vec<String> =
            validator.iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(problems.is_empty(), "{file}: {problems:?}");
        let mut wrong = report.clone();
        wrong["runs"][0]["tool"]["driver"]["name"] = 1.into();
        assert!(!validator.is_valid(&wrong), "{file}");
    }
}

/// On a terminal, which Debian's `script` makes, there is colour, but not with NO_COLOR; to a pipe there is none.
#[test]
fn there_is_colour_on_a_terminal_only() {
    let has_script = std::process::Command::new("script").arg("--version").output().is_ok();
    if !has_script {
        return eprintln!("`script` is not here: no terminal is tried");
    }
    let command = format!("{} validate -f documents/broken.yaml", env!("CARGO_BIN_EXE_sidegate"));
    let on_terminal = |no_color: Option<&str>| {
        let mut script = std::process::Command::new("script");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).current_dir(crate::here());
        script.env("TERM", "xterm-256color").stdin(std::process::Stdio::null());
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            script.env_remove(name);
        }
        script.envs(no_color.map(|value| ("NO_COLOR", value)));
        let output = script.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
    };
    let piped = sidegate(&["validate", "-f", "documents/broken.yaml"]).out;
    let coloured = on_terminal(None);
    assert!(coloured.contains("\u{1b}[") && !piped.contains('\u{1b}'), "{coloured}");
    assert_eq!(on_terminal(Some("1")), piped);
    let plain = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(plain, piped);
}

#[test]
fn what_is_no_yaml_is_told_and_the_rest_looked_at() {
    let ran = fed(&["validate", "-f", "-", "-f", "documents/good.yaml"], "kind: [AuthConfig\n");
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.starts_with("<stdin>:2:1: error: it is no YAML: "), "{}", ran.out);
    assert!(ran.out.contains("1 AuthConfig and 1 Secret: 1 error, "), "{}", ran.out);
}

/// A list of a whole cluster is long, and that is no mistake; what its aliases come to has a bound.
#[test]
fn long_files_are_read_and_bombs_are_not() {
    let policy = |number: usize| {
        format!(
            "- apiVersion: gateway.networking.x-k8s.io/v1alpha1\n  kind: XAuthorizationPolicy\n  metadata: {{name: p{number}, namespace: n}}\n  spec:\n    \
             targetRefs: [{{group: '', kind: Pod, selector: {{matchLabels: {{app: a{number}}}}}}}]\n    action: ALLOW\n    enforcementLevel: Network\n    rules:\n    - sources:\n      \
             - {{type: ServiceAccount, serviceAccount: {{name: web, namespace: shop}}}}\n      networkAttributes: {{ports: [8080, 9090]}}\n"
        )
    };
    let list = (0..6000).map(policy).collect::<String>();
    let ran = fed(&["validate", "-f", "-"], &format!("apiVersion: v1\nkind: List\nitems:\n{list}"));
    assert_eq!(
        (ran.code, ran.out.lines().next_back()),
        (Some(0), Some("0 AuthConfigs, 0 Secrets and 6000 policies over identity: no errors, no warnings"))
    );
    let bomb = format!("a: &a {}\nb:\n{}", "x".repeat(1 << 20), "- *a\n".repeat(1000));
    let ran = fed(&["validate", "-f", "-"], &bomb);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    assert!(ran.out.contains("its aliases come to too much"), "{}", ran.out);
}

#[test]
fn a_rule_that_stands_in_for_one_of_an_import_is_told() {
    let rule = |name: &str| format!("{name}: {{patternMatching: {{patterns: [{{predicate: 'true'}}]}}}}");
    let document = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: authorino.kuadrant.io/v1beta3\nkind: AuthConfig\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        )
    };
    let documents = [
        document("zero", &format!("hosts: [], authorization: {{{}}}", rule("zero"))),
        document("one", &format!("hosts: [], imports: [{{name: zero}}], authorization: {{{}}}", rule("both"))),
        document("two", &format!("hosts: [], imports: [{{name: zero}}], authorization: {{{}}}", rule("both"))),
        document(
            "top",
            &format!(
                "hosts: [a.test], imports: [{{name: one}}, {{name: two}}], authorization: {{{}, {}}}",
                rule("zero"),
                rule("own")
            ),
        ),
    ];
    let ran = fed(&["validate", "-f", "-"], &documents.concat());
    let told: Vec<&str> = ran.out.lines().filter(|line| line.ends_with("[shadowed]")).collect();
    assert_eq!(
        told,
        [
            "<stdin>:20:48: warning: AuthConfig default/top: spec.imports[1]: `authorization.both` of AuthConfig default/two stands in for that of AuthConfig default/one, which counts no more: if both are to hold, name one of them otherwise, or else leave one out [shadowed]",
            "<stdin>:20:78: warning: AuthConfig default/top: spec.authorization.zero: stands in for that of AuthConfig default/zero, which counts no more: if both are to hold, name it otherwise [shadowed]",
        ],
        "{}",
        ran.out
    );
}

#[test]
fn lists_json_folders_and_standard_input() {
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "authorino.kuadrant.io/v1beta3", "kind": "AuthConfig", "metadata": {"name": "a"},
         "spec": {"hosts": ["a.test"], "authentication": {"x": {"jwt": {"issuerUrl": "https://idp.test",
            "audiences": ["a"]}}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}}]}"#;
    let ran = fed(&["validate", "-f", "-"], list);
    assert_eq!(ran.code, Some(0));
    assert_eq!(
        ran.out,
        "<stdin>:5:9: note: Service default/b: is none of ours: left out\n\
         1 AuthConfig and 0 Secrets: no errors, no warnings\n"
    );
    let ran = sidegate(&["validate", "-f", "documents/folder"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    golden("validate/folder.txt", &ran.out);
}

#[test]
fn secrets_may_be_elsewhere_if_that_is_said() {
    let document = "apiVersion: authorino.kuadrant.io/v1beta3\nkind: AuthConfig\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  \
                    authentication:\n    x:\n      oauth2Introspection: {endpoint: https://a.test, credentialsRef: {name: none}}\n";
    assert_eq!(fed(&["validate", "-f", "-"], document).code, Some(1));
    let ran = fed(&["validate", "-f", "-", "--without-secrets"], document);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(ran.out.contains("warning: ") && ran.out.contains("[missing-secret]"), "{}", ran.out);
    // Nor is it an error for who is strict, as it is for who has said nothing.
    let keys = format!("{document}    y:\n      apiKey: {{selector: {{matchLabels: {{a: b}}}}}}\n");
    let ran = fed(&["validate", "-f", "-", "--without-secrets", "--strict"], &keys);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert_eq!(ran.out.matches("[missing-secret]").count(), 2, "{}", ran.out);
    let strict = fed(&["validate", "-f", "-", "--strict"], &keys);
    assert_eq!((strict.code, strict.out.matches(" error: ").count()), (Some(1), 2), "{}", strict.out);
}

#[test]
fn no_secret_is_printed() {
    for format in ["text", "json", "sarif"] {
        for file in ["good", "broken", "dangerous"] {
            let ran = sidegate(&["validate", "-f", &format!("documents/{file}.yaml"), "-o", format]);
            assert!(!format!("{ran:?}").contains("sesame"), "{ran:?}");
        }
    }
}

#[test]
fn imports_and_grants_are_of_one_configuration() {
    let ran = sidegate(&["validate", "-f", "documents/composed.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "2 AuthConfigs and 3 Secrets: no errors, no warnings\n"));
}

#[test]
fn policies_over_identity_are_checked() {
    let ran = sidegate(&["validate", "-f", "documents/mesh.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    golden("validate/mesh.txt", &ran.out);
    let broken = "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\n\
                  spec:\n  targetRefs: []\n  action: MAYBE\n  enforcementLevel: Network\n";
    let ran = fed(&["validate", "-f", "-"], broken);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("<stdin>:6:3: error: AuthorizationPolicy b/a: spec.action: "), "{}", ran.out);
}

#[test]
fn forwarders_through_whom_a_certificate_may_name_somebody_else_are_warned_of() {
    let said = |more: &str| {
        let options =
            format!("options: {{eastWest: {{trustedForwarders: ['spiffe://td/ns/edge/sa/gateway']{more}}}}}\n");
        fed(&["validate", "-f", "-"], &format!("apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\n{options}"))
    };
    let (ran, safe) = (said(""), said(", forwardersSanitize: true"));
    assert_eq!((ran.code, safe.code), (Some(0), Some(0)));
    let warning = "<stdin>:3:22: warning: PluginConfig: options.eastWest.trustedForwarders: whoever has a certificate";
    assert!(ran.out.contains(warning) && ran.out.contains("[trusted-forwarders]"), "{}", ran.out);
    assert!(!safe.out.contains("[trusted-forwarders]"), "{}", safe.out);
}

#[test]
fn rules_that_are_wider_or_narrower_than_they_look_are_warned_of() {
    let ran = sidegate(&["validate", "-f", "documents/careless.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    for warning in [
        "AuthorizationPolicy prod/callers: spec.rules[0].sources[0]: lets in whoever has the address",
        "ClusterAuthorizationPolicy b: spec.priority: is that of `a`, too",
        "ClusterAuthorizationPolicy b: spec.rules[0].applicationAttributes.paths[0]: does not fit `/files` itself",
        "ClusterAuthorizationPolicy b: spec.rules[0].applicationAttributes.paths[0]: leaves the same in other letters open, as `/FILES/{**}`",
    ] {
        assert!(ran.out.contains(warning), "{warning}: {}", ran.out);
    }
    assert_eq!(ran.out.matches("warning: ").count(), 4, "{}", ran.out);
}

#[test]
fn denials_of_paths_ask_how_the_server_reads_letters() {
    let denial = |path: &str, options: &str| {
        let policies = format!(
            "apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\noptions: {{eastWest: {options}}}\nresources:\n\
             - apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n  metadata: {{name: a, namespace: b}}\n  \
             spec: {{action: DENY, rules: [{{to: [{{operation: {{ports: ['80'], paths: [{path}]}}}}]}}]}}\n\
             - apiVersion: gateway.networking.x-k8s.io/v1alpha1\n  kind: XAuthorizationPolicy\n  metadata: {{name: c, namespace: b}}\n  \
             spec: {{action: DENY, enforcementLevel: Application, targetRefs: [{{kind: Pod, selector: {{}}}}], \
             rules: [{{networkAttributes: {{ports: [80]}}, applicationAttributes: {{paths: [{{type: Exact, value: {path}}}]}}}}]}}\n"
        );
        fed(&["validate", "-f", "-"], &policies).out
    };
    let open = denial("/admin", "{}");
    for place in ["b/a: spec.rules[0].to[0].operation.paths[0]", "b/c: spec.rules[0].applicationAttributes.paths[0]"] {
        assert!(open.contains(&format!("{place}: leaves the same in other letters open, as `/ADMIN`")), "{open}");
    }
    assert_eq!(open.matches("[letter-case]").count(), 2, "{open}");
    let all_but = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\n\
                   spec: {rules: [{to: [{operation: {notPaths: [/admin]}}]}]}\n";
    let all_but = fed(&["validate", "-f", "-"], all_but).out;
    assert!(all_but.contains("operation.notPaths[0]: leaves the same in other letters open, as `/ADMIN`"), "{all_but}");
    for (path, options) in
        [("/admin", "{caseInsensitivePaths: true}"), ("/admin", "{caseInsensitivePaths: false}"), ("/42", "{}")]
    {
        let answered = denial(path, options);
        assert!(!answered.contains("[letter-case]"), "{answered}");
    }
}

#[test]
fn denials_by_name_ask_what_becomes_of_who_has_none() {
    let policy = |kind: &str, name: &str, spec: &str| {
        let group =
            if kind == "AuthorizationPolicy" { "security.istio.io/v1" } else { "gateway.networking.x-k8s.io/v1alpha1" };
        let group = if kind == "ClusterAuthorizationPolicy" { "sidegate.dev/v1alpha1" } else { group };
        let namespace = if kind == "ClusterAuthorizationPolicy" { "" } else { ", namespace: prod" };
        format!("---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\nspec: {spec}\n")
    };
    let ours = |name: &str, action: &str, rules: &str| {
        let target = "targetRefs: [{kind: Pod, selector: {}}], enforcementLevel: Network";
        policy("XAuthorizationPolicy", name, &format!("{{{target}, action: {action}, rules: {rules}}}"))
    };
    let denials = [
        ours("dev", "DENY", "[{sources: [{type: Namespace, namespace: dev}]}]"),
        policy("AuthorizationPolicy", "istios", "{action: DENY, rules: [{from: [{source: {namespaces: [dev]}}]}]}"),
        policy(
            "AuthorizationPolicy",
            "when",
            "{action: DENY, rules: [{when: [{key: source.principal, values: [x]}]}]}",
        ),
        policy(
            "ClusterAuthorizationPolicy",
            "tier",
            "{tier: Admin, priority: 1, rules: [{action: Deny, sources: [{type: TrustDomain, trustDomain: x}]}]}",
        ),
    ]
    .concat();
    let warned = |more: &str| {
        let out = fed(&["validate", "-f", "-"], &format!("{denials}{more}")).out;
        assert!(!out.contains(": error: "), "{out}");
        out.matches("[no-identity]").count()
    };
    assert_eq!(warned(""), 4);
    assert_eq!(
        warned(&policy("AuthorizationPolicy", "other", "{action: DENY, rules: [{to: [{operation: {ports: ['1']}}]}]}")),
        4
    );
    for more in [
        policy("ClusterAuthorizationPolicy", "shut", "{tier: Baseline, priority: 1, rules: [{action: Deny}]}"),
        policy("ClusterAuthorizationPolicy", "shut", "{tier: Admin, priority: 2, rules: [{action: Deny}]}"),
        policy("AuthorizationPolicy", "mesh", "{rules: [{from: [{source: {namespaces: [shop]}}]}]}")
            .replace("prod", "istio-system"),
    ] {
        assert_eq!(warned(&more), 0, "{more}");
    }
    let in_prod = [
        ours("shop", "ALLOW", "[{sources: [{type: Namespace, namespace: shop}]}]"),
        ours("nobody", "DENY", "[{sources: [{type: Unauthenticated}]}]"),
        policy("AuthorizationPolicy", "shop", "{rules: [{from: [{source: {namespaces: [shop]}}]}]}"),
        policy("AuthorizationPolicy", "nobody", "{action: DENY, rules: [{from: [{source: {notPrincipals: ['*']}}]}]}"),
    ];
    for more in in_prod {
        // The cluster-wide denial is about other namespaces, too.
        assert_eq!(warned(&more), 1, "{more}");
        assert_eq!(warned(&more.replace("prod", "dev")), 4, "{more}");
        let tried = more.replace("namespace: prod}", "namespace: prod, annotations: {istio.io/dry-run: 'true'}}");
        let tried = tried.replace("action: ALLOW, rules", "action: ALLOW, mode: Audit, rules");
        let tried = tried.replace("action: DENY, rules: [{sources", "action: DENY, mode: Audit, rules: [{sources");
        assert_eq!(warned(&tried), 4, "{tried}");
    }
    for more in [
        ours("anybody", "ALLOW", "[{}]"),
        ours("nobody", "ALLOW", "[{sources: [{type: Unauthenticated}]}]"),
        policy("AuthorizationPolicy", "anybody", "{rules: [{to: [{operation: {ports: ['1']}}]}]}"),
        policy(
            "ClusterAuthorizationPolicy",
            "late",
            "{tier: Admin, priority: 2, rules: [{action: Allow}, {action: Deny}]}",
        ),
        policy(
            "ClusterAuthorizationPolicy",
            "port",
            "{tier: Baseline, priority: 2, rules: [{action: Deny, networkAttributes: {ports: [1]}}]}",
        ),
    ] {
        assert_eq!(warned(&more), 4, "{more}");
    }
    // What is tried out denies nobody.
    let tried = denials
        .replace("namespace: prod}", "namespace: prod, annotations: {istio.io/dry-run: '1'}}")
        .replace("action: DENY, rules: [{sources", "action: DENY, mode: Audit, rules: [{sources")
        .replace("tier: Admin, priority", "mode: Audit, tier: Admin, priority");
    let ran = fed(&["validate", "-f", "-"], &tried);
    assert!(ran.code == Some(0) && !ran.out.contains("[no-identity]"), "{}", ran.out);
}

#[test]
fn denials_by_http_where_there_may_be_none_are_warned_of() {
    let ran = sidegate(&["validate", "-f", "documents/not-http.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    golden("validate/not-http.txt", &ran.out);
}

/// Of Istio's group the policies are read, and found again in their file; other kinds are Istio's.
#[test]
fn istios_policies_are_ours_to_check() {
    let ran = sidegate(&["validate", "-f", "documents/migrate/istio.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    golden("validate/istio.txt", &ran.out);
    let list = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicyList\nitems:\n- metadata: {name: a, namespace: b}\n  spec:\n    \
                rules: [{to: [{operation: {ports: [http]}}]}]\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
                metadata: {name: mtls}\n";
    let ran = fed(&["validate", "-f", "-"], list);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    let place =
        "<stdin>:6:40: error: Istio AuthorizationPolicy b/a: spec.rules[0].to[0].operation.ports[0]: `http` is no port";
    assert!(ran.out.contains(place), "{}", ran.out);
    assert!(ran.out.contains("note: PeerAuthentication default/mtls: is none of ours: left out"), "{}", ran.out);
}
