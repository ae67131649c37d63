//! OPA's own test-suite for Rego, decided by Sidegate's evaluator: `./build.sh opa`.
//!
//! Cases are asked of the evaluator as policies are at run time: the same built-in functions, the same bounds. The outcome is
//! written into `docs/rego.md` (how many) and `docs/rego-opa.md` (which not, by name). What fails the run is a panic.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use sidegate_engine::Timestamp;
use sidegate_engine::rego::{self, Policy, Value, Version};

const MARKERS: (&str, &str) = ("<!-- opa: written by ./build.sh opa -->", "<!-- /opa -->");

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

/// As OPA's `cases.TestCase`.
#[derive(Deserialize)]
struct Case {
    note: String,
    query: String,
    #[serde(default)]
    modules: Vec<String>,
    data: Option<Json>,
    input: Option<Json>,
    input_term: Option<String>,
    want_defined: Option<bool>,
    want_result: Option<Vec<Map<String, Json>>>,
    want_error_code: Option<String>,
    want_error: Option<String>,
    #[serde(default)]
    sort_bindings: bool,
    #[serde(default)]
    strict_error: bool,
}

enum Outcome {
    Passed,
    /// It asks for something that Sidegate says it does not have.
    Refused(String),
    Differs(String),
    /// It is about the mode in which failing built-in functions end a policy, which no AuthConfig has.
    NotAsked,
    Panicked,
}

#[derive(Default)]
struct Count {
    passed: usize,
    refused: usize,
    differs: usize,
}

