//! The corpus through a real Envoy: `cargo test -p sidegate-tests --test envoy`.

use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use sidegate_tests::case::Runner;
use sidegate_tests::corpus;
use sidegate_tests::envoy::Paths;
use sidegate_tests::through_envoy::Rig;

fn main() {
    let mut arguments = Arguments::from_args();
    let Some(paths) = Paths::from_env() else { return };
    // Cases wait for Envoy more than they work.
    arguments.test_threads = arguments.test_threads.or(Some(8));
    let entries = corpus::load(Runner::Envoy).unwrap_or_else(|error| panic!("{error}"));
    let wanted = |id: &str| arguments.filter.as_ref().is_none_or(|filter| id.contains(filter.as_str()));
    let wrong = corpus::wrong().unwrap_or_else(|error| panic!("{error}"));
    let all = entries.iter().chain(wrong.iter().map(|(entry, _)| entry));
    let running: Vec<_> = all.filter(|entry| entry.skipped.is_none() && wanted(&entry.id)).cloned().collect();
    let rig = Arc::new(Rig::start(&paths, &running).unwrap_or_else(|error| panic!("{error}")));
    let trials = entries.into_iter().map(|entry| {
        let (id, skipped) = (entry.id.clone(), entry.skipped.is_some());
        let rig = Arc::clone(&rig);
        Trial::test(id, move || rig.run(&entry).map_err(Failed::from)).with_ignored_flag(skipped)
    });
    let wrong = wrong.into_iter().map(|(entry, parts)| {
        let (id, rig) = (entry.id.clone(), Arc::clone(&rig));
        Trial::test(id, move || corpus::reports(rig.run(&entry), &parts).map_err(Failed::from))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.chain(wrong).collect());
    let told = rig.told_secrets(&running);
    // `exit` runs no destructors; Envoy ends here.
    drop(rig);
    assert!(told.is_empty(), "what nobody may read can be read:\n{}", told.join("\n"));
    conclusion.exit();
}
