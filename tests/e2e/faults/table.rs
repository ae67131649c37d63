//! Each trouble of each service, met by a real Envoy: [`sidegate_tests::faults`].
//!
//! All requests are under way together, so that the whole takes little longer than the longest of them. Then each cell is a test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use sidegate_engine::trace::Stage;
use sidegate_tests::case::Service;
use sidegate_tests::client::{self, Request, Response};
use sidegate_tests::envoy::Paths;
use sidegate_tests::envoy::config::{Cluster, Listener};
use sidegate_tests::faults::{ALL, Asked, End, SECRET, Trouble, When};
use sidegate_tests::servers::services::Services;
use sidegate_tests::servers::talker::Talker;
use sidegate_tests::servers::upstream::Saw;

use crate::world::{World, johns_token, reason};

/// How much longer than its server may take a rule may take, on a machine that is busy.
const GRACE: Duration = Duration::from_secs(2);
/// How long logs and metrics may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What is looked at once all is over.
type Look = fn(&Observations) -> Result<(), String>;

const AFTERWARDS: [(&str, Look); 4] = [
    ("no log and no metric tells a secret", Observations::no_secret),
    ("nothing is left under way", Observations::nothing_left),
    ("Envoy's metrics say what was wrong with a certificate", Observations::certificates),
    ("documents that cannot be fetched are counted", Observations::fetches),
];

/// A test for each cell, and some for all of them.
pub fn trials(paths: &Paths) -> Vec<Trial> {
    let once = Once { observed: Arc::default(), paths: paths.clone() };
    let cells = cells().map(|(asked, trouble)| {
        let name = format!("{}: {}", asked.name, trouble.name());
        once.trial(&name, move |observed| observed.cell(asked, trouble))
    });
    let mut trials: Vec<Trial> = cells.collect();
    trials.extend(AFTERWARDS.map(|(name, look)| once.trial(name, look)));
    trials
}

/// Has all cells observed when the first test is run.
#[derive(Clone)]
struct Once {
    observed: Arc<OnceLock<Result<Observations, String>>>,
    paths: Paths,
}

impl Once {
    fn trial(&self, name: &str, look: impl Fn(&Observations) -> Result<(), String> + Send + 'static) -> Trial {
        let Self { observed, paths } = self.clone();
        Trial::test(format!("faults: {name}"), move || {
            let observed = observed.get_or_init(|| Observations::make(&paths)).as_ref();
            look(observed.map_err(Failed::from)?).map_err(Failed::from)
        })
    }
}

pub fn cells() -> impl Iterator<Item = (&'static Asked, Trouble)> {
    ALL.iter().flat_map(|asked| Trouble::ALL.map(|trouble| (asked, trouble)))
}

/// What was seen of all cells.
struct Observations {
    /// By the id of the place.
    cells: BTreeMap<String, Cell>,
    /// By trouble and level.
    logs: BTreeMap<(Trouble, &'static str), Vec<String>>,
    stats: BTreeMap<String, u64>,
    secrets: Vec<String>,
    left: Vec<(String, u64)>,
}

struct Cell {
    response: Response,
    took: Duration,
    reached: bool,
    access: Option<Value>,
}

/// Servers in all troubles, and the clusters that lead to them.
struct Servers {
    clusters: Vec<Cluster>,
    _runtime: tokio::runtime::Runtime,
}

impl Servers {
    fn start() -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let runtime = tokio::runtime::Runtime::new().map_err(text)?;
        let services = runtime.block_on(Services::start()).map_err(text)?;
        services.add(&merged(cells().flat_map(|(asked, trouble)| asked.services(trouble))));
        let talker = runtime.block_on(Talker::start(b"SSH-2.0-no-http\r\n")).map_err(text)?;
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut addresses = vec![("plain", services.address), ("refused", nobody), ("no-http", talker.address)];
        for trouble in Trouble::ALL {
            if let Some(certificate) = trouble.certificate() {
                addresses.push((trouble.cluster(), runtime.block_on(services.listen_tls(certificate)).map_err(text)?));
            }
        }
        let tls = |name: &str| Trouble::ALL.iter().any(|it| it.cluster() == name && it.certificate().is_some());
        let clusters = addresses.into_iter().flat_map(|(name, address)| {
            let plain = Cluster { tls: tls(name), ..Cluster::new(name, address) };
            let http2 = Cluster { name: format!("{name}-h2"), http2: true, ..plain.clone() };
            [plain, http2]
        });
        Ok(Self { clusters: clusters.collect(), _runtime: runtime })
    }
}

