//! From syntax to a compiled expression: resolves names, checks types as far as they are known, notes what is read.

use std::rc::Rc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapEntryExpr, MapExpr, SelectExpr,
    operators,
};

use super::functions::Function;
use super::kind::Kind;
use super::macros::{Macro, unfold};
use super::node::{Element, Fold, Loop, Node, Path};
use super::regex::Patterns;
use super::value::Val;
use super::{format, time};
use crate::compile::Compiler;
use crate::expression::regex;

const ROOTS: [&str; 5] = ["metadata", "request", "source", "destination", "auth"];

/// A compiled part, and what it yields as far as that is known.
pub struct Typed {
    pub node: Node,
    pub kind: Kind,
}

impl Typed {
    const fn new(node: Node, kind: Kind) -> Self {
        Self { node, kind }
    }

    /// Stands in for what could not be compiled, and agrees with everything.
    pub const fn broken() -> Self {
        Self::new(Node::Const(Val::Null), Kind::Dyn)
    }
}

/// Compiles the parts of one expression; problems go to the compiler.
pub struct Lowering<'c, 'p> {
    compiler: &'c mut Compiler<'p>,
    /// Names of the variables of macros, outermost first.
    scope: Vec<String>,
}

impl<'c, 'p> Lowering<'c, 'p> {
    pub const fn new(compiler: &'c mut Compiler<'p>) -> Self {
        Self { compiler, scope: Vec::new() }
    }

    pub fn lower(&mut self, IdedExpr { expr, .. }: &IdedExpr) -> Typed {
        if let Some(path) = self.path(expr) {
            return self.lower_path(path);
        }
        match expr {
            Expr::Literal(literal) => lower_literal(literal),
            Expr::Ident(name) => self.lower_name(name),
            Expr::Select(select) => self.lower_select(select),
            Expr::Call(call) => self.lower_call(call),
            Expr::List(list) => self.lower_list(list),
            Expr::Map(map) => self.lower_map(map),
            Expr::Comprehension(comprehension) => self.lower_comprehension(comprehension),
            Expr::Struct(message) => {
                self.problem(format!("messages like `{}{{…}}` are not supported", message.type_name))
            }
            Expr::Unspecified => self.problem("the expression is incomplete"),
        }
    }

    /// Fails unless the kind is, or may turn out to be, the one that is wanted.
    pub fn expect(&mut self, what: &str, wanted: Kind, found: Kind) {
        if !found.agrees(wanted) {
            self.problem(format!("{what} must be of type {wanted}, not {found}"));
        }
    }

    fn problem(&mut self, message: impl Into<String>) -> Typed {
        self.compiler.problem(message);
        Typed::broken()
    }

