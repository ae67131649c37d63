//! A compiled expression.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::Value;

use super::collection::Map;
use super::fault::{Budget, Fault};
use super::functions::Function;
use super::regex::Patterns;
use super::value::Val;
use crate::expression::regex::Regex;
use crate::view::{Place, View};

/// A part of a compiled expression.
#[derive(Debug)]
pub enum Node {
    /// A literal.
    Const(Val<'static>),
    /// A text literal.
    Text(Rc<str>),
    /// Something in the Authorization JSON.
    Path(Path),
    /// Whether it is there.
    Has(Path),
    /// A variable of a macro.
    Slot(usize),
    /// `x.name`.
    Select(Box<Self>, Rc<str>),
    /// `has(x.name)`.
    HasMember(Box<Self>, Rc<str>),
    /// `x[key]`.
    Index(Box<Self>, Box<Self>),
    /// `x.?name` and `x[?key]`.
    OptionalIndex(Box<Self>, Box<Self>),
    /// `x && y`.
    And(Box<Self>, Box<Self>),
    /// `x || y`.
    Or(Box<Self>, Box<Self>),
    /// `x ? y : z`.
    Conditional(Box<[Self; 3]>),
    /// Operators and functions that look at all of their arguments.
    Call(&'static Function, Box<[Self]>),
    /// `x.matches('…')`.
    Matches(Box<Self>, Regex),
    /// `x.matches(y)`.
    MatchesDynamic(Box<Self>, Box<Self>, Patterns),
    /// `[x, ?y]`.
    List(Box<[Element]>),
    /// `{x: y, ?z: w}`.
    Map(Box<[(Self, Element)]>),
    /// `x.all(v, y)` and its kin.
    Loop(Box<Loop>),
    /// `x.optMap(v, y)`, or `x.optFlatMap(v, y)` if flat.
    OptionalMap {
        /// `x`.
        target: Box<Self>,
        /// Where `v` is kept.
        slot: usize,
        /// `y`.
        body: Box<Self>,
        /// Whether `y` is an optional itself.
        flat: bool,
    },
    /// `x.or(y)`, or `x.orValue(y)` if it unwraps.
    OrElse {
        /// `x`.
        target: Box<Self>,
        /// `y`.
        other: Box<Self>,
        /// Whether it yields the value in the optional.
        unwrap: bool,
    },
}

/// An element of a literal.
#[derive(Debug)]
pub struct Element {
    /// Its value.
    pub value: Node,
    /// Whether it is an optional, and left out if it has no value.
    pub optional: bool,
}

/// A macro over the elements of a list or the keys of a map.
#[derive(Debug)]
pub struct Loop {
    /// What it makes of them.
    pub fold: Fold,
    /// The list or map.
    pub range: Node,
    /// Where the element is kept.
    pub slot: usize,
    /// Which elements count; all without it.
    pub filter: Option<Node>,
    /// What is asked of each.
    pub body: Node,
}

/// What a loop makes of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    All,
    Exists,
    ExistsOne,
    Map,
}

/// A place in the Authorization JSON.
#[derive(Debug)]
pub struct Path {
    names: Vec<String>,
    /// What is known of it beforehand, and how many names lead there. `None`: nothing is ever there.
    place: Option<(Place, usize)>,
}

/// Why there is nothing at a path: the name that could not be followed, and the error.
pub struct Missing {
    at: usize,
    fault: Fault,
}

impl Path {
    pub fn new(names: Vec<String>) -> Self {
        let place = Place::find(&names).map(|(place, rest)| (place, names.len().saturating_sub(rest.len())));
        Self { names, place }
    }

    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref().map(|(place, _)| place)
    }

    pub fn read<'a>(&'a self, view: &'a View, budget: &mut Budget) -> Result<Val<'a>, Missing> {
        let Some((place, known)) = &self.place else { return Err(self.absent(self.names.len(), view, budget)) };
        let mut value = if place.is_headers() {
            Val::Map(Map::Headers(view))
        } else {
            match place.read(view) {
                Some(Cow::Borrowed(value)) => Val::from(value),
                Some(Cow::Owned(value)) => {
                    budget.spend(weight(&value)).map_err(|fault| Missing { at: 0, fault })?;
                    Val::from(value)
                }
                // A variable is never absent.
                None if self.names.len() == 1 => Val::map([]),
                None => return Err(self.absent(*known, view, budget)),
            }
        };
        for (at, name) in self.names.iter().enumerate().skip(*known) {
            value = value.member(name).map_err(|fault| Missing { at, fault })?;
        }
        Ok(value)
    }

    /// Whether it is there; an error if what should hold it is not.
    pub fn exists(&self, view: &View, budget: &mut Budget) -> Result<bool, Fault> {
        match self.read(view, budget) {
            Ok(_) => Ok(true),
            Err(Missing { at, fault }) if fault.is_absence() && at.saturating_add(1) == self.names.len() => Ok(false),
            Err(missing) => Err(missing.fault),
        }
    }

    /// Which of the first names leads nowhere.
    fn absent(&self, known: usize, view: &View, budget: &mut Budget) -> Missing {
        /// For what is read to find out.
        const STEPS: usize = 16;
        if let Err(fault) = budget.spend(STEPS) {
            return Missing { at: 0, fault };
        }
        let leads_nowhere = |length: &usize| {
            let names = self.names.get(..*length).unwrap_or_default();
            Place::find(names).is_none_or(|(place, _)| !place.is_headers()) && view.get(names).is_none()
        };
        let length = (2..known).find(leads_nowhere).unwrap_or(known);
        let at = length.saturating_sub(1);
        let name = self.names.get(at).map(String::as_str).unwrap_or_default();
        Missing { at, fault: Fault::no_such_key(name) }
    }
}

/// What it took to make a value for this read.
fn weight(value: &Value) -> usize {
    let parts = match value {
        Value::String(text) => text.len() / 64,
        Value::Array(elements) => elements.iter().map(weight).fold(0, usize::saturating_add),
        Value::Object(members) => members.values().map(weight).fold(0, usize::saturating_add),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    parts.saturating_add(1)
}

impl From<Missing> for Fault {
    fn from(missing: Missing) -> Self {
        missing.fault
    }
}
