//! Conditions: patterns, references to named ones, CEL predicates, and their combinations.

use sidegate_config::{Operator, PatternExpression, PatternExpressionOrRef};

use super::regex::{self, Regex};
use super::selector::Selector;
use super::{EvalError, text};
use crate::compile::Compiler;
use crate::view::View;

/// How deep `all` and `any` may be nested.
const MAX_DEPTH: usize = 32;

/// Characters of a criterion that a record shows.
const MAX_SHOWN: usize = 200;

/// A compiled list of conditions, all of which must hold.
#[derive(Debug, Default)]
pub struct Condition {
    all: Vec<Criterion>,
}

/// How a condition came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It holds.
    Yes,
    /// It does not; the first criterion that failed, as its author wrote it.
    No(String),
}

#[derive(Debug)]
enum Criterion {
    All(Vec<Criterion>),
    Any(Vec<Criterion>),
    Pattern(Pattern),
    #[cfg(feature = "cel")]
    Predicate(super::cel::Program, String),
}

/// A selector, an operator and a value.
#[derive(Debug)]
struct Pattern {
    selector: Selector,
    test: Test,
    source: PatternExpression,
}

/// What the operator does with the value.
#[derive(Debug)]
enum Test {
    Equals(bool),
    Includes(bool),
    Matches(Regex),
}

impl Condition {
    /// Compiles; problems go to the compiler. An empty list always holds.
    pub fn compile(source: &[PatternExpressionOrRef], compiler: &mut Compiler<'_>) -> Self {
        Self { all: compile_list(source, 0, compiler) }
    }

    /// Whether all conditions hold, in order, as far as needed; an error ends it.
    ///
    /// # Errors
    /// CEL's run-time errors; a predicate that yields no boolean.
    pub fn evaluate(&self, view: &View) -> Result<Held, EvalError> {
        Ok(first_failed(&self.all, view)?.map_or(Held::Yes, |failed| Held::No(shorten(&failed.to_string()))))
    }
}

fn compile_list(items: &[PatternExpressionOrRef], depth: usize, compiler: &mut Compiler<'_>) -> Vec<Criterion> {
    if depth > MAX_DEPTH {
        compiler.problem(format!("`all` and `any` are nested more than {MAX_DEPTH} deep"));
        return Vec::new();
    }
    let mut criteria = Vec::new();
    for (index, item) in items.iter().enumerate() {
        compiler.at(format_args!("[{index}]"), |compiler| criteria.extend(compile_item(item, depth, compiler)));
    }
    criteria
}

/// The criteria of one item: more or fewer than one if it refers to named patterns, which stand here as if they had been
/// written here, so that within `any` each of them is an alternative.
fn compile_item(item: &PatternExpressionOrRef, depth: usize, compiler: &mut Compiler<'_>) -> Vec<Criterion> {
    let PatternExpressionOrRef { selector, operator, value, pattern_ref, predicate, all, any } = item;
    let is_pattern = selector.is_some() || operator.is_some() || value.is_some();
    let forms = [is_pattern, pattern_ref.is_some(), predicate.is_some(), all.is_some(), any.is_some()];
    if forms.into_iter().filter(|given| *given).count() != 1 {
        compiler.problem(
            "exactly one form is needed: `selector` with `operator` and `value`, `patternRef`, `predicate`, `all` or `any`",
        );
        return Vec::new();
    }
    let inner = depth.saturating_add(1);
    if let Some(name) = pattern_ref {
        return compiler.at("patternRef", |compiler| compile_reference(name, compiler));
    }
    let criterion = if let Some(source) = predicate {
        compiler.at("predicate", |compiler| compile_predicate(source, compiler))
    } else if let Some(items) = all {
        Some(Criterion::All(compiler.at("all", |compiler| compile_list(items, inner, compiler))))
    } else if let Some(items) = any {
        if items.is_empty() {
            compiler.problem("`any` is empty, so it would never hold: list what may hold");
        }
        Some(Criterion::Any(compiler.at("any", |compiler| compile_list(items, inner, compiler))))
    } else {
        compile_pattern(selector.as_deref(), *operator, value.as_deref(), compiler)
    };
    Vec::from_iter(criterion)
}

