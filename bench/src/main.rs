//! Measures Sidegate in Envoy against other filters: `./build.sh bench [--rounds N] [--seconds N] [--direct] [NAME…]`.
//!
//! One Envoy process per scenario, all alive; a round loads each of them in turn, so that what disturbs the machine
//! disturbs all alike. What counts is CPU for each request, which hardly depends on the load generator beside it.

mod envoy;
mod load;
mod mesh;
mod report;
mod scenario;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use envoy::{Envoy, UPSTREAM};
use report::{Measured, Spread, Start};
use scenario::{Modules, Scenario};
use serde_json::{Value, json};

/// Rounds after which all processes are started anew.
const ROUNDS_OF_A_PROCESS: usize = 4;
/// How often an Envoy is given many AuthConfigs.
const UPDATES: usize = 5;
/// The name on the command line for that alone.
const ACCEPTING: &str = "accepting";
/// The name on the command line for Envoy's start alone.
const STARTING: &str = "starting";
/// The same for what the engine does alone.
const IDENTITIES: &str = "identities";

fn main() {
    if let Err(error) = run() {
        eprintln!("bench: {error}");
        std::process::exit(1);
    }
}

pub(crate) struct Settings {
    /// Envoy.
    pub program: PathBuf,
    /// The modules.
    pub modules: Modules,
    rounds: usize,
    time: Duration,
    /// Envoy answers by itself, so that nothing but the filter is between request and response.
    direct: bool,
    only: Vec<String>,
}

impl Settings {
    fn from_environment() -> Result<Self, String> {
        let variable =
            |name: &str| std::env::var(name).map_err(|_| format!("`{name}` is not set; use ./build.sh bench"));
        let modules = Modules {
            empty: variable("EMPTY_WASM")?,
            core: variable("SIDEGATE_CORE_WASM")?,
            full: variable("SIDEGATE_WASM")?,
        };
        let program = variable("ENVOY")?.into();
        let mut settings =
            Self { program, modules, rounds: 20, time: Duration::from_secs(1), direct: false, only: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number =
                || arguments.next().and_then(|text| text.parse().ok()).ok_or(format!("{argument}: a number"));
            match argument.as_str() {
                "--rounds" => settings.rounds = number()?,
                "--seconds" => settings.time = Duration::from_secs(u64::try_from(number()?).unwrap_or(1)),
                "--direct" => settings.direct = true,
                name => settings.only.push(name.to_owned()),
            }
        }
        Ok(settings)
    }
}

fn run() -> Result<(), String> {
    let settings = Settings::from_environment()?;
    let mut scenarios = scenario::all(&settings.modules)?;
    scenarios.retain(|scenario| settings.only.is_empty() || settings.only.iter().any(|name| name == scenario.name));
    let upstream = Envoy::start(&settings.program, answers()?, &[], None)?;
    upstream.pin(load::LOAD_PROCESSOR)?;
    let measured = load_all(&settings, &scenarios, upstream.address)?;
    if !settings.only.is_empty() {
        if !measured.is_empty() {
            print!("{}\n{}", report::table(&measured), report::aims(&measured));
        }
        if settings.only.iter().any(|name| name == STARTING) {
            report::write_part(STARTING, &report::starts(&starts(&settings, upstream.address)?))?;
        }
        if settings.only.iter().any(|name| name == mesh::NAME) {
            report::write_part(mesh::NAME, &report::mesh(&mesh::measure(&settings, &upstream)?))?;
        }
        if settings.only.iter().any(|name| name == IDENTITIES) {
            report::write_part(IDENTITIES, &identities()?)?;
        }
        if settings.only.iter().any(|name| name == ACCEPTING) {
            print!("{}", report::accepted(&accepting(&settings, upstream.address)?));
        }
        return Ok(());
    }
    let starts = starts(&settings, upstream.address)?;
    let accepting = accepting(&settings, upstream.address)?;
    report::write(&measured, &accepting, settings.direct)?;
    report::write_part(STARTING, &report::starts(&starts))?;
    report::write_part(mesh::NAME, &report::mesh(&mesh::measure(&settings, &upstream)?))?;
    report::write_part(IDENTITIES, &identities()?)
}

/// What `cargo bench -p sidegate-engine --bench identities` has measured before.
fn identities() -> Result<String, String> {
    const FILE: &str = "target/identities.md";
    std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}; use ./build.sh bench"))
}

/// What the server behind the proxies says, which is also the issuer of the tokens.
fn answers() -> Result<Value, String> {
    let answer = |path: &str, text: &str| json!({ "match": { "prefix": path }, "direct_response": { "status": 200, "body": { "inline_string": text } } });
    Ok(json!([answer("/jwks", &scenario::key_set()?), answer("/", "hello")]))
}

