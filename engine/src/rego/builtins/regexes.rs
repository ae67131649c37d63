//! Patterns: regular expressions in Go's dialect, and globs.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;
use regorus::Value;

use super::{Call, Outcome, Stop, list};
use crate::expression::regex::{Regex, compile_within};
use crate::rego::text;

/// Bytes that a compiled pattern may take.
const SIZE_LIMIT: usize = 64 << 10;
/// Units of work that it is to compile one.
const COMPILATION: u64 = 20_000;
/// Units of work that it is to find one more occurrence, with its groups.
const OCCURRENCE: u64 = 64;
/// Patterns that are kept.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// The patterns that a policy met last.
pub struct Patterns(RefCell<LruCache<Rc<str>, Option<Rc<Regex>>>>);

impl Patterns {
    pub fn new() -> Self {
        // Unbounded, since a bounded one takes all of its memory at once.
        Self(RefCell::new(LruCache::unbounded()))
    }
}

impl Call<'_> {
    /// A pattern, compiled, and paid for a search in a text.
    fn pattern(&mut self, pattern: &str, searched: &str) -> Result<Rc<Regex>, Stop> {
        // Linear in the text, but by up to ten nanoseconds a byte where the pattern is large.
        self.fuel.spend_text(searched.len().saturating_mul(8))?;
        let mut kept = self.patterns.0.borrow_mut();
        if let Some(regex) = kept.get(pattern) {
            return regex.clone().ok_or(Stop::Undefined);
        }
        self.fuel.spend(COMPILATION)?;
        let regex = compile_within(SIZE_LIMIT, pattern).ok().map(Rc::new);
        kept.put(pattern.into(), regex.clone());
        if kept.len() > REMEMBERED.get() {
            kept.pop_lru();
        }
        regex.ok_or(Stop::Undefined)
    }
}

fn lossy(bytes: &[u8]) -> Value {
    text(String::from_utf8_lossy(bytes))
}

pub fn is_valid(call: &mut Call<'_>) -> Outcome {
    let Ok(pattern) = call.text(0) else { return Ok(Value::Bool(false)) };
    match call.pattern(pattern, "") {
        Ok(_) => Ok(Value::Bool(true)),
        Err(Stop::Undefined) => Ok(Value::Bool(false)),
        Err(fault) => Err(fault),
    }
}

pub fn is_match(call: &mut Call<'_>) -> Outcome {
    let (pattern, whole) = (call.text(0)?, call.text(1)?);
    Ok(Value::Bool(call.pattern(pattern, whole)?.is_match(whole.as_bytes())))
}

/// How many are wanted; fewer than none is all.
fn wanted(call: &Call<'_>) -> Result<usize, Stop> {
    Ok(usize::try_from(call.whole(2)?).unwrap_or(usize::MAX))
}

pub fn find(call: &mut Call<'_>) -> Outcome {
    let (pattern, whole) = (call.text(0)?, call.text(1)?);
    let (regex, count) = (call.pattern(pattern, whole)?, wanted(call)?);
    let mut parts = Vec::new();
    for found in regex.find_iter(whole.as_bytes()).take(count) {
        call.fuel.spend(OCCURRENCE)?;
        parts.push(lossy(found.as_bytes()));
    }
    Ok(Value::from(parts))
}

pub fn find_groups(call: &mut Call<'_>) -> Outcome {
    let (pattern, whole) = (call.text(0)?, call.text(1)?);
    let (regex, count) = (call.pattern(pattern, whole)?, wanted(call)?);
    let mut found = Vec::new();
    for groups in regex.captures_iter(whole.as_bytes()).take(count) {
        let groups = list(groups.iter().map(|group| lossy(group.map_or(b"", |group| group.as_bytes()))));
        call.fuel.spend(OCCURRENCE)?;
        call.fuel.weigh(&groups)?;
        found.push(groups);
    }
    Ok(Value::from(found))
}

pub fn split(call: &mut Call<'_>) -> Outcome {
    let (pattern, whole) = (call.text(0)?, call.text(1)?);
    let regex = call.pattern(pattern, whole)?;
    let mut parts = Vec::new();
    for part in regex.split(whole.as_bytes()) {
        call.fuel.spend(OCCURRENCE)?;
        parts.push(lossy(part));
    }
    Ok(Value::from(parts))
}

pub fn replace(call: &mut Call<'_>) -> Outcome {
    let (whole, pattern, new) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let regex = call.pattern(pattern, whole)?;
    let references = new.matches('$').count();
    let (mut out, mut end) = (Vec::new(), 0);
    for groups in regex.captures_iter(whole.as_bytes()) {
        let Some(found) = groups.get(0) else { continue };
        call.fuel.spend_text(new.len().saturating_add(references.saturating_mul(found.len())))?;
        call.fuel.spend(OCCURRENCE)?;
        out.extend_from_slice(whole.as_bytes().get(end..found.start()).unwrap_or_default());
        groups.expand(new.as_bytes(), &mut out);
        end = found.end();
    }
    out.extend_from_slice(whole.as_bytes().get(end..).unwrap_or_default());
    Ok(lossy(&out))
}

/// `*` stops at a delimiter, `**` does not.
pub fn glob_match(call: &mut Call<'_>) -> Outcome {
    let (pattern, whole) = (call.text(0)?, call.text(2)?);
    let delimiters: Vec<char> = match call.arg(1) {
        Value::Null => Vec::new(),
        Value::Array(items) if items.is_empty() => vec!['.'],
        _ => {
            let one = |text: &str| {
                let mut chars = text.chars();
                chars.next().filter(|_| chars.next().is_none()).ok_or(Stop::Undefined)
            };
            call.texts(1)?.into_iter().map(one).collect::<Result<_, _>>()?
        }
    };
    let regex = from_glob(pattern, &delimiters).ok_or(Stop::Undefined)?;
    Ok(Value::Bool(call.pattern(&regex, whole)?.is_match(whole.as_bytes())))
}

fn from_glob(pattern: &str, delimiters: &[char]) -> Option<String> {
    let other = if delimiters.is_empty() {
        "(?s:.)".to_owned()
    } else {
        format!("[^{}]", delimiters.iter().map(|c| escaped(*c)).collect::<String>())
    };
    let (mut out, mut depth) = (String::from("^"), 0_u32);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                out.push_str("(?s:.*)");
            }
            '*' => out.extend([other.as_str(), "*"]),
            '?' => out.push_str(&other),
            '\\' => out.push_str(&escaped(chars.next()?)),
            '[' => class(&mut chars, &mut out)?,
            '{' => {
                depth = depth.saturating_add(1);
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth = depth.saturating_sub(1);
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            c => out.push_str(&escaped(c)),
        }
    }
    out.push('$');
    (depth == 0).then_some(out)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Option<()> {
    out.push('[');
    if chars.next_if_eq(&'!').is_some() {
        out.push('^');
    }
    loop {
        match chars.next()? {
            ']' => break,
            '-' => out.push('-'),
            '\\' => out.push_str(&escaped(chars.next()?)),
            c => out.push_str(&escaped(c)),
        }
    }
    out.push(']');
    Some(())
}

fn escaped(c: char) -> String {
    if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() }
}

pub fn glob_quote_meta(call: &mut Call<'_>) -> Outcome {
    let mut out = String::new();
    for c in call.text(0)?.chars() {
        if matches!(c, '*' | '?' | '\\' | '[' | ']' | '{' | '}') {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(text(out))
}
