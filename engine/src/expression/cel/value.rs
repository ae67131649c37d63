//! Values while an expression runs, borrowed from the request where they can be.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Number, Value as Json};

use super::collection::{List, Map};
use super::fault::{Budget, Fault};
use super::kind::Kind;
use super::number;
use super::time::{Moment, Span};

/// A value. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Rc<[u8]>),
    List(List<'a>),
    Map(Map<'a>),
    Moment(Moment),
    Span(Span),
    Type(Kind),
    Optional(Option<Rc<Val<'a>>>),
}

#[derive(Debug, Clone)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<'a> From<&'a Json> for Val<'a> {
    fn from(value: &'a Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::from(number),
            Json::String(text) => Self::Text(Text::Borrowed(text)),
            Json::Array(elements) => Self::List(List::Json(elements)),
            Json::Object(members) => Self::Map(Map::Json(members)),
        }
    }
}

impl From<Json> for Val<'_> {
    fn from(value: Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => Self::from(&number),
            Json::String(text) => Self::text(text),
            Json::Array(elements) => Self::list(elements.into_iter().map(Self::from)),
            Json::Object(members) => {
                Self::map(members.into_iter().map(|(name, value)| (Self::text(name), Self::from(value))))
            }
        }
    }
}

impl From<&Number> for Val<'_> {
    /// All numbers from outside are doubles, as in `google.protobuf.Struct`.
    fn from(number: &Number) -> Self {
        Self::Double(number.as_f64().unwrap_or(f64::NAN))
    }
}

impl<'a> From<Cow<'a, Json>> for Val<'a> {
    fn from(value: Cow<'a, Json>) -> Self {
        match value {
            Cow::Borrowed(value) => Self::from(value),
            Cow::Owned(value) => Self::from(value),
        }
    }
}

