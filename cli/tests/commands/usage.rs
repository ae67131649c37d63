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
    ] {
        let ran = sidegate(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.is_empty());
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
