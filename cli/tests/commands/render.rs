//! `sidegate render`.

use std::env;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::{fed, golden, sidegate};

const MODULE: [&str; 2] = ["--module", "oci://registry.example.com/sidegate:0.1.0"];

/// Each target, and what it needs beside the documents.
const TARGETS: [(&str, &[&str]); 6] = [
    ("plugin-config", &[]),
    ("envoy", &[]),
    ("docker-compose", &[]),
    ("wasmplugin", &[MODULE[0], MODULE[1], "--selector", "app=calls", "-n", "demo"]),
    ("trafficextension", &[MODULE[0], MODULE[1], "--target", "Gateway/edge", "--name", "edge"]),
    ("envoy-extension-policy", &[MODULE[0], MODULE[1], "--target", "HTTPRoute/calls"]),
];

fn render(target: &str, more: &[&str]) -> crate::Ran {
    sidegate(&[&["render", "-f", "documents/calls.yaml", "-o", target], more].concat())
}

#[test]
fn each_target_is_as_it_was() {
    for (target, more) in TARGETS {
        let ran = render(target, more);
        assert_eq!(ran.code, Some(0), "{target}: {}", ran.err);
        golden(&format!("render/{target}"), &ran.out);
        assert!(ran.err.contains("spec.metadata.elsewhere.http: whom it calls is known only when"), "{}", ran.err);
        assert_eq!(render(target, more).out, ran.out, "{target}: the same input gives the same bytes");
    }
}

#[test]
fn api_keys_are_digests_unless_they_are_to_be_kept() {
    for (target, more) in TARGETS {
        let ran = render(target, more);
        // Nor is there any entry that no rule reads.
        for secret in ["open-sesame", "b3Blbi1zZXNhbWU", "bm90IHJlYWQ="] {
            assert!(!format!("{ran:?}").contains(secret), "{target}: {secret}");
        }
        let kept = render(target, &[more, &["--keep-keys"]].concat());
        assert!(kept.out.contains("b3Blbi1zZXNhbWUtMQ=="), "{target}");
    }
}

