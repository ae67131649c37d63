//! The corpus through a real Envoy with the smaller module: `cargo test -p sidegate-tests --test core`.
//!
//! A case that needs a part which that module has not is refused, by the name of the part; every other one comes out as it
//! should.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use sidegate_tests::case::Runner;
use sidegate_tests::corpus::{self, Entry};
use sidegate_tests::envoy::Paths;
use sidegate_tests::through_envoy::Rig;

/// What a refusal says.
const REFUSAL: &str = "is not in this build of Sidegate: use `sidegate.wasm`, which has it";
/// Folders whose cases all need a part.
const NEEDED: [(&str, &str); 4] =
    [("cel/", "`cel`"), ("opa/", "`opa`"), ("wristband/", "`wristband`"), ("x509/", "`x509`")];

/// What of a configuration needs which part.
const NEEDING: [(&str, &[&str]); 5] = [
    ("`cel`", &["\"predicate\"", "\"expression\"", "\"urlExpression\"", "\"template\""]),
    ("`opa`", &["\"opa\""]),
    ("`wristband`", &["\"wristband\"", "\"wristbandDiscovery\""]),
    ("`x509`", &["\"x509\""]),
    // Who calls is known by certificates, unless the options say otherwise.
    ("`Certificate`", &["AuthorizationPolicy\"", "\"eastWest\""]),
];

fn main() {
    let mut arguments = Arguments::from_args();
    let Some(paths) = Paths::core_from_env() else { return };
    arguments.test_threads = arguments.test_threads.or(Some(8));
    let entries = corpus::load(Runner::Envoy).unwrap_or_else(|error| panic!("{error}"));
    let wanted = |id: &str| arguments.filter.as_ref().is_none_or(|filter| id.contains(filter.as_str()));
    let running: Vec<_> =
        entries.iter().filter(|entry| entry.skipped.is_none() && wanted(&entry.id)).cloned().collect();
    let rig = Arc::new(Rig::start(&paths, &running).unwrap_or_else(|error| panic!("{error}")));
    let refused = Arc::new(AtomicUsize::new(0));
    let trials = entries.into_iter().map(|entry| {
        let (id, skipped) = (entry.id.clone(), entry.skipped.is_some());
        let (rig, refused) = (Arc::clone(&rig), Arc::clone(&refused));
        Trial::test(id, move || run(&rig, &entry, &refused).map_err(Failed::from)).with_ignored_flag(skipped)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // `exit` runs no destructors; Envoy ends here.
    drop(rig);
    let refused = refused.load(Ordering::Relaxed);
    println!("{refused} of {} cases need a part that the module has not\n", running.len());
    assert!(refused * 2 <= running.len() || arguments.filter.is_some(), "hardly anything was decided");
    conclusion.exit();
}

fn run(rig: &Rig, entry: &Entry, refused: &AtomicUsize) -> Result<(), String> {
    let problems = rig.problems(entry);
    let (ours, others): (Vec<_>, Vec<_>) = problems.iter().partition(|line| line.contains(REFUSAL));
    let needed = NEEDED.iter().find(|(folder, _)| entry.id.starts_with(folder)).map(|(_, part)| part);
    match (ours.is_empty(), needed) {
        (false, Some(part)) if !ours.iter().any(|line| line.contains(part)) => {
            Err(format!("{part} is not named: {ours:?}"))
        }
        (false, _) => {
            refused.fetch_add(1, Ordering::Relaxed);
            let configuration = entry.prepare()?.configuration;
            let is_right = |line: &&&String| {
                NEEDING
                    .iter()
                    .any(|(part, words)| line.contains(part) && words.iter().any(|word| configuration.contains(word)))
            };
            match ours.iter().find(|line| !is_right(line)) {
                Some(line) => Err(format!("nothing needs that: {line}")),
                None => Ok(()),
            }
        }
        (true, Some(part)) => Err(format!("this needs {part}, but nobody says so: {others:?}")),
        (true, None) => rig.run(entry),
    }
}
