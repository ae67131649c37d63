//! `sidegate explain` of policies over identity: what it is asked, and what it must not leave out of sight.

use crate::sidegate;

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
