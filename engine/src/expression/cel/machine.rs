//! Evaluation.

use super::collection::List;
use super::fault::{Budget, Fault};
use super::node::{Element, Fold, Loop, Node};
use super::regex;
use super::value::{Text, Val};
use crate::view::View;

type Result<'a> = std::result::Result<Val<'a>, Fault>;

/// One evaluation of one expression.
pub struct Machine<'a> {
    view: &'a View,
    /// Variables of the macros that are running, outermost first.
    slots: Vec<Val<'a>>,
    pub budget: Budget,
}

impl<'a> Machine<'a> {
    pub const fn new(view: &'a View) -> Self {
        Self { view, slots: Vec::new(), budget: Budget::new() }
    }

    /// The value of an expression. Its depth is bounded when it is compiled, and so is the recursion here.
    pub fn eval(&mut self, node: &'a Node) -> Result<'a> {
        self.budget.spend(1)?;
        match node {
            Node::Const(value) => Ok(value.clone()),
            Node::Text(text) => Ok(Val::Text(Text::Borrowed(text))),
            Node::Path(path) => Ok(path.read(self.view, &mut self.budget)?),
            Node::Has(path) => path.exists(self.view, &mut self.budget).map(Val::Bool),
            Node::Slot(slot) => self.slots.get(*slot).cloned().ok_or_else(Fault::no_overload),
            Node::Select(target, name) => self.select(target, name),
            Node::HasMember(target, name) => self.has_member(target, name),
            Node::Index(target, key) => self.index(target, key),
            Node::OptionalIndex(target, key) => self.optional_index(target, key),
            Node::And(left, right) => self.logical(left, right, false),
            Node::Or(left, right) => self.logical(left, right, true),
            Node::Conditional(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let chosen = if self.boolean(condition)? { then } else { otherwise };
                self.eval(chosen)
            }
            Node::Call(function, arguments) => self.call(function, arguments),
            Node::Matches(text, regex) => match self.eval(text)? {
                Val::Text(text) => regex::search(regex, &text, &mut self.budget).map(Val::Bool),
                _ => Err(Fault::new("no such overload: matches")),
            },
            Node::MatchesDynamic(text, pattern, patterns) => match (self.eval(text)?, self.eval(pattern)?) {
                (Val::Text(text), Val::Text(pattern)) => {
                    patterns.is_match(&pattern, &text, &mut self.budget).map(Val::Bool)
                }
                _ => Err(Fault::new("no such overload: matches")),
            },
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Loop(looping) => self.run(looping),
            Node::OptionalMap { target, slot, body, flat } => self.optional_map(target, *slot, body, *flat),
            Node::OrElse { target, other, unwrap } => match (self.eval(target)?, unwrap) {
                (Val::Optional(None), _) => self.eval(other),
                (Val::Optional(Some(value)), true) => Ok(Val::clone(&value)),
                (value, _) => Ok(value),
            },
        }
    }

    /// The value of something that must be a boolean.
    pub fn boolean(&mut self, node: &'a Node) -> std::result::Result<bool, Fault> {
        match self.eval(node)? {
            Val::Bool(value) => Ok(value),
            _ => Err(Fault::no_overload()),
        }
    }

    fn call(&mut self, function: &super::functions::Function, arguments: &'a [Node]) -> Result<'a> {
        match arguments {
            [] => function.call(&mut self.budget, &[]),
            [only] => {
                let only = self.eval(only)?;
                function.call(&mut self.budget, &[only])
            }
            [left, right] => {
                let arguments = [self.eval(left)?, self.eval(right)?];
                function.call(&mut self.budget, &arguments)
            }
            more => {
                let arguments: Vec<_> =
                    more.iter().map(|node| self.eval(node)).collect::<std::result::Result<_, _>>()?;
                function.call(&mut self.budget, &arguments)
            }
        }
    }

    /// `||` and `&&`: the deciding value on one side outweighs an error on the other.
    fn logical(&mut self, left: &'a Node, right: &'a Node, deciding: bool) -> Result<'a> {
        let left = self.boolean(left);
        if left == Ok(deciding) || left == Err(Fault::Spent) {
            return left.map(Val::Bool);
        }
        let right = self.boolean(right);
        if right == Ok(deciding) || right == Err(Fault::Spent) {
            return right.map(Val::Bool);
        }
        left.and(right).map(Val::Bool)
    }

    fn select(&mut self, target: &'a Node, name: &str) -> Result<'a> {
        match self.eval(target)? {
            Val::Optional(None) => Ok(Val::Optional(None)),
            Val::Optional(Some(target)) => optional(target.member(name)),
            target => target.member(name),
        }
    }

    fn has_member(&mut self, target: &'a Node, name: &str) -> Result<'a> {
        let member = match self.eval(target)? {
            Val::Optional(None) => return Ok(Val::Bool(false)),
            Val::Optional(Some(target)) => target.member(name),
            target => target.member(name),
        };
        match member {
            Ok(_) => Ok(Val::Bool(true)),
            Err(fault) if fault.is_absence() => Ok(Val::Bool(false)),
            Err(fault) => Err(fault),
        }
    }

    fn index(&mut self, target: &'a Node, key: &'a Node) -> Result<'a> {
        match self.eval(target)? {
            Val::Optional(None) => Ok(Val::Optional(None)),
            Val::Optional(Some(target)) => optional(self.at(&target, key)?),
            target => self.at(&target, key)?,
        }
    }

    fn optional_index(&mut self, target: &'a Node, key: &'a Node) -> Result<'a> {
        match self.eval(target)? {
            Val::Optional(None) => Ok(Val::Optional(None)),
            Val::Optional(Some(target)) => optional(self.at(&target, key)?),
            target => optional(self.at(&target, key)?),
        }
    }

    /// What is there, once it is known where that is.
    fn at(&mut self, target: &Val<'a>, key: &'a Node) -> std::result::Result<Result<'a>, Fault> {
        let is_written = matches!(key, Node::Const(_) | Node::Text(_));
        let key = self.eval(key)?;
        Ok(target.index(&key, &mut self.budget).map_err(|fault| fault.without_value(is_written)))
    }

