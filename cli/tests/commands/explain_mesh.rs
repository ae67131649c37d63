//! `sidegate explain` of policies over identity: what it is asked, and what it must not leave out of sight.

use serde_json::Value;

use crate::{fed, golden, sidegate};

/// A token of `https://idp.example.com` whose `state` is `left`.
const LEFT: &str = "e30.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSIsInN0YXRlIjoibGVmdCJ9.c2ln";

const CALLS: [&str; 6] = ["explain", "-f", "documents/mesh-calls.yaml", "--workload", "prod", "--from"];

#[test]
fn a_call_has_the_token_and_addresses_that_are_said() {
    let outside = "source.address=198.51.100.7:4711";
    let lab = "filter_state.io.istio.peer=203.0.113.9:4711";
    let inside = ["--attribute", "source.address=10.0.0.1:1", "--attribute", "filter_state.io.istio.peer=10.0.0.2:1"];
    for (arguments, decider) in [
        (&["--token", LEFT][..], "DENY by Admin/kept-out#0[leavers]"),
        (&["--attribute", outside], "DENY by Admin/kept-out#1[outside]"),
        (&["--attribute", "source.address=10.0.0.1", "--attribute", lab], "DENY by Admin/kept-out#2[lab]"),
        // What is not said is not known, and a rule that keeps out keeps out then.
        (&[], "DENY by Admin/kept-out#1[outside](unavailable)"),
        (&["--tcp", "--attribute", "source.address=203.0.113.9"], "DENY by Admin/kept-out#0[leavers](unavailable)"),
        (&inside, "ALLOW by default"),
    ] {
        let ran = sidegate(&[&CALLS[..], &["nobody"], arguments].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(i32::from(!decider.starts_with("ALLOW"))), ""), "{arguments:?}");
        assert!(ran.out.contains(&format!("decision {decider} (")), "{arguments:?}: {}", ran.out);
        assert!(!ran.out.contains(LEFT), "{}", ran.out);
    }
    // The same for one call by two sets of documents.
    let diff = [&CALLS[..], &["nobody", "--diff", "documents/mesh-calls-changed.yaml"], &inside, &["--token", LEFT]];
    let ran = sidegate(&diff.concat());
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    let expected = "before: DENY by Admin/kept-out#0[leavers]
after: ALLOW by default
the call is decided otherwise
";
    assert_eq!(ran.out, expected);
}

#[test]
fn what_a_call_does_not_have_is_refused() {
    for (arguments, message) in [
        (&["--from", "nobody", "--body", "x"][..], "`--body` cannot be used with `--workload`"),
        (&["--from", "nobody", "--jwks", "documents/jwks.json"], "`--jwks` cannot be used with `--workload`"),
        (&["--from", "nobody", "--replies", "documents/replies.yaml"], "`--replies` cannot be used"),
        (&["--from", "nobody", "--now", "0"], "`--now` cannot be used with `--workload`"),
        (&["--from", "nobody", "--token", "open-sesame"], "`--token` is no JSON Web Token"),
        (&["--from", "nobody", "--token", "a.open-sesame.c"], "is no JSON object in base64url"),
        (&["--from", "nobody", "--tcp", "--token", LEFT], "`--token` cannot be used with `--tcp`"),
        (&["--from", "nobody", "--tcp", "--path", "/"], "`--path` cannot be used with `--tcp`"),
        (&["--from", "nobody", "--attribute", "request.size=1"], "`request.size` is no attribute that policies"),
        (&["--from", "nobody", "--attribute", "source.address=there"], "that is no address"),
        (&["--token", LEFT], "say by `--from` who calls"),
        (&["--host", "api"], "say by `--from` who calls"),
    ] {
        for diff in [&[][..], &["--diff", "documents/mesh-calls-changed.yaml"]] {
            let ran = sidegate(&[&CALLS[..5], diff, arguments].concat());
            assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}");
            assert!(ran.err.contains(message), "{arguments:?}: {}", ran.err);
            assert!(!ran.err.contains("open-sesame"), "{}", ran.err);
        }
    }
}

