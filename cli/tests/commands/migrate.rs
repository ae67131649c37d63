//! `sidegate migrate`.

use std::fs;

use crate::{fed, golden, here, sidegate};

#[test]
fn v1beta1_is_written_anew_and_what_a_person_must_look_at_is_told() {
    let ran = sidegate(&["migrate", "-f", "documents/migrate/v1beta1.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    golden("migrate/v1beta1.yaml", &ran.out);
    golden("migrate/v1beta1.notes", &ran.err);
    assert!(ran.out.contains("  # this one goes\n  hosts:"), "comments stay: {}", ran.out);
    // Nothing is left to migrate, and the engine takes it.
    let again = fed(&["migrate", "-f", "-"], &ran.out);
    assert_eq!((again.code, again.out.as_str(), again.err.as_str()), (Some(0), ran.out.as_str(), ""));
    let validated = fed(&["validate", "-f", "-", "--without-secrets"], &ran.out);
    assert_eq!(validated.code, Some(0), "{}", validated.out);
}

#[test]
fn of_v1beta2_only_the_version_changes() {
    let before = fs::read_to_string(here().join("documents/migrate/v1beta2.yaml")).unwrap();
    let ran = sidegate(&["migrate", "-f", "documents/migrate/v1beta2.yaml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let changed: Vec<_> = before.lines().zip(ran.out.lines()).filter(|(before, after)| before != after).collect();
    assert_eq!(
        changed,
        [
            (
                "apiVersion: \"authorino.kuadrant.io/v1beta2\"   # and this,",
                "apiVersion: \"authorino.kuadrant.io/v1beta3\"   # and this,"
            ),
            ("- apiVersion: authorino.kuadrant.io/v1beta2", "- apiVersion: authorino.kuadrant.io/v1beta3"),
        ]
    );
    assert_eq!(before.lines().count(), ran.out.lines().count());
}

#[test]
fn files_are_written_if_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["v1beta1.yaml", "v1beta2.yaml"] {
        fs::copy(here().join("documents/migrate").join(name), folder.path().join(name)).unwrap();
    }
    let new = "apiVersion: authorino.kuadrant.io/v1beta3\nkind: AuthConfig\nmetadata: {name: now}\nspec: {hosts: [now.test]}\n";
    fs::write(folder.path().join("now.yaml"), new).unwrap();
    let path = folder.path().display().to_string();
    let ran = sidegate(&["migrate", "-f", &path, "--write"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{}", ran.err);
    assert_eq!(ran.err.matches(": migrated\n").count(), 2, "{}", ran.err);
    assert_eq!(fs::read_to_string(folder.path().join("now.yaml")).unwrap(), new);
    golden("migrate/v1beta1.yaml", &fs::read_to_string(folder.path().join("v1beta1.yaml")).unwrap());
    let again = sidegate(&["migrate", "-f", &path, "--write"]);
    assert_eq!((again.code, again.err.as_str()), (Some(0), ""));
}

#[test]
fn an_outcome_that_is_refused_is_code_1() {
    let document = "apiVersion: authorino.kuadrant.io/v1beta1\nkind: AuthConfig\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  identity:\n  \
                    - {name: a}\n  - {oidc: {endpoint: x}}\n  - {name: a, credentials: {in: body, keySelector: x}}\n";
    let ran = fed(&["migrate", "-f", "-"], document);
    assert_eq!(ran.code, Some(1));
    for part in [
        "spec.identity[1]: has no name: left out",
        "`body` is no place for credentials",
        "another one of the name `a`",
        "error: AuthConfig default/a: spec.authentication.a: exactly one method is needed",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
}

#[test]
fn json_stays_json_and_lists_stay_lists() {
    let list = r#"{"apiVersion": "authorino.kuadrant.io/v1beta1", "kind": "AuthConfigList", "items": [
        {"apiVersion": "authorino.kuadrant.io/v1beta1", "kind": "AuthConfig", "metadata": {"name": "a"},
         "spec": {"hosts": ["a"], "identity": [{"name": "x", "anonymous": {}}]}}]}"#;
    let ran = fed(&["migrate", "-f", "-"], list);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["apiVersion"], "authorino.kuadrant.io/v1beta3");
    assert_eq!(json["items"][0]["spec"]["authentication"], serde_json::json!({"x": {"anonymous": {}}}));
}

/// JSON, and what lists have, stand in the order of the writer, too.
#[test]
fn json_and_lists_keep_the_writers_order() {
    let one = "{\n  \"kind\": \"AuthConfig\", \"apiVersion\": \"authorino.kuadrant.io/v1beta1\", \"metadata\": {\"name\": \"a\"},\n  \
               \"spec\": {\"identity\": [{\"name\": \"z\", \"anonymous\": {}}, {\"priority\": 1, \"name\": \"a\", \"anonymous\": {}}], \"hosts\": [\"a\"]}\n}\n";
    let ran = fed(&["migrate", "-f", "-"], one);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let expected = r#"{
  "apiVersion": "authorino.kuadrant.io/v1beta3",
  "kind": "AuthConfig",
  "metadata": {
    "name": "a"
  },
  "spec": {
    "authentication": {
      "z": {
        "anonymous": {}
      },
      "a": {
        "priority": 1,
        "anonymous": {}
      }
    },
    "hosts": [
      "a"
    ]
  }
}
"#;
    assert_eq!(ran.out, expected);
    let list = "kind: List\napiVersion: v1\nitems:\n- kind: Service\n  apiVersion: v1\n  spec: {z: 1, a: 2}\n- apiVersion: authorino.kuadrant.io/v1beta1\n  \
                kind: AuthConfig\n  metadata: {name: a}\n  spec:\n    # who\n    identity:\n    - {name: z, anonymous: {}}\n    hosts: [a]\n";
    let ran = fed(&["migrate", "-f", "-"], list);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let expected = "apiVersion: v1\nkind: List\nitems:\n- kind: Service\n  apiVersion: v1\n  spec:\n    z: 1\n    a: 2\n- apiVersion: authorino.kuadrant.io/v1beta3\n  \
                    kind: AuthConfig\n  metadata:\n    name: a\n  spec:\n    # who\n    authentication:\n      z:\n        anonymous: {}\n    hosts:\n    - a\n";
    assert_eq!(ran.out, expected);
}

/// What of a list is of another shape moves alone, and what stands behind an item that is gone keeps its comments.
#[test]
fn the_rest_of_a_list_keeps_its_places_and_comments() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: policy.linkerd.io/v1beta1\n  kind: ServerAuthorization\n  metadata: {name: web, namespace: shop}\n  \
                spec:\n    # gone\n    client: {meshTLS: {identities: ['*']}}\n    server: {name: web}\n- apiVersion: policy.linkerd.io/v1beta1\n  kind: Server\n  \
                metadata: {name: web, namespace: shop}\n  spec:\n    # the server's\n    podSelector: {matchLabels: {app: web}}\n    port: 80\n- apiVersion: v1\n  kind: Service\n  metadata: {name: s}\n  spec:\n    type: ClusterIP\n    # the pods\n    selector: {b: x, a: y}\n    \
                rules:\n    - # no policy\n      paths: [/]\n- apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n  metadata: {name: a, namespace: shop}\n  spec:\n    rules:\n    \
                # two in one\n    - to:\n      - operation: {ports: ['80'], methods: [GET]}\n      - operation: {ports: ['81']}\n    # all else\n    - to:\n      - operation: {ports: ['82']}\n";
    let ran = fed(&["migrate", "-f", "-"], list);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    golden("migrate/list.yaml", &ran.out);
}

#[test]
fn documents_stay_apart() {
    let old = |name: &str| {
        format!(
            "{{apiVersion: authorino.kuadrant.io/v1beta1, kind: AuthConfig, metadata: {{name: {name}}}, spec: {{hosts: [{name}], identity: [{{name: x, anonymous: {{}}}}]}}}}"
        )
    };
    let count = |ran: &crate::Ran| {
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let counted = fed(&["validate", "-f", "-"], &ran.out);
        assert_eq!(counted.code, Some(0), "{}{}", ran.out, counted.out);
        counted.out.lines().next_back().map(ToOwned::to_owned)
    };
    let text = format!("--- {}\n--- {}\n...\n# bare\n{}\n...\n---\n{}", old("a"), old("b"), old("c"), old("d"));
    assert_eq!(
        count(&fed(&["migrate", "-f", "-"], &text)).as_deref(),
        Some("4 AuthConfigs and 0 Secrets: no errors, 4 warnings")
    );
    // Two files of which the first does not end its last line.
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(
            folder.path().join(format!("{name}.json")),
            old(name)
                .replace("v1beta1", "v1beta2")
                .replace("identity: [{name: x, anonymous: {}}]", "authentication: {x: {anonymous: {}}}"),
        )
        .unwrap();
    }
    let ran = sidegate(&["migrate", "-f", &folder.path().display().to_string()]);
    assert_eq!(count(&ran).as_deref(), Some("2 AuthConfigs and 0 Secrets: no errors, 2 warnings"));
}

