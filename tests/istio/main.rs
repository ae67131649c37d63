//! Istio's own golden files: `./build.sh istio`.
//!
//! Each pair of policies and of what Istio makes of them stands in one real Envoy: Istio's filters behind one listener, Sidegate with
//! the policies behind two others, strict and as compatible as it can be. The same requests go to each, made up from what the
//! policies compare with, or the same connections. Where decisions differ, a row of `differences.yaml` says why. The counts are written into `docs/istio.md`.

mod calls;
mod connections;
mod differences;
mod golden;
mod report;
mod stage;
mod trial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use sidegate_engine::Policy;
use sidegate_engine::east_west::Chain;
use sidegate_tests::envoy::Paths;
use tokio::task::JoinSet;

use calls::{Call, Dice, Who, Words};
use differences::Difference;
use golden::Pair;
use report::Row;
use stage::{SIDES, Side, Stage};

/// Requests to a whole file, and to a part of one.
const REQUESTS: (usize, usize) = (200, 12);

/// Files by which nobody can be let in: what they allow contradicts itself, or they deny all.
const NOBODY: [&str; 9] = [
    "allow-host-before-111",
    "allow-nil-rule",
    "allow-path",
    "deny-empty-rule",
    "single-policy",
    "tcp/allow-only-http",
    "tcp/allow-only-http, a rule each",
    "tcp/custom-both-http-tcp",
    "tcp/deny-both-http-tcp",
];

/// Requests that are under way together.
const TOGETHER: usize = 8;

fn main() -> ExitCode {
    let Some(folder) = std::env::var_os("ISTIO_TESTDATA").map(PathBuf::from) else {
        println!("ISTIO_TESTDATA is not set to Istio's golden files: nothing is run; see ./build.sh istio");
        return ExitCode::SUCCESS;
    };
    let Some(paths) = Paths::from_env() else { return ExitCode::SUCCESS };
    match run(&folder, &paths) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, paths: &Paths) -> Result<(), String> {
    let read = read_all(folder)?;
    println!("{} inputs are read, {} notes", read.len(), read.iter().map(|(_, notes)| notes).sum::<usize>());
    let known = differences::known()?;
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let pairs: Vec<(Pair, Words)> = golden::pairs(folder)?
        .into_iter()
        .filter(|pair| only.is_empty() || only.iter().any(|part| pair.name.contains(part)))
        .map(|pair| (Words::of(&pair), pair))
        .map(|(words, pair)| (pair, words))
        .collect();
    let calls: Vec<Vec<Call>> = pairs
        .iter()
        .zip(0..)
        .map(|((pair, words), seed)| {
            let mut dice = Dice(seed);
            if pair.name != pair.file {
                return (0..REQUESTS.1).map(|_| words.call(&mut dice)).collect();
            }
            // Of what all rules name together next to nothing fits; so most are about one way to fit one rule.
            let ways = Words::ways(pair);
            let of = |number: usize| ways.get(number % (ways.len() + 1)).unwrap_or(words);
            (0..REQUESTS.0).map(|number| of(number).call(&mut dice)).collect()
        })
        .collect();
    let mut who: Vec<Who> = calls.iter().flatten().map(|call| call.who.clone()).collect();
    who.sort();
    who.dedup();
    println!("{} pairs, {} callers", pairs.len(), who.len());
    let stage = Arc::new(Stage::start(paths, &pairs, who.into_iter())?);
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, (pair, _)) in pairs.iter().enumerate() {
        let answers = runtime.block_on(ask(&stage, number, &calls[number], pair.chain))?;
        let row = rows.entry(pair.file.clone()).or_default();
        row.pairs += 1;
        for (call, answer) in calls[number].iter().zip(&answers) {
            judge(&known, (pair, call), answer.each_ref().map(|(status, _)| *status), row, &mut wrong);
        }
        if trial::is_one(pair) {
            let row = rows.entry(format!("{}, tried out", pair.file)).or_default();
            row.pairs += 1;
            for (call, answer) in calls[number].iter().zip(tried(&stage, number, pair, &answers)?) {
                judge(&known, (pair, call), answer, row, &mut wrong);
            }
        }
        if number % 50 == 0 {
            println!("{number} pairs are asked, {} answers are wrong", wrong.len());
        }
    }
    // Where nobody is let in next to nothing is compared.
    wrong.extend(
        rows.iter()
            .filter(|(file, row)| NOBODY.contains(&file.as_str()) != (row.allowed == 0))
            .map(|(file, row)| format!("{file}: Istio lets in {} of {}; see NOBODY", row.allowed, row.requests)),
    );
    if only.is_empty() {
        let unknown = NOBODY.iter().filter(|file| !rows.contains_key(**file));
        wrong.extend(unknown.map(|file| format!("{file}: there is no such file; see NOBODY")));
        report::write(&rows, &known, &read)?;
    }
    for (name, Difference { reason, .. }) in &known {
        let count: usize = rows.values().map(|row| row.differs(name)).sum();
        println!("{count} differ: {reason}");
        if count == 0 && only.is_empty() {
            wrong.push(format!("differences.yaml: nothing differs by `{name}` any more"));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{}\n{} are wrong", wrong[..wrong.len().min(40)].join("\n"), wrong.len()))
    }
}

