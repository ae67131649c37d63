//! The corpus, decided by the engine alone: `cargo test -p sidegate-tests --test corpus`.

use libtest_mimic::{Arguments, Failed, Trial};
use sidegate_tests::case::Runner;
use sidegate_tests::{corpus, native};

fn main() {
    let entries = corpus::load(Runner::Native).unwrap_or_else(|error| panic!("{error}"));
    let trials = entries.into_iter().map(|entry| {
        let (id, skipped) = (entry.id.clone(), entry.skipped.is_some());
        let run = move || entry.prepare().and_then(|prepared| native::run(&prepared)).map_err(Failed::from);
        Trial::test(id, run).with_ignored_flag(skipped)
    });
    let wrong = corpus::wrong().unwrap_or_else(|error| panic!("{error}"));
    let wrong = wrong.into_iter().map(|(entry, parts)| {
        let id = entry.id.clone();
        let run = move || {
            corpus::reports(entry.prepare().and_then(|prepared| native::run(&prepared)), &parts).map_err(Failed::from)
        };
        Trial::test(id, run)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.chain(wrong).collect()).exit();
}