/// What all servers answer, by authority.
pub fn merged(services: impl Iterator<Item = (String, Service)>) -> BTreeMap<String, Service> {
    let mut all: BTreeMap<String, Service> = BTreeMap::new();
    for (authority, service) in services {
        let known = all.entry(authority).or_default();
        known.grpc |= service.grpc;
        for (path, replies) in service.replies {
            // What two services have in common is in the same trouble.
            known.replies.entry(path).or_insert(replies);
        }
    }
    all
}

/// All rules, with their servers in one trouble.
fn configuration(trouble: Trouble) -> String {
    let mut resources: Vec<Value> = ALL.iter().map(|asked| asked.auth_config(trouble)).collect();
    resources.push(client());
    resources.push(secret("proxy", json!({ "token": format!("{SECRET}-of-the-proxy") })));
    resources.push(secret("jane", json!({ "api_key": credential() })));
    let mut upstreams: BTreeMap<String, String> =
        ALL.iter().map(|asked| (asked.place(trouble).faulty, asked.cluster(trouble))).collect();
    upstreams.extend(ALL.iter().map(|asked| (asked.place(trouble).sound, trouble.sound_cluster().to_owned())));
    let kubernetes = ALL.iter().find(|asked| asked.host == "kubernetes").map(|asked| asked.place(trouble).faulty);
    json!({
        "apiVersion": "sidegate.dev/v1alpha1",
        "kind": "PluginConfig",
        "resources": resources,
        "upstreams": upstreams.iter().map(|(url, cluster)| json!({ "url": url, "cluster": cluster })).collect::<Vec<_>>(),
        "options": { "kubernetes": { "url": kubernetes, "tokenRef": { "name": "proxy" } } },
    })
    .to_string()
}

/// By what servers know us.
pub fn client() -> Value {
    secret("client", json!({ "clientID": "us", "clientSecret": format!("{SECRET}-of-us") }))
}

fn secret(name: &str, entries: Value) -> Value {
    let metadata = json!({ "name": name, "labels": { "group": "friends" } });
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries })
}

/// What Jane shows where no token of an issuer is asked for.
fn credential() -> String {
    format!("{SECRET}-of-jane")
}

/// A request that is decided by one rule.
pub fn request(asked: &Asked, trouble: Trouble) -> Request {
    let id = asked.place(trouble).id;
    let credential = if asked.kind == "IDENTITY_JWT" { johns_token("rsa-1") } else { credential() };
    Request::new("GET", &format!("/cells/{id}"), &asked.request_host(trouble))
        .header("authorization", format!("Bearer {credential}"))
        .header("x-request-id", id)
}

/// An Envoy with a listener for each of these troubles, whose documents have been asked for.
pub fn world(paths: &Paths, troubles: &[Trouble]) -> Result<(World, impl Sized), String> {
    let servers = Servers::start()?;
    let listener = |trouble: &Trouble| Listener::new(trouble.name(), &paths.wasm, &configuration(*trouble));
    let listeners: Vec<Listener> = troubles.iter().map(listener).collect();
    let world = World::with_clusters(paths, &listeners, &[].into(), &servers.clusters)?;
    for trouble in troubles {
        for asked in &ALL {
            if let When::Before { what, .. } = asked.when {
                world.envoy.wait_for_document(trouble.name(), what, &asked.document(*trouble))?;
            }
        }
    }
    Ok((world, servers))
}

