//! Lists and maps: of the request, or made by the expression.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::rc::Rc;

use serde_json::{Map as JsonMap, Value as Json};

use super::fault::{Budget, Fault};
use super::number::whole;
use super::value::{Text, Val};
use crate::view::View;

#[derive(Debug, Clone)]
pub enum List<'a> {
    Json(&'a [Json]),
    Shared(Rc<[Val<'a>]>),
}

#[derive(Debug, Clone)]
pub enum Map<'a> {
    Json(&'a JsonMap<String, Json>),
    /// `request.headers`: looked up one by one, since few expressions ask for more than one or two.
    Headers(&'a View),
    /// Literals, and objects made for this request: so small that a search from the start is fast.
    Shared(Rc<[(Val<'a>, Val<'a>)]>),
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(elements) => elements.len(),
            Self::Shared(elements) => elements.len(),
        }
    }

    pub fn get(&self, index: usize) -> Option<Val<'a>> {
        match self {
            Self::Json(elements) => elements.get(index).map(Val::from),
            Self::Shared(elements) => elements.get(index).cloned(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Val<'a>> + use<'a> {
        let list = self.clone();
        (0..list.len()).map_while(move |index| list.get(index))
    }

    pub fn at(&self, key: &Val<'a>) -> Result<Val<'a>, Fault> {
        let index = match key {
            Val::Int(_) | Val::UInt(_) | Val::Double(_) => {
                whole(key).ok_or_else(|| Fault::new(format!("unsupported index value {} in list", key.plain())))?
            }
            other => return Err(Fault::index_kind(other.kind())),
        };
        let found = usize::try_from(index).ok().and_then(|index| self.get(index));
        found.ok_or(Fault::OutOfBounds(index))
    }

    pub fn contains(&self, value: &Val<'a>, budget: &mut Budget) -> Result<bool, Fault> {
        for element in self.iter() {
            if element.equals(value, budget)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, Fault> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for (left, right) in self.iter().zip(other.iter()) {
            if !left.equals(&right, budget)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl<'a> Map<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(members) => members.len(),
            Self::Headers(view) => header_names(view).len(),
            Self::Shared(entries) => entries.len(),
        }
    }

    /// The value of a text key.
    pub fn named(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Self::Json(members) => members.get(name).map(Val::from),
            Self::Headers(view) => view.request.headers.text(name).map(|value| match value {
                Cow::Borrowed(value) => Val::Text(Text::Borrowed(value)),
                Cow::Owned(value) => Val::text(value),
            }),
            Self::Shared(entries) => {
                let is = |key: &Val<'_>| matches!(key, Val::Text(key) if key.deref() == name);
                entries.iter().find(|(key, _)| is(key)).map(|(_, value)| value.clone())
            }
        }
    }

    /// The value of any key.
    pub fn get(&self, key: &Val<'a>, budget: &mut Budget) -> Result<Option<Val<'a>>, Fault> {
        if let Val::Text(name) = key {
            return Ok(self.named(name));
        }
        let Self::Shared(entries) = self else { return Ok(None) };
        for (known, value) in entries.iter() {
            if known.equals(key, budget)? {
                return Ok(Some(value.clone()));
            }
        }
        Ok(None)
    }

    pub fn keys(&self) -> Vec<Val<'a>> {
        match self {
            Self::Json(members) => members.keys().map(|name| Val::Text(Text::Borrowed(name))).collect(),
            Self::Headers(view) => header_names(view).iter().map(|name| Val::text(name.as_ref())).collect(),
            Self::Shared(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
        }
    }

    pub fn entries(&self) -> Vec<(Val<'a>, Val<'a>)> {
        match self {
            Self::Json(members) => {
                members.iter().map(|(name, value)| (Val::Text(Text::Borrowed(name)), Val::from(value))).collect()
            }
            Self::Headers(view) => {
                let entry = |name: &Cow<'_, str>| Some((Val::text(name.as_ref()), self.named(name)?));
                header_names(view).iter().filter_map(entry).collect()
            }
            Self::Shared(entries) => entries.to_vec(),
        }
    }

    pub fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, Fault> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for (key, left) in self.entries() {
            match other.get(&key, budget)? {
                Some(right) if left.equals(&right, budget)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn header_names(view: &View) -> BTreeSet<Cow<'_, str>> {
    view.request.headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect()
}
