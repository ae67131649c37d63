//! Conditions in CEL that are no answer but an error where a header is not there.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr, operators};
use sidegate_config::{AuthConfigWhenError, Documents, RuleWhenError};

use super::{Criterion, Role, Warnings, criteria};
use crate::validate::auth_configs;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    let errors = documents.settings.options.when_errors;
    for document in auth_configs(documents) {
        for Criterion { role, path, spec } in criteria(document) {
            let consequence = match role {
                Role::Authorization if errors.rule == RuleWhenError::Skip => "the rule is skipped, which permits",
                Role::AuthConfig if errors.auth_config == AuthConfigWhenError::Skip => {
                    "the AuthConfig is skipped, which permits"
                }
                Role::AuthConfig => "the AuthConfig is enforced",
                Role::Authorization => "the rule denies",
                Role::Rule if errors.rule == RuleWhenError::Skip => "the rule is skipped",
                Role::Rule | Role::Denial | Role::Pattern => continue,
            };
            for header in spec.predicate.as_deref().map(unguarded).unwrap_or_default() {
                let message = format!(
                    "is an error without the header `{header}`, and then {consequence}: write `'{header}' in \
                     request.headers && …` first"
                );
                warnings.add(document, format!("{path}.predicate"), message);
            }
        }
    }
}

/// Headers that an expression reads without asking whether they are there.
fn unguarded(predicate: &str) -> BTreeSet<String> {
    let (mut read, mut guarded) = (BTreeSet::new(), BTreeSet::new());
    visit(predicate, &mut |expr| match expr {
        Expr::Select(SelectExpr { operand, field, test }) if is_headers(&operand.expr) => {
            if *test { &mut guarded } else { &mut read }.insert(field.clone());
        }
        Expr::Call(CallExpr { func_name, args, .. }) => {
            let [first, second] = args.as_slice() else { return };
            match (func_name.as_str(), text(&first.expr), text(&second.expr)) {
                (operators::INDEX, _, Some(name)) if is_headers(&first.expr) => drop(read.insert(name)),
                (operators::IN, Some(name), _) if is_headers(&second.expr) => drop(guarded.insert(name)),
                _ => {}
            }
        }
        _ => {}
    });
    read.difference(&guarded).cloned().collect()
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}

fn is_headers(expr: &Expr) -> bool {
    let Expr::Select(SelectExpr { operand, field, test: false }) = expr else { return false };
    field == "headers" && matches!(&operand.expr, Expr::Ident(name) if name == "request")
}

/// Shows each part of an expression; none if it cannot be parsed, which is the engine's to say.
pub fn visit(source: &str, see: &mut dyn FnMut(&Expr)) {
    // Longer or deeper ones the engine refuses.
    let deep = source.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{' | b'!' | b'-' | b'?')).count();
    if source.len() > 10_000 || deep > 200 {
        return;
    }
    if let Ok(IdedExpr { expr, .. }) = cel::parser::PrattParser::new().enable_optional_syntax(true).parse(source) {
        parts(&expr, see);
    }
}

fn parts(expr: &Expr, see: &mut dyn FnMut(&Expr)) {
    see(expr);
    match expr {
        Expr::Select(SelectExpr { operand, .. }) => parts(&operand.expr, see),
        Expr::Call(CallExpr { target, args, .. }) => {
            target.iter().for_each(|target| parts(&target.expr, see));
            args.iter().for_each(|argument| parts(&argument.expr, see));
        }
        Expr::List(ListExpr { elements, .. }) => elements.iter().for_each(|element| parts(&element.expr, see)),
        Expr::Map(MapExpr { entries, .. }) => entries.iter().for_each(|entry| {
            if let EntryExpr::MapEntry(entry) = &entry.expr {
                parts(&entry.key.expr, see);
                parts(&entry.value.expr, see);
            }
        }),
        Expr::Comprehension(comprehension) => {
            for part in [
                &comprehension.iter_range,
                &comprehension.accu_init,
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ] {
                parts(&part.expr, see);
            }
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_asked_for_first_is_no_error() {
        for (predicate, expected) in [
            ("request.headers['x-a'] == 'b'", "x-a"),
            ("request.headers.host == 'b'", "host"),
            ("'x-a' in request.headers && request.headers['x-a'] == 'b'", ""),
            ("has(request.headers.xa) && request.headers.xa == 'b'", ""),
            ("has(request.headers.xa) && request.headers['x-b'].startsWith('b')", "x-b"),
            ("[1, 2].exists(n, request.headers['x-a'] == string(n))", "x-a"),
            ("auth.identity.x == 'b'", ""),
            ("(", ""),
        ] {
            assert_eq!(unguarded(predicate).into_iter().collect::<Vec<_>>().join(" "), expected, "{predicate}");
        }
    }
}
