//! Help, completions, and what the command cannot make sense of.

use crate::sidegate;

const COMMANDS: [&str; 5] = ["validate", "render", "explain", "migrate", "test"];

#[test]
fn help_shows_examples_and_exit_codes() {
    let ran = sidegate(&["--help"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.out.contains("Exit codes:"), "{}", ran.out);
    for command in COMMANDS {
        assert!(ran.out.contains(command), "{}", ran.out);
        let help = sidegate(&[command, "--help"]);
        assert_eq!(help.code, Some(0));
        assert!(help.out.contains("Examples:\n  sidegate ") || help.out.contains("sidegate "), "{}", help.out);
        assert!(help.out.contains("Examples:"), "{}", help.out);
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = sidegate(&["completions", shell]);
        assert_eq!(ran.code, Some(0));
        assert!(COMMANDS.iter().all(|command| ran.out.contains(command)), "{shell}");
    }
}

#[test]
fn what_makes_no_sense_is_code_2() {
    for arguments in [
        &["frobnicate"][..],
        &["validate"],
        &["validate", "-f", "documents/none.yaml"],
        &["validate", "-f", "documents/good.yaml", "-o", "xml"],
        &["test", "documents/none"],
        &["test", "documents/good.yaml"],
        &["completions", "tcsh"],
        &["render", "-f", "documents/good.yaml", "-o", "envoy", "--upstream", "localhost"],
        &["render", "-f", "documents/good.yaml", "-o", "envoy", "--upstream", "localhost:0"],
        &["render", "-f", "documents/good.yaml", "-o", "envoy", "--upstream", "::1"],
        &["render", "-f", "documents/good.yaml", "-o", "envoy", "--upstream", "http://localhost:80"],
        &["render", "-f", "documents/good.yaml", "-o", "docker-compose", "--upstream", "envoy:80"],
        &["render", "-f", "documents/good.yaml", "-o", "wasmplugin", "--module", "oci://a/b", "--sha256", "abc"],
        &["render", "-f", "documents/good.yaml", "-o", "wasmplugin", "--module", "oci://a/b", "--name", "Side Gate"],
        &["render", "-f", "documents/good.yaml", "-o", "wasmplugin", "--module", "oci://a/b", "--target", "Gateway/"],
        &["explain", "-f", "documents/good.yaml", "--host", "talker.example.com", "--path", "hello"],
        &["explain", "-f", "documents/good.yaml", "--host", "talker.example.com", "-H", ": x"],
        &[
            "explain",
            "-f",
            "documents/good.yaml",
            "--host",
            "talker.example.com",
            "--jwks",
            "documents/good.yaml",
            "--path",
            "/",
        ],
        &["validate", "-f", "-", "-f", "-"],
    ] {
        let ran = sidegate(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.is_empty());
    }
}

/// AuthConfigs and policies over identity refuse the same of a request.
#[test]
fn what_is_no_request_is_told() {
    let of_host = ["explain", "-f", "documents/good.yaml", "--host", "talker.example.com"];
    let of_workload = ["explain", "-f", "documents/mesh.yaml", "--workload", "prod", "--from", "nobody"];
    for (arguments, message) in [
        (["--path", "admin"], "`--path` begins with `/`"),
        (["-H", ": x"], "a header is written as `name: value`; "),
        (["-H", ":path: /admin"], "a header is written as `name: value`; "),
        (["-H", "x"], "a header is written as `name: value`"),
    ] {
        for asked in [&of_host[..], &of_workload] {
            let ran = sidegate(&[asked, &arguments].concat());
            assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{asked:?} {arguments:?}: {}", ran.err);
            assert!(ran.err.contains(message), "{asked:?} {arguments:?}: {}", ran.err);
        }
    }
}

#[test]
fn folders_that_lead_back_to_themselves_are_read_once_and_empty_ones_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let ran = sidegate(&["validate", "-f", &path]);
    assert_eq!(
        (ran.code, ran.err),
        (Some(2), format!("sidegate: {path}: no file in it ends in .yaml, .yml or .json\n"))
    );
    std::fs::copy(crate::here().join("documents/good.yaml"), folder.path().join("good.yaml")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
    let ran = sidegate(&["validate", "-f", &path]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    assert!(ran.out.contains("1 AuthConfig and 1 Secret: no errors"), "{}", ran.out);
}

#[test]
fn text_that_is_no_utf_8_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    for (bytes, what) in [(&b"\xff\xfea\0"[..], "UTF-16"), (b"a: \xff", "no UTF-8")] {
        std::fs::write(&path, bytes).unwrap();
        let ran = sidegate(&["validate", "-f", &path.display().to_string()]);
        assert_eq!(
            (ran.code, ran.err),
            (Some(2), format!("sidegate: {}: it is {what}: save it as UTF-8\n", path.display()))
        );
    }
}

#[test]
fn whoever_stops_reading_has_seen_enough() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sidegate"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_ne!(output.status.code(), Some(101));
}