    /// The value of an element of a literal; `None` if it is to be left out.
    fn element(&mut self, element: &'a Element) -> std::result::Result<Option<Val<'a>>, Fault> {
        match (self.eval(&element.value)?, element.optional) {
            (value, false) => Ok(Some(value)),
            (Val::Optional(value), true) => Ok(value.as_deref().cloned()),
            (_, true) => Err(Fault::no_overload()),
        }
    }

    fn list(&mut self, elements: &'a [Element]) -> Result<'a> {
        let mut list = Vec::with_capacity(elements.len());
        for element in elements {
            list.extend(self.element(element)?);
        }
        Ok(Val::list(list))
    }

    fn map(&mut self, entries: &'a [(Node, Element)]) -> Result<'a> {
        let mut map: Vec<(Val<'a>, Val<'a>)> = Vec::with_capacity(entries.len());
        for (key, element) in entries {
            let key = self.eval(key)?;
            let Some(value) = self.element(element)? else { continue };
            let mut known = None;
            for (at, (other, _)) in map.iter().enumerate() {
                if other.equals(&key, &mut self.budget)? {
                    known = Some(at);
                }
            }
            // The last one counts, as in cel-go.
            match known.and_then(|at| map.get_mut(at)) {
                Some(entry) => entry.1 = value,
                None => map.push((key, value)),
            }
        }
        Ok(Val::map(map))
    }

    fn run(&mut self, looping: &'a Loop) -> Result<'a> {
        let range = match self.eval(&looping.range)? {
            Val::List(list) => list,
            Val::Map(map) => List::Shared(map.keys().into()),
            other => return Err(Fault::new(format!("got '{}', expected iterable type", other.kind()))),
        };
        self.slots.truncate(looping.slot);
        match looping.fold {
            Fold::All => self.decide(&range, looping, false),
            Fold::Exists => self.decide(&range, looping, true),
            Fold::ExistsOne => {
                let mut found = 0_usize;
                for element in range.iter() {
                    found = found.saturating_add(usize::from(
                        self.with(looping.slot, element, |machine| machine.boolean(&looping.body))?,
                    ));
                }
                Ok(Val::Bool(found == 1))
            }
            Fold::Map => {
                let mut mapped = Vec::new();
                for element in range.iter() {
                    let value = self.with(looping.slot, element, |machine| match &looping.filter {
                        Some(filter) if !machine.boolean(filter)? => Ok(None),
                        _ => machine.eval(&looping.body).map(Some),
                    })?;
                    mapped.extend(value);
                }
                Ok(Val::list(mapped))
            }
        }
    }

    /// `all` and `exists`: the first deciding element outweighs errors of others.
    fn decide(&mut self, range: &List<'a>, looping: &'a Loop, deciding: bool) -> Result<'a> {
        let mut result = Ok(!deciding);
        for element in range.iter() {
            let held = self.with(looping.slot, element, |machine| machine.boolean(&looping.body));
            if held == Ok(deciding) || held == Err(Fault::Spent) {
                return held.map(Val::Bool);
            }
            result = result.and(held);
        }
        result.map(Val::Bool)
    }

    fn optional_map(&mut self, target: &'a Node, slot: usize, body: &'a Node, flat: bool) -> Result<'a> {
        match self.eval(target)? {
            Val::Optional(None) => Ok(Val::Optional(None)),
            Val::Optional(Some(value)) => {
                let value = self.with(slot, Val::clone(&value), |machine| machine.eval(body))?;
                match (flat, value) {
                    (false, value) => Ok(Val::some(value)),
                    (true, value @ Val::Optional(_)) => Ok(value),
                    (true, _) => Err(Fault::no_overload()),
                }
            }
            _ => Err(Fault::no_overload()),
        }
    }

    /// Evaluates with a variable, which is gone afterwards.
    fn with<T>(&mut self, slot: usize, value: Val<'a>, evaluate: impl FnOnce(&mut Self) -> T) -> T {
        self.slots.truncate(slot);
        self.slots.push(value);
        let result = evaluate(self);
        self.slots.truncate(slot);
        result
    }
}

/// What is there, as an optional.
fn optional(found: Result<'_>) -> Result<'_> {
    match found {
        Ok(value) => Ok(Val::some(value)),
        Err(fault) if fault.is_absence() => Ok(Val::Optional(None)),
        Err(fault) => Err(fault),
    }
}