/// What is rendered decides as the documents do: the digest opens the same door.
#[test]
fn the_plugin_configuration_is_one_document_that_decides_the_same() {
    let ran = sidegate(&["render", "-f", "documents/good.yaml", "-o", "plugin-config"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let explained = |arguments: &[&str]| fed(&[&["explain", "-f", "-"], arguments].concat(), &ran.out);
    assert_eq!(explained(&["-H", "authorization: APIKEY open-sesame-1"]).code, Some(0));
    assert_eq!(explained(&["-H", "authorization: APIKEY open-sesame-2"]).code, Some(1));
    let again = fed(&["render", "-f", "-", "-o", "plugin-config"], &ran.out);
    assert_eq!((again.code, again.out), (Some(0), ran.out));
}

#[test]
fn what_is_refused_is_not_rendered() {
    let ran = sidegate(&["render", "-f", "documents/broken.yaml", "-o", "envoy"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("documents/broken.yaml:10:13: error: "), "{}", ran.err);
}

#[test]
fn what_a_target_cannot_do_is_code_2() {
    let bodies = "apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\noptions: {allowOnHeadersStopIteration: true}\nresources:\n\
                  - {apiVersion: authorino.kuadrant.io/v1beta3, kind: AuthConfig, metadata: {name: a}, spec: {hosts: [a]}}\n";
    for (target, more, message) in [
        ("wasmplugin", &MODULE[..], "Istio has no setting"),
        ("trafficextension", &MODULE[..], "Istio has no setting"),
        ("envoy-extension-policy", &["--target", "Gateway/a"], "Envoy Gateway has no setting"),
    ] {
        let ran = fed(&[&["render", "-f", "-", "-o", target], more].concat(), bodies);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{target}");
        assert!(ran.err.contains(message), "{}", ran.err);
    }
    let ran = fed(&["render", "-f", "-", "-o", "envoy"], bodies);
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("allow_on_headers_stop_iteration: true\n"), "{}", ran.out);
    for (target, more, message) in [
        ("wasmplugin", &[][..], "--module"),
        ("envoy-extension-policy", &MODULE[..], "--target"),
        ("wasmplugin", &[MODULE[0], MODULE[1], "--target", "Pod/a"], "`Pod` is no kind"),
        ("wasmplugin", &[MODULE[0], MODULE[1], "--selector", "a"], "`name=value`"),
        ("wasmplugin", &[MODULE[0], MODULE[1], "--selector", "a=b", "--target", "Gateway/a"], "cannot be used with"),
    ] {
        let ran = render(target, more);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{target} {more:?}");
        assert!(ran.err.contains(message), "{}", ran.err);
    }
}

/// With `ENVOY` and `SIDEGATE_WASM`: the real Envoy takes it.
#[test]
fn envoy_takes_what_is_rendered_for_it() {
    let (Some(envoy), Some(module)) = (env::var_os("ENVOY"), env::var("SIDEGATE_WASM").ok()) else {
        eprintln!("ENVOY or SIDEGATE_WASM is not set: Envoy is not asked");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem").display().to_string();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/certs/ca.pem"), &ca).unwrap();
    let ran = render("envoy", &["--module", &module, "--ca-file", &ca, "--kubernetes-ca-file", &ca]);
    let path = folder.path().join("envoy.yaml");
    let validated = |text: &str| {
        fs::write(&path, text).unwrap();
        Command::new(&envoy).args(["--mode", "validate", "--log-level", "warn", "-c"]).arg(&path).output().unwrap()
    };
    let output = validated(&ran.out);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cert = |name: &str| format!("{}/../tests/fixtures/certs/{name}", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key) = (cert("localhost.pem"), cert("localhost.key"));
    let tls = ["--module", &module, "--cert-file", &certificate, "--key-file", &key, "--client-ca-file", &ca];
    let tcp = [
        "render",
        "-f",
        "documents/mesh.yaml",
        "-o",
        "envoy",
        "--tcp",
        "3306",
        "--listen",
        "8443",
        "--upstream",
        "db:80",
        "--workload",
        "prod",
    ];
    let connections = sidegate(&[&tcp[..], &tls].concat());
    assert_eq!(connections.code, Some(0), "{}", connections.err);
    let output = validated(&connections.out);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!validated(&connections.out.replace("max_early_data", "max_early_date")).status.success());
    // And it would tell what is no field of its own.
    assert!(!validated(&ran.out.replace("failure_policy", "failure_polity")).status.success());
}

/// One host and port that speaks gRPC, HTTP and TLS: a cluster for each, and the module knows which is whose.
#[test]
fn one_cluster_speaks_one_protocol() {
    let rendered = |target: &str, more: &[&str]| {
        sidegate(&[&["render", "-f", "documents/two-protocols.yaml", "-o", target][..], more].concat())
    };
    let ran = rendered("envoy", &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    golden("render/two-protocols", &ran.out);
    let envoy: Value = yaml_serde::from_str(&ran.out).unwrap();
    let clusters = envoy["static_resources"]["clusters"].as_array().unwrap();
    let names: Vec<_> = clusters.iter().filter_map(|cluster| cluster["name"].as_str()).collect();
    let expected = ["upstream", "all.example.com:8443/http", "all.example.com:8443/grpc", "all.example.com:8443"];
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
    let speaks_http2 = |cluster: &&Value| cluster.get("typed_extension_protocol_options").is_some();
    let http2: Vec<_> = clusters.iter().filter(speaks_http2).filter_map(|cluster| cluster["name"].as_str()).collect();
    assert_eq!(http2, ["all.example.com:8443/grpc"]);
    let ran = rendered("wasmplugin", &MODULE);
    assert!(ran.err.contains("all.example.com:8443 is called by gRPC and by HTTP"), "{}", ran.err);
}

#[test]
fn compose_gets_dollars_that_it_leaves_alone() {
    let ran = fed(
        &["render", "-f", "-", "-o", "docker-compose"],
        "apiVersion: authorino.kuadrant.io/v1beta3\nkind: AuthConfig\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  when:\n  \
         - {selector: request.path, operator: matches, value: '^/a$'}\n",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("^/a$$") && !ran.out.contains("^/a$\""), "{}", ran.out);
}

#[test]
fn servers_of_istio_have_the_names_that_istio_gives_them() {
    let ran = render("wasmplugin", &MODULE);
    let documents: Vec<Value> = ran.out.split("---\n").map(|text| yaml_serde::from_str(text).unwrap()).collect();
    let kinds: Vec<_> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "ServiceEntry").count(), 2, "{kinds:?}");
    let clusters: Vec<_> = (documents[0]["spec"]["pluginConfig"]["upstreams"].as_array().into_iter().flatten())
        .filter_map(|upstream| upstream["cluster"].as_str())
        .collect();
    assert_eq!(
        clusters,
        [
            "partners",
            "outbound|8080||profiles.demo.svc.cluster.local",
            "outbound|443||idp.example.com",
            "outbound|443||kubernetes.default.svc.cluster.local",
            "outbound|50051||spicedb.example.com",
        ]
    );
}