/// A policy of namespace `prod` that lets in.
fn lets_in(name: &str, label: &str, level: &str, rules: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XAuthorizationPolicy
metadata: {{name: {name}, namespace: prod}}
spec:
  targetRefs: [{{kind: Pod, group: '', selector: {{matchLabels: {{{label}}}}}}}]
  action: ALLOW
  enforcementLevel: {level}
  rules:
{rules}"
    )
}

/// What `--diff` says of two texts.
fn compared(before: &str, after: &str, more: &[&str]) -> crate::Ran {
    let path = std::env::temp_dir().join(format!("sidegate-explain-{}-{}.yaml", std::process::id(), more.len()));
    let path = path.with_extension(format!("{}.yaml", after.len()));
    std::fs::write(&path, after).unwrap();
    let ran = fed(&[&["explain", "-f", "-", "--diff", path.to_str().unwrap()], more].concat(), before);
    std::fs::remove_file(&path).unwrap();
    ran
}

/// The same as two sets of documents of which one has it.
#[test]
fn one_document_more_or_less() {
    let workload = ["--workload", "prod", "--label", "app=api", "--port", "8080"];
    let mesh = |more: &[&str]| sidegate(&[&["explain", "-f", "documents/mesh.yaml"], more, &workload].concat());
    let fewer = mesh(&["--without", "AuthorizationPolicy/prod/callers"]);
    assert_eq!((fewer.code, fewer.err.as_str()), (Some(1), ""), "{}", fewer.out);
    assert!(fewer.out.contains("- policy prod/callers: ") && fewer.out.contains("newly allowed: "), "{}", fewer.out);
    assert_eq!(mesh(&["--without", "XAuthorizationPolicy/prod/callers"]).out, fewer.out);
    let json = mesh(&["--without", "AuthorizationPolicy/prod/callers", "-o", "json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["changed"], true);
    // One of the same name takes its place.
    let more = mesh(&["--add", "documents/mesh-changed.yaml"]);
    assert_eq!(more.code, Some(1), "{}", more.err);
    assert!(!more.out.contains("Admin/nobody-from-dev"), "{}", more.out);
    for line in
        ["- policy prod/callers: ", "+ policy prod/callers: ", "newly denied: spiffe://cluster.local/ns/shop/sa/web "]
    {
        assert!(more.out.contains(line), "{line}: {}", more.out);
    }
    // What is over identity holds for every host.
    let of_host =
        ["explain", "-f", "documents/mesh.yaml", "--without", "AuthorizationPolicy/prod/callers", "--host", "any.test"];
    let of_host = sidegate(&of_host);
    assert!(of_host.code == Some(1) && of_host.out.contains("newly allowed: "), "{}{}", of_host.out, of_host.err);
    let same = mesh(&["--without", "AuthorizationPolicy/prod/callers", "--add", "documents/mesh.yaml"]);
    assert_eq!(same.code, Some(0), "{}", same.err);
    assert!(same.out.ends_with("\nnobody's access changes\n"), "{}", same.out);
    for (arguments, message) in [
        (&["--without", "AuthorizationPolicy/prod/none"][..], "there is no `AuthorizationPolicy/prod/none`"),
        (&["--add", "documents/mesh-options.yaml"], "goes with `--diff`"),
        (&["--add", "documents/mesh.yaml", "--diff", "documents/mesh.yaml"], "cannot be used with"),
    ] {
        let ran = mesh(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.err.contains(message), "{arguments:?}: {}", ran.err);
    }
}

/// Without a workload there is nothing to show, which is neither silence nor a 404.
#[test]
fn who_asks_for_no_workload_is_told_of_it() {
    for more in [&[][..], &["--host", "a.test"], &["--path", "/"]] {
        let ran = sidegate(&[&["explain", "-f", "documents/mesh.yaml"][..], more].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{more:?}");
        assert!(ran.err.contains("say by `--workload` whose are to be shown"), "{}", ran.err);
    }
    let both = ["explain", "-f", "documents/mesh.yaml", "-f", "documents/good.yaml"];
    let ran = sidegate(&both);
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.starts_with("note: policies over identity decide before: `--workload` shows them"), "{}", ran.err);
}

/// Before a workload is known policies over identity keep everybody out, which is no answer for a request, nor for two.
#[test]
fn a_request_of_no_known_workload_gets_no_answer() {
    let (good, mesh) = (["explain", "-f", "documents/good.yaml"], ["-f", "documents/mesh.yaml"]);
    let named = |workload: &str| {
        format!(
            "apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\nworkload: {workload}\noptions: {{eastWest: {{}}}}\n"
        )
    };
    let request = ["--host", "talker.example.com", "--path", "/"];
    for (more, input) in [
        (&["-f", "documents/mesh.yaml"][..], String::new()),
        // Labels alone are not enough.
        (&["-f", "documents/mesh.yaml", "-f", "-"], named("{labels: {app: api}}")),
        (&["--diff", "documents/good.yaml", "--diff", "documents/mesh.yaml"], String::new()),
        (&["-f", "documents/mesh.yaml", "--diff", "documents/good.yaml"], String::new()),
        (
            &["-f", "documents/mesh.yaml", "--diff", "documents/good.yaml", "--diff", "documents/mesh.yaml"],
            String::new(),
        ),
        (&["--add", "documents/mesh.yaml"], String::new()),
        (&["-f", "documents/mesh.yaml", "--without", "AuthConfig/demo/talker-api"], String::new()),
    ] {
        let ran = fed(&[&good[..], more, &request].concat(), &input);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{more:?}: {}", ran.err);
        let remedy = "name its workload by `workload` of the PluginConfig, with `namespace`, or say by `--workload`";
        assert!(ran.err.contains(remedy), "{more:?}: {}", ran.err);
    }
    // Without a request there is something to show, and a note.
    let ran = fed(&[&good[..], &mesh, &["-f", "-"]].concat(), &named("{labels: {app: api}}"));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.starts_with("note: policies over identity decide before"), "{}", ran.err);
    // With a workload both decide, and there is none.
    let ran = fed(&[&good[..], &mesh, &["-f", "-"], &request].concat(), &named("{namespace: shop}"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    assert!(ran.out.contains("AuthConfig demo/talker-api") && !ran.out.contains("no-workload"), "{}", ran.out);
}

#[test]
fn the_workload_that_the_configuration_names_needs_not_be_said() {
    let configuration = "apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\nworkload: {namespace: prod, labels: {app: api}}\n\
                         options: {eastWest: {}}\n";
    let asked =
        |more: &[&str]| fed(&[&["explain", "-f", "documents/mesh.yaml", "-f", "-"], more].concat(), configuration);
    let ran = asked(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.starts_with("workload in namespace prod {app=api} of"), "{}", ran.out);
    assert_eq!(asked(&["--workload", "prod"]).out, ran.out);
    let web = "spiffe://cluster.local/ns/shop/sa/web";
    for (port, code) in [("8080", 0), ("9090", 1)] {
        let call = ["--port", port, "--from", web];
        let ran = asked(&call);
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""), "{}", ran.out);
        assert_eq!(asked(&[&["--workload", "prod"], &call[..]].concat()).out, ran.out);
    }
    let ran = asked(&["--path", "/"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("say by `--from` who calls"), "{}", ran.err);
    // Where it is not named, or AuthConfigs are asked for, it must be said.
    for (documents, message) in [
        ("documents/mesh.yaml", "say by `--workload` whose are to be shown"),
        ("documents/good.yaml", "`--from` is of policies over identity: say by `--workload` whose"),
    ] {
        let ran = sidegate(&["explain", "-f", documents, "--from", "nobody"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{documents}");
        assert!(ran.err.contains(message), "{documents}: {}", ran.err);
    }
}

#[test]
fn options_that_are_otherwise_are_told() {
    let diff = ["explain", "-f", "documents/mesh.yaml", "--diff", "documents/mesh.yaml"];
    let ran = sidegate(&[&diff[..], &["--diff", "documents/mesh-options.yaml"]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{}", ran.out);
    golden("explain/diff-options.txt", &ran.out);
    let json = sidegate(&[&diff[..], &["--diff", "documents/mesh-options.yaml", "-o", "json"]].concat());
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json["changed"].as_bool(), json["options"].as_array().map(Vec::len)), (Some(true), Some(6)));
    // What is written out may be what holds anyway.
    let configured = |options: &str| {
        let policy = lets_in("api", "app: api", "Network", "  - sources: []\n");
        format!("apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\n{options}{policy}")
    };
    let (empty, written) = (configured(""), configured("options: {whenErrors: {rule: Skip}}\n"));
    let ran = compared(&empty, &written, &[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "nobody's access changes\n"), "{}", ran.err);
}

#[test]
fn what_was_not_compared_is_not_called_the_same() {
    let accounts: Vec<String> = (0..200)
        .map(|number| format!("{{type: ServiceAccount, serviceAccount: {{namespace: shop, name: a{number}}}}}"))
        .collect();
    let rules = |paths: usize| {
        let paths: Vec<String> = (0..paths).map(|number| format!("{{type: Exact, value: /p{number}}}")).collect();
        let (accounts, paths) = (accounts.join(", "), paths.join(", "));
        format!("  - sources: [{accounts}]\n    applicationAttributes: {{methods: [GET, POST], paths: [{paths}]}}\n")
    };
    let policy = |paths| lets_in("many", "app: api", "Application", &rules(paths));
    let workload = ["--workload", "prod", "--label", "app=api"];
    let ran = compared(&policy(80), &policy(79), &workload);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{}", ran.out);
    assert!(ran.out.contains("not known beyond "), "{}", ran.out);
    assert!(ran.out.ends_with("whether anybody's access changes is not known\n"), "{}", ran.out);
    let json = compared(&policy(80), &policy(79), &[&workload[..], &["-o", "json"]].concat());
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json["changed"].as_bool(), json["complete"].as_bool()), (Some(false), Some(false)));
    // Of what is the same nothing needs to be tried.
    let ran = compared(&policy(80), &policy(80), &workload);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(ran.out.ends_with("nobody's access changes\n") && !ran.out.contains("not known"), "{}", ran.out);
}

/// Two policies, neither of whose changes is one for pods that have one of the labels.
#[test]
fn a_workload_of_several_selectors_is_tried() {
    let account =
        |name| format!("  - sources: [{{type: ServiceAccount, serviceAccount: {{namespace: shop, name: {name}}}}}]\n");
    let (api, gold) = (account("web"), account("cart"));
    let both = |level| lets_in("api", "app: api", "Network", &api) + &lets_in("gold", "tier: gold", level, &gold);
    let ran = compared(&both("Network"), &both("Application"), &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    golden("explain/diff-selectors.txt", &ran.out);
    // What the documents have is compared, too.
    let deployed = ["-f", "documents/mesh-deployments.yaml"];
    let dev = ["--diff", "documents/mesh-changed.yaml", "--diff", "documents/mesh-deployments.yaml"];
    let ran = sidegate(&[&["explain", "-f", "documents/mesh.yaml"], &deployed[..], &dev[..]].concat());
    assert!(ran.out.contains("workload in namespace prod {app=api, version=v2}"), "{}", ran.out);
}

#[test]
fn a_namespace_without_its_document_is_told() {
    let everywhere = |namespace: &str| {
        format!(
            "apiVersion: sidegate.dev/v1alpha1
kind: ClusterAuthorizationPolicy
metadata: {{name: no-{namespace}}}
spec:
  tier: Admin
  priority: 10
  subject: {{namespaceSelector: {{matchLabels: {{env: prod}}}}}}
  rules:
  - {{action: Deny, sources: [{{type: Namespace, namespace: {namespace}}}]}}
"
        )
    };
    let ran = compared(&everywhere("dev"), &everywhere("test"), &[]);
    let expected = "\
not known: Admin/no-dev: there is no document of a namespace with env=prod
not known: Admin/no-test: there is no document of a namespace with env=prod
whether anybody's access changes is not known
";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(1), expected, ""));
    let ran = compared(&everywhere("dev"), &everywhere("dev"), &[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "nobody's access changes\n"));
    let of_one = "namespace prod: there is no document of it, whose labels count for Admin/no-dev\n";
    let ran = compared(&everywhere("dev"), &everywhere("test"), &["--workload", "prod"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.out.contains(&format!("not known: {of_one}")), "{}", ran.out);
    let ran = fed(&["explain", "-f", "-", "--workload", "prod"], &everywhere("dev"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), format!("warning: {of_one}").as_str()));
}

#[test]
fn labels_are_those_of_the_workload_of_that_name() {
    let asked = |more: &[&str]| sidegate(&[&["explain", "-f", "documents/mesh.yaml"], more].concat());
    let deployed = ["-f", "documents/mesh-deployments.yaml"];
    let ran = asked(&[&deployed[..], &["--workload", "prod/api-v2"]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.starts_with("workload in namespace prod {app=api, version=v2} of"), "{}", ran.out);
    assert!(ran.out.contains("policy prod/callers: "), "{}", ran.out);
    let ran = asked(&[&deployed[..], &["--workload", "prod/api-v2", "--label", "version=v3"]].concat());
    assert!(ran.out.starts_with("workload in namespace prod {app=api, version=v3} of"), "{}", ran.out);
    // An account has no labels, nor has a namespace.
    for workload in ["prod/api", "prod"] {
        let ran = asked(&[&deployed[..], &["--workload", workload]].concat());
        assert_eq!(ran.code, Some(0));
        assert!(ran.err.starts_with("warning: no `--label` is given"), "{}", ran.err);
        let ran = asked(&["--diff", "documents/mesh-changed.yaml", "--workload", workload]);
        assert!(ran.err.starts_with("warning: no `--label` is given"), "{}", ran.err);
    }
    // Of two of one name nobody knows which is meant.
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: api-v2, namespace: prod, labels: {app: other}}\n";
    let arguments = ["explain", "-f", "documents/mesh.yaml", "-f", "-", "-f", "documents/mesh-deployments.yaml"];
    let ran = fed(&[&arguments[..], &["--workload", "prod/api-v2"]].concat(), pod);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("is the name of several documents"), "{}", ran.err);
}

/// A configuration that names its workload decides about no other.
#[test]
fn who_asks_about_another_workload_than_the_configuration_is_of_gets_no_answer() {
    let configuration = "apiVersion: sidegate.dev/v1alpha1\nkind: PluginConfig\nworkload: {namespace: prod, labels: {app: api}}\n\
                         options: {eastWest: {}}\n";
    for (workload, label, answered) in [
        ("prod", "app=api", true),
        ("prod/api", "", true),
        ("dev", "", false),
        ("dev/api", "app=api", false),
        ("prod", "app=web", false),
    ] {
        let labels: &[&str] = if label.is_empty() { &[] } else { &["--label", label] };
        let ran = fed(&[&["explain", "-f", "-", "--workload", workload], labels].concat(), configuration);
        assert_eq!(ran.code, Some(if answered { 0 } else { 2 }), "{workload}: {}{}", ran.out, ran.err);
        let refused = format!("the documents name another workload than `{workload}`");
        assert_eq!(ran.err.contains(&refused), !answered, "{workload}: {}", ran.err);
        assert_eq!(ran.out.contains("workload in namespace prod {app=api}"), answered, "{workload}: {}", ran.out);
    }
    // Labels count with a namespace or without, and those that are not named are no other workload's.
    for (own, label, answered) in [
        ("{labels: {app: api}}", "app=web", false),
        ("{labels: {app: api}}", "app=api", true),
        ("{namespace: prod, labels: {app: api, version: v1}}", "app=api", true),
        ("{namespace: prod, labels: {app: api, version: v1}}", "app=api,version=v2", false),
        ("{namespace: prod, labels: {app: api}}", "app=api,version=v1", true),
    ] {
        let configuration = configuration.replace("{namespace: prod, labels: {app: api}}", own);
        let ran = fed(&["explain", "-f", "-", "--workload", "prod", "--label", label], &configuration);
        assert_eq!(ran.code, Some(if answered { 0 } else { 2 }), "{own} {label}: {}{}", ran.out, ran.err);
        assert_eq!(ran.err.contains("the documents name another workload"), !answered, "{own} {label}: {}", ran.err);
    }
}
