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

#[test]
fn what_is_no_yaml_is_told_and_the_rest_looked_at() {
    let ran = fed(&["validate", "-f", "-", "-f", "documents/good.yaml"], "kind: [AuthConfig\n");
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.starts_with("<stdin>:2:1: error: it is no YAML: "), "{}", ran.out);
    assert!(ran.out.contains("1 AuthConfig and 1 Secret: 1 error, "), "{}", ran.out);
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