impl<'a> Val<'a> {
    pub fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Shared(text.into()))
    }

    pub fn list(elements: impl IntoIterator<Item = Self>) -> Self {
        Self::List(List::Shared(elements.into_iter().collect()))
    }

    pub fn map(entries: impl IntoIterator<Item = (Self, Self)>) -> Self {
        Self::Map(Map::Shared(entries.into_iter().collect()))
    }

    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Rc::new(value)))
    }

    pub const fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::UInt(_) => Kind::UInt,
            Self::Double(_) => Kind::Double,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
            Self::List(_) => Kind::List,
            Self::Map(_) => Kind::Map,
            Self::Moment(_) => Kind::Moment,
            Self::Span(_) => Kind::Span,
            Self::Type(_) => Kind::Type,
            Self::Optional(_) => Kind::Optional,
        }
    }

    /// How much there is to look at in it, at the first level.
    pub fn extent(&self) -> usize {
        match self {
            Self::Text(text) => text.len() / 16,
            Self::Bytes(bytes) => bytes.len() / 16,
            Self::List(list) => list.len(),
            Self::Map(Map::Shared(entries)) => entries.len(),
            Self::Map(Map::Headers(view)) => view.request.headers.iter().count(),
            _ => 0,
        }
    }

    /// Whether it is what its type has for nothing.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::UInt(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::List(list) => list.len() == 0,
            Self::Map(map) => map.len() == 0,
            Self::Moment(_) | Self::Type(_) => false,
            Self::Span(span) => span.nanos() == 0,
            Self::Optional(value) => value.is_none(),
        }
    }

    /// `self.name` and `self['name']`.
    pub fn member(&self, name: &str) -> Result<Self, Fault> {
        match self {
            Self::Map(map) => map.named(name).ok_or_else(|| Fault::no_such_key(name)),
            Self::List(_) => Err(Fault::index_kind(Kind::Text)),
            _ => Err(Fault::no_such_key(name)),
        }
    }

    /// `self[key]`.
    pub fn index(&self, key: &Self, budget: &mut Budget) -> Result<Self, Fault> {
        if let Self::Text(name) = key {
            let found = self.member(name)?;
            budget.spend(if let Self::Text(text) = &found { text.len() / 64 } else { 0 })?;
            return Ok(found);
        }
        if !matches!(key, Self::Bool(_) | Self::Int(_) | Self::UInt(_) | Self::Double(_)) {
            return Err(Fault::new(format!("unsupported index type '{}'", key.kind())));
        }
        match self {
            Self::List(list) => list.at(key),
            Self::Map(map) => map.get(key, budget)?.ok_or_else(|| Fault::no_such_key(&key.plain())),
            _ => Err(Fault::no_such_key(&key.plain())),
        }
    }

    /// Whether the two are the same; numbers of different types are compared by value.
    pub fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, Fault> {
        budget.spend(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Text(left), Self::Text(right)) => left.deref() == right.deref(),
            (Self::Bytes(left), Self::Bytes(right)) => left == right,
            (Self::Moment(left), Self::Moment(right)) => left == right,
            (Self::Span(left), Self::Span(right)) => left == right,
            (Self::Type(left), Self::Type(right)) => left == right,
            (Self::List(left), Self::List(right)) => left.equals(right, budget)?,
            (Self::Map(left), Self::Map(right)) => left.equals(right, budget)?,
            (Self::Optional(left), Self::Optional(right)) => match (left, right) {
                (Some(left), Some(right)) => left.equals(right, budget)?,
                (left, right) => left.is_none() && right.is_none(),
            },
            (left, right) => number::compare(left, right) == Some(Ordering::Equal),
        })
    }

    /// `<` and its kin.
    pub fn compare(&self, other: &Self) -> Result<Ordering, Fault> {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Ok(left.cmp(right)),
            (Self::Text(left), Self::Text(right)) => Ok(left.deref().cmp(right)),
            (Self::Bytes(left), Self::Bytes(right)) => Ok(left.cmp(right)),
            (Self::Moment(left), Self::Moment(right)) => Ok(left.cmp(right)),
            (Self::Span(left), Self::Span(right)) => Ok(left.cmp(right)),
            (Self::Double(value), other) | (other, Self::Double(value))
                if value.is_nan() && number::is_number(other) =>
            {
                Err(Fault::new("NaN values cannot be ordered"))
            }
            (left, right) => number::compare(left, right).ok_or_else(Fault::no_overload),
        }
    }

    /// As JSON, by the rules of `google.protobuf.Value`.
    pub fn into_json(self, budget: &mut Budget) -> Result<Json, Fault> {
        budget.spend(self.extent().saturating_add(1))?;
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Int(value) => number::integer(value.unsigned_abs(), value),
            Self::UInt(value) => number::integer(value, value),
            Self::Double(value) => number::double(value)?,
            Self::Text(text) => Json::String(text.to_string()),
            Self::Bytes(bytes) => Json::String(BASE64.encode(bytes)),
            Self::Moment(moment) => Json::String(moment.to_string()),
            Self::Span(span) => Json::String(span.to_string()),
            Self::List(List::Json(elements)) => {
                elements.iter().map(|element| Self::from(element).into_json(budget)).collect::<Result<_, _>>()?
            }
            Self::List(List::Shared(elements)) => {
                elements.iter().map(|element| element.clone().into_json(budget)).collect::<Result<_, _>>()?
            }
            Self::Map(map) => {
                budget.spend(map.len())?;
                let entries = map.entries().into_iter().map(|(key, value)| match key {
                    Self::Text(name) => Ok((name.to_string(), value.into_json(budget)?)),
                    key => Err(Fault::new(format!("a map key in JSON must be a string, not {}", key.kind()))),
                });
                Json::Object(entries.collect::<Result<_, _>>()?)
            }
            Self::Type(_) => return Err(Fault::new("a type is no JSON value")),
            Self::Optional(None) => return Err(Fault::new("optional.none() dereference")),
            Self::Optional(Some(value)) => Self::clone(&value).into_json(budget)?,
        })
    }

    /// A scalar as messages show it.
    pub fn plain(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::UInt(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Text(text) => text.to_string(),
            other => other.kind().to_string(),
        }
    }
}
