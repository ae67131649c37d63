//! How paths are written.

use serde_json::Value;

use super::glob::{Glob, Token};
use super::modifier::Modifier;
use super::path::{Part, Path, Segment};
use super::query::{Operator, Query, Test};
use crate::request::Needs;
use crate::view::Place;

/// Bytes of a path.
const MAX_LENGTH: usize = 4096;

/// Paths within paths.
const MAX_DEPTH: usize = 16;

/// How many copies of what it reads a path may make.
const MAX_COPIES: usize = 256;

/// Parses a path into the Authorization JSON; with it come the attributes that it may read.
///
/// # Errors
/// Why it is no path.
pub fn root(source: &str) -> Result<(Path, Needs), String> {
    if source.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    let mut parser = Parser::default();
    let path = parser.path(source, true)?;
    if copies(&path) > MAX_COPIES {
        return Err(format!("it makes more than {MAX_COPIES} copies of what it reads"));
    }
    Ok((path, parser.needs))
}

#[derive(Default)]
struct Parser {
    needs: Needs,
    depth: usize,
}

/// A segment, and what follows the pipe after it.
type Parsed<'s> = Result<(Segment, Option<&'s str>), String>;

impl Parser {
    fn path(&mut self, source: &str, at_root: bool) -> Result<Path, String> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(format!("paths are nested more than {MAX_DEPTH} deep"));
        }
        let mut segments = Vec::new();
        let mut rest = Some(source);
        while let Some(source) = rest {
            let (segment, after) = self.segment(source, at_root && segments.is_empty())?;
            segments.push(segment);
            rest = after;
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(Path(segments))
    }

    fn segment<'s>(&mut self, source: &'s str, at_root: bool) -> Parsed<'s> {
        let special = match source.as_bytes() {
            [b'@', _, ..] => self.modifier(source, at_root)?,
            [b'!', _, ..] => literal(source),
            [b'[' | b'{', _, ..] => self.several(source, at_root)?,
            _ => None,
        };
        special.map_or_else(|| self.parts(source, at_root), Ok)
    }

    /// `@name`, `@name:argument`. `None`: there is no modifier of this name, so it is the name of a member.
    fn modifier<'s>(&mut self, source: &'s str, at_root: bool) -> Result<Option<(Segment, Option<&'s str>)>, String> {
        let source = tail(source, 1);
        let (name, after) = source.split_at(source.find([':', '|', '.']).unwrap_or(source.len()));
        let (argument, after) = match after.strip_prefix(':') {
            None => ("", after),
            Some(text) => {
                let end = match text.as_bytes().first() {
                    Some(b'{' | b'[' | b'"') => balanced(text).unwrap_or(text.len()),
                    _ => text.find('|').unwrap_or(text.len()),
                };
                text.split_at(end)
            }
        };
        let Some(modifier) = Modifier::parse(name, argument)? else { return Ok(None) };
        if at_root {
            self.needs.extend(Place::ROOT.needs());
        }
        Ok(Some((Segment::Modifier(modifier), after.strip_prefix(['|', '.']))))
    }

    /// `[path,path]` or `{name:path,path}`. `None`: it has no end, or something else than a path goes on after it.
    fn several<'s>(&mut self, source: &'s str, at_root: bool) -> Result<Option<(Segment, Option<&'s str>)>, String> {
        let Some((members, after)) = split_members(source) else { return Ok(None) };
        let rest = after.strip_prefix(['|', '.']);
        if rest.is_none() && !after.is_empty() {
            return Ok(None);
        }
        let segment = if source.starts_with('{') {
            let members = members.into_iter().map(|(name, path)| {
                let name = name.map_or_else(|| last_name(path), unquote);
                Ok((name, self.path(path, at_root)?))
            });
            Segment::Object(members.collect::<Result<_, String>>()?)
        } else {
            let paths = members.into_iter().map(|(_, path)| self.path(path, at_root));
            Segment::List(paths.collect::<Result<_, String>>()?)
        };
        Ok(Some((segment, rest)))
    }

    /// Members and items, up to a pipe or to a dot that is as good as one.
    fn parts<'s>(&mut self, source: &'s str, at_root: bool) -> Parsed<'s> {
        let mut parts = Vec::new();
        let mut rest = source;
        let after = loop {
            if let Some((part, after)) = self.list_part(rest)? {
                parts.push(part);
                break after;
            }
            let (part, end) = key(rest);
            parts.push(part);
            match (end.as_bytes().first(), tail(end, 1)) {
                (Some(b'.'), after) if !after.starts_with(['@', '[', '{']) => rest = after,
                (Some(_), after) => break Some(after),
                (None, _) => break None,
            }
        };
        Ok((if at_root { self.place(parts) } else { Segment::Parts(parts) }, after))
    }

    /// Finds out where in the Authorization JSON the parts begin.
    fn place(&mut self, mut parts: Vec<Part>) -> Segment {
        let names: Vec<&str> = parts
            .iter()
            .map_while(|part| match part {
                Part::Key(name, _) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let Some((place, left)) = Place::find(&names) else { return Segment::Nowhere };
        let found = names.len().saturating_sub(left.len());
        self.needs.extend(place.needs());
        Segment::Place(place, parts.split_off(found))
    }

    /// `#`, `#.path`, `#(condition)`: always the last part, since what follows is about the items.
    fn list_part<'s>(&mut self, source: &'s str) -> Result<Option<(Part, Option<&'s str>)>, String> {
        Ok(Some(match source.as_bytes() {
            [b'#'] => (Part::Count, None),
            [b'#', b'|', ..] => (Part::Count, Some(tail(source, 2))),
            [b'#', b'.', ..] => {
                let (path, after) = split_pipe(tail(source, 2));
                (Part::Collect(self.path(path, false)?), after)
            }
            [b'#', b'(' | b'[', ..] => self.query(source)?,
            _ => return Ok(None),
        }))
    }

    fn query<'s>(&mut self, source: &'s str) -> Result<(Part, Option<&'s str>), String> {
        let inside = tail(source, 2);
        let Some((condition, comparison, after)) = split_query(inside) else {
            return Err(format!("`{}` is never closed", source.get(..2).unwrap_or_default()));
        };
        let all = after.starts_with('#');
        let end = after.find(['.', '|']).unwrap_or(after.len());
        let (then, after) = match after.split_at(end).1 {
            rest if rest.starts_with('.') => {
                let (path, after) = split_pipe(tail(rest, 1));
                (Some(self.path(path, false)?), after)
            }
            rest => (None, rest.strip_prefix('|')),
        };
        let path = if condition.is_empty() { None } else { Some(self.path(condition, false)?) };
        let test = comparison.map(parse_test).transpose()?;
        Ok((Part::Query(Box::new(Query { path, test, all, then })), after))
    }
}

