//! Conditions: patterns, references to named ones, CEL predicates, and their combinations.

use serde_json::Value;
use sidegate_config::{Operator, PatternExpression, PatternExpressionOrRef};

use super::EvalError;
use super::pattern::Pattern;
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
        compile_pattern(selector.as_deref(), *operator, value.as_ref(), compiler)
    };
    Vec::from_iter(criterion)
}

fn compile_pattern(
    selector: Option<&str>,
    operator: Option<Operator>,
    value: Option<&Value>,
    compiler: &mut Compiler<'_>,
) -> Option<Criterion> {
    let (Some(selector), Some(operator)) = (selector, operator) else {
        compiler.problem("`selector` and `operator` are both needed");
        return None;
    };
    let value = value.cloned().unwrap_or_else(|| Value::String(String::new()));
    let source = PatternExpression { selector: selector.to_owned(), operator, value };
    Pattern::compile(source, compiler).map(Criterion::Pattern)
}

/// Finds what is wrong with named patterns, whether they are used or not.
pub fn check_named(compiler: &mut Compiler<'_>) {
    let patterns = compiler.patterns;
    for name in patterns.keys() {
        drop(compile_named(name, compiler));
    }
}

fn compile_named(name: &str, compiler: &mut Compiler<'_>) -> Vec<Pattern> {
    let sources = compiler.patterns.get(name).into_iter().flatten();
    let compile = |(index, source): (usize, &PatternExpression), compiler: &mut Compiler<'_>| {
        compiler.at(format_args!("[{index}]"), |compiler| Pattern::compile(source.clone(), compiler))
    };
    compiler.at_spec(|compiler| {
        compiler.at("patterns", |compiler| {
            compiler.at(name, |compiler| sources.enumerate().filter_map(|source| compile(source, compiler)).collect())
        })
    })
}

fn compile_reference(name: &str, compiler: &mut Compiler<'_>) -> Vec<Criterion> {
    let patterns = compiler.patterns;
    if !patterns.contains_key(name) {
        let known: Vec<String> = patterns.keys().map(|name| format!("`{name}`")).collect();
        let known =
            if known.is_empty() { "there are none".to_owned() } else { format!("there is {}", known.join(", ")) };
        compiler.problem(format!("`{name}` is not in `spec.patterns`; {known}"));
    }
    compile_named(name, compiler).into_iter().map(Criterion::Pattern).collect()
}

#[cfg(feature = "cel")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature there is none")]
fn compile_predicate(source: &str, compiler: &mut Compiler<'_>) -> Option<Criterion> {
    Some(Criterion::Predicate(super::cel::Program::compile_predicate(source, compiler), source.to_owned()))
}

