//! Documents that are here already, whose servers come into trouble later: what is here stays in force.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use sidegate_tests::client::{self, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::Listener;
use sidegate_tests::faults::{ALL, Asked, End, Trouble, When};

use super::table::{PATIENCE, check, request};
use crate::world::World;

type Observed = Result<BTreeMap<String, Result<Seen, String>>, String>;

/// What came of a request before, and after the trouble had come to the log, which is said as it says it.
struct Seen {
    before: Response,
    after: Response,
    reached: bool,
    told: Vec<String>,
}

/// A test for each document and trouble.
pub fn trials(paths: &Paths) -> Vec<Trial> {
    let once: Arc<OnceLock<Observed>> = Arc::default();
    let trial = |(asked, trouble): (&'static Asked, Trouble)| {
        let (once, paths) = (Arc::clone(&once), paths.clone());
        Trial::test(format!("faults: later {}: {}", asked.name, trouble.name()), move || {
            let observed = once.get_or_init(|| observe(&paths)).as_ref().map_err(Failed::from)?;
            let seen = observed.get(&asked.place(trouble).id).ok_or("nobody asked")?;
            judge(asked, trouble, seen.as_ref().map_err(Failed::from)?).map_err(Failed::from)
        })
    };
    cells().map(trial).collect()
}

fn cells() -> impl Iterator<Item = (&'static Asked, Trouble)> {
    Trouble::LATER
        .into_iter()
        .flat_map(|trouble| ALL.iter().filter(|asked| asked.is_refreshed()).map(move |asked| (asked, trouble)))
}

fn judge(asked: &Asked, trouble: Trouble, Seen { before, after, reached, told }: &Seen) -> Result<(), String> {
    check(before.status == 200, || format!("it does not even begin: {before:?}"))?;
    check(after.status == 200 && *reached, || format!("what was here is not in force any more: {after:?}"))?;
    match asked.end(trouble) {
        End::Ok => check(told.is_empty(), || format!("nothing is wrong with the document: {told:?}")),
        End::Failed { why, .. } => {
            check(told.iter().any(|line| line.contains(why)), || format!("the log does not say `{why}`: {told:?}"))
        }
    }
}

fn configuration(trouble: Trouble) -> String {
    let cells = || cells().filter(|(_, other)| *other == trouble).map(|(asked, _)| asked);
    let upstream = |asked: &Asked| json!({ "url": asked.place(trouble).faulty, "cluster": "services" });
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": cells().filter_map(|asked| asked.refreshed_auth_config(trouble)).collect::<Vec<Value>>(),
        "upstreams": cells().map(upstream).collect::<Vec<Value>>(),
    })
    .to_string()
}

fn observe(paths: &Paths) -> Observed {
    let listeners = Trouble::LATER.map(|trouble| Listener::new(trouble.name(), &paths.wasm, &configuration(trouble)));
    let services: BTreeMap<_, _> =
        cells().flat_map(|(asked, trouble)| asked.services_in_trouble_later(trouble)).collect();
    let world = World::with(paths, &listeners, &services)?;
    for (asked, trouble) in cells() {
        if let When::Before { what, .. } = asked.when {
            world.envoy.wait_for_document(trouble.name(), what, &asked.document(trouble))?;
        }
    }
    let send = |(asked, trouble): (&Asked, Trouble)| {
        let request = request(asked, trouble).body(None);
        world.block_on(client::send(world.address(trouble.name()), &request))
    };
    let before: Vec<_> = cells().map(send).collect();
    world.services.request(services.keys(), 2);
    let mut observed = BTreeMap::new();
    for ((asked, trouble), before) in cells().zip(before) {
        let id = asked.place(trouble).id;
        let told = told(&world, asked, trouble);
        let seen = before.and_then(|before| {
            let after = send((asked, trouble))?;
            Ok(Seen { before, after, reached: world.upstream.saw(&format!("/cells/{id}")), told })
        });
        observed.insert(id, seen);
    }
    Ok(observed)
}

/// What the log says of the fetches that failed, once there was one, or none for a while where nothing is wrong with it.
fn told(world: &World, asked: &Asked, trouble: Trouble) -> Vec<String> {
    let When::Before { what, .. } = asked.when else { return Vec::new() };
    let begin = format!("the {what} of `{}` cannot be fetched: ", asked.document(trouble));
    let asked_before = fetches(world, asked, trouble);
    let end = Instant::now() + PATIENCE;
    loop {
        let lines = world.envoy.plugin_log(trouble.name(), "error").into_iter().filter(|line| line.starts_with(&begin));
        let lines: Vec<String> = lines.collect();
        let refreshed = asked.end(trouble) == End::Ok && fetches(world, asked, trouble) > asked_before;
        if !lines.is_empty() || refreshed || Instant::now() > end {
            return lines;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn fetches(world: &World, asked: &Asked, trouble: Trouble) -> usize {
    let url = asked.place(trouble).faulty;
    world.services.asked(url.rsplit('/').next().unwrap_or_default(), asked.path)
}
