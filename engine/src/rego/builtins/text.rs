//! Texts.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode;
use regorus::Value;

use super::{Call, Outcome, Stop, as_text, list};
use crate::rego::{from_json, text};
use crate::url;

pub fn indexof(call: &mut Call<'_>) -> Outcome {
    let (haystack, needle) = (call.text(0)?, call.text(1)?);
    if needle.is_empty() {
        return Err(Stop::Undefined);
    }
    let at = haystack.find(needle).and_then(|at| haystack.get(..at));
    let at = at.map_or(-1, |before| i64::try_from(before.chars().count()).unwrap_or(-1));
    Ok(Value::from(at))
}

pub fn indexof_n(call: &mut Call<'_>) -> Outcome {
    let (haystack, needle) = (call.text(0)?, call.text(1)?);
    if needle.is_empty() {
        return Err(Stop::Undefined);
    }
    // Occurrences may overlap, so each place is compared.
    call.fuel.spend_product(haystack.len(), needle.len())?;
    let places = haystack
        .char_indices()
        .enumerate()
        .filter(|(_, (at, _))| haystack.get(*at..).is_some_and(|rest| rest.starts_with(needle)));
    Ok(list(places.map(|(index, _)| Value::from(index))))
}

/// Occurrences that do not overlap; as in Go, an empty text is before each character and behind the last.
pub fn count(call: &mut Call<'_>) -> Outcome {
    Ok(Value::from(call.text(0)?.matches(call.text(1)?).count()))
}

pub fn replace(call: &mut Call<'_>) -> Outcome {
    let (whole, old, new) = (call.text(0)?, call.text(1)?, call.text(2)?);
    call.fuel.spend_product(whole.matches(old).count(), new.len())?;
    Ok(text(whole.replace(old, new)))
}

/// All at once, at each place the first of the patterns in order, as Go's `strings.NewReplacer`.
pub fn replace_n(call: &mut Call<'_>) -> Outcome {
    let Value::Object(patterns) = call.arg(0) else { return Err(Stop::Undefined) };
    let whole = call.text(1)?;
    let patterns = patterns.iter_sorted().map(|(old, new)| Ok((as_text(old)?, as_text(new)?)));
    let patterns = patterns.collect::<Result<Vec<_>, Stop>>()?;
    call.fuel.spend_product(whole.len(), patterns.len().saturating_mul(4))?;
    let (mut out, mut rest, mut after_empty) = (String::new(), whole, false);
    loop {
        let found = patterns.iter().find(|(old, _)| rest.starts_with(old) && !(after_empty && old.is_empty()));
        if let Some((old, new)) = found {
            call.fuel.spend_text(new.len())?;
            out.push_str(new);
            rest = rest.get(old.len()..).unwrap_or_default();
            after_empty = old.is_empty();
            if !old.is_empty() {
                continue;
            }
        }
        let Some(c) = rest.chars().next() else { return Ok(text(out)) };
        out.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        after_empty = false;
    }
}

pub fn substring(call: &mut Call<'_>) -> Outcome {
    let whole = call.text(0)?;
    let Ok(offset) = usize::try_from(call.whole(1)?) else { return Err(Stop::Undefined) };
    // A negative length is all that is left.
    let length = usize::try_from(call.whole(2)?).unwrap_or(usize::MAX);
    Ok(text(whole.chars().skip(offset).take(length).collect::<String>()))
}

pub fn trim(call: &mut Call<'_>) -> Outcome {
    cut(call, |whole, is_cut| whole.trim_matches(is_cut))
}

pub fn trim_left(call: &mut Call<'_>) -> Outcome {
    cut(call, |whole, is_cut| whole.trim_start_matches(is_cut))
}

pub fn trim_right(call: &mut Call<'_>) -> Outcome {
    cut(call, |whole, is_cut| whole.trim_end_matches(is_cut))
}

fn cut(call: &mut Call<'_>, cut: for<'t> fn(&'t str, &dyn Fn(char) -> bool) -> &'t str) -> Outcome {
    let (whole, set) = (call.text(0)?, call.text(1)?);
    let set: BTreeSet<char> = set.chars().collect();
    Ok(text(cut(whole, &|c| set.contains(&c))))
}

pub fn any_prefix(call: &mut Call<'_>) -> Outcome {
    any(call, |whole, part| whole.starts_with(part))
}

pub fn any_suffix(call: &mut Call<'_>) -> Outcome {
    any(call, |whole, part| whole.ends_with(part))
}

fn any(call: &mut Call<'_>, is_part: fn(&str, &str) -> bool) -> Outcome {
    let (wholes, parts) = (call.texts(0)?, call.texts(1)?);
    let bytes: usize = parts.iter().map(|part| part.len().saturating_add(64)).sum();
    call.fuel.spend_product(wholes.len(), bytes)?;
    Ok(Value::Bool(wholes.iter().any(|whole| parts.iter().any(|part| is_part(whole, part)))))
}

pub fn json_is_valid(call: &mut Call<'_>) -> Outcome {
    let text = call.text(0);
    Ok(Value::Bool(text.is_ok_and(|text| serde_json::from_str::<serde_json::Value>(text).is_ok())))
}

pub fn json_unmarshal(call: &mut Call<'_>) -> Outcome {
    let json: serde_json::Value = serde_json::from_str(call.text(0)?).map_err(|_| Stop::Undefined)?;
    Ok(from_json(&json))
}

fn form_decode(encoded: &str) -> Result<String, Stop> {
    let bytes = encoded.as_bytes();
    let broken = encoded.match_indices('%').any(|(at, _)| {
        let digits = bytes.get(at.saturating_add(1)..at.saturating_add(3));
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return Err(Stop::Undefined);
    }
    let spaced = encoded.replace('+', " ");
    Ok(String::from_utf8_lossy(&percent_decode(spaced.as_bytes()).collect::<Vec<u8>>()).into_owned())
}

pub fn url_decode(call: &mut Call<'_>) -> Outcome {
    form_decode(call.text(0)?).map(text)
}

pub fn url_decode_object(call: &mut Call<'_>) -> Outcome {
    let mut members: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for pair in call.text(0)?.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        members.entry(form_decode(name)?).or_default().push(text(form_decode(value)?));
    }
    let members = members.into_iter().map(|(name, values)| (text(name), Value::from(values)));
    Ok(Value::from(members.collect::<BTreeMap<_, _>>()))
}

/// As Go's `url.QueryEscape`.
fn form_encode(plain: &str) -> String {
    url::component(plain).replace("%20", "+")
}

pub fn url_encode(call: &mut Call<'_>) -> Outcome {
    Ok(text(form_encode(call.text(0)?)))
}

pub fn url_encode_object(call: &mut Call<'_>) -> Outcome {
    let Value::Object(members) = call.arg(0) else { return Err(Stop::Undefined) };
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for (name, value) in members.iter_sorted() {
        let name = as_text(name)?;
        match value {
            Value::String(value) => pairs.push((name, value)),
            values => {
                for value in super::items(values)? {
                    pairs.push((name, as_text(value)?));
                }
            }
        }
    }
    let pairs = pairs.into_iter().map(|(name, value)| format!("{}={}", form_encode(name), form_encode(value)));
    Ok(text(pairs.collect::<Vec<_>>().join("&")))
}