#[test]
fn secrets_of_other_namespaces_go_in_with_the_grants() {
    let ran = sidegate(&["render", "-f", "documents/composed.yaml", "-o", "plugin-config"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    golden("render/composed.json", &ran.out);
    // A Secret of the importer's namespace opens no door of the import, so that nobody reads it.
    assert_eq!(ran.out.matches("api_key_sha256").count(), 1);
}

/// For one workload only what is about it; for all of them, each by its own name.
#[test]
fn workloads_get_their_own() {
    let of = |more: &[&str]| sidegate(&[&["render", "-f", "documents/split.yaml"][..], more].concat());
    let api = of(&["-o", "plugin-config", "--workload", "prod/api", "--label", "app=api"]);
    assert_eq!((api.code, api.err.as_str()), (Some(0), ""));
    let config: Value = serde_json::from_str(&api.out).unwrap();
    let names: Vec<_> = (config["resources"].as_array().into_iter().flatten())
        .filter_map(|resource| resource["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["for-api", "nobody-from-dev", "prod"]);
    assert_eq!(
        config["workload"],
        serde_json::json!({ "namespace": "prod", "labels": { "app": "api" }, "serviceAccount": "api" })
    );
    let spelled = of(&["-o", "plugin-config", "--workload", "prod/api", "--labels", "app=api,canary=true"]);
    let spelled: Value = serde_json::from_str(&spelled.out).unwrap();
    assert_eq!(spelled["workload"]["labels"], serde_json::json!({ "app": "api", "canary": "true" }));
    // It decides the same as all of them together.
    let asked = |files: &str, input: &str, more: &[&str]| {
        let call = ["--workload", "prod/api", "--label", "app=api", "--port", "8080", "--from"];
        fed(&[&["explain", "-f", files][..], &call, more].concat(), input).code
    };
    for (from, code) in [("spiffe://cluster.local/ns/shop/sa/web", 0), ("spiffe://cluster.local/ns/dev/sa/web", 1)] {
        assert_eq!(asked("documents/split.yaml", "", &[from]), Some(code));
        assert_eq!(asked("-", &api.out, &[from]), Some(code));
    }
    let split = of(&[&["-o", "wasmplugin", "--split-by-workload"][..], &MODULE].concat());
    assert_eq!(split.code, Some(0), "{}", split.err);
    golden("render/split", &split.out);
    golden("render/split.notes", &split.err);
    assert_eq!(of(&[&["-o", "wasmplugin", "--split-by-workload"][..], &MODULE].concat()).out, split.out);
    let stream = of(&["-o", "plugin-config", "--split-by-workload"]);
    let values: Vec<Value> = serde_json::Deserializer::from_str(&stream.out).into_iter().map(Result::unwrap).collect();
    assert_eq!(values.len(), 3, "{}", stream.out);
    let none = sidegate(&["render", "-f", "documents/mesh.yaml", "-o", "plugin-config", "--split-by-workload"]);
    assert_eq!((none.code, none.out.as_str()), (Some(2), ""));
    let envoy = of(&["-o", "envoy", "--split-by-workload"]);
    assert_eq!((envoy.code, envoy.out.as_str()), (Some(2), ""));
}

/// What connections need that are no HTTP: a filter of their own, at their ports, and a `tcp_proxy` that waits for the handshake.
#[test]
fn connections_get_a_filter_of_their_own() {
    let of = |target: &str, more: &[&str]| {
        sidegate(&[&["render", "-f", "documents/mesh.yaml", "-o", target], more].concat())
    };
    let istio = [MODULE[0], MODULE[1], "--selector", "app=api", "-n", "prod", "--tcp", "3306", "--tcp", "5432"];
    let tls = [
        "--cert-file",
        "/etc/certs/api.pem",
        "--key-file",
        "/etc/certs/api.key",
        "--client-ca-file",
        "/etc/certs/ca.pem",
    ];
    for (target, name, more) in [
        ("wasmplugin", "wasmplugin", &istio[..]),
        ("trafficextension", "trafficextension", &istio),
        (
            "envoy",
            "envoy",
            &[&["--tcp", "3306", "--upstream", "db:3306", "--workload", "prod", "--label", "app=api"][..], &tls]
                .concat(),
        ),
        (
            "envoy",
            "envoy-both",
            &[
                &[
                    "--tcp",
                    "3306",
                    "--listen",
                    "8443",
                    "--upstream",
                    "db:8080",
                    "--workload",
                    "prod",
                    "--label",
                    "app=api",
                ][..],
                &tls,
            ]
            .concat(),
        ),
    ] {
        let ran = of(target, more);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{name}");
        golden(&format!("render/tcp-{name}"), &ran.out);
    }
    for (target, more, message) in [
        ("plugin-config", &["--tcp", "1"][..], "the same for requests and for connections"),
        ("docker-compose", &["--tcp", "1"], "knows HTTP alone"),
        ("envoy-extension-policy", &["--tcp", "1", "--target", "Gateway/a"], "no filters for connections"),
        ("wasmplugin", &["--tcp", "1", "--target", "Gateway/a"], "use `--selector`"),
        ("envoy", &["--cert-file", "a"], "--key-file"),
        ("envoy", &["--tcp", "65536"], "65536"),
        ("envoy", &["--tcp", "3306"], "say by `--workload` which this is"),
    ] {
        let ran = of(target, more);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{target} {more:?}");
        assert!(ran.err.contains(message), "{}", ran.err);
    }
    // Who leaves them out is told.
    assert!(of("wasmplugin", &MODULE).err.contains("name their ports by `--tcp`"));
    assert!(
        of("envoy", &["--tcp", "3306", "--workload", "prod"])
            .err
            .contains("without `--cert-file` nobody who calls has an identity")
    );
}

/// As `explain` has it: what the documents say of a workload of that name, not an account that is called so.
#[test]
fn a_workload_is_what_the_documents_have_of_its_name() {
    let rendered = |workload: &str| {
        let ran = sidegate(&["render", "-f", "documents/split.yaml", "-o", "plugin-config", "--workload", workload]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        serde_json::from_str::<Value>(&ran.out).unwrap()["workload"].clone()
    };
    let canary = serde_json::json!({ "app": "api", "canary": "true" });
    assert_eq!(
        rendered("prod/api-canary-0"),
        serde_json::json!({ "namespace": "prod", "labels": canary, "serviceAccount": "default" })
    );
    assert_eq!(
        rendered("shop/web"),
        serde_json::json!({ "namespace": "shop", "labels": { "app": "web" }, "serviceAccount": "web" })
    );
    assert_eq!(
        rendered("shop/nobody"),
        serde_json::json!({ "namespace": "shop", "labels": {}, "serviceAccount": "nobody" })
    );
}
