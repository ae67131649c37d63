//! The corpus, decided by the engine alone: `cargo test -p sidegate-tests --test corpus`.

use libtest_mimic::{Arguments, Failed, Trial};
use sidegate_tests::case::Runner;
use sidegate_tests::corpus;

fn main() {
    let entries = corpus::load(Runner::Native).unwrap_or_else(|error| panic!("{error}"));
    let trials = entries.into_iter().map(|entry| {
        let skipped = entry.skipped.is_some();
        Trial::test(entry.id.clone(), move || entry.prepare().map(drop).map_err(Failed::from))
            .with_ignored_flag(skipped)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