impl Observations {
    fn make(paths: &Paths) -> Result<Self, String> {
        let (world, _servers) = world(paths, &Trouble::ALL)?;
        let mut cells = world.block_on(async {
            let mut asking = Vec::new();
            for (asked, trouble) in cells() {
                let address = world.address(trouble.name());
                let request = request(asked, trouble).body(None);
                let cell = tokio::spawn(async move {
                    let begun = Instant::now();
                    let response = client::send(address, &request).await;
                    (response, begun.elapsed())
                });
                asking.push((asked.place(trouble).id, cell));
                // Not all at once: while Envoy is busy its timers do not go right.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let mut cells = BTreeMap::new();
            for (id, asking) in asking {
                let (response, took) = asking.await.map_err(|error| error.to_string())?;
                let response = response.map_err(|error| format!("{id}: {error}"))?;
                cells.insert(id, Cell { response, took, reached: false, access: None });
            }
            Ok::<_, String>(cells)
        })?;
        let stats = counted(&world)?;
        let left = left(&world)?;
        let access: Vec<Value> =
            world.envoy.access_log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        for (id, cell) in &mut cells {
            cell.reached = world.upstream.saw(&format!("/cells/{id}"));
            cell.access = access.iter().find(|line| line["id"] == **id).cloned();
        }
        let levels = Trouble::ALL.iter().flat_map(|it| ["debug", "warning", "error"].map(|level| (*it, level)));
        let logs = levels.map(|(trouble, level)| ((trouble, level), world.envoy.plugin_log(trouble.name(), level)));
        Ok(Self { cells, logs: logs.collect(), stats, secrets: secrets(&world), left })
    }

    fn cell(&self, asked: &Asked, trouble: Trouble) -> Result<(), String> {
        let (id, end) = (asked.place(trouble).id, asked.end(trouble));
        let Cell { response, took, reached, access } = self.cells.get(&id).ok_or("nobody asked")?;
        let wait =
            if matches!(asked.when, When::Waiting(_)) { Duration::from_millis(asked.timeout) } else { Duration::ZERO };
        check(*took < wait + GRACE, || format!("it took {took:?}"))?;
        let status = asked.status(&end);
        check(response.status == status, || format!("{status} is expected, not {response:?}"))?;
        check(*reached == (status == 200), || format!("the upstream saw it: {reached}"))?;
        match &end {
            End::Failed { reason: expected, .. } if status == 503 => {
                check(reason(response) == Some(expected), || format!("{expected} is expected, not {response:?}"))?;
                let access = access.as_ref().ok_or("the access log has no line")?;
                let rule = (asked.stage == Stage::Authorization).then_some(asked.name);
                check(access["rule"].as_str().filter(|name| *name != "-") == rule, || format!("{access}"))?;
            }
            End::Failed { .. } | End::Ok if asked.stage == Stage::Metadata => {
                let found = saw(response)?.headers.iter().any(|(name, _)| name == "x-it");
                check(found == (end == End::Ok), || format!("what was found is there: {found}"))?;
            }
            End::Failed { .. } | End::Ok => {}
        }
        self.counts(asked, &id, &end)?;
        self.told(asked, trouble, &end)
    }

    /// The metrics of the rule, by its name.
    fn counts(&self, asked: &Asked, id: &str, end: &End) -> Result<(), String> {
        let Asked { kind, name, .. } = asked;
        for (what, expected) in [("total", 1), ("denied", u64::from(*end != End::Ok)), ("ignored", 0), ("cancelled", 0)]
        {
            let metric = metric(what, id, kind, name);
            let found = self.stats.iter().find(|(key, _)| key.ends_with(&metric)).map_or(0, |(_, count)| *count);
            check(found == expected, || format!("{metric} is {found}, not {expected}"))?;
        }
        Ok(())
    }

    /// What the log says of the rule, by its name.
    fn told(&self, asked: &Asked, trouble: Trouble, end: &End) -> Result<(), String> {
        let Asked { stage, name, .. } = asked;
        let id = asked.place(trouble).id;
        let (level, start) = match (asked.stage, end) {
            (Stage::Callback, End::Failed { .. }) => ("warning", format!("after a request: default/{id}: ")),
            (Stage::Callback, End::Ok) => ("debug", format!("after a request: default/{id}: ")),
            _ => ("debug", format!("request {id} to ")),
        };
        let line = self.log(trouble, level).iter().find(|line| line.starts_with(&start));
        let line = line.ok_or_else(|| format!("no line begins with `{start}`"))?;
        let End::Failed { reason, why } = end else {
            return check(line.contains(&format!("{stage} {name}: ok")), || format!("it is not ok: {line}"));
        };
        let step = format!("{stage} {name}: failed ({reason}");
        check(line.contains(&step), || format!("`{step}` is expected, not {line}"))?;
        let (place, begin) = match asked.when {
            When::Waiting(_) => (vec![line], reason.clone()),
            When::Before { what, .. } => {
                let begin = format!("the {what} of `{}` cannot be fetched: ", asked.document(trouble));
                (self.log(trouble, "error").iter().filter(|line| line.starts_with(&begin)).collect(), begin)
            }
        };
        let said = place.iter().any(|line| line.split_once(&begin).is_some_and(|(_, rest)| rest.contains(why)));
        check(said, || format!("`{why}` is expected behind `{begin}`, not {place:?}"))
    }

    fn log(&self, trouble: Trouble, level: &'static str) -> &[String] {
        self.logs.get(&(trouble, level)).map_or(&[], Vec::as_slice)
    }

    fn no_secret(&self) -> Result<(), String> {
        check(self.secrets.is_empty(), || format!("{:#?}", self.secrets))
    }

    fn nothing_left(&self) -> Result<(), String> {
        check(self.left.is_empty(), || format!("{:?}", self.left))
    }

    /// Envoy tells nobody who calls what was wrong.
    fn certificates(&self) -> Result<(), String> {
        [("expired", "error"), ("untrusted", "error"), ("misnamed", "san")].iter().try_for_each(|(cluster, what)| {
            ["", "-h2"].iter().try_for_each(|protocol| {
                let name = format!("cluster.{cluster}{protocol}.ssl.fail_verify_{what}");
                check(self.stats.get(&name).is_some_and(|count| *count > 0), || format!("{name} is 0"))
            })
        })
    }

    fn fetches(&self) -> Result<(), String> {
        ALL.iter().try_for_each(|asked| {
            let When::Before { metric, .. } = asked.when else { return Ok(()) };
            ["ok", "failed"].iter().try_for_each(|result| {
                let name = format!("sidegate_document_fetch_total.document.{metric}.result.{result}");
                let counted = self.stats.iter().any(|(key, count)| key.ends_with(&name) && *count > 0);
                check(counted, || format!("{name} is 0"))
            })
        })
    }
}

fn metric(what: &str, id: &str, kind: &str, name: &str) -> String {
    format!(
        "auth_server_evaluator_{what}.namespace.default.authconfig.{id}.evaluator_type.{kind}.evaluator_name.{name}"
    )
}

/// What Envoy has counted, once it has counted all rules.
fn counted(world: &World) -> Result<BTreeMap<String, u64>, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let stats = world.envoy.admin.stats("")?;
        let rules = stats.iter().filter(|(name, count)| name.contains("auth_server_evaluator_total") && **count > 0);
        if rules.count() >= cells().count() || Instant::now() > end {
            return Ok(stats);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Requests that are still under way, though nobody waits for them any more.
fn left(world: &World) -> Result<Vec<(String, u64)>, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let active = world.envoy.admin.stats("_active")?.into_iter().filter(|(name, count)| {
            *count > 0
                && ["rq_active", "rq_pending_active"].iter().any(|what| name.ends_with(what))
                && !name.contains("admin")
        });
        let active: Vec<_> = active.collect();
        if active.is_empty() || Instant::now() > end {
            return Ok(active);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Lines that tell a secret.
fn secrets(world: &World) -> Vec<String> {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("us:{SECRET}-of-us"));
    let told = |text: String| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains(SECRET) || line.contains(&pair));
        lines.map(ToOwned::to_owned).collect()
    };
    let texts = [world.envoy.log(), world.envoy.output(), world.envoy.access_log()];
    let metrics = world.envoy.admin.get("/stats").unwrap_or_default();
    texts.into_iter().chain([metrics]).flat_map(told).chain(world.told_secrets()).collect()
}

pub fn saw(response: &Response) -> Result<Saw, String> {
    serde_json::from_slice(&response.body).map_err(|error| error.to_string())
}

pub fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
