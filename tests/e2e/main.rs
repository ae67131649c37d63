//! What only a real Envoy can show: `cargo test -p sidegate-tests --test e2e`.

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use sidegate_tests::envoy::Paths;
use world::World;

mod bodies;
mod examples;
mod faults;
mod frames;
mod keys;
mod odd_requests;
mod operations;
mod protocols;
mod traps;
mod updates;
mod vm;
mod world;
mod wristbands;

/// A scenario in the Envoy that all of these share.
type Scenario = fn(&World);

fn main() {
    let mut arguments = Arguments::from_args();
    let Some(paths) = Paths::from_env() else { return };
    arguments.test_threads = arguments.test_threads.or(Some(4));
    let world = Arc::new(World::start(&paths).unwrap_or_else(|error| panic!("{error}")));
    let shared = [traps::ALL, bodies::ALL, odd_requests::ALL, protocols::ALL, keys::ALL, operations::ALL].concat();
    let mut trials: Vec<Trial> = shared
        .into_iter()
        .map(|(name, scenario)| {
            let world = Arc::clone(&world);
            Trial::test(name, move || {
                scenario(&world);
                Ok(())
            })
        })
        .collect();
    trials.extend([updates::ALL, vm::ALL, wristbands::ALL, faults::ALL, examples::ALL].concat().into_iter().map(
        |(name, scenario)| {
            let paths = paths.clone();
            Trial::test(name, move || {
                scenario(&paths);
                Ok(())
            })
        },
    ));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let told = world.told_secrets();
    // `exit` runs no destructors; Envoy ends here.
    drop(world);
    assert!(told.is_empty(), "secrets were told: {told:#?}");
    conclusion.exit();
}