#[cfg(not(feature = "cel"))]
fn compile_predicate(_source: &str, compiler: &mut Compiler<'_>) -> Option<Criterion> {
    compiler.left_out("cel");
    None
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
            Self::Pattern(pattern) => pattern.holds(view),
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
            Self::Pattern(pattern) => return write!(f, "{pattern}"),
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

/// The beginning, if it is long.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expression::testing::{compiled, view};

    fn try_compile(items: &Value) -> (Condition, Vec<String>) {
        let items: Vec<PatternExpressionOrRef> = serde_json::from_value(items.clone()).unwrap();
        let patterns = json!({
            "admin": [{"selector": "auth.identity.role", "operator": "eq", "value": "admin"}],
            "both": [
                {"selector": "auth.identity.role", "operator": "eq", "value": "admin"},
                {"selector": "request.method", "operator": "eq", "value": "GET"},
            ],
            "none": [],
        });
        let (condition, problems, _) = compiled(patterns, |compiler| Condition::compile(&items, compiler));
        (condition, problems)
    }

    fn held(items: &Value, view: &View) -> Held {
        let (condition, problems) = try_compile(items);
        assert_eq!(problems, [""; 0], "{items}");
        condition.evaluate(view).unwrap()
    }

    #[test]
    fn operators_compare_texts() {
        let identity = json!({
            "role": "admin", "n": null, "e": "", "t": true, "f": 1.50, "i": 12, "big": 9_007_199_254_740_993_u64,
            "list": ["a", 1, null, true, 2.0], "empty": [], "object": {"a": "&"},
        });
        let view = view(&[], &[], Some(identity));
        for (selector, operator, value, expected) in [
            ("role", "eq", "admin", true),
            ("role", "eq", "Admin", false),
            ("t", "eq", "true", true),
            ("i", "eq", "12", true),
            ("f", "eq", "1.5", true),
            ("f", "eq", "1.50", false),
            ("big", "eq", "9007199254740993", true),
            ("object", "eq", r#"{"a":"\u0026"}"#, true),
            ("missing", "eq", "", true),
            ("n", "eq", "", true),
            ("e", "eq", "", true),
            ("n", "eq", "null", false),
            ("role", "neq", "user", true),
            ("role", "neq", "admin", false),
            ("missing", "neq", "x", true),
            ("missing", "neq", "", false),
            ("list", "incl", "a", true),
            ("list", "incl", "1", true),
            ("list", "incl", "2", true),
            ("list", "incl", "true", true),
            ("list", "incl", "", true),
            ("list", "incl", "b", false),
            ("role", "incl", "admin", true),
            ("role", "incl", "adm", false),
            ("empty", "incl", "", false),
            ("missing", "incl", "", false),
            ("n", "incl", "", false),
            ("e", "incl", "", true),
            ("list", "excl", "b", true),
            ("list", "excl", "a", false),
            ("missing", "excl", "a", true),
            ("role", "excl", "admin", false),
            ("role", "matches", "dmi", true),
            ("role", "matches", "^dmi", false),
            ("missing", "matches", "^$", true),
            ("i", "matches", r"^\d+$", true),
            ("list", "matches", "null", true),
        ] {
            let item = json!([{"selector": format!("auth.identity.{selector}"), "operator": operator, "value": value}]);
            assert_eq!(held(&item, &view) == Held::Yes, expected, "{item}");
        }
    }

    #[test]
    fn lists_are_joined_and_the_first_failed_criterion_is_named() {
        let view = view(&[(":method", "POST")], &[], Some(json!({"role": "admin"})));
        let admin = json!({"selector": "auth.identity.role", "operator": "eq", "value": "admin"});
        let get = json!({"selector": "request.method", "operator": "eq", "value": "GET"});
        let no = |text: &str| Held::No(text.to_owned());
        for (items, expected) in [
            (json!([]), Held::Yes),
            (json!([admin]), Held::Yes),
            (json!([admin, get]), no("request.method eq GET")),
            (json!([{"all": [admin, {"all": [get]}]}]), no("request.method eq GET")),
            (json!([{"all": []}]), Held::Yes),
            (json!([{"any": [get, admin]}]), Held::Yes),
            (
                json!([{"any": [get, {"all": [get]}]}]),
                no("any of (request.method eq GET; all of (request.method eq GET))"),
            ),
            (json!([{"patternRef": "admin"}]), Held::Yes),
            (json!([{"patternRef": "both"}]), no("request.method eq GET")),
            (json!([{"patternRef": "none"}]), Held::Yes),
            // Within `any`, each of the named patterns is an alternative.
            (json!([{"any": [{"patternRef": "both"}]}]), Held::Yes),
            (
                json!([{"any": [{"all": [{"patternRef": "both"}]}]}]),
                no("any of (all of (auth.identity.role eq admin; request.method eq GET))"),
            ),
            (json!([{"any": [{"patternRef": "none"}]}]), no("any of ()")),
            // In a pattern braces are gjson's, not a template's.
            (
                json!([{"selector": "auth.identity.{role}", "operator": "eq", "value": r#"{"role":"admin"}"#}]),
                Held::Yes,
            ),
            (json!([{"selector": "request.method", "operator": "neq"}]), Held::Yes),
        ] {
            assert_eq!(held(&items, &view), expected, "{items}");
        }
        let long = json!([{"selector": "request.method", "operator": "eq", "value": "x".repeat(1000)}]);
        assert!(matches!(held(&long, &view), Held::No(text) if text.chars().count() == 201 && text.ends_with('…')));
    }

    #[test]
    fn what_is_no_condition_is_a_problem() {
        let mut deep = json!({"patternRef": "admin"});
        for _ in 0..40 {
            deep = json!({"all": [deep]});
        }
        for (item, path, message) in [
            (json!({}), "", "exactly one form is needed"),
            (json!({"patternRef": "admin", "all": []}), "", "exactly one form is needed"),
            (json!({"any": [{"all": [], "selector": "a"}]}), ".any[0]", "exactly one form is needed"),
            (json!({"selector": "a"}), "", "`selector` and `operator` are both needed"),
            (json!({"operator": "eq", "value": "a"}), "", "`selector` and `operator` are both needed"),
            (json!({"value": "a"}), "", "`selector` and `operator` are both needed"),
            (json!({"any": []}), "", "`any` is empty"),
            (
                json!({"patternRef": "adnim"}),
                ".patternRef",
                "`adnim` is not in `spec.patterns`; there is `admin`, `both`, `none`",
            ),
            (
                json!({"selector": "a", "operator": "matches", "value": "a("}),
                ".value",
                "`a(` is no regular expression: unclosed group",
            ),
            (json!({"selector": "a.#(b", "operator": "eq"}), ".selector", "`#(` is never closed"),
            (deep, &".all[0]".repeat(33)[..33 * 7 - 3], "nested more than 32 deep"),
        ] {
            let (_, problems) = try_compile(&json!([item]));
            let [problem] = problems.as_slice() else { panic!("{item}: {problems:?}") };
            assert!(problem.starts_with(&format!("AuthConfig default/test: spec[0]{path}: ")), "{problem}");
            assert!(problem.contains(message), "{problem}");
        }
    }

    #[test]
    fn what_a_condition_reads_is_needed() {
        let item = json!([{"any": [{"selector": "source.address", "operator": "eq", "value": "::1"}]}]);
        let items: Vec<PatternExpressionOrRef> = serde_json::from_value(item).unwrap();
        let (_, _, needs) = compiled(json!({}), |compiler| Condition::compile(&items, compiler));
        assert_eq!(needs.iter().collect::<Vec<_>>(), [crate::Attribute::SourceAddress]);
    }
}
