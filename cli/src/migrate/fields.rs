//! The members of an object, taken one by one, so that what nobody takes is told.

use serde_json::{Map, Value};

use super::note;
use crate::documents::label;
use crate::report::Finding;
use crate::yaml::Node;

/// A document that is converted, and what is to be said of it.
pub struct Context<'a> {
    pub document: &'a Node,
    pub notes: &'a mut Vec<Finding>,
}

impl Context<'_> {
    /// Says what a person must look at.
    pub fn note(&mut self, path: &str, message: impl Into<String>) {
        let mark = self.document.locate(path).clone();
        self.notes.push(note(&mark, label(self.document), path.to_owned(), message.into()));
    }
}

/// What is left of an object.
pub struct Fields {
    pub path: String,
    members: Map<String, Value>,
}

impl Fields {
    /// Of a value; of one that is no object there are none, which is told.
    pub fn of(value: Value, path: String, cx: &mut Context<'_>) -> Self {
        match value {
            Value::Object(members) => Self { path, members },
            Value::Null => Self { path, members: Map::new() },
            _ => {
                cx.note(&path, "is no object: left out");
                Self { path, members: Map::new() }
            }
        }
    }

    /// A member, and where it stood.
    pub fn take(&mut self, name: &str) -> Option<(Value, String)> {
        let value = self.members.remove(name)?;
        (!value.is_null()).then(|| (value, format!("{}.{name}", self.path)))
    }

    /// A member that is an object.
    pub fn object(&mut self, name: &str, cx: &mut Context<'_>) -> Option<Self> {
        let (value, path) = self.take(name)?;
        Some(Self::of(value, path, cx))
    }

    /// A member that is a list of objects.
    pub fn list(&mut self, name: &str, cx: &mut Context<'_>) -> Vec<Self> {
        let Some((value, path)) = self.take(name) else { return Vec::new() };
        let Value::Array(items) = value else {
            cx.note(&path, "is no list: left out");
            return Vec::new();
        };
        let items = items.into_iter().enumerate();
        items.map(|(index, item)| Self::of(item, format!("{path}[{index}]"), cx)).collect()
    }

    /// The text of a member.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            Some((Value::String(text), _)) => Some(text),
            _ => None,
        }
    }

    /// Moves a member to an object, under another name.
    pub fn move_to(&mut self, name: &str, to: &mut Map<String, Value>, as_name: &str) {
        if let Some((value, _)) = self.take(name) {
            to.insert(as_name.to_owned(), value);
        }
    }

    /// Moves members to an object as they are.
    pub fn keep(&mut self, names: &[&str], to: &mut Map<String, Value>) {
        names.iter().for_each(|name| self.move_to(name, to, name));
    }

    /// What nobody took is no field.
    pub fn end(self, cx: &mut Context<'_>) {
        for name in self.members.keys() {
            cx.note(&format!("{}.{name}", self.path), "is no field of v1beta1 that has a counterpart: left out");
        }
    }
}
