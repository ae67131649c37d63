//! From text to a program.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::Program;
use regorus::rvm::instructions::Instruction;
use regorus::{CompiledPolicy, Engine, PolicyLengthConfig, Rc, Value};
use sidegate_config::RegoVersion;

use super::builtins::{self, regexes::Patterns};
use super::{Asked, Mistake, PACKAGE, Policy, scan};

/// Bytes that a policy may have.
const MAX_BYTES: usize = 1 << 20;
/// Lines.
const MAX_LINES: usize = 20_000;

/// Rules that can be asked for their value.
const MAX_ASKED: usize = 250;

/// Without one, `allow` would be undefined: in v0, and in v1.
const DEFAULT: (&str, &str) = ("default allow = false", "default allow := false");

/// The policy of an AuthConfig.
pub fn policy(text: &str, version: RegoVersion, asked: Asked) -> Result<Policy, Vec<Mistake>> {
    if text.len() > MAX_BYTES {
        return Err(vec![nowhere(format!("the policy has more than {MAX_BYTES} bytes"))]);
    }
    let package = PACKAGE.strip_prefix("data.").unwrap_or_default();
    let (mut source, shift) = scan::with_package(text, package);
    if !has_default(text) {
        let default = if version == RegoVersion::V0 { DEFAULT.0 } else { DEFAULT.1 };
        source.push('\n');
        source.push_str(default);
        source.push('\n');
    }
    let allow = format!("{PACKAGE}.allow");
    // First, for what regorus makes of such texts can be hard to understand, and may take long.
    let mistakes = scan::check(text);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let compiled = Compiled::new(&[&source], &Value::new_object(), &allow, version);
    let moved = |mistake: Mistake| vec![Mistake { line: mistake.line.saturating_sub(shift), ..mistake }];
    let compiled = compiled.map_err(moved)?;
    let mut paths: Vec<String> = vec![allow.clone()];
    if asked == Asked::All {
        paths.extend(compiled.rules().filter(|path| **path != allow).cloned());
        if paths.len() > MAX_ASKED {
            return Err(vec![nowhere(format!("the policy has more than {MAX_ASKED} rules, too many for `allValues`"))]);
        }
    }
    let functions = compiled.functions(&paths).map_err(moved)?;
    compiled.program(&paths, &functions, Value::new_object()).map_err(moved)
}

/// Modules, of which one rule is asked for.
pub fn modules(modules: &[&str], data: Value, rule: &str, version: RegoVersion) -> Result<Policy, Vec<Mistake>> {
    let mistakes: Vec<_> = modules.iter().flat_map(|text| scan::check(text)).collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Compiled::new(modules, &data, rule, version)
        .and_then(|compiled| compiled.program(&[rule.to_owned()], &BTreeSet::new(), data))
        .map_err(|mistake| vec![mistake])
}

/// Whether `allow` has a default of its own: two would contradict each other.
fn has_default(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("default")
            && words.next().is_some_and(|name| name.split([':', '=']).next() == Some("allow"))
    })
}

/// What regorus has parsed and found sound.
struct Compiled {
    policy: CompiledPolicy,
    version: RegoVersion,
    own: BTreeSet<String>,
}

impl Compiled {
    fn new(modules: &[&str], data: &Value, entry: &str, version: RegoVersion) -> Result<Self, Mistake> {
        let mut engine = Engine::new();
        engine.set_rego_v0(version == RegoVersion::V0);
        engine.set_policy_length_config(PolicyLengthConfig {
            max_col: NonZeroU32::MAX,
            max_file_bytes: NonZeroUsize::new(MAX_BYTES.saturating_mul(2)).unwrap_or(NonZeroUsize::MIN),
            max_lines: NonZeroUsize::new(MAX_LINES).unwrap_or(NonZeroUsize::MIN),
        });
        for module in modules {
            engine
                .add_policy("policy".to_owned(), (*module).to_owned())
                .map_err(|error| mistake(&error.to_string()))?;
        }
        engine.add_data(data.clone()).map_err(|error| mistake(&error.to_string()))?;
        let policy = engine.compile_with_entrypoint(&Rc::from(entry)).map_err(|error| mistake(&error.to_string()))?;
        let own = policy.get_rules().keys().filter_map(|path| Some(path.rsplit('.').next()?.to_owned())).collect();
        Ok(Self { policy, version, own })
    }

    /// Whether the policy has a rule of this name, so that a call of it is no call of a built-in function.
    fn is_own(&self, name: &str) -> bool {
        self.own.contains(name)
    }

    /// The paths of its rules in the policy's package.
    fn rules(&self) -> impl Iterator<Item = &String> {
        self.policy.get_rules().keys().filter(|path| {
            let name = path.strip_prefix(PACKAGE).and_then(|name| name.strip_prefix('.'));
            name.is_some_and(|name| !name.contains(['.', '[']))
        })
    }

    fn bytecode(&self, entries: &[&str]) -> Result<Arc<Program>, Mistake> {
        let host: Vec<_> = builtins::all(self.version).filter(|(name, _)| !self.is_own(name)).collect();
        Compiler::compile_from_policy_with_host_await(&self.policy, entries, &host)
            .map_err(|error| mistake(&error.to_string()))
    }

