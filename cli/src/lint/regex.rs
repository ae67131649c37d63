//! Regular expressions that match more than they seem to.

use cel::common::ast::{CallExpr, Expr, LiteralValue};
use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::Look;
use serde_json::Value;
use sidegate_config::{AuthConfig, Documents, Operator};

use super::{Warnings, criteria, missing_header};
use crate::validate::auth_configs;

pub fn check(documents: &Documents, warnings: &mut Warnings) {
    for document in auth_configs(documents) {
        for criterion in criteria(document) {
            let spec = criterion.spec;
            if let (Some(Operator::Matches), Some(Value::String(regex))) = (spec.operator, &spec.value) {
                judge(document, &format!("{}.value", criterion.path), regex, warnings);
            }
            let path = format!("{}.predicate", criterion.path);
            let in_cel = spec.predicate.as_deref().map(of_predicate).unwrap_or_default();
            in_cel.iter().for_each(|regex| judge(document, &path, regex, warnings));
        }
        for (name, patterns) in &document.spec.patterns {
            for (index, pattern) in patterns.iter().enumerate().filter(|(_, it)| it.operator == Operator::Matches) {
                if let Value::String(regex) = &pattern.value {
                    judge(document, &format!("spec.patterns.{name}[{index}].value"), regex, warnings);
                }
            }
        }
    }
}

/// The regular expressions of `matches` that are written out.
fn of_predicate(predicate: &str) -> Vec<String> {
    let mut found = Vec::new();
    missing_header::visit(predicate, &mut |expr| {
        let Expr::Call(CallExpr { func_name, args, .. }) = expr else { return };
        if let (true, Some(Expr::Literal(LiteralValue::String(text)))) =
            (func_name == "matches", args.last().map(|argument| &argument.expr))
        {
            found.push(text.inner().to_owned());
        }
    });
    found
}

fn judge(document: &AuthConfig, path: &str, regex: &str, warnings: &mut Warnings) {
    // One that cannot be parsed is the engine's to refuse.
    let (Ok(ast), Ok(hir)) = (ast::parse::Parser::new().parse(regex), regex_syntax::parse(regex)) else { return };
    if dotted(&ast) {
        let message = format!("the `.` in `{regex}` matches any character: write `\\.` if you mean a dot");
        warnings.add(document, path, message);
    }
    let properties = hir.properties();
    let start = properties.look_set_prefix().contains(Look::Start) || regex.starts_with(".*");
    let end = properties.look_set_suffix().contains(Look::End) || regex.ends_with(".*");
    let whole_word = regex.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ')' || c == ']' || c == '+');
    if !start {
        let message =
            format!("`{regex}` matches anywhere in the text: begin it with `^`, or with `.*` if that is meant");
        warnings.add(document, path, message);
    } else if !end && whole_word {
        let message = format!("`{regex}` matches whatever follows: end it with `$`, or with `.*` if that is meant");
        warnings.add(document, path, message);
    }
}

/// Whether a `.` stands between letters or digits, as in the name of a host.
fn dotted(ast: &Ast) -> bool {
    match ast {
        Ast::Concat(concat) => {
            let between = concat.asts.windows(3).any(|parts| {
                let letter = |ast: &Ast| matches!(ast, Ast::Literal(literal) if literal.c.is_alphanumeric());
                letter(&parts[0]) && matches!(parts[1], Ast::Dot(_)) && letter(&parts[2])
            });
            between || concat.asts.iter().any(dotted)
        }
        Ast::Alternation(alternation) => alternation.asts.iter().any(dotted),
        Ast::Group(group) => dotted(&group.ast),
        Ast::Repetition(repetition) => dotted(&repetition.ast),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(regex: &str) -> Vec<String> {
        let mut warnings = Warnings::default();
        let document = r#"{"apiVersion": "x", "kind": "AuthConfig", "spec": {"hosts": []}}"#;
        judge(&serde_json::from_str(document).unwrap(), "p", regex, &mut warnings);
        warnings.0.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn only_what_matches_more_than_it_seems() {
        for (regex, parts) in [
            ("^api\\.example\\.com$", &[][..]),
            ("^api.example\\.com$", &["the `.`"]),
            ("api\\.test$", &["anywhere"]),
            ("^/admin", &["whatever follows"]),
            ("^/admin/", &[]),
            ("^/admin(/.*)?$", &[]),
            ("^/a.*", &[]),
            (".*x$", &[]),
            ("^(a|b)", &["whatever follows"]),
            ("^(get|put)$", &[]),
            ("a.b", &["the `.`", "anywhere"]),
            ("^a.+b$", &[]),
            ("(", &[]),
        ] {
            let got = warned(regex);
            assert_eq!(got.len(), parts.len(), "{regex}: {got:?}");
            assert!(got.iter().zip(parts).all(|(got, part)| got.contains(part)), "{regex}: {got:?}");
        }
    }
}
