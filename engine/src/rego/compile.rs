//! From text to a program.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::iter::successors;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::Bound;
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
    compiled.program(&paths, Value::new_object()).map_err(moved)
}

/// Modules, of which one rule is asked for.
pub fn modules(modules: &[&str], data: Value, rule: &str, version: RegoVersion) -> Result<Policy, Vec<Mistake>> {
    let mistakes: Vec<_> = modules.iter().flat_map(|text| scan::check(text)).collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Compiled::new(modules, &data, rule, version)
        .and_then(|compiled| compiled.program(&[rule.to_owned()], data))
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

    /// A rule whose head has dots may be named, but not found in what stands before them: regorus takes the rules behind as
    /// several definitions of one, or runs them where nobody counts.
    fn check_whole(&self, program: &Program) -> Result<(), Mistake> {
        let is_lookup =
            |instruction: &Instruction| matches!(instruction, Instruction::VirtualDataDocumentLookup { .. });
        if program.instructions.iter().any(is_lookup) {
            return Err(nowhere("rules that are looked up in `data` are not in Sidegate".to_owned()));
        }
        let rules: BTreeSet<String> = self.policy.get_rules().keys().cloned().collect();
        for rule in &program.rule_infos {
            let inner = ['.', '['].into_iter().find_map(|next| {
                let start = format!("{}{next}", rule.name);
                rules
                    .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
                    .next()
                    .filter(|inner| inner.starts_with(&start))
            });
            if let Some(inner) = inner {
                let [whole, inner] = [&rule.name, inner].map(|path| shown(path));
                let why = "is one of its own: not in Sidegate";
                return Err(nowhere(format!("the rule `{whole}` is used as a whole, but `{inner}` {why}")));
            }
        }
        Ok(())
    }

    /// A program that can be asked for the values of these rules.
    fn program(&self, paths: &[String], data: Value) -> Result<Policy, Mistake> {
        let mut entries: Vec<&str> = paths.iter().map(String::as_str).collect();
        let draft = self.bytecode(&entries)?;
        self.check_whole(&draft)?;
        let ordered: Vec<&str> = in_order(&draft)?;
        let mut program = Arc::clone(&draft);
        if !calls_go_forward(&draft) {
            if ordered.len() > MAX_ASKED {
                return Err(nowhere(format!("`allow` needs more than {MAX_ASKED} rules")));
            }
            entries = ordered;
            program = self.bytecode(&entries)?;
        }
        if !calls_go_forward(&program) {
            return Err(nowhere("its rules cannot be put in order".to_owned()));
        }
        let functions = draft.rule_infos.iter().filter(|rule| rule.function_info.is_some());
        let functions: BTreeSet<&str> = functions.map(|rule| rule.name.as_str()).collect();
        let rules = paths.iter().map(|path| {
            let name = path.rsplit('.').next().unwrap_or_default().to_owned();
            let entry = entries.iter().position(|entry| entry == path);
            (name, entry.filter(|_| !functions.contains(path.as_str())))
        });
        let rules = rules.collect();
        Ok(Policy { rules, program, data, patterns: Patterns::new(), machine: RefCell::new(None) })
    }
}

/// The rule that an instruction calls.
fn callee(program: &Program, instruction: &Instruction) -> Option<usize> {
    match *instruction {
        Instruction::CallRule { rule_index, .. } => Some(usize::from(rule_index)),
        Instruction::FunctionCall { params_index } => {
            let params = program.instruction_data.get_function_call_params(params_index)?;
            Some(usize::from(params.func_rule_index))
        }
        _ => None,
    }
}

/// All rules, each before those that it calls. None may need itself, which regorus would find out at run time.
fn in_order(program: &Program) -> Result<Vec<&str>, Mistake> {
    let calls = |ranges: Vec<(usize, usize)>| -> BTreeSet<usize> {
        let instructions =
            ranges.iter().flat_map(|(from, to)| program.instructions.get(*from..*to).unwrap_or_default());
        instructions.filter_map(|instruction| callee(program, instruction)).collect()
    };
    let calls: Vec<BTreeSet<usize>> = bodies(program).into_iter().map(calls).collect();
    let mut callers = vec![0_usize; calls.len()];
    for called in calls.iter().flatten() {
        if let Some(callers) = callers.get_mut(*called) {
            *callers = callers.saturating_add(1);
        }
    }
    let mut order: Vec<usize> = (0..calls.len()).filter(|rule| callers.get(*rule) == Some(&0)).collect();
    let mut done = 0;
    while let Some(rule) = order.get(done).copied() {
        done = done.saturating_add(1);
        for called in calls.get(rule).into_iter().flatten() {
            if let Some(callers) = callers.get_mut(*called) {
                *callers = callers.saturating_sub(1);
                if *callers == 0 {
                    order.push(*called);
                }
            }
        }
    }
    let name = |rule: usize| program.rule_infos.get(rule).map_or("", |rule| rule.name.as_str());
    if order.len() == calls.len() {
        return Ok(order.into_iter().map(name).collect());
    }
    // Each that is left is called by one that is left; whoever goes back long enough from anywhere is in a circle.
    let left = |rule: &usize| callers.get(*rule).is_some_and(|callers| *callers > 0);
    let mut caller = vec![None; calls.len()];
    for (rule, called) in calls.iter().enumerate().filter(|(rule, _)| left(rule)) {
        called.iter().for_each(|called| caller.get_mut(*called).into_iter().for_each(|caller| *caller = Some(rule)));
    }
    let first = (0..calls.len()).find(|rule| left(rule)).unwrap_or_default();
    let back = |rule: &usize| *caller.get(*rule)?;
    let inside = successors(Some(first), back).nth(calls.len()).unwrap_or(first);
    let name = name(successors(Some(inside), back).take(calls.len()).min().unwrap_or(inside));
    Err(nowhere(format!("the rule `{}` needs itself", shown(name))))
}

/// Whether each rule stands behind all that call it. Asked for one step at a time, regorus 0.14.1 does not go back: where it
/// should begin a rule that stands before the call it goes on behind the call, and the rule is undefined
/// (`handle_instruction_suspend` takes the place in the new frame for one that has been left).
fn calls_go_forward(program: &Program) -> bool {
    let starts: Vec<Option<usize>> =
        bodies(program).iter().map(|ranges| ranges.iter().map(|(start, _)| *start).min()).collect();
    program.instructions.iter().enumerate().all(|(at, instruction)| {
        let start = callee(program, instruction).and_then(|rule| *starts.get(rule)?);
        start.is_none_or(|start| start > at)
    })
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

/// A rule as the policy names it.
fn shown(path: &str) -> &str {
    path.strip_prefix(PACKAGE).map_or(path, |name| name.trim_start_matches('.'))
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