/// What follows the first bytes, which are ASCII.
fn tail(source: &str, from: usize) -> &str {
    source.get(from..).unwrap_or_default()
}

/// A member or item, and what follows, the dot or pipe included.
fn key(source: &str) -> (Part, &str) {
    let mut tokens = Vec::new();
    let mut end = source.len();
    let mut chars = source.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '|' => {
                end = at;
                break;
            }
            '\\' => tokens.extend(chars.next().map(|(_, c)| Token::Char(c))),
            '*' => tokens.push(Token::Any),
            '?' => tokens.push(Token::One),
            c => tokens.push(Token::Char(c)),
        }
    }
    let name: Option<String> =
        tokens.iter().map(|token| if let Token::Char(c) = token { Some(c) } else { None }).collect();
    let part = match name {
        Some(name) => {
            let index = name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok()).flatten();
            Part::Key(name, index)
        }
        None => Part::Glob(Glob::new(tokens)),
    };
    (part, tail(source, end))
}

/// `!value`. `None`: it is no value, so it is the name of a member.
fn literal(source: &str) -> Option<(Segment, Option<&str>)> {
    let source = tail(source, 1);
    let end = match source.as_bytes().first()? {
        b'{' | b'[' | b'"' => balanced(source)?,
        b'+' | b'-' | b'0'..=b'9' => source.find('|').unwrap_or(source.len()),
        _ => source.find(['|', '.']).unwrap_or(source.len()),
    };
    let (text, after) = source.split_at(end);
    let value =
        serde_json::from_str::<Value>(text).or_else(|_| serde_json::from_str(&text.to_ascii_lowercase())).ok()?;
    Some((Segment::Literal(value), after.strip_prefix(['|', '.'])))
}

/// Members of `[…]` or `{…}`, each with the name before its colon, if it has one, and what follows.
#[expect(clippy::type_complexity, reason = "used once")]
fn split_members(source: &str) -> Option<(Vec<(Option<&str>, &str)>, &str)> {
    let mut members = Vec::new();
    let (mut start, mut colon, mut in_modifier) = (1, None, false);
    let mut before = None;
    let mut at = 1;
    while let Some(byte) = source.as_bytes().get(at).copied() {
        let mut next = at.saturating_add(1);
        match byte {
            b'\\' => next = next.saturating_add(1),
            b'"' | b'[' | b'(' | b'{' => next = at.saturating_add(balanced(tail(source, at))?),
            b'@' if matches!(before, Some(b'.' | b'|')) => in_modifier = true,
            b':' if !in_modifier && colon.is_none() => colon = Some(at),
            b',' | b']' | b')' | b'}' => {
                members.push(match colon {
                    Some(colon) => (Some(source.get(start..colon)?), source.get(colon.saturating_add(1)..at)?),
                    None => (None, source.get(start..at)?),
                });
                if byte != b',' {
                    return Some((members, tail(source, next)));
                }
                (start, colon, in_modifier) = (next, None, false);
            }
            _ => {}
        }
        before = Some(byte);
        at = next;
    }
    None
}

