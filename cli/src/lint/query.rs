//! Conditions on `request.path` that forget its query: what is added behind a `?` makes a rule be passed over, or met.

use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators};
use serde_json::Value;
use sidegate_config::{Action, Documents, Operator};

use super::{Criterion, Role, Warnings, criteria, missing_header};
use crate::validate::auth_configs;

/// Names of the target.
const TARGETS: [&str; 2] = ["request.path", "context.request.http.path"];

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for document in auth_configs(documents) {
        let mut warn = |path: String, what: &str| {
            let message = format!("{what}: `request.path` has the query; write `request.url_path`, which has none");
            warnings.add(document, path, message);
        };
        let denying: Vec<String> = (document.spec.authorization.iter())
            .filter(|(_, rule)| rule.action == Action::Deny)
            .map(|(name, _)| format!("spec.authorization.{name}.patternMatching."))
            .collect();
        for Criterion { role, path, spec } in criteria(document) {
            let denies = denying.iter().any(|rule| path.starts_with(rule));
            let wanted = match role {
                Role::Pattern if denies => [Operator::Eq, Operator::Matches].as_slice(),
                // Passed over, the rule or the AuthConfig does not deny.
                Role::AuthConfig | Role::Authorization | Role::Denial => &[Operator::Eq, Operator::Matches],
                // Met, it grants.
                Role::Pattern => &[Operator::Neq],
                Role::Rule => continue,
            };
            let of_target = spec.selector.as_deref().is_some_and(|selector| TARGETS.contains(&selector));
            if let (true, Some(operator), Some(Value::String(value))) = (of_target, spec.operator, &spec.value)
                && wanted.contains(&operator)
                && let Some(what) = forgets(operator, value)
            {
                warn(format!("{path}.value"), &what);
            }
            for (operator, value) in spec.predicate.as_deref().map(comparisons).unwrap_or_default() {
                if let (true, Some(what)) = (wanted.contains(&operator), forgets(operator, &value)) {
                    warn(format!("{path}.predicate"), &what);
                }
            }
        }
        // Named ones are mostly for `when`.
        for (name, patterns) in &document.spec.patterns {
            for (index, pattern) in patterns.iter().enumerate() {
                let of_target = TARGETS.contains(&pattern.selector.as_str()) && pattern.operator != Operator::Neq;
                if let (true, Value::String(value)) = (of_target, &pattern.value)
                    && let Some(what) = forgets(pattern.operator, value)
                {
                    warn(format!("spec.patterns.{name}[{index}].value"), &what);
                }
            }
        }
    }
}

/// What becomes of a path with a query, if the one who wrote this did not think of it.
fn forgets(operator: Operator, value: &str) -> Option<String> {
    match operator {
        _ if value.contains(['?', '{']) && operator != Operator::Matches => None,
        Operator::Eq => Some(format!("`{value}` is not met by `{value}?x`")),
        Operator::Neq => Some(format!("`{value}?x` is something else than `{value}`")),
        Operator::Matches if ends(value) => Some(format!("`{value}` is not met where a query follows")),
        _ => None,
    }
}

/// Whether a regular expression ends with the path. One that names a `?`, or lets anything follow in the end, thinks of the query.
fn ends(regex: &str) -> bool {
    let Some(rest) = regex.strip_suffix('$') else { return false };
    let names_query = rest.contains("\\?") || rest.contains("[?") || rest.contains("?]") || rest.contains("/?]");
    !rest.ends_with('\\') && !names_query && !rest.ends_with(".*") && !rest.ends_with(".+")
}

/// How an expression compares the target, as far as it is written out.
fn comparisons(predicate: &str) -> Vec<(Operator, String)> {
    let mut found = Vec::new();
    missing_header::visit(predicate, &mut |expr| {
        let Expr::Call(CallExpr { func_name, target, args }) = expr else { return };
        let parts: Vec<&Expr> =
            target.iter().map(|target| &target.expr).chain(args.iter().map(|it| &it.expr)).collect();
        let operator = match func_name.as_str() {
            operators::EQUALS => Operator::Eq,
            operators::NOT_EQUALS => Operator::Neq,
            "matches" => Operator::Matches,
            _ => return,
        };
        let literal = parts.iter().find_map(|part| match part {
            Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
            _ => None,
        });
        if let (true, Some(text)) = (parts.iter().any(|part| is_target(part)), literal) {
            found.push((operator, text));
        }
    });
    found
}

fn is_target(expr: &Expr) -> bool {
    let Expr::Select(SelectExpr { operand, field, test: false }) = expr else { return false };
    field == "path" && matches!(&operand.expr, Expr::Ident(name) if name == "request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_thinks_of_the_query_is_not_warned() {
        for (operator, value, warned) in [
            (Operator::Eq, "/admin", true),
            (Operator::Eq, "/admin?all", false),
            (Operator::Eq, "{{request.headers.x}}", false),
            (Operator::Neq, "/admin", true),
            (Operator::Matches, "^/admin(/.*)?$", true),
            (Operator::Matches, "^/admin$", true),
            (Operator::Matches, "^/admin([/?].*)?$", false),
            (Operator::Matches, r"^/admin(\?.*)?$", false),
            (Operator::Matches, "^/admin/.*$", false),
            (Operator::Matches, "^/admin/", false),
            (Operator::Matches, r"^/cost\$", false),
            (Operator::Incl, "/admin", false),
        ] {
            assert_eq!(forgets(operator, value).is_some(), warned, "{operator:?} {value}");
        }
        for (predicate, count) in [
            ("request.path == '/a'", 1),
            ("'/a' != request.path || request.path.matches('^/b$')", 2),
            ("request.url_path == '/a' && request.method == 'GET'", 0),
            ("request.path.startsWith('/a')", 0),
            ("request.path == auth.identity.path", 0),
        ] {
            assert_eq!(comparisons(predicate).len(), count, "{predicate}");
        }
    }
}
