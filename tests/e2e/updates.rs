//! New configurations, while requests come in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;

use crate::world::{self, KEY, World};

/// A scenario with an Envoy of its own.
type Scenario = fn(&Paths);

pub const ALL: &[(&str, Scenario)] = &[
    ("updates under load: not one wrong decision", updates_under_load),
    ("a refused update leaves the policy in force", refused_update),
];

/// A port that is free now, so that a listener keeps its address when it is updated.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("there are ports");
    listener.local_addr().expect("it has an address").port()
}

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

fn updates_under_load(paths: &Paths) {
    let port = free_port();
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
            for _ in 0..100 {
                if current(&world) == number.to_string() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(current(&world), number.to_string(), "{}", world.envoy.log());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 100, "there was no load");
}

fn refused_update(paths: &Paths) {
    let port = free_port();
    let world = world(paths, port);
    let broken = edition(1).replace("\"hosts\"", "\"hots\"");
    world.envoy.update_listeners(&[listener(paths, port, &broken)]).expect("the file is written");
    let rejected = || world.envoy.admin.stat("listener_manager.lds.update_rejected").expect("Envoy answers");
    for _ in 0..100 {
        if rejected() > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(rejected(), 1);
    let problems = world.envoy.plugin_log("updated", "error");
    assert!(problems.iter().any(|problem| problem.contains("hots")), "{problems:?}");
    for _ in 0..20 {
        assert_eq!(current(&world), "0");
        assert_eq!(world.get("updated", "/update/bad", &[]).status, 401);
    }
}
