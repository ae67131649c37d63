//! The strings extension. Positions count characters.

use std::ops::Deref;

use super::fault::{Budget, Fault};
use super::value::{Text, Val};

type Result<'a> = std::result::Result<Val<'a>, Fault>;

pub fn char_at<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Text(text), Val::Int(at)] = args else { return Err(Fault::no_overload()) };
    let rest = text.get(boundary(text, *at)?..).unwrap_or_default();
    Ok(Val::text(rest.chars().next().map(String::from).unwrap_or_default()))
}

pub fn index_of<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let (text, sought, from) = match args {
        [Val::Text(text), Val::Text(sought)] => (text, sought, 0),
        [Val::Text(text), Val::Text(sought), Val::Int(from)] => (text, sought, *from),
        _ => return Err(Fault::no_overload()),
    };
    if sought.is_empty() {
        return Ok(Val::Int(from));
    }
    let from = start_of(text, from)?;
    let found = text.get(from..).unwrap_or_default().find(sought.deref());
    Ok(character_at(text, found.map(|at| from.saturating_add(at))))
}

pub fn last_index_of<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let (text, sought, from) = match args {
        [Val::Text(text), Val::Text(sought)] if sought.is_empty() => return Ok(Val::Int(characters(text))),
        [Val::Text(text), Val::Text(sought)] => (text, sought, characters(text).saturating_sub(1)),
        [Val::Text(text), Val::Text(sought), Val::Int(from)] => (text, sought, *from),
        _ => return Err(Fault::no_overload()),
    };
    if sought.is_empty() {
        return Ok(Val::Int(from));
    }
    let end = text.floor_char_boundary(start_of(text, from)?.saturating_add(sought.len()));
    Ok(character_at(text, text.get(..end).unwrap_or_default().rfind(sought.deref())))
}

pub fn join<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let (list, separator) = match args {
        [Val::List(list)] => (list, ""),
        [Val::List(list), Val::Text(separator)] => (list, separator.deref()),
        _ => return Err(Fault::no_overload()),
    };
    let mut joined = String::new();
    for (index, element) in list.iter().enumerate() {
        let Val::Text(element) = element else { return Err(Fault::no_overload()) };
        if index > 0 {
            budget.push(&mut joined, separator)?;
        }
        budget.push(&mut joined, &element)?;
    }
    Ok(Val::text(joined))
}

pub fn lower_ascii<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Text(text)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::text(text.to_ascii_lowercase()))
}

pub fn upper_ascii<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Text(text)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::text(text.to_ascii_uppercase()))
}

pub fn replace<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let (text, old, new, limit) = match args {
        [Val::Text(text), Val::Text(old), Val::Text(new)] => (text, old, new, -1),
        [Val::Text(text), Val::Text(old), Val::Text(new), Val::Int(limit)] => (text, old, new, *limit),
        _ => return Err(Fault::no_overload()),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut replaced = String::new();
    let mut done = 0;
    for (at, found) in text.match_indices(old.deref()).take(limit) {
        budget.push(&mut replaced, text.get(done..at).unwrap_or_default())?;
        budget.push(&mut replaced, new)?;
        done = at.saturating_add(found.len());
    }
    budget.push(&mut replaced, text.get(done..).unwrap_or_default())?;
    Ok(Val::text(replaced))
}

pub fn split<'a>(budget: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let (text, separator, limit) = match args {
        [Val::Text(text), Val::Text(separator)] => (text, separator, -1),
        [Val::Text(text), Val::Text(separator), Val::Int(limit)] => (text, separator, *limit),
        _ => return Err(Fault::no_overload()),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut rest = text.deref();
    while parts.len().saturating_add(1) < limit {
        let Some((part, after)) = next_part(rest, separator) else { break };
        budget.spend((part.len() / 8).saturating_add(1))?;
        parts.push(Val::text(part));
        rest = after;
    }
    if limit > 0 && !(separator.is_empty() && rest.is_empty()) {
        parts.push(Val::text(rest));
    }
    Ok(Val::list(parts))
}

/// What stands before a separator, and what behind it. An empty one stands between any two characters.
fn next_part<'t>(text: &'t str, separator: &str) -> Option<(&'t str, &'t str)> {
    if separator.is_empty() {
        let (second, _) = text.char_indices().nth(1)?;
        return text.split_at_checked(second);
    }
    text.split_once(separator)
}

pub fn substring<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let (text, start, end) = match args {
        [Val::Text(text), Val::Int(start)] => (text, *start, None),
        [Val::Text(text), Val::Int(start), Val::Int(end)] => (text, *start, Some(*end)),
        _ => return Err(Fault::no_overload()),
    };
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(Fault::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = boundary(text, start)?;
    let to = end.map_or(Ok(text.len()), |end| boundary(text, end))?;
    Ok(Val::text(text.get(from..to).unwrap_or_default()))
}

pub fn trim<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Text(text)] = args else { return Err(Fault::no_overload()) };
    Ok(match text {
        Text::Borrowed(text) => Val::Text(Text::Borrowed(text.trim())),
        Text::Shared(text) => Val::text(text.trim()),
    })
}

pub fn reverse<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Text(text)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::text(text.chars().rev().collect::<String>()))
}

pub fn quote<'a>(_: &mut Budget, args: &[Val<'a>]) -> Result<'a> {
    let [Val::Text(text)] = args else { return Err(Fault::no_overload()) };
    Ok(Val::text(quoted(text)))
}

/// In double quotes, with escapes for what would end them and for what cannot be seen.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn characters(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn character_at<'a>(text: &str, byte: Option<usize>) -> Val<'a> {
    Val::Int(byte.map_or(-1, |byte| characters(text.get(..byte).unwrap_or_default())))
}

/// Where a character starts, in bytes.
fn start_of(text: &str, character: i64) -> std::result::Result<usize, Fault> {
    boundary(text, character).and_then(|at| if at < text.len() { Ok(at) } else { Err(out_of_range(character)) })
}

/// Where a character starts, in bytes, or where the text ends.
fn boundary(text: &str, character: i64) -> std::result::Result<usize, Fault> {
    let at = usize::try_from(character).map_err(|_| out_of_range(character))?;
    let mut boundaries = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    boundaries.nth(at).ok_or_else(|| out_of_range(character))
}

fn out_of_range(index: i64) -> Fault {
    Fault::new(format!("index out of range: {index}"))
}
