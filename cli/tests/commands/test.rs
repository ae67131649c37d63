//! `sidegate test`.

use crate::{golden, sidegate};

const TALKER: [&str; 4] = ["test", "-f", "documents/good.yaml", "documents/cases/talker.yaml"];

#[test]
fn cases_that_come_out_as_expected_are_code_0() {
    let ran = sidegate(&TALKER);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    assert_eq!(
        ran.out,
        "ok documents/cases/talker: a friend passes\nok documents/cases/talker: a stranger is denied\n2 passed, 0 failed\n"
    );
}

#[test]
fn what_is_not_as_expected_is_shown_with_the_steps() {
    let ran = sidegate(&["test", "-f", "documents/good.yaml", "documents/cases/wrong.yaml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    golden("test/wrong.txt", &ran.out);
}

#[test]
fn the_steps_of_a_decision_are_told() {
    let ran = sidegate(&["test", "../../tests/cases/jwt/expired.yaml", "--explain", "--only", "without the role"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    golden("test/expired.txt", &ran.out);
}

#[test]
fn rules_that_no_case_has_reached_are_named() {
    let ran = sidegate(&[&TALKER[..], &["documents/cases/wrong.yaml", "--coverage", "--skip", "too much"]].concat());
    assert_eq!(ran.code, Some(0));
    golden("test/coverage.txt", &ran.out);
}

#[test]
fn ci_gets_junit() {
    let ran = sidegate(&["test", "-f", "documents/good.yaml", "documents/cases", "-o", "junit"]);
    assert_eq!(ran.code, Some(1));
    let times = ran
        .out
        .split(" time=\"")
        .skip(1)
        .all(|rest| rest.split('"').next().is_some_and(|time| time.parse::<f64>().is_ok()));
    assert!(times, "{}", ran.out);
    let still: Vec<String> = (ran.out.split(" time=\""))
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.split_once('"').map_or("", |(_, rest)| rest) })
        .map(ToOwned::to_owned)
        .collect();
    golden("test/junit.xml", &still.join(" time=\"…\""));
}

#[test]
fn documents_that_are_refused_and_no_case_at_all_are_code_2() {
    let ran = sidegate(&["test", "-f", "documents/broken.yaml", "documents/cases/talker.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(
        ran.err.contains("documents/broken.yaml:26:5: error: AuthConfig default/meaningless: spec.hosts[1]"),
        "{}",
        ran.err
    );
    let ran = sidegate(&[&TALKER[..], &["--only", "nothing of this name"]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (Some(2), "sidegate: there is no case to run\n"));
}

/// The command reads YAML by another parser than the corpus's own runner, with the same result.
#[test]
fn the_whole_corpus_passes() {
    let ran = sidegate(&["test", "../../tests/cases", "--skip", "x509/headers"]);
    assert_eq!(
        ran.code,
        Some(0),
        "{}",
        ran.out.lines().filter(|line| !line.starts_with("ok ")).collect::<Vec<_>>().join("\n")
    );
}
