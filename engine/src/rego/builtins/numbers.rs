//! Numbers.

use regorus::Value;

use super::{Call, Outcome, Stop, as_whole, items, list};

/// Bits that a number can be shifted by.
const SHIFT: i64 = 1024;

pub fn lsh(call: &mut Call<'_>) -> Outcome {
    let (Value::Number(number), Value::Number(shift)) = (call.arg(0), call.arg(1)) else { return Err(Stop::Undefined) };
    if !(0..=SHIFT).contains(&call.whole(1)?) {
        return Err(Stop::Undefined);
    }
    number.lsh(shift).map(Value::Number).ok_or(Stop::Undefined)
}

pub fn range(call: &mut Call<'_>) -> Outcome {
    stepped(call, 1)
}

pub fn range_step(call: &mut Call<'_>) -> Outcome {
    match call.whole(2)? {
        step if step > 0 => stepped(call, step),
        _ => Err(Stop::Undefined),
    }
}

fn stepped(call: &mut Call<'_>, step: i64) -> Outcome {
    let (from, to) = (call.whole(0)?, call.whole(1)?);
    let count = from.abs_diff(to).checked_div(step.unsigned_abs()).unwrap_or(0).saturating_add(1);
    call.fuel.spend(count)?;
    let step = if from <= to { step } else { step.saturating_neg() };
    let count = usize::try_from(count).unwrap_or(0);
    let numbers = std::iter::successors(Some(from), |number| number.checked_add(step)).take(count);
    Ok(list(numbers.map(Value::from)))
}

pub fn product(call: &mut Call<'_>) -> Outcome {
    let items = items(call.arg(0))?;
    let [first, rest @ ..] = items.as_slice() else { return Ok(Value::from(1_u64)) };
    let mut product = (*first).clone();
    if !matches!(product, Value::Number(_)) {
        return Err(Stop::Undefined);
    }
    for item in rest {
        let (Value::Number(one), Value::Number(other)) = (&product, item) else { return Err(Stop::Undefined) };
        product = one.mul(other).map(Value::Number).map_err(|_| Stop::Undefined)?;
        call.fuel.weigh(&product)?;
    }
    Ok(product)
}

pub fn to_number(call: &mut Call<'_>) -> Outcome {
    match call.arg(0) {
        Value::Null | Value::Bool(false) => Ok(Value::from(0_u64)),
        Value::Bool(true) => Ok(Value::from(1_u64)),
        number @ Value::Number(_) => Ok(number.clone()),
        Value::String(text) => parse(text).ok_or(Stop::Undefined),
        _ => Err(Stop::Undefined),
    }
}

/// A number as JSON has it.
fn parse(text: &str) -> Option<Value> {
    let number: serde_json::Number = text.parse().ok()?;
    if let (false, Some(_)) =
        (text.contains(['.', 'e', 'E']), number.as_f64().filter(|_| !number.is_i64() && !number.is_u64()))
    {
        // A whole number beyond 64 bits; the text is no longer than a double has digits.
        return Value::from_numeric_string(text).ok();
    }
    Some(super::super::from_json(&serde_json::Value::Number(number)))
}

/// A whole number out of a list, for what takes a moment and more.
pub fn whole_at(items: &[&Value], index: usize) -> Result<i64, Stop> {
    items.get(index).map_or(Err(Stop::Undefined), |item| as_whole(item))
}
