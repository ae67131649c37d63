//! Texts within objects, such as claims of a token: found by what an object has.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::atom::{Atom, Numbers, Texts};
use super::object::{Form, Member, Principal};
use super::pattern::Pattern;

/// Members that rules compare with, by their names from the outermost one on.
#[derive(Debug, Default)]
pub struct Members(BTreeMap<Vec<Box<str>>, Forms>);

#[derive(Debug, Default)]
struct Forms {
    texts: Texts,
    lists: Texts,
    either: Texts,
}

impl Members {
    /// The number of a member.
    pub fn atom(&mut self, Member { path, form, pattern }: &Member, numbers: &mut Numbers) -> Atom {
        let forms = self.0.entry(path.clone()).or_default();
        let of = match form {
            Form::Text => &mut forms.texts,
            Form::List => &mut forms.lists,
            Form::Either => &mut forms.either,
        };
        of.atom(pattern, numbers)
    }

    /// Those that an object has; none if one of its texts has a line break: whether `*` is meant to fit that, readers differ.
    #[must_use]
    #[inline(never)]
    pub fn find(&self, object: &Value, found: &mut dyn FnMut(Atom)) -> Option<()> {
        for (path, Forms { texts, lists, either }) in &self.0 {
            let value = path.iter().try_fold(object, |value, name| value.as_object()?.get(&**name));
            let (items, own): (&[Value], _) = match value {
                Some(Value::Array(items)) => (items, lists),
                Some(text) => (std::slice::from_ref(text), texts),
                None => continue,
            };
            for text in items.iter().filter_map(Value::as_str) {
                let text = line(text)?;
                own.find(text, &mut *found);
                either.find(text, &mut *found);
            }
        }
        Some(())
    }
}

/// Pairs of `iss` and `sub` that rules compare with.
#[derive(Debug, Default)]
pub struct Principals {
    by_issuer: HashMap<Box<str>, Texts>,
    others: Vec<(Pattern, Texts)>,
}

impl Principals {
    /// The number of a pair.
    pub fn atom(&mut self, Principal { issuer, subject }: &Principal, numbers: &mut Numbers) -> Atom {
        if let Pattern::Exact(issuer) = issuer {
            return self.by_issuer.entry(issuer.clone()).or_default().atom(subject, numbers);
        }
        if let Some((_, subjects)) = self.others.iter_mut().find(|(pattern, _)| pattern == issuer) {
            return subjects.atom(subject, numbers);
        }
        let mut subjects = Texts::default();
        let atom = subjects.atom(subject, numbers);
        self.others.push((issuer.clone(), subjects));
        atom
    }

    /// Those that a token has; none if one of its texts has a line break.
    #[must_use]
    #[inline(never)]
    pub fn find(&self, payload: &Value, found: &mut dyn FnMut(Atom)) -> Option<()> {
        if self.by_issuer.is_empty() && self.others.is_empty() {
            return Some(());
        }
        let claim = |name| payload.get(name).and_then(Value::as_str);
        let (Some(issuer), Some(subject)) = (claim("iss"), claim("sub")) else { return Some(()) };
        let (issuer, subject) = (line(issuer)?, line(subject)?);
        if let Some(subjects) = self.by_issuer.get(issuer) {
            subjects.find(subject, &mut *found);
        }
        for (_, subjects) in self.others.iter().filter(|(pattern, _)| pattern.fits(issuer)) {
            subjects.find(subject, &mut *found);
        }
        Some(())
    }
}

fn line(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.contains('\n'))
}