#[test]
fn lines_end_as_they_did() {
    let old = "apiVersion: authorino.kuadrant.io/v1beta1\r\nkind: AuthConfig\r\nmetadata: {name: a} # who\r\nspec: {hosts: [a], identity: [{name: x, anonymous: {}}]}\r\n";
    let ran = fed(&["migrate", "-f", "-"], old);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("# who\r\n") && !ran.out.replace("\r\n", "").contains('\n'), "{:?}", ran.out);
}

#[test]
fn standard_input_cannot_be_written_to() {
    let ran = fed(&["migrate", "-f", "-", "--write"], "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
}

#[test]
fn istios_policies_become_ours_or_stay() {
    let ran = sidegate(&["migrate", "-f", "documents/migrate/istio.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    golden("migrate/istio.yaml", &ran.out);
    golden("migrate/istio.notes", &ran.err);
    // What stays is told again, and nothing else changes.
    let again = fed(&["migrate", "-f", "-"], &ran.out);
    assert_eq!((again.code, again.out.as_str()), (Some(0), ran.out.as_str()));
    let assumed = sidegate(&[
        "migrate",
        "-f",
        "documents/migrate/istio.yaml",
        "--assume",
        "normal-forms",
        "--assume",
        "one-trust-domain",
    ]);
    golden("migrate/istio-assumed.notes", &assumed.err);
    // Nobody has more than before.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.yaml").display().to_string();
    fs::write(&path, &ran.out).unwrap();
    let config = "apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\noptions: {eastWest: {peerAddress: {sourceAddress: true}}}\n";
    let with = folder.path().join("options.yaml").display().to_string();
    fs::write(&with, config).unwrap();
    let istio = ["explain", "-f", "documents/migrate/istio.yaml", "-f", &with, "--diff", &path, "--diff", &with];
    let diff = sidegate(&istio);
    // Somebody has less, which is told. Of one workload all together is too much to try; `migrate_istio` compares each policy for itself.
    assert_eq!(diff.code, Some(1), "{}", diff.err);
    assert!(diff.out.contains("newly denied"), "{}", diff.out);
    assert_eq!(diff.out.matches("not known").count(), 1, "{}", diff.out);
    assert!(!diff.out.contains("newly allowed"), "{}", diff.out);
}

#[test]
fn a_list_of_istios_policies_stays_a_list() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n  metadata: {name: a, namespace: b}\n  \
                spec: {rules: [{}]}\n- {apiVersion: v1, kind: Service, metadata: {name: c}}\n";
    let ran = fed(&["migrate", "-f", "-"], list);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let out: serde_json::Value = yaml_serde::from_str(&ran.out).unwrap();
    let kinds: Vec<_> =
        out["items"].as_array().into_iter().flatten().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["XAuthorizationPolicy", "Service"]);
}

#[test]
fn linkerds_servers_become_ours_with_all_that_lets_in_there() {
    let ran = sidegate(&["migrate", "-f", "documents/migrate/linkerd"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    golden("migrate/linkerd.yaml", &ran.out);
    golden("migrate/linkerd.notes", &ran.err);
    // By what is migrated: who calls from where may, and nobody else.
    let config = "apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\noptions: {eastWest: {peerAddress: {sourceAddress: true}}}\n---\n";
    let asked = |account: &str, port: &str| {
        let from = format!("spiffe://cluster.local/ns/{account}");
        let call = [
            "--workload",
            "booksapp",
            "--label",
            "app=authors",
            "--label",
            "project=booksapp",
            "--port",
            port,
            "--from",
            &from,
        ];
        fed(&[&["explain", "-f", "-", "--tcp"][..], &call].concat(), &(config.to_owned() + &ran.out)).code
    };
    assert_eq!(asked("monitoring/sa/prometheus", "7001"), Some(0));
    assert_eq!(asked("monitoring/sa/prometheus", "7002"), Some(1));
    assert_eq!(asked("monitoring/sa/grafana", "7001"), Some(1));
    // Of the right identity, but nobody knows from where.
    assert_eq!(asked("booksapp/sa/webapp", "7001"), Some(1));
}

/// A file of which one document is of another shape: the others are what they were, byte for byte, and this one stands in the order of
/// its own lines, with their comments.
#[test]
fn the_rest_of_a_file_is_what_it_was_and_the_order_is_the_writers() {
    let untouched = "# ours\napiVersion: authorino.kuadrant.io/v1beta3   # new\nkind: AuthConfig\nmetadata: {name: now}\nspec:\n  \
                     when:   # before hosts\n  - {selector: request.method,   operator: eq, value: 'GET'}\n  hosts: [ now.test ]\n";
    let service =
        "---\n# not ours\nkind: Service\napiVersion: v1\nmetadata: {name: s, labels: {b: '1', a: \"2\"}}\n\n\n";
    let old = "---\n# The old one.\nkind: AuthConfig\napiVersion: authorino.kuadrant.io/v1beta1\nmetadata:\n  namespace: shop\n  name: old # its name\nspec:\n  \
               # whom it is for\n  hosts: [old.test]\n  response:\n  # to the upstream\n  - {name: x-z, plain: {value: 1}}\n  - {name: x-a, plain: {value: 2}}\n  \
               identity:\n  # staff first\n  - name: staff\n    oidc:\n      # our own\n      endpoint: https://idp.test\n    priority: 0\n  - name: anybody # last\n    \
               anonymous: {}\n    priority: 1\n";
    let ran = fed(&["migrate", "-f", "-"], &[untouched, service, old].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let (kept, anew) = ran.out.split_at(untouched.len() + service.len());
    assert_eq!(kept, [untouched, service].concat());
    let expected = "---\n# The old one.\napiVersion: authorino.kuadrant.io/v1beta3\nkind: AuthConfig\nmetadata:\n  # its name\n  name: old\n  namespace: shop\nspec:\n  \
                    # whom it is for\n  hosts:\n  - old.test\n  response:\n    success:\n      headers:\n        # to the upstream\n        x-z:\n          plain:\n            value: 1\n        \
                    x-a:\n          plain:\n            value: 2\n  authentication:\n    # staff first\n    staff:\n      jwt:\n        # our own\n        issuerUrl: https://idp.test\n      priority: 0\n    \
                    # last\n    anybody:\n      anonymous: {}\n      priority: 1\n";
    assert_eq!(anew, expected);
}
