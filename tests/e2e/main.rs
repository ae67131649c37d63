//! What only a real Envoy can show: `cargo test -p sidegate-tests --test e2e`.

use std::sync::{Arc, OnceLock};

use east_west::{Mesh, vectors::Vectors};
use libtest_mimic::{Arguments, Trial};
use sidegate_tests::envoy::Paths;
use world::World;

mod bodies;
mod capabilities;
mod demo;
mod east_west;
mod faults;
mod frames;
mod keys;
mod odd_requests;
mod operations;
mod protocols;
mod sequences;
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
    let shared =
        [traps::ALL, bodies::ALL, odd_requests::ALL, protocols::ALL, keys::ALL, operations::ALL, sequences::ALL]
            .concat();
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
    // Each is started by the first scenario that is about it.
    let (mesh, vectors) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    trials.extend(east_west::all().into_iter().map(|(name, scenario)| {
        let (mesh, paths) = (Arc::clone(&mesh), paths.clone());
        Trial::test(name, move || {
            scenario(mesh.get_or_init(|| Mesh::start(&paths).unwrap_or_else(|error| panic!("{error}"))));
            Ok(())
        })
    }));
    trials.extend(east_west::vectors::all().into_iter().map(|vector| {
        let (vectors, paths) = (Arc::clone(&vectors), paths.clone());
        Trial::test(format!("mesh vector {}", vector.name), move || {
            let started = vectors.get_or_init(|| Vectors::start(&paths).unwrap_or_else(|error| panic!("{error}")));
            started.check(&vector).map_err(Into::into)
        })
    }));
    let own = [
        capabilities::ALL,
        demo::ALL,
        updates::ALL,
        vm::ALL,
        wristbands::ALL,
        faults::ALL,
        east_west::OWN,
        sequences::OWN,
    ];
    trials.extend(own.concat().into_iter().map(|(name, scenario)| {
        let paths = paths.clone();
        Trial::test(name, move || {
            scenario(&paths);
            Ok(())
        })
    }));
    trials.extend(faults::table::trials(&paths));
    trials.extend(faults::later::trials(&paths));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let told = world.told_secrets();
    // `exit` runs no destructors; Envoy ends here.
    drop((world, mesh, vectors));
    assert!(told.is_empty(), "secrets were told: {told:#?}");
    conclusion.exit();
}
