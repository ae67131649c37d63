//! New configurations, while requests come in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{self, Listener};

use crate::world::{self, KEY, World};

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] = &[
    ("updates under load: not one wrong decision", updates_under_load),
    ("a refused update leaves the policy in force", refused_update),
];

fn listener(paths: &Paths, port: u16, configuration: &str) -> Listener {
    Listener { port, ..Listener::new("updated", &paths.wasm, configuration) }
}

/// Lets John in, and says which edition of the policy did.
fn edition(number: usize) -> String {
    let spec = json!({
        "hosts": ["*"],
        "authentication": { "friends": {
            "apiKey": { "selector": { "matchLabels": { "group": "friends" } } },
            "credentials": { "authorizationHeader": { "prefix": "APIKEY" } },
        } },
        "response": { "success": { "headers": { "x-edition": { "plain": { "value": number.to_string() } } } } },
    });
    world::plugin(&[world::policy(spec), world::key("john", "secret-of-john")], json!({}))
}

fn world(paths: &Paths, port: u16) -> World {
    World::with(paths, &[listener(paths, port, &edition(0))], &[].into()).unwrap_or_else(|error| panic!("{error}"))
}

fn current(world: &World) -> String {
    let saw = world::saw(&world.get("updated", "/update/edition", &[("authorization", KEY)]));
    saw.headers.into_iter().find(|(name, _)| name == "x-edition").map(|(_, value)| value).unwrap_or_default()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn updates_under_load(paths: &Paths) {
    let port = config::free_port().expect("there are ports");
    let world = world(paths, port);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for key in [KEY, "APIKEY bad"] {
            let (world, done, asked) = (&world, &done, &asked);
            scope.spawn(move || {
                let expected = if key == KEY { 200 } else { 401 };
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(world.get("updated", "/update/load", &[("authorization", key)]).status, expected);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 1..=5 {
            world.envoy.update_listeners(&[listener(paths, port, &edition(number))]).expect("the file is written");
            // The workers take a listener over one after another, so one answer says nothing of the next.
            until("the new edition is in force", || current(&world) == number.to_string());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 100, "there was no load");
}

fn refused_update(paths: &Paths) {
    let port = config::free_port().expect("there are ports");
    let world = world(paths, port);
    let broken = edition(1).replace("\"hosts\"", "\"hots\"");
    world.envoy.update_listeners(&[listener(paths, port, &broken)]).expect("the file is written");
    let rejected = || world.envoy.admin.stat("listener_manager.lds.update_rejected").expect("Envoy answers");
    until("the update is refused", || rejected() > 0);
    assert_eq!(rejected(), 1);
    let problems = world.envoy.plugin_log("updated", "error");
    assert!(problems.iter().any(|problem| problem.contains("hots")), "{problems:?}");
    for _ in 0..20 {
        assert_eq!(current(&world), "0");
        assert_eq!(world.get("updated", "/update/bad", &[]).status, 401);
    }
}
