//! Istio's `AuthorizationPolicy`, brought into the form that all policies have.
//!
//! What comes of it is never wider than what Istio makes of it: where both differ, a rule that lets in fits less, and one that keeps
//! out more. `options.eastWest.istio.mode: Compat` has both the same.

use std::rc::Rc;

use sidegate_config::EnforcementLevel;

use super::Chain;
use super::object::{Object, Place, Rule, Term, Value, Who};
use super::pattern::Pattern;

mod aliases;
mod names;
mod policy;
mod rule;
mod value;

pub use names::Names;

/// A policy as it is for one workload: with all names that its trust domains give to who is meant, and in TCP without what only HTTP
/// has. Policies that are not Istio's stay as they are.
#[must_use]
pub fn of_workload(object: &Rc<Object>, domains: &[String], chain: Chain) -> Rc<Object> {
    if !object.istio {
        return Rc::clone(object);
    }
    let mut object = Object::clone(object);
    if chain == Chain::Tcp && matches!(object.place, Place::Allow(_)) {
        object.place = Place::Allow(EnforcementLevel::Network);
        // If one of its alternatives is about HTTP, Istio drops all of the rule.
        for rule in object.rules.iter_mut().filter(|rule| is_http(rule)) {
            rule.groups = vec![Vec::new()];
        }
    }
    for Term { values, .. } in object.rules.iter_mut().flat_map(|rule| &mut rule.groups).flatten().flatten() {
        let expanded = std::mem::take(values).into_iter().flat_map(|value| match value {
            Value::Who(Who::Name(name)) => names_of(&name, domains),
            other => vec![other],
        });
        *values = expanded.collect();
    }
    Rc::new(object)
}

fn names_of(name: &Pattern, domains: &[String]) -> Vec<Value> {
    let names = aliases::expand(&name.to_string(), domains).into_iter();
    names.map(|name| Value::Who(Who::Name(value::pattern(&name)))).collect()
}

/// Whether a rule looks at what only HTTP has.
fn is_http(rule: &Rule) -> bool {
    rule.groups.iter().flatten().flatten().any(|term| term.dimension.is_http())
}
