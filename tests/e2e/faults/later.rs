//! Documents that are here already, whose servers come into trouble later: what is here stays in force.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use sidegate_engine::trace::Stage;
use sidegate_tests::case::Service;
use sidegate_tests::client::{self, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{Cluster, Listener};
use sidegate_tests::faults::{ALL, Asked, End, Trouble, When};
use sidegate_tests::servers::door::Door;
use sidegate_tests::servers::services::Services;
use tokio::runtime::Runtime;

use super::table::{self, PATIENCE, check, request, saw};
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
    Trouble::real()
        .flat_map(|trouble| ALL.iter().filter(|asked| asked.is_refreshed()).map(move |asked| (asked, trouble)))
}

fn judge(asked: &Asked, trouble: Trouble, Seen { before, after, reached, told }: &Seen) -> Result<(), String> {
    check(is_decided_by_it(asked, before), || format!("it does not even begin: {before:?}"))?;
    check(is_decided_by_it(asked, after) && *reached, || format!("what was here is not in force any more: {after:?}"))?;
    match asked.end(trouble) {
        End::Ok => check(told.is_empty(), || format!("nothing is wrong with the document: {told:?}")),
        End::Failed { why, .. } => {
            check(told.iter().any(|line| line.contains(why)), || format!("the log does not say `{why}`: {told:?}"))
        }
    }
}

/// Without the document it would be denied, or decided without the metadata that the upstream is told of.
fn is_decided_by_it(asked: &Asked, response: &Response) -> bool {
    let found = || saw(response).is_ok_and(|saw| saw.headers.iter().any(|(name, _)| name == "x-it"));
    response.status == 200 && (asked.stage != Stage::Metadata || found())
}

fn configuration(trouble: Trouble) -> String {
    let asked = || cells().filter(|(_, other)| *other == trouble).map(|(asked, _)| asked);
    let upstreams: BTreeMap<String, &str> = asked()
        .flat_map(|asked| {
            let place = asked.place(trouble);
            [(place.faulty, trouble.cluster()), (place.sound, trouble.sound_cluster())]
        })
        .collect();
    let upstreams: Vec<Value> =
        upstreams.iter().map(|(url, cluster)| json!({ "url": url, "cluster": cluster })).collect();
    let auth_configs = asked().map(|asked| asked.refreshed_auth_config(trouble));
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": auth_configs.chain([table::client()]).collect::<Vec<Value>>(),
        "upstreams": upstreams,
    })
    .to_string()
}

/// Servers that are in no trouble yet.
struct Servers {
    services: Services,
    scripted: BTreeMap<String, Service>,
    /// Those whose trouble is in what is behind their address.
    doors: Vec<(Trouble, Door)>,
    clusters: Vec<Cluster>,
    runtime: Runtime,
}

impl Servers {
    fn start() -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let runtime = Runtime::new().map_err(text)?;
        let scripted = table::merged(cells().flat_map(|(asked, trouble)| asked.services_in_trouble_later(trouble)));
        let (services, doors, by_tls) = runtime.block_on(async {
            let services = Services::start().await.map_err(text)?;
            services.add(&scripted);
            let mut doors = Vec::new();
            for trouble in Trouble::real().filter(|trouble| trouble.behind().is_some()) {
                doors.push((trouble, Door::open(&services, trouble.behind_before()).await.map_err(text)?));
            }
            let right = Trouble::NoneByTls.certificate().unwrap_or_default();
            let by_tls = services.listen_tls(right).await.map_err(text)?;
            Ok::<_, String>((services, doors, by_tls))
        })?;
        let plain = Cluster::new(Trouble::None.cluster(), services.address);
        let sound = Cluster { tls: true, ..Cluster::new(Trouble::NoneByTls.cluster(), by_tls) };
        let of_doors = doors.iter().map(|(trouble, door)| Cluster {
            tls: trouble.certificate().is_some(),
            ..Cluster::new(trouble.cluster(), door.address)
        });
        let clusters = of_doors.chain([plain, sound]).collect();
        Ok(Self { services, scripted, doors, clusters, runtime })
    }

    fn come_into_trouble(&mut self) -> Result<(), String> {
        self.services.request(self.scripted.keys(), 2);
        self.runtime.block_on(async {
            for (trouble, door) in &mut self.doors {
                if let Some(behind) = trouble.behind() {
                    door.lead_to(behind).await.map_err(|error| error.to_string())?;
                }
            }
            Ok(())
        })
    }

    fn fetches(&self, asked: &Asked, trouble: Trouble) -> usize {
        let url = asked.place(trouble).faulty;
        self.services.asked(url.rsplit('/').next().unwrap_or_default(), asked.path)
    }
}

fn observe(paths: &Paths) -> Observed {
    let mut servers = Servers::start()?;
    let listener = |trouble: Trouble| Listener::new(trouble.name(), &paths.wasm, &configuration(trouble));
    let listeners: Vec<Listener> = Trouble::real().map(listener).collect();
    let world = World::with_clusters(paths, &listeners, &[].into(), &servers.clusters)?;
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
    servers.come_into_trouble()?;
    let begun = Instant::now();
    let fetched: Vec<usize> = cells().map(|(asked, trouble)| servers.fetches(asked, trouble)).collect();
    let mut observed = BTreeMap::new();
    for (((asked, trouble), before), fetched) in cells().zip(before).zip(fetched) {
        let id = asked.place(trouble).id;
        let patient_until = begun + asked.refreshed_within() + PATIENCE;
        let is_fetched = || servers.fetches(asked, trouble) > fetched;
        let told = told(&world, (asked, trouble), is_fetched, patient_until);
        let seen = before.and_then(|before| {
            let after = send((asked, trouble))?;
            let reached = world.upstream.seen(&format!("/cells/{id}")) == 2;
            Ok(Seen { before, after, reached, told })
        });
        observed.insert(id, seen);
    }
    Ok(observed)
}

/// What the log says of the fetches that failed, once one did for the reason that is expected, or one was made where nothing is
/// wrong with the document.
fn told(
    world: &World,
    (asked, trouble): (&Asked, Trouble),
    is_fetched: impl Fn() -> bool,
    patient_until: Instant,
) -> Vec<String> {
    let When::Before { what, .. } = asked.when else { return Vec::new() };
    let begin = format!("the {what} of `{}` cannot be fetched: ", asked.document(trouble));
    let end = asked.end(trouble);
    loop {
        let lines = world.envoy.plugin_log(trouble.name(), "error").into_iter().filter(|line| line.starts_with(&begin));
        let lines: Vec<String> = lines.collect();
        let is_told = match &end {
            End::Ok => !lines.is_empty() || is_fetched(),
            End::Failed { why, .. } => lines.iter().any(|line| line.contains(why)),
        };
        if is_told || Instant::now() > patient_until {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