fn main() -> ExitCode {
    let Some(folder) = env::var_os("OPA_CASES").map(PathBuf::from) else {
        println!("OPA_CASES is not set to the folder of OPA's cases: nothing is run; see ./build.sh opa");
        return ExitCode::SUCCESS;
    };
    match run(&folder) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(panics) => {
            eprintln!("{panics} cases panic");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path) -> Result<usize, String> {
    let mut names = String::new();
    let mut rows = String::new();
    let mut panics = 0;
    for (title, name, version) in [("v0", "v0", Version::V0), ("v1", "v1", Version::V1)] {
        let mut groups: BTreeMap<String, Count> = BTreeMap::new();
        let mut not_asked = 0;
        let mut listed: Vec<(String, String)> = Vec::new();
        for path in files(&folder.join(name))? {
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let Ok(File { cases }) = yaml_serde::from_str::<File>(&text) else {
                return Err(format!("{} has no cases", path.display()));
            };
            let group = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
            for case in cases {
                let outcome = catch_unwind(AssertUnwindSafe(|| decide(&case, version))).unwrap_or(Outcome::Panicked);
                let count = groups.entry(group.clone()).or_default();
                match outcome {
                    Outcome::Passed => count.passed += 1,
                    Outcome::NotAsked => not_asked += 1,
                    Outcome::Refused(why) => {
                        count.refused += 1;
                        listed.push((case.note, format!("refused: {why}")));
                    }
                    Outcome::Differs(why) => {
                        count.differs += 1;
                        listed.push((case.note, why));
                    }
                    Outcome::Panicked => {
                        panics += 1;
                        count.differs += 1;
                        listed.push((case.note, "panics".to_owned()));
                    }
                }
            }
        }
        let total = |pick: fn(&Count) -> usize| groups.values().map(pick).sum::<usize>();
        let (passed, refused, differs) = (total(|c| c.passed), total(|c| c.refused), total(|c| c.differs));
        let all = passed + refused + differs;
        let share = 100.0 * passed as f64 / all.max(1) as f64;
        println!(
            "{title}: {passed} of {all} pass ({share:.1} %), {refused} are refused by name, {differs} differ, {not_asked} not asked"
        );
        let _ = writeln!(rows, "| {title} | {all} | {passed} ({share:.1} %) | {refused} | {differs} |");
        let _ = writeln!(names, "\n## {title}\n\n| Case | Outcome |\n| --- | --- |");
        listed.sort();
        for (note, why) in listed {
            let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
            let _ = writeln!(names, "| {} | {} |", cell(&note), cell(&why));
        }
    }
    write_docs(&rows, &names)?;
    Ok(panics)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn decide(case: &Case, version: Version) -> Outcome {
    if case.strict_error {
        return Outcome::NotAsked;
    }
    let wants_error = case.want_error.is_some() || case.want_error_code.is_some();
    match evaluate(case, version) {
        Err(_) if wants_error => Outcome::Passed,
        Err(why)
            if why.contains("Sidegate")
                || why.contains("needs the network")
                || why.contains("differs from call")
                || why.contains("tells of the process") =>
        {
            Outcome::Refused(why)
        }
        Err(why) => Outcome::Differs(why),
        Ok(_) if wants_error => Outcome::Differs("no error".to_owned()),
        Ok(results) => judge(case, results),
    }
}

fn judge(case: &Case, results: Vec<Json>) -> Outcome {
    let results: Vec<Json> = results.into_iter().map(|result| normal(result, case.sort_bindings)).collect();
    let passed = match (&case.want_result, case.want_defined) {
        (Some(wanted), _) => {
            let wanted: Vec<Json> =
                wanted.iter().map(|result| normal(Json::Object(result.clone()), case.sort_bindings)).collect();
            wanted.iter().all(|result| results.contains(result)) && results.iter().all(|result| wanted.contains(result))
        }
        (None, Some(defined)) => defined != results.is_empty(),
        (None, None) => true,
    };
    if passed {
        Outcome::Passed
    } else {
        Outcome::Differs(format!("yields {}", short(&Json::Array(results).to_string())))
    }
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

/// Numbers by their value, and lists in order where the case says that the order is of no matter.
fn normal(value: Json, sorted: bool) -> Json {
    match value {
        Json::Number(number) => number.as_f64().map_or(Json::Null, Json::from),
        Json::Array(items) => {
            let mut items: Vec<Json> = items.into_iter().map(|item| normal(item, sorted)).collect();
            if sorted {
                items.sort_by_key(Json::to_string);
            }
            Json::Array(items)
        }
        Json::Object(members) => {
            Json::Object(members.into_iter().map(|(name, value)| (name, normal(value, sorted))).collect())
        }
        other => other,
    }
}

/// What the query yields: for each way in which it holds, the variables that the case looks at.
fn evaluate(case: &Case, version: Version) -> Result<Vec<Json>, String> {
    let mut variables: Vec<&String> = case.want_result.iter().flatten().flat_map(Map::keys).collect();
    variables.sort();
    variables.dedup();
    let head: Vec<String> = variables.iter().map(|name| format!("\"{name}\": {name}")).collect();
    let head = format!("{{{}}}", head.join(", "));
    let query = match version {
        Version::V0 => format!("package sidegate.query\nresults[{head}] {{ {} }}\n", case.query),
        Version::V1 => format!("package sidegate.query\nresults contains {head} if {{ {} }}\n", case.query),
    };
    let input = match (&case.input_term, &case.input) {
        (Some(term), _) => {
            let module = format!("package sidegate.input\nvalue := {term}\n");
            ask(&[&module], &Json::Null, "data.sidegate.input.value", &Value::Undefined, version)?
        }
        (None, Some(input)) => rego::from_json(input),
        (None, None) => Value::Undefined,
    };
    let modules: Vec<&str> = case.modules.iter().map(String::as_str).chain([query.as_str()]).collect();
    let data = case.data.clone().unwrap_or_else(|| Json::Object(Map::new()));
    let results = ask(&modules, &data, "data.sidegate.query.results", &input, version)?;
    match rego::to_json(&results) {
        Json::Array(results) => Ok(results),
        _ => Ok(Vec::new()),
    }
}

fn ask(modules: &[&str], data: &Json, rule: &str, input: &Value, version: Version) -> Result<Value, String> {
    let data = if data.is_object() { rego::from_json(data) } else { rego::from_json(&Json::Object(Map::new())) };
    let policy = Policy::of_modules(modules, data, rule, version)
        .map_err(|mistakes| mistakes.first().map(ToString::to_string).unwrap_or_default())?;
    policy.allow(input, Timestamp::from_secs(1_700_000_000)).map_err(|fault| fault.to_string())
}

fn write_docs(rows: &str, names: &str) -> Result<(), String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = docs.join("rego.md");
    let text = fs::read_to_string(&page).map_err(|error| error.to_string())?;
    let (before, rest) = text.split_once(MARKERS.0).ok_or("docs/rego.md has no place for the table")?;
    let (_, after) = rest.split_once(MARKERS.1).ok_or("docs/rego.md has no end of the table")?;
    let table =
        format!("\n| Syntax | Cases | Pass | Refused by name | Differ |\n| --- | --- | --- | --- | --- |\n{rows}");
    let text = format!("{before}{}{table}{}{after}", MARKERS.0, MARKERS.1);
    fs::write(&page, text).map_err(|error| error.to_string())?;
    let head = "# OPA's cases that do not pass\n\nWritten by `./build.sh opa`; see [rego.md](rego.md).\n";
    fs::write(docs.join("rego-opa.md"), format!("{head}{names}")).map_err(|error| error.to_string())
}
