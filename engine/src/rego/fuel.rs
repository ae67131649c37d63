//! How much a policy may do for one request.

use regorus::Value;

use super::machine::Fault;

/// Steps that a policy may take.
pub const STEPS: u64 = 100_000;

/// Units of work that a step has: a value that is looked at is one, and so are 16 bytes of text.
pub const STEP: u64 = 16;

/// Bytes of text that are one unit.
const TEXT: usize = 16;

/// Values within values within values.
const DEPTH: u32 = 192;

/// Bits of a whole number; a double has no more than 1024.
const BITS: u64 = 2048;

/// What is left.
#[derive(Debug)]
pub struct Fuel(u64);

impl Fuel {
    /// For one request.
    pub const fn new() -> Self {
        Self(STEPS.saturating_mul(STEP))
    }

    /// Units that are left.
    pub const fn left(&self) -> u64 {
        self.0
    }

    /// Takes so many units.
    pub fn spend(&mut self, units: u64) -> Result<(), Fault> {
        match self.0.checked_sub(units) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                self.0 = 0;
                Err(Fault::Runaway)
            }
        }
    }

    /// Takes what it costs to look at so many bytes of text.
    pub fn spend_text(&mut self, bytes: usize) -> Result<(), Fault> {
        self.spend(u64::try_from(bytes / TEXT).unwrap_or(u64::MAX))
    }

    /// Takes what it costs to compare so many bytes, or a sixteenth of so many things, with each of so many others.
    pub fn spend_product(&mut self, one: usize, other: usize) -> Result<(), Fault> {
        self.spend_text(one.saturating_mul(other))
    }

    /// Takes what it costs to look at all of a value. One and the same value within another twice counts twice: who
    /// compares or prints it looks at it twice.
    pub fn weigh(&mut self, value: &Value) -> Result<(), Fault> {
        self.weigh_within(value, DEPTH)
    }

    fn weigh_within(&mut self, value: &Value, depth: u32) -> Result<(), Fault> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Fault::Failed("a value is nested too deeply".to_owned()));
        };
        self.spend(1)?;
        match value {
            Value::Undefined | Value::Null | Value::Bool(_) => Ok(()),
            Value::Number(number) => {
                if number.as_i64().is_some() || number.as_u64().is_some() || !number.is_integer() {
                    return Ok(());
                }
                let bits = number.to_big().map_or(u64::MAX, |big| big.bits());
                if bits > BITS {
                    return Err(Fault::Failed("a number is too large".to_owned()));
                }
                self.spend(bits / 64)
            }
            Value::String(text) => self.spend_text(text.len()),
            Value::Array(items) => items.iter().try_for_each(|item| self.weigh_within(item, depth)),
            Value::Set(items) => items.iter().try_for_each(|item| self.weigh_within(item, depth)),
            Value::Object(members) => members.iter().try_for_each(|(key, value)| {
                self.weigh_within(key, depth)?;
                self.weigh_within(value, depth)
            }),
        }
    }

    /// The same; says how many units it was, to be multiplied with another.
    pub fn extent(&mut self, value: &Value) -> Result<usize, Fault> {
        let before = self.0;
        self.weigh(value)?;
        Ok(usize::try_from(before.saturating_sub(self.0)).unwrap_or(usize::MAX))
    }
}
