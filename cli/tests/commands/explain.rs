//! `sidegate explain`.

use serde_json::Value;

use crate::{golden, sidegate};

const GOOD: [&str; 3] = ["explain", "-f", "documents/good.yaml"];

fn explained(arguments: &[&str]) -> crate::Ran {
    sidegate(&[&GOOD[..], arguments].concat())
}

#[test]
fn the_policy_of_a_host() {
    let ran = explained(&["--host", "talker.example.com"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    golden("explain/policy.txt", &ran.out);
    let ran = explained(&["-o", "json"]);
    golden("explain/policy.json", &ran.out);
    let ran = explained(&["--host", "nobody.test"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(1), "no AuthConfig has the host `nobody.test`: every request for it is denied with 404\n")
    );
}

/// Each kind of decision: allowed, denied by a rule, no identity, no telling.
#[test]
fn the_steps_of_a_decision() {
    let replies = ["--now", "2026-01-31T12:00:00Z", "--replies", "documents/replies.yaml", "--token"];
    for (name, token, code) in [("allowed", "admin", 0), ("denied", "clerk", 1), ("expired", "old", 1)] {
        let ran = explained(&[&replies[..], &[&format!("${{token.{token}}}")]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(code), ""));
        golden(&format!("explain/{name}.txt"), &ran.out);
    }
    // The same signature, but nobody says which keys the issuer has.
    let ran = explained(&["--now", "1769860800", "--token", TOKEN]);
    assert_eq!(ran.code, Some(1));
    golden("explain/no-keys.txt", &ran.out);
}

/// A condition that is an error is told with the error, since such a rule is skipped unless the options say otherwise.
#[test]
fn the_error_of_a_condition_is_told() {
    let asked = |more: &[&str]| {
        sidegate(&[&["explain", "-f", "documents/when-error.yaml", "--method", "POST"][..], more].concat())
    };
    let ran = asked(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    golden("explain/when-error.txt", &ran.out);
    golden("explain/when-error.json", &asked(&["-o", "json"]).out);
    let ran = asked(&["-H", "x-canary: yes"]);
    assert_eq!(ran.code, Some(1));
    golden("explain/when-holds.txt", &ran.out);
}

/// Of the key in `documents/jwks.json`, from 2026-01-31T11:59:00Z to 12:05.
const TOKEN: &str = include_str!("../documents/token.txt");

#[test]
fn keys_and_the_time_are_said() {
    let at = |now: &str| explained(&["--jwks", "documents/jwks.json", "--token", TOKEN, "--now", now, "-o", "json"]);
    let ran = at("2026-01-31T12:00:00Z");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((json["decision"].as_str(), json["setHeaders"][0].as_str()), (Some("allow"), Some("x-user")));
    assert_eq!(json["firstFailed"], Value::Null);
    let ran = at("2026-01-31T13:00:00Z");
    assert_eq!(ran.code, Some(1));
    golden("explain/late.json", &ran.out);
}

#[test]
fn nothing_that_is_a_credential_is_printed() {
    for output in ["text", "json"] {
        for arguments in [
            &["-H", "authorization: APIKEY open-sesame-1"][..],
            &["-H", "authorization: APIKEY open-sesame-2"],
            &["--token", "open-sesame-3", "--path", "/?key=open-sesame-4"],
            &[],
        ] {
            let ran = explained(&[arguments, &["-o", output]].concat());
            assert!(!format!("{ran:?}").contains("open-sesame"), "{ran:?}");
        }
    }
    let ran = explained(&["-H", "authorization: APIKEY open-sesame-1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
}

#[test]
fn what_makes_no_sense_is_code_2() {
    for (arguments, message) in [
        (&["-H", "no colon"][..], "`name: value`"),
        (&["--path", "/", "--now", "tomorrow"], "`tomorrow` is no time"),
        (&["--attribute", "frobnicated=1"], "`frobnicated` is no attribute"),
        (&["--path", "/", "--jwks", "documents/none.json"], "documents/none.json"),
        (&["--path", "/", "--replies", "documents/jwks.json"], "unknown field `keys`"),
    ] {
        let ran = explained(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        assert!(ran.err.contains(message), "{}", ran.err);
    }
    let ran = sidegate(&["explain", "-f", "documents/broken.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    let ran = sidegate(&["explain", "-f", "documents/dangerous.yaml", "--path", "/"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), "sidegate: say by `--host` which host the request is for\n"));
}

#[test]
fn what_is_imported_is_told_where_it_was_written() {
    let composed = ["explain", "-f", "documents/composed.yaml"];
    let ran = sidegate(&composed);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    golden("explain/composed.txt", &ran.out);
    let decided =
        |more: &[&str]| sidegate(&[&composed[..], &["-H", "authorization: Bearer open-sesame-3"], more].concat());
    let ran = decided(&["--method", "GET"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    let ran = decided(&["--method", "TRACE"]);
    assert_eq!(ran.code, Some(1));
    golden("explain/composed-denied.txt", &ran.out);
}

#[test]
fn policies_over_identity_are_told_for_a_workload() {
    let mesh = ["explain", "-f", "documents/mesh.yaml", "--workload", "prod", "--label", "app=api"];
    let asked = |more: &[&str]| sidegate(&[&mesh[..], more].concat());
    let ran = asked(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    golden("explain/mesh.txt", &ran.out);
    for (name, from, port, code) in [
        ("mesh-allowed", "spiffe://cluster.local/ns/shop/sa/web", "8080", 0),
        ("mesh-port", "spiffe://cluster.local/ns/shop/sa/web", "9090", 1),
        ("mesh-denied", "spiffe://cluster.local/ns/dev/sa/web", "8080", 1),
        ("mesh-nobody", "nobody", "8080", 1),
    ] {
        let ran = asked(&["--from", from, "--port", port]);
        assert_eq!(ran.code, Some(code), "{name}: {}{}", ran.out, ran.err);
        golden(&format!("explain/{name}.txt"), &ran.out);
        let json = asked(&["--from", from, "--port", port, "-o", "json"]);
        let json: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["decision"]["decision"], if code == 0 { "ALLOW" } else { "DENY" }, "{name}");
    }
    assert_eq!(asked(&["--from", "web"]).code, Some(2));
    assert_eq!(sidegate(&["explain", "-f", "documents/good.yaml", "--workload", "prod"]).code, Some(2));
}

#[test]
fn whose_access_changes_is_told() {
    let mesh = ["explain", "-f", "documents/mesh.yaml", "--diff", "documents/mesh-changed.yaml"];
    let asked = |more: &[&str]| sidegate(&[&mesh[..], more].concat());
    let ran = asked(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    golden("explain/diff-mesh.txt", &ran.out);
    let api = ["--workload", "prod", "--label", "app=api", "--port", "8080"];
    let ran = asked(&[&api[..], &["-o", "json"]].concat());
    assert_eq!(ran.code, Some(1));
    golden("explain/diff-workload.json", &ran.out);
    // For connections, what looks at HTTP lets nobody in.
    let ran = asked(&[&api[..], &["--tcp"]].concat());
    assert!(!ran.out.contains("namespace tools, such as"), "{}", ran.out);
    for (from, code, line) in [
        ("spiffe://cluster.local/ns/shop/sa/web", 1, "the call is decided otherwise"),
        ("spiffe://cluster.local/ns/shop/sa/cart", 1, "after: ALLOW by prod/callers#0"),
        ("nobody", 0, "the call is decided the same"),
    ] {
        let ran = asked(&[&api[..], &["--from", from]].concat());
        assert_eq!(ran.code, Some(code), "{}", ran.out);
        assert!(ran.out.contains(line), "{}", ran.out);
    }
    let same = sidegate(&["explain", "-f", "documents/mesh.yaml", "--diff", "documents/mesh.yaml"]);
    assert_eq!((same.code, same.out.as_str()), (Some(0), "nobody's access changes\n"));
    // All that there was is gone, and all that was kept out is let in.
    let gone = sidegate(&["explain", "-f", "documents/mesh.yaml", "--diff", "documents/good.yaml"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.out.contains("newly allowed: namespace dev, such as"), "{}", gone.out);
    assert!(gone.out.contains("AuthConfig demo/talker-api is new: talker.example.com"), "{}", gone.out);
}

#[test]
fn what_changes_for_hosts_is_told() {
    let good = ["--diff", "documents/good-changed.yaml"];
    let asked = |more: &[&str]| explained(&[&good[..], more].concat());
    let ran = asked(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    golden("explain/diff-hosts.txt", &ran.out);
    let ran = asked(&["--host", "talker.example.com", "-H", "authorization: APIKEY open-sesame-1"]);
    assert_eq!(ran.code, Some(1));
    golden("explain/diff-request.txt", &ran.out);
    let ran = asked(&["--host", "talker.example.com", "-H", "x-key: open-sesame-3", "-o", "json"]);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    let decisions = ["before", "after"].map(|side| json[side]["decision"].clone());
    assert_eq!((ran.code, decisions), (Some(1), [Value::from("DENY"), Value::from("ALLOW")]));
    assert!(!ran.out.contains("open-sesame"), "{}", ran.out);
    let ran = explained(&["--diff", "documents/good.yaml", "--host", "talker.example.com", "--path", "/"]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    let broken = explained(&["--diff", "documents/broken.yaml"]);
    assert_eq!((broken.code, broken.out.as_str()), (Some(2), ""));
}