/// The importer reads every input that there is; names, and how many notes it makes.
fn read_all(folder: &Path) -> Result<Vec<(String, usize)>, String> {
    let mut read = Vec::new();
    for kind in ["http", "tcp"] {
        let files = std::fs::read_dir(folder.join(kind)).map_err(|error| error.to_string())?;
        for path in files.filter_map(|file| Some(file.ok()?.path())) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix("-in") else { continue };
            let resources = golden::documents(&path)?;
            let configuration = json!({
                "apiVersion": "sidegate.dev/v1alpha1", "kind": "PluginConfig", "resources": resources,
                "workload": { "namespace": "foo", "labels": { "app": "httpbin", "version": "v1" } },
                "options": { "eastWest": { "peerAddress": { "filterState": "test.peer" } } },
            });
            for chain in [Chain::Http, Chain::Tcp] {
                let policy = Policy::compile_for(chain, configuration.to_string().as_bytes());
                let policy = policy.map_err(|problems| format!("{kind}/{name}: {problems:#?}"))?;
                if chain == Chain::Http {
                    let notes = policy.mesh().map_or(0, |mesh| mesh.notes().len());
                    read.push((format!("{kind}/{name}"), notes));
                }
            }
        }
    }
    read.sort();
    if read.len() < 27 { Err(format!("there are {} inputs alone", read.len())) } else { Ok(read) }
}

/// Statuses, and what the calls are known by in the log.
type Answers = [(u16, String); SIDES.len()];

/// What would come of policies that are tried out.
fn tried(stage: &Stage, number: usize, pair: &Pair, answers: &[Answers]) -> Result<Vec<[u16; SIDES.len()]>, String> {
    let key = |at: usize, id: &str| (stage::name(number, SIDES[at]), id.to_owned());
    // To others Envoy has answered before anybody was asked.
    let decided = |status: u16| matches!(status, 200 | 403);
    let lines = trial::read(&stage.envoy.folder(), |lines| {
        let mut all = answers.iter().flat_map(|answers| answers.iter().enumerate());
        all.all(|(at, (status, id))| !decided(*status) || lines.contains_key(&key(at, id)))
    })?;
    let of = |answers: &Answers| {
        std::array::from_fn(|at| match &answers[at] {
            (status, _) if !decided(*status) => *status,
            (status, id) if trial::would_allow(pair, SIDES[at], &lines[&key(at, id)], *status == 200) => 200,
            _ => 403,
        })
    };
    Ok(answers.iter().map(of).collect())
}

async fn ask(stage: &Arc<Stage>, pair: usize, calls: &[Call], chain: Chain) -> Result<Vec<Answers>, String> {
    let mut answers = vec![Answers::default(); calls.len()];
    let mut waiting = calls.iter().cloned().enumerate();
    let mut running: JoinSet<Result<(usize, Answers), String>> = JoinSet::new();
    loop {
        while running.len() < TOGETHER {
            let Some((number, call)) = waiting.next() else { break };
            let stage = Arc::clone(stage);
            running.spawn(async move {
                let mut answer = Answers::default();
                for (place, side) in answer.iter_mut().zip(SIDES) {
                    let asked = stage.ask((pair, chain), side, (number, &call)).await;
                    *place = asked.map_err(|error| format!("{side:?} {call:?}: {error}"))?;
                }
                Ok((number, answer))
            });
        }
        let Some(done) = running.join_next().await else { return Ok(answers) };
        let (number, answer) = done.map_err(|error| error.to_string())??;
        answers[number] = answer;
    }
}

fn judge(
    known: &BTreeMap<String, Difference>,
    (pair, call): (&Pair, &Call),
    [istio, strict, compat]: [u16; SIDES.len()],
    row: &mut Row,
    wrong: &mut Vec<String>,
) {
    row.requests += 1;
    row.allowed += usize::from(istio == 200);
    for (side, ours) in [(Side::Strict, strict), (Side::Compat, compat)] {
        if ours == istio {
            continue;
        }
        let decisions = [istio, ours].iter().all(|status| matches!(status, 200 | 403));
        match differences::explains(known, (pair, call), side, ours == 200).filter(|_| decisions) {
            Some(name) => *row.differences.entry((side, name.to_owned())).or_default() += 1,
            None => wrong.push(format!("{} {side:?}: Istio {istio}, Sidegate {ours}: {call:?}", pair.name)),
        }
    }
}
