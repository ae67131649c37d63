//! The parser writes macros out as general loops; this finds out again which was meant.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators};

use super::node::Fold;

/// A macro over the elements of a list or the keys of a map.
pub struct Macro<'e> {
    pub fold: Fold,
    pub range: &'e IdedExpr,
    pub variable: &'e str,
    /// Which elements count; all without it.
    pub filter: Option<&'e IdedExpr>,
    /// What is asked of each.
    pub body: &'e IdedExpr,
}

/// What was written before it became a loop.
pub fn unfold(comprehension: &ComprehensionExpr) -> Option<Macro<'_>> {
    let ComprehensionExpr { iter_range: range, iter_var: variable, accu_init, loop_step, .. } = comprehension;
    let Expr::Call(CallExpr { func_name, args, .. }) = &loop_step.expr else { return None };
    let (fold, filter, body) = match (&accu_init.expr, func_name.as_str(), args.as_slice()) {
        (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_AND, [_, body]) => (Fold::All, None, body),
        (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_OR, [_, body]) => (Fold::Exists, None, body),
        (Expr::Literal(LiteralValue::Int(_)), operators::CONDITIONAL, [body, _, _]) => (Fold::ExistsOne, None, body),
        (Expr::List(_), operators::ADD, [_, appended]) => (Fold::Map, None, only_element(appended)?),
        (Expr::List(_), operators::CONDITIONAL, [filter, appending, _]) => {
            let Expr::Call(CallExpr { args, .. }) = &appending.expr else { return None };
            (Fold::Map, Some(filter), only_element(args.get(1)?)?)
        }
        _ => return None,
    };
    Some(Macro { fold, range, variable, filter, body })
}

fn only_element(list: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::List(ListExpr { elements, .. }) = &list.expr else { return None };
    elements.first()
}