fn unquote(name: &str) -> String {
    serde_json::from_str(name).unwrap_or_else(|_| name.to_owned())
}

/// The name that gjson gives to a member without one: the last part of its path, if it looks like a name.
fn last_name(path: &str) -> String {
    let mut separators = path.rmatch_indices(['.', '|']).map(|(at, _)| at);
    let last = separators.find(|at| !path.get(..*at).unwrap_or_default().ends_with('\\'));
    let name = last.map_or(path, |at| tail(path, at.saturating_add(1)));
    let simple = !name.contains(|c: char| c < ' ' || "[]{}()#|!".contains(c));
    if simple { name } else { "_" }.to_owned()
}

/// The part before the first pipe that is not within something, and the part after it.
fn split_pipe(source: &str) -> (&str, Option<&str>) {
    let mut at = 0_usize;
    while let Some(byte) = source.as_bytes().get(at) {
        let length = match byte {
            b'|' => return (source.get(..at).unwrap_or_default(), Some(tail(source, at.saturating_add(1)))),
            b'\\' => 2,
            b'"' | b'[' | b'(' | b'{' => balanced(tail(source, at)).unwrap_or(1),
            _ => 1,
        };
        at = at.saturating_add(length);
    }
    (source, None)
}

/// The path and the comparison of a query, and what follows its closing bracket.
fn split_query(inside: &str) -> Option<(&str, Option<&str>, &str)> {
    let mut operator = None;
    let mut at = 0_usize;
    loop {
        let length = match inside.as_bytes().get(at)? {
            b'!' | b'=' | b'<' | b'>' | b'%' if operator.is_none() => {
                operator = Some(at);
                1
            }
            b'\\' => 2,
            b'"' | b'[' | b'(' => balanced(tail(inside, at))?,
            b']' | b')' => break,
            _ => 1,
        };
        at = at.saturating_add(length);
    }
    let (condition, after) = (inside.get(..at)?, inside.get(at.saturating_add(1)..)?);
    let (path, comparison) =
        operator.map_or((condition, None), |at| (condition.get(..at).unwrap_or_default(), condition.get(at..)));
    Some((trim(path), comparison.map(trim), after))
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

fn parse_test(comparison: &str) -> Result<Test, String> {
    let operators = ["!=", "!%", "<=", ">=", "==", "<", ">", "=", "%"];
    let Some((operator, value)) =
        operators.into_iter().find_map(|operator| Some((operator, comparison.strip_prefix(operator)?)))
    else {
        return Err(format!("`{comparison}` begins with no operator; there are ==, !=, <, <=, >, >=, % and !%"));
    };
    let value = trim(value);
    let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
    let value = if quoted { unquote(value) } else { value.to_owned() };
    let (truth, text) = value.strip_prefix('~').map_or((false, value.as_str()), |value| (true, value));
    let operator = match operator {
        "!=" => Operator::NotEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterOrEqual,
        "%" => Operator::Like(Glob::parse(text), true),
        "!%" => Operator::Like(Glob::parse(text), false),
        _ => Operator::Equal,
    };
    Ok(Test { operator, number: text.parse().unwrap_or(0.0), text: text.to_owned(), truth })
}

/// The length of the text or of the brackets that the source begins with. `None`: they have no end.
fn balanced(source: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut bytes = source.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if in_text => drop(bytes.next()),
            b'"' => in_text = !in_text,
            b'{' | b'[' | b'(' if !in_text => depth = depth.saturating_add(1),
            b'}' | b']' | b')' if !in_text => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 && !in_text {
            return Some(at.saturating_add(1));
        }
    }
    None
}

/// How many copies of a value a path may make of it.
fn copies(path: &Path) -> usize {
    path.0.iter().fold(1_usize, |before, segment| {
        let here = match segment {
            Segment::Object(members) => sum(members.iter().map(|(_, path)| path)),
            Segment::List(paths) => sum(paths.iter()),
            Segment::Place(_, parts) | Segment::Parts(parts) => parts.iter().fold(1, |before: usize, part| {
                before.saturating_mul(match part {
                    Part::Collect(path) => copies(path),
                    Part::Query(query) => sum(query.path.iter().chain(&query.then)),
                    Part::Key(..) | Part::Glob(_) | Part::Count => 1,
                })
            }),
            Segment::Nowhere | Segment::Modifier(_) | Segment::Literal(_) => 1,
        };
        before.saturating_mul(here)
    })
}

fn sum<'a>(paths: impl Iterator<Item = &'a Path>) -> usize {
    paths.fold(0_usize, |sum, path| sum.saturating_add(copies(path))).max(1)
}
