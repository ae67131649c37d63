//! Values while an expression runs, borrowed from the request where they can be.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map as JsonMap, Number, Value as Json};

use super::fault::{Budget, Fault};
use super::kind::Kind;
use super::time::{Moment, Span};
use crate::view::View;

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
            return self.member(name);
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
            (left, right) => left.order_of_numbers(right) == Some(Ordering::Equal),
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
            (Self::Double(value), other) | (other, Self::Double(value)) if value.is_nan() && other.is_number() => {
                Err(Fault::new("NaN values cannot be ordered"))
            }
            (left, right) => left.order_of_numbers(right).ok_or_else(Fault::no_overload),
        }
    }

    const fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::UInt(_) | Self::Double(_))
    }

    fn order_of_numbers(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::UInt(left), Self::UInt(right)) => left.cmp(right),
            (Self::Int(left), Self::UInt(right)) => i128::from(*left).cmp(&i128::from(*right)),
            (Self::UInt(left), Self::Int(right)) => i128::from(*left).cmp(&i128::from(*right)),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(right)?,
            (Self::Int(left), Self::Double(right)) => compare_with_double(i128::from(*left), *right)?,
            (Self::UInt(left), Self::Double(right)) => compare_with_double(i128::from(*left), *right)?,
            (Self::Double(_), Self::Int(_) | Self::UInt(_)) => other.order_of_numbers(self)?.reverse(),
            _ => return None,
        })
    }

    /// As JSON, by the rules of `google.protobuf.Value`.
    pub fn into_json(self, budget: &mut Budget) -> Result<Json, Fault> {
        budget.spend(self.extent().saturating_add(1))?;
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Int(value) => integer(value.unsigned_abs(), value),
            Self::UInt(value) => integer(value, value),
            Self::Double(value) => double(value)?,
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
    fn plain(&self) -> String {
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

    fn at(&self, key: &Val<'a>) -> Result<Val<'a>, Fault> {
        let index = match key {
            Val::Int(_) | Val::UInt(_) | Val::Double(_) => {
                whole(key).ok_or_else(|| Fault::new(format!("unsupported index value {} in list", key.plain())))?
            }
            other => return Err(Fault::index_kind(other.kind())),
        };
        let found = usize::try_from(index).ok().and_then(|index| self.get(index));
        found.ok_or_else(|| Fault::OutOfBounds(index))
    }

    pub fn contains(&self, value: &Val<'a>, budget: &mut Budget) -> Result<bool, Fault> {
        for element in self.iter() {
            if element.equals(value, budget)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, Fault> {
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

    fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, Fault> {
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

/// The whole number that a number is.
pub fn whole(number: &Val<'_>) -> Option<i128> {
    match number {
        Val::Int(value) => Some(i128::from(*value)),
        Val::UInt(value) => Some(i128::from(*value)),
        Val::Double(value) if value.fract() == 0.0 && value.abs() < TWO_POW_64 => Some(truncated(*value)),
        _ => None,
    }
}

const TWO_POW_53: u64 = 1 << 53;
const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;

/// The whole part of a double below 2^64.
#[expect(clippy::cast_possible_truncation, reason = "callers see to it that it fits")]
pub const fn truncated(value: f64) -> i128 {
    value as i128
}

fn compare_with_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double.abs() >= TWO_POW_64 {
        return 0.0.partial_cmp(&double);
    }
    Some(whole.cmp(&truncated(double)).then(0.0.partial_cmp(&double.fract())?))
}

/// Integers that a double cannot hold are texts.
fn integer<T: Into<Number> + ToString>(magnitude: u64, value: T) -> Json {
    if magnitude < TWO_POW_53 { Json::Number(value.into()) } else { Json::String(value.to_string()) }
}

/// Whole numbers without a fraction, as JavaScript and Go write them.
fn double(value: f64) -> Result<Json, Fault> {
    if value.fract() == 0.0 && value.abs() < TWO_POW_64 {
        let whole = truncated(value);
        if let Ok(whole) = i64::try_from(whole) {
            return Ok(Json::from(whole));
        }
        if let Ok(whole) = u64::try_from(whole) {
            return Ok(Json::from(whole));
        }
    }
    Number::from_f64(value).map(Json::Number).ok_or_else(|| Fault::new("NaN and infinity are no JSON values"))
}
