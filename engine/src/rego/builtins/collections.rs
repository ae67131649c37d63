//! Lists, sets and graphs.

use std::collections::BTreeSet;

use regorus::Value;

use super::{Call, Outcome, Stop, items};

pub fn all(call: &mut Call<'_>) -> Outcome {
    Ok(Value::Bool(items(call.arg(0))?.into_iter().all(|item| *item == Value::Bool(true))))
}

pub fn any(call: &mut Call<'_>) -> Outcome {
    Ok(Value::Bool(items(call.arg(0))?.into_iter().any(|item| *item == Value::Bool(true))))
}

pub fn cast_array(call: &mut Call<'_>) -> Outcome {
    Ok(super::list(items(call.arg(0))?.into_iter().cloned()))
}

pub fn cast_set(call: &mut Call<'_>) -> Outcome {
    Ok(Value::from(items(call.arg(0))?.into_iter().cloned().collect::<BTreeSet<_>>()))
}

pub fn set_diff(call: &mut Call<'_>) -> Outcome {
    match (call.arg(0), call.arg(1)) {
        (Value::Set(one), Value::Set(other)) => Ok(one.difference(other).into_value()),
        _ => Err(Stop::Undefined),
    }
}

/// The nodes that can be reached from some; each is looked at once.
pub fn reachable(call: &mut Call<'_>) -> Outcome {
    let Value::Object(graph) = call.arg(0) else { return Err(Stop::Undefined) };
    let mut waiting: Vec<&Value> = items(call.arg(1))?;
    let mut found = BTreeSet::new();
    while let Some(node) = waiting.pop() {
        call.fuel.weigh(node)?;
        if let Some(neighbours) = graph.get(node)
            && found.insert(node.clone())
        {
            waiting.extend(items(neighbours).unwrap_or_default());
        }
    }
    Ok(Value::from(found))
}

/// Whether one value is a part of another: members of objects, elements of sets, neighbours in lists.
pub fn subset(call: &mut Call<'_>) -> Outcome {
    let (whole, part) = (call.arg(0), call.arg(1));
    let product = (call.fuel.extent(whole)?, call.fuel.extent(part)?);
    call.fuel.spend_product(product.0, product.1)?;
    match (whole, part) {
        (Value::Object(_), Value::Object(_))
        | (Value::Set(_), Value::Set(_))
        | (Value::Array(_), Value::Array(_) | Value::Set(_)) => Ok(Value::Bool(is_part(whole, part))),
        _ => Err(Stop::Undefined),
    }
}

fn is_part(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|known| is_part(known, value)))
        }
        (Value::Set(whole), Value::Set(part)) => part.iter().all(|item| whole.contains(item)),
        (Value::Array(whole), Value::Set(part)) => part.iter().all(|item| whole.contains(item)),
        (Value::Array(whole), Value::Array(part)) => {
            let (whole, part): (Vec<_>, Vec<_>) = (whole.iter().collect(), part.iter().collect());
            part.is_empty() || whole.windows(part.len()).any(|some| some == part)
        }
        (whole, part) => whole == part,
    }
}