    /// The names that lead from a root to what the expression means.
    fn path(&self, expr: &Expr) -> Option<Vec<String>> {
        match expr {
            Expr::Ident(name) => {
                let root = name.strip_prefix('.').unwrap_or(name);
                let shadowed = self.scope.iter().any(|variable| variable == name);
                (ROOTS.contains(&root) && !shadowed).then(|| vec![root.to_owned()])
            }
            Expr::Select(SelectExpr { operand, field, test: false }) => {
                let mut path = self.path(&operand.expr)?;
                path.push(field.clone());
                Some(path)
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] = call.args.as_slice()
                else {
                    return None;
                };
                let mut path = self.path(&operand.expr)?;
                path.push(name.inner().to_owned());
                Some(path)
            }
            _ => None,
        }
    }

    fn lower_path(&mut self, names: Vec<String>) -> Typed {
        let kind = if names.len() == 1 { Kind::Map } else { Kind::Dyn };
        let path = self.needed(names);
        Typed::new(Node::Path(path), kind)
    }

    fn needed(&mut self, names: Vec<String>) -> Path {
        let path = Path::new(names);
        match path.place() {
            Some(place) => self.compiler.need_all(place.needs()),
            // Which of its names leads nowhere may depend on the request.
            None => self.compiler.need_what_is_at_hand(),
        }
        path
    }

    fn lower_name(&mut self, name: &str) -> Typed {
        if let Some(slot) = self.scope.iter().rposition(|variable| variable == name) {
            return Typed::new(Node::Slot(slot), Kind::Dyn);
        }
        if let Some(kind) = Kind::NAMED.into_iter().find(|kind| kind.name() == name) {
            return Typed::new(Node::Const(Val::Type(kind)), Kind::Type);
        }
        let hint = if name == "context" { " (`context` is for selectors only)" } else { "" };
        let [first, others @ .., last] = ROOTS;
        let others: String = others.iter().map(|root| format!(", `{root}`")).collect();
        self.problem(format!("unknown identifier `{name}`{hint}; known are `{first}`{others} and `{last}`"))
    }

    fn lower_select(&mut self, SelectExpr { operand, field, test }: &SelectExpr) -> Typed {
        if *test {
            if let Some(mut names) = self.path(&operand.expr) {
                names.push(field.clone());
                let path = self.needed(names);
                return Typed::new(Node::Has(path), Kind::Bool);
            }
        } else if let Some(kind) = named_kind(operand, field) {
            return Typed::new(Node::Const(Val::Type(kind)), Kind::Type);
        }
        let Typed { node, kind } = self.lower(operand);
        let yields = match kind {
            Kind::Dyn | Kind::Map => Kind::Dyn,
            Kind::Optional => Kind::Optional,
            kind => return self.problem(format!("a {kind} has no member `{field}`")),
        };
        let (target, name) = (Box::new(node), field.as_str().into());
        if *test {
            Typed::new(Node::HasMember(target, name), Kind::Bool)
        } else {
            Typed::new(Node::Select(target, name), yields)
        }
    }

    fn lower_call(&mut self, call: &CallExpr) -> Typed {
        let CallExpr { func_name, target, args } = call;
        match (func_name.as_str(), args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => self.lower_logical("&&", left, right),
            (operators::LOGICAL_OR, [left, right]) => self.lower_logical("||", left, right),
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                self.lower_conditional(condition, then, otherwise)
            }
            (operators::INDEX, [operand, key]) => self.lower_index(operand, key),
            (operators::OPT_INDEX | operators::OPT_SELECT, [operand, key]) => {
                let (operand, key) = (self.lower(operand), self.lower(key));
                let known = func_name == operators::OPT_SELECT || matches!(operand.kind, Kind::List | Kind::Map);
                let node = Node::OptionalIndex(Box::new(operand.node), Box::new(key.node));
                // Nor does cel-go know what `x[?key]` yields if it does not know what `x` is.
                Typed::new(node, if known { Kind::Optional } else { Kind::Dyn })
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => self.lower_equality(call, left, right),
            (name @ ("optMap" | "optFlatMap"), [variable, body]) if target.is_some() => {
                self.lower_optional_map(name == "optFlatMap", target.as_deref(), variable, body)
            }
            (name @ ("or" | "orValue"), [other]) if target.is_some() => {
                self.lower_or_else(name == "orValue", target.as_deref(), other)
            }
            ("matches", args) => self.lower_matches(target.as_deref().into_iter().chain(args).collect()),
            (name, args) => match qualified(target.as_deref(), name) {
                Some(name) => self.lower_function(&name, false, args.iter().collect()),
                None => {
                    let arguments = target.as_deref().into_iter().chain(args).collect();
                    self.lower_function(name, target.is_some(), arguments)
                }
            },
        }
    }

    fn lower_logical(&mut self, sign: &str, left: &IdedExpr, right: &IdedExpr) -> Typed {
        let (left, right) = (self.lower(left), self.lower(right));
        self.expect(&format!("what stands before `{sign}`"), Kind::Bool, left.kind);
        self.expect(&format!("what stands after `{sign}`"), Kind::Bool, right.kind);
        let (left, right) = (Box::new(left.node), Box::new(right.node));
        Typed::new(if sign == "&&" { Node::And(left, right) } else { Node::Or(left, right) }, Kind::Bool)
    }

    fn lower_conditional(&mut self, condition: &IdedExpr, then: &IdedExpr, otherwise: &IdedExpr) -> Typed {
        let (condition, then, otherwise) = (self.lower(condition), self.lower(then), self.lower(otherwise));
        self.expect("what stands before `?`", Kind::Bool, condition.kind);
        self.expect("what stands after `:`", then.kind, otherwise.kind);
        let kind = if then.kind == otherwise.kind { then.kind } else { Kind::Dyn };
        Typed::new(Node::Conditional(Box::new([condition.node, then.node, otherwise.node])), kind)
    }

    fn lower_index(&mut self, operand: &IdedExpr, key: &IdedExpr) -> Typed {
        let (operand, key) = (self.lower(operand), self.lower(key));
        let yields = match operand.kind {
            Kind::Dyn | Kind::Map | Kind::Optional => Kind::Dyn,
            Kind::List => {
                self.expect("the index of a list", Kind::Int, key.kind);
                Kind::Dyn
            }
            kind => return self.problem(format!("a {kind} has no members")),
        };
        Typed::new(Node::Index(Box::new(operand.node), Box::new(key.node)), yields)
    }

    fn lower_equality(&mut self, call: &CallExpr, left: &IdedExpr, right: &IdedExpr) -> Typed {
        let (left, right) = (self.lower(left), self.lower(right));
        if !left.kind.agrees(right.kind) {
            return self.problem(format!("{} and {} are never equal", left.kind, right.kind));
        }
        self.call(&call.func_name, false, vec![left, right])
    }

    fn lower_optional_map(
        &mut self,
        flat: bool,
        target: Option<&IdedExpr>,
        variable: &IdedExpr,
        body: &IdedExpr,
    ) -> Typed {
        let (Some(target), Expr::Ident(variable)) = (target, &variable.expr) else {
            return self.problem("the first argument of `optMap` and `optFlatMap` must be a simple name");
        };
        let target = self.lower(target);
        self.expect("what `optMap` and `optFlatMap` are called on", Kind::Optional, target.kind);
        let slot = self.scope.len();
        let body = self.within(variable, |lowering| lowering.lower(body));
        if flat {
            self.expect("what `optFlatMap` makes of a value", Kind::Optional, body.kind);
        }
        let (target, body) = (Box::new(target.node), Box::new(body.node));
        Typed::new(Node::OptionalMap { target, slot, body, flat }, Kind::Optional)
    }

    fn lower_or_else(&mut self, unwrap: bool, target: Option<&IdedExpr>, other: &IdedExpr) -> Typed {
        let Some(target) = target else { return Typed::broken() };
        let (target, other) = (self.lower(target), self.lower(other));
        self.expect("what `or` and `orValue` are called on", Kind::Optional, target.kind);
        if !unwrap {
            self.expect("the argument of `or`", Kind::Optional, other.kind);
        }
        let (target, other) = (Box::new(target.node), Box::new(other.node));
        Typed::new(Node::OrElse { target, other, unwrap }, if unwrap { Kind::Dyn } else { Kind::Optional })
    }

    fn lower_matches(&mut self, arguments: Vec<&IdedExpr>) -> Typed {
        let [text, pattern] = arguments.as_slice() else {
            return self.problem("`matches` takes a text and a regular expression");
        };
        let text = self.lower(text);
        self.expect("what `matches` looks at", Kind::Text, text.kind);
        let text = Box::new(text.node);
        let pattern = self.lower(pattern);
        self.expect("a regular expression", Kind::Text, pattern.kind);
        let node = match pattern.node {
            Node::Text(pattern) => match regex::compile(&pattern) {
                Ok(regex) => Node::Matches(text, regex),
                Err(error) => return self.problem(format!("`{pattern}` is no regular expression: {error}")),
            },
            pattern => Node::MatchesDynamic(text, Box::new(pattern), Patterns::new()),
        };
        Typed::new(node, Kind::Bool)
    }

    fn lower_function(&mut self, name: &str, member: bool, arguments: Vec<&IdedExpr>) -> Typed {
        let arguments = arguments.into_iter().map(|argument| self.lower(argument)).collect();
        self.call(name, member, arguments)
    }

    fn call(&mut self, name: &str, member: bool, arguments: Vec<Typed>) -> Typed {
        let Some(function) = Function::find(name, member) else {
            return self.problem(format!("unknown function `{name}`"));
        };
        let kinds: Vec<Kind> = arguments.iter().map(|argument| argument.kind).collect();
        let Some(kind) = function.result(&kinds) else {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            return self.problem(format!("`{}` does not take ({})", name.replace('_', ""), kinds.join(", ")));
        };
        let arguments: Box<[Node]> = arguments.into_iter().map(|argument| argument.node).collect();
        self.check_literals(name, &arguments);
        Typed::new(Node::Call(function, arguments), kind)
    }

    /// What is wrong with a literal argument is better said now than for each request.
    fn check_literals(&mut self, name: &str, arguments: &[Node]) {
        let problem = match (name, arguments) {
            ("format", [Node::Text(template), values]) => {
                let count = match values {
                    Node::List(elements) if elements.iter().all(|element| !element.optional) => Some(elements.len()),
                    _ => None,
                };
                format::check(template, count).err()
            }
            ("timestamp", [Node::Text(text)]) if time::Moment::parse(text).is_none() => {
                Some(format!("`{text}` is no timestamp: write it like `2026-01-31T12:00:00Z`"))
            }
            ("duration", [Node::Text(text)]) if time::Span::parse(text).is_none() => {
                Some(format!("`{text}` is no duration: write it like `1h30m`"))
            }
            (getter, [_, Node::Text(zone)]) if getter.starts_with("get") && !time::is_zone(zone) => {
                Some(format!("`{zone}` is no time zone that is known here: write `UTC` or an offset like `+02:00`"))
            }
            _ => None,
        };
        if let Some(problem) = problem {
            self.compiler.problem(problem);
        }
    }

    fn lower_list(&mut self, ListExpr { elements, optional_indices }: &ListExpr) -> Typed {
        let elements = elements.iter().enumerate();
        let elements = elements.map(|(index, element)| self.element(element, optional_indices.contains(&index)));
        Typed::new(Node::List(elements.collect()), Kind::List)
    }

    fn lower_map(&mut self, MapExpr { entries }: &MapExpr) -> Typed {
        let mut lowered = Vec::with_capacity(entries.len());
        for entry in entries {
            let EntryExpr::MapEntry(MapEntryExpr { key, value, optional }) = &entry.expr else { continue };
            lowered.push((self.lower(key).node, self.element(value, *optional)));
        }
        Typed::new(Node::Map(lowered.into()), Kind::Map)
    }

    fn element(&mut self, element: &IdedExpr, optional: bool) -> Element {
        let Typed { node, kind } = self.lower(element);
        if optional {
            self.expect("what stands after `?` in a list or a map", Kind::Optional, kind);
        }
        Element { value: node, optional }
    }

    fn lower_comprehension(&mut self, comprehension: &ComprehensionExpr) -> Typed {
        let Some(Macro { fold, range, variable, filter, body }) = unfold(comprehension) else {
            return self.problem("this macro is not supported");
        };
        let range = self.lower(range);
        if !matches!(range.kind, Kind::Dyn | Kind::List | Kind::Map) {
            return self.problem(format!("a {} has no elements to go through", range.kind));
        }
        let slot = self.scope.len();
        let (filter, body) =
            self.within(variable, |lowering| (filter.map(|filter| lowering.lower(filter)), lowering.lower(body)));
        for test in filter.iter().chain((fold != Fold::Map).then_some(&body)) {
            self.expect("what a macro asks of an element", Kind::Bool, test.kind);
        }
        let filter = filter.map(|filter| filter.node);
        let node = Node::Loop(Box::new(Loop { fold, range: range.node, slot, filter, body: body.node }));
        Typed::new(node, if fold == Fold::Map { Kind::List } else { Kind::Bool })
    }

    fn within<T>(&mut self, variable: &str, lower: impl FnOnce(&mut Self) -> T) -> T {
        self.scope.push(variable.to_owned());
        let lowered = lower(self);
        self.scope.pop();
        lowered
    }
}

