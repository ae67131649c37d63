//! Compiled paths, and how they are followed.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::glob::Glob;
use super::modifier::Modifier;
use super::query::Query;
use crate::view::{Place, View};

/// What was found, if anything. Null is something.
pub type Found<'a> = Option<Cow<'a, Value>>;

/// A path: segments, each applied to what the one before it found.
#[derive(Debug, Default)]
pub struct Path(pub Vec<Segment>);

/// Part of a path between pipes.
#[derive(Debug)]
pub enum Segment {
    /// Members and items, from a place in the Authorization JSON; only at the start of a path.
    Place(Place, Vec<Part>),
    /// Where nothing can ever be.
    Nowhere,
    /// Members and items of the value at hand.
    Parts(Vec<Part>),
    /// A change of the value at hand.
    Modifier(Modifier),
    /// A value of its own.
    Literal(Value),
    /// An object of several paths, without those that find nothing.
    Object(Vec<(String, Path)>),
    /// A list of several paths, without those that find nothing.
    List(Vec<Path>),
}

/// Part of a path between dots.
#[derive(Debug)]
pub enum Part {
    /// A member of this name, or the item of this number.
    Key(String, Option<usize>),
    /// The first member whose name matches, and in which the rest of the path is found.
    Glob(Glob),
    /// `#`: the number of items.
    Count,
    /// `#.path`: what the path finds in each item.
    Collect(Path),
    /// `#(condition)`: items that meet a condition.
    Query(Box<Query>),
}

/// What a path starts from.
#[derive(Debug)]
pub enum Input<'a> {
    /// The Authorization JSON.
    View(&'a View),
    /// A value.
    Value(Found<'a>),
}

impl<'a> Input<'a> {
    /// The same, borrowed.
    fn share(&self) -> Input<'_> {
        match self {
            Self::View(view) => Input::View(view),
            Self::Value(value) => Input::Value(value.as_deref().map(Cow::Borrowed)),
        }
    }

    fn into_value(self) -> Found<'a> {
        match self {
            Self::View(view) => Place::ROOT.read(view),
            Self::Value(value) => value,
        }
    }
}

impl Path {
    /// Follows the path. A segment that does not reach its last part hands nothing on: what comes after it is not done.
    pub fn evaluate<'a>(&'a self, mut input: Input<'a>) -> Found<'a> {
        for segment in &self.0 {
            let (found, reached) = segment.evaluate(input);
            if !reached {
                return found;
            }
            input = Input::Value(found);
        }
        input.into_value()
    }

    /// Whether the last thing done is `@pretty`.
    pub fn ends_pretty(&self) -> bool {
        matches!(self.0.last(), Some(Segment::Modifier(Modifier::Pretty)))
    }
}

impl Segment {
    fn evaluate<'a>(&'a self, input: Input<'a>) -> (Found<'a>, bool) {
        match self {
            Self::Place(place, parts) => {
                let Input::View(view) = input else { return (None, false) };
                follow_found(parts, place.read(view))
            }
            Self::Nowhere => (None, false),
            Self::Parts(parts) => match input.into_value() {
                None => (None, false),
                found => follow_found(parts, found),
            },
            Self::Modifier(modifier) => (modifier.apply(input.into_value()), true),
            Self::Literal(value) => (Some(Cow::Borrowed(value)), true),
            Self::Object(members) => {
                let mut object = Map::new();
                for (name, path) in members {
                    if let Some(value) = path.evaluate(input.share()) {
                        object.entry(name).or_insert_with(|| value.into_owned());
                    }
                }
                (Some(Cow::Owned(Value::Object(object))), true)
            }
            Self::List(items) => {
                let items = items.iter().filter_map(|path| path.evaluate(input.share()).map(Cow::into_owned));
                (Some(Cow::Owned(Value::Array(items.collect()))), true)
            }
        }
    }
}

fn follow_found<'a>(parts: &'a [Part], found: Found<'a>) -> (Found<'a>, bool) {
    match found {
        Some(Cow::Borrowed(value)) => follow(parts, value),
        Some(Cow::Owned(value)) if parts.is_empty() => (Some(Cow::Owned(value)), true),
        Some(Cow::Owned(value)) => {
            let (found, reached) = follow(parts, &value);
            (found.map(|found| Cow::Owned(found.into_owned())), reached)
        }
        None => (None, parts.is_empty()),
    }
}

/// Follows the parts, and says whether the last of them was looked for at all.
fn follow<'a>(parts: &'a [Part], mut value: &'a Value) -> (Found<'a>, bool) {
    let mut parts = parts;
    while let Some((part, rest)) = parts.split_first() {
        let next = match (part, value) {
            (Part::Key(name, _), Value::Object(members)) => members.get(name),
            (Part::Key(_, index), Value::Array(items)) => index.and_then(|index| items.get(index)),
            (Part::Glob(glob), Value::Object(members)) => return follow_glob(glob, rest, members),
            (Part::Count, Value::Array(items)) => return (Some(Cow::Owned(Value::from(items.len()))), true),
            (Part::Collect(path), Value::Array(items)) => {
                let found = items.iter().filter_map(|item| path.evaluate(Input::Value(Some(Cow::Borrowed(item)))));
                return (Some(Cow::Owned(found.map(Cow::into_owned).collect())), true);
            }
            (Part::Query(query), Value::Array(items)) => return query.evaluate(items),
            (Part::Collect(_), _) | (_, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                return (None, false);
            }
            (_, Value::Object(_) | Value::Array(_)) => None,
        };
        match next {
            Some(next) => value = next,
            None => return (None, rest.is_empty()),
        }
        parts = rest;
    }
    (Some(Cow::Borrowed(value)), true)
}

fn follow_glob<'a>(glob: &Glob, rest: &'a [Part], members: &'a Map<String, Value>) -> (Found<'a>, bool) {
    let mut reached = rest.is_empty();
    for (_, value) in members.iter().filter(|(name, _)| glob.matches(name)) {
        let (found, reached_there) = follow(rest, value);
        if found.is_some() {
            return (found, true);
        }
        reached |= reached_there;
    }
    (None, reached)
}