fn compile_pattern(
    selector: Option<&str>,
    operator: Option<Operator>,
    value: Option<&str>,
    compiler: &mut Compiler<'_>,
) -> Option<Criterion> {
    let (Some(selector), Some(operator)) = (selector, operator) else {
        compiler.problem("`selector` and `operator` are both needed");
        return None;
    };
    let source =
        PatternExpression { selector: selector.to_owned(), operator, value: value.unwrap_or_default().to_owned() };
    Pattern::compile(source, compiler).map(Criterion::Pattern)
}

fn compile_reference(name: &str, compiler: &mut Compiler<'_>) -> Vec<Criterion> {
    let patterns = compiler.patterns;
    let Some(named) = patterns.get(name) else {
        let known: Vec<String> = patterns.keys().map(|name| format!("`{name}`")).collect();
        let known =
            if known.is_empty() { "there are none".to_owned() } else { format!("there is {}", known.join(", ")) };
        compiler.problem(format!("`{name}` is not in `spec.patterns`; {known}"));
        return Vec::new();
    };
    named.iter().filter_map(|source| Pattern::compile(source.clone(), compiler)).map(Criterion::Pattern).collect()
}

#[cfg(feature = "cel")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature there is none")]
fn compile_predicate(source: &str, compiler: &mut Compiler<'_>) -> Option<Criterion> {
    Some(Criterion::Predicate(super::cel::Program::compile_predicate(source, compiler), source.to_owned()))
}

#[cfg(not(feature = "cel"))]
fn compile_predicate(_source: &str, compiler: &mut Compiler<'_>) -> Option<Criterion> {
    compiler.missing("cel");
    None
}

impl Pattern {
    fn compile(source: PatternExpression, compiler: &mut Compiler<'_>) -> Option<Self> {
        let test = match source.operator {
            Operator::Eq => Test::Equals(true),
            Operator::Neq => Test::Equals(false),
            Operator::Incl => Test::Includes(true),
            Operator::Excl => Test::Includes(false),
            Operator::Matches => match regex::compile(&source.value) {
                Ok(regex) => Test::Matches(regex),
                Err(reason) => {
                    let message = format!("`{}` is no regular expression: {reason}", shorten(&source.value));
                    compiler.at("value", |compiler| compiler.problem(message));
                    return None;
                }
            },
        };
        let selector = compiler.at("selector", |compiler| Selector::compile(&source.selector, compiler));
        Some(Self { selector, test, source })
    }

    fn holds(&self, view: &View) -> bool {
        let Self { selector, test, source } = self;
        match test {
            Test::Equals(expected) => selector.with_text(view, |text| text == source.value) == *expected,
            Test::Includes(expected) => {
                selector.any_item(view, |item| text::with(item, |text| text == source.value)) == *expected
            }
            Test::Matches(regex) => selector.with_text(view, |text| regex.is_match(text.as_bytes())),
        }
    }
}

impl Criterion {
    fn holds(&self, view: &View) -> Result<bool, EvalError> {
        match self {
            Self::All(criteria) => Ok(first_failed(criteria, view)?.is_none()),
            Self::Any(criteria) => {
                for criterion in criteria {
                    if criterion.holds(view)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Pattern(pattern) => Ok(pattern.holds(view)),
            #[cfg(feature = "cel")]
            Self::Predicate(program, _) => program.boolean(view),
        }
    }
}

/// The first one that does not hold; of a nested list, its first one.
fn first_failed<'a>(criteria: &'a [Criterion], view: &View) -> Result<Option<&'a Criterion>, EvalError> {
    for criterion in criteria {
        let failed = match criterion {
            Criterion::All(nested) => first_failed(nested, view)?,
            other => (!other.holds(view)?).then_some(other),
        };
        if failed.is_some() {
            return Ok(failed);
        }
    }
    Ok(None)
}

/// As its author wrote it.
impl std::fmt::Display for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (word, criteria) = match self {
            Self::Pattern(Pattern { source: PatternExpression { selector, operator, value }, .. }) => {
                return write!(f, "{selector} {} {value}", name(*operator));
            }
            #[cfg(feature = "cel")]
            Self::Predicate(_, source) => return f.write_str(source),
            Self::All(criteria) => ("all", criteria),
            Self::Any(criteria) => ("any", criteria),
        };
        write!(f, "{word} of (")?;
        for (index, criterion) in criteria.iter().enumerate() {
            write!(f, "{}{criterion}", if index > 0 { "; " } else { "" })?;
        }
        f.write_str(")")
    }
}

const fn name(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "eq",
        Operator::Neq => "neq",
        Operator::Incl => "incl",
        Operator::Excl => "excl",
        Operator::Matches => "matches",
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