fn lower_literal(literal: &LiteralValue) -> Typed {
    let value = match literal {
        LiteralValue::String(text) => return Typed::new(Node::Text(Rc::from(text.inner())), Kind::Text),
        LiteralValue::Null => Val::Null,
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Int(value) => Val::Int(*value.inner()),
        LiteralValue::UInt(value) => Val::UInt(*value.inner()),
        LiteralValue::Double(value) => Val::Double(*value.inner()),
        LiteralValue::Bytes(bytes) => Val::Bytes(bytes.inner().into()),
    };
    let kind = value.kind();
    Typed::new(Node::Const(value), kind)
}

/// The type that a qualified name names.
fn named_kind(operand: &IdedExpr, field: &str) -> Option<Kind> {
    let Expr::Select(SelectExpr { operand, field: package, test: false }) = &operand.expr else { return None };
    let google = matches!(&operand.expr, Expr::Ident(name) if name == "google");
    match field {
        "Timestamp" if google && package == "protobuf" => Some(Kind::Moment),
        "Duration" if google && package == "protobuf" => Some(Kind::Span),
        _ => None,
    }
}

/// The full name of a function in a namespace.
fn qualified(target: Option<&IdedExpr>, name: &str) -> Option<String> {
    match target.map(|target| &target.expr) {
        Some(Expr::Ident(space)) if matches!(space.as_str(), "optional" | "strings") => Some(format!("{space}.{name}")),
        _ => None,
    }
}