    /// Which of the rules are functions: what a program would be that asks for all says it.
    fn functions(&self, paths: &[String]) -> Result<BTreeSet<String>, Mistake> {
        if paths.len() == 1 {
            return Ok(BTreeSet::new());
        }
        let entries: Vec<&str> = paths.iter().map(String::as_str).collect();
        let program = self.bytecode(&entries)?;
        let functions = program.rule_infos.iter().filter(|rule| rule.function_info.is_some());
        Ok(functions.map(|rule| rule.name.clone()).collect())
    }

    fn program(&self, paths: &[String], functions: &BTreeSet<String>, data: Value) -> Result<Policy, Mistake> {
        let entries: Vec<&str> = paths.iter().filter(|path| !functions.contains(*path)).map(String::as_str).collect();
        let program = self.bytecode(&entries)?;
        check_recursion(&program)?;
        let rules = paths.iter().map(|path| {
            let name = path.rsplit('.').next().unwrap_or_default().to_owned();
            (name, entries.iter().position(|entry| entry == path))
        });
        let rules = rules.collect();
        Ok(Policy { rules, program, data, patterns: Patterns::new(), machine: RefCell::new(None) })
    }
}

/// Rules may not need themselves; regorus would find out at run time.
fn check_recursion(program: &Arc<Program>) -> Result<(), Mistake> {
    let bodies = bodies(program);
    let calls = |rule: usize| -> BTreeSet<usize> {
        let Some(ranges) = bodies.get(rule) else { return BTreeSet::new() };
        let instructions =
            ranges.iter().flat_map(|(from, to)| program.instructions.get(*from..*to).unwrap_or_default());
        instructions
            .filter_map(|instruction| match *instruction {
                Instruction::CallRule { rule_index, .. } => Some(usize::from(rule_index)),
                Instruction::FunctionCall { params_index } => {
                    let params = program.instruction_data.get_function_call_params(params_index)?;
                    Some(usize::from(params.func_rule_index))
                }
                _ => None,
            })
            .collect()
    };
    // Takes away rules that call only rules that are gone; what is left when nothing goes any more goes in circles.
    let mut left: Vec<(usize, BTreeSet<usize>)> =
        (0..program.rule_infos.len()).map(|rule| (rule, calls(rule))).collect();
    loop {
        let (gone, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, calls)| calls.is_empty());
        left = rest;
        if gone.is_empty() {
            break;
        }
        let gone: BTreeSet<usize> = gone.into_iter().map(|(rule, _)| rule).collect();
        left.iter_mut().for_each(|(_, calls)| calls.retain(|rule| !gone.contains(rule)));
    }
    // Whoever goes on long enough from anywhere is in a circle.
    let next = |rule: usize| left.iter().find(|(caller, _)| *caller == rule)?.1.first().copied();
    let in_circle = left.first().and_then(|(first, _)| (0..left.len()).try_fold(*first, |rule, _| next(rule)));
    match in_circle.and_then(|rule| program.rule_infos.get(rule)) {
        Some(rule) => {
            let name = rule.name.strip_prefix(PACKAGE).map_or(rule.name.as_str(), |name| name.trim_start_matches('.'));
            Err(nowhere(format!("the rule `{name}` needs itself")))
        }
        None => Ok(()),
    }
}

/// Where the instructions of each rule are.
fn bodies(program: &Program) -> Vec<Vec<(usize, usize)>> {
    let mut starts: Vec<(usize, usize)> = Vec::new();
    for (rule, info) in program.rule_infos.iter().enumerate() {
        let bodies = info.definitions.iter().flatten().chain(info.destructuring_blocks.iter().flatten());
        starts.extend(bodies.filter_map(|start| Some((usize::try_from(*start).ok()?, rule))));
    }
    starts.sort_unstable();
    let mut bodies = vec![Vec::new(); program.rule_infos.len()];
    let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([program.instructions.len()]);
    for ((start, rule), end) in starts.iter().zip(ends) {
        if let Some(ranges) = bodies.get_mut(*rule) {
            ranges.push((*start, end));
        }
    }
    bodies
}

fn nowhere(what: String) -> Mistake {
    Mistake { line: 0, column: 0, what }
}

/// Reads what regorus says: `--> policy:2:24`, the line, a pointer into it, and `error: …`.
fn mistake(text: &str) -> Mistake {
    let place = text.lines().find_map(|line| line.trim_start().strip_prefix("--> policy:"));
    let mut numbers = place.unwrap_or_default().split(':').map(|number| number.trim().parse().unwrap_or(0));
    let (line, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let what = text.lines().find_map(|line| line.strip_prefix("error: "));
    let what = what.or_else(|| text.lines().find(|line| !line.trim().is_empty())).unwrap_or(text);
    let what = match what {
        "the `with` keyword is not supported by the compiler yet" => "`with` is not in Sidegate",
        "Compilation error: walk loops are not yet supported in the RVM compiler" => "`walk` is not in Sidegate",
        what => match what.strip_suffix(" are not yet supported by the RVM compiler") {
            Some(what) => return Mistake { line, column, what: format!("{what} are not in Sidegate") },
            None => what.trim_start_matches("Compilation error: "),
        },
    };
    Mistake { line, column, what: what.to_owned() }
}