/// Loads all scenarios in turn, round by round. Where in memory a process has its code and data makes its requests some percent
/// dearer or cheaper for as long as it lives, so each is started anew now and then.
fn load_all(settings: &Settings, scenarios: &[Scenario], upstream: SocketAddr) -> Result<Vec<Measured>, String> {
    let token = scenario::bearer()?;
    let mut samples: BTreeMap<&str, Vec<load::Sample>> = BTreeMap::new();
    let mut envoys = Vec::new();
    for round in 0..settings.rounds {
        if round % ROUNDS_OF_A_PROCESS == 0 {
            envoys.clear();
            envoys = start_all(settings, scenarios, upstream, &token)?;
        }
        eprintln!("round {} of {}", round + 1, settings.rounds);
        let mut order: Vec<(&Scenario, &Envoy)> = scenarios.iter().zip(&envoys).collect();
        // Neighbours change places, so that a machine that grows slower favours neither.
        if round % 2 == 1 {
            order.reverse();
        }
        for (scenario, envoy) in order {
            let sample = load::run(envoy, &token, &scenario.requests, settings.time)
                .map_err(|error| format!("{}: {error}", scenario.name))?;
            samples.entry(scenario.name).or_default().push(sample);
        }
    }
    Ok(report::measured(scenarios, &samples))
}

/// An Envoy for each scenario, ready and warm.
fn start_all(
    settings: &Settings,
    scenarios: &[Scenario],
    upstream: SocketAddr,
    token: &str,
) -> Result<Vec<Envoy>, String> {
    let routes = if settings.direct { answers()? } else { to_upstream() };
    let start = |scenario: &Scenario| {
        eprintln!("starting Envoy with {}", scenario.title);
        let envoy = Envoy::start(&settings.program, routes.clone(), &scenario.filters, Some(upstream))?;
        envoy.pin(load::MEASURED_PROCESSOR)?;
        until_admitted(&envoy, token, scenario)?;
        Ok(envoy)
    };
    scenarios.iter().map(start).collect()
}

pub(crate) fn to_upstream() -> Value {
    json!([{ "match": { "prefix": "/" }, "route": { "cluster": UPSTREAM } }])
}

/// Warms up, and waits for the filter to have its keys.
fn until_admitted(envoy: &Envoy, token: &str, scenario: &Scenario) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match load::run(envoy, token, &scenario.requests, Duration::from_secs(1)) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(format!("{}: {error}", scenario.name)),
            Err(_) => {}
        }
    }
}

/// From Envoy's start until it is ready, by module.
fn starts(settings: &Settings, upstream: SocketAddr) -> Result<Vec<Start>, String> {
    let Modules { empty, core, full } = &settings.modules;
    let one = scenario::many(1);
    let modules = [("no Wasm", None), (report::EMPTY, Some((empty, ""))), (report::CORE, Some((core, &*one)))];
    let modules = modules.into_iter().chain([("`sidegate.wasm`", Some((full, &*one)))]);
    let start = |(title, module): (&'static str, Option<(&String, &str)>)| {
        eprintln!("starting Envoy with {title}");
        let filters: Vec<Value> = module.iter().map(|(module, text)| scenario::wasm(module, text)).collect();
        let mut runs = Vec::new();
        for _ in 0..settings.rounds.min(5) {
            let envoy = Envoy::start(&settings.program, to_upstream(), &filters, Some(upstream))?;
            runs.push((envoy.start.0.as_secs_f64(), envoy.start.1.as_secs_f64(), envoy.memory()));
        }
        let bytes = module.and_then(|(module, _)| std::fs::metadata(module).ok()).map_or(0, |file| file.len());
        Ok(Start {
            title,
            bytes,
            cpu: Spread::of(runs.iter().map(|run| run.0)),
            wall: Spread::of(runs.iter().map(|run| run.1)),
            memory: Spread::of(runs.iter().map(|run| run.2)),
        })
    };
    modules.map(start).collect()
}

/// Seconds of CPU when a running Envoy is given 1,000 AuthConfigs in the place of one: of all its VMs, and for all that it does
/// meanwhile, so it is more than what one VM takes.
fn accepting(settings: &Settings, upstream: SocketAddr) -> Result<Spread, String> {
    let filter = |count: usize| [scenario::wasm(&settings.modules.full, &scenario::many(count))];
    let envoy = Envoy::start(&settings.program, to_upstream(), &filter(1), Some(upstream))?;
    let mut seconds = Vec::new();
    let (token, requests) = (scenario::bearer()?, scenario::hosts_and_keys(1000, 1));
    for round in 1..=UPDATES {
        eprintln!("giving a running Envoy 1,000 AuthConfigs, {round} of {UPDATES}");
        seconds.push(envoy.update(&to_upstream(), &filter(1000))?.as_secs_f64());
        load::run(&envoy, &token, &requests, Duration::from_secs(1))
            .map_err(|error| format!("the AuthConfigs are not in force: {error}"))?;
        envoy.update(&to_upstream(), &filter(1))?;
        if load::run(&envoy, &token, &requests, Duration::from_secs(1)).is_ok() {
            return Err("the AuthConfigs are still in force, so the figure means nothing".to_owned());
        }
    }
    Ok(Spread::of(seconds))
}
