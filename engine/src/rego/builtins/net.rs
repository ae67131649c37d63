//! Networks in the notation of CIDR.

use std::collections::BTreeSet;
use std::net::IpAddr;

use regorus::Value;

use super::{Call, Outcome, Stop};
use crate::rego::text;

/// Addresses from the first to the last, as numbers.
struct Network {
    is_v4: bool,
    first: u128,
    last: u128,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (is_v4, number) = number(address.parse().ok()?);
        let bits: u32 = if is_v4 { 32 } else { 128 };
        let free = bits.checked_sub(length.parse().ok()?)?;
        let mask = 1_u128.checked_shl(free).map_or(u128::MAX, |size| size.saturating_sub(1));
        Some(Self { is_v4, first: number & !mask, last: number | mask })
    }

    /// A network, or one address.
    fn parse_any(text: &str) -> Option<Self> {
        if text.contains('/') {
            return Self::parse(text);
        }
        let (is_v4, number) = number(text.parse().ok()?);
        Some(Self { is_v4, first: number, last: number })
    }
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (true, u32::from(address).into()),
        // As Go has it: an IPv4 address that is written as IPv6 is one.
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => (true, u32::from(address).into()),
            None => (false, address.into()),
        },
    }
}

fn network(text: &str) -> Result<Network, Stop> {
    Network::parse(text).ok_or(Stop::Undefined)
}

pub fn is_valid(call: &mut Call<'_>) -> Outcome {
    Ok(Value::Bool(call.text(0).is_ok_and(|text| Network::parse(text).is_some())))
}

pub fn contains(call: &mut Call<'_>) -> Outcome {
    let outer = network(call.text(0)?)?;
    let inner = Network::parse_any(call.text(1)?).ok_or(Stop::Undefined)?;
    let within = outer.first <= inner.first && inner.last <= outer.last;
    Ok(Value::Bool(outer.is_v4 == inner.is_v4 && within))
}

pub fn intersects(call: &mut Call<'_>) -> Outcome {
    let (one, other) = (network(call.text(0)?)?, network(call.text(1)?)?);
    let meet = one.first <= other.last && other.first <= one.last;
    Ok(Value::Bool(one.is_v4 == other.is_v4 && meet))
}

pub fn expand(call: &mut Call<'_>) -> Outcome {
    let network = network(call.text(0)?)?;
    let count = network.last.saturating_sub(network.first).saturating_add(1);
    call.fuel.spend(u64::try_from(count).unwrap_or(u64::MAX))?;
    let address = |number: u128| match u32::try_from(number) {
        Ok(number) if network.is_v4 => IpAddr::V4(number.into()),
        _ => IpAddr::V6(number.into()),
    };
    let addresses = (network.first..=network.last).map(|number| text(address(number).to_string()));
    Ok(Value::from(addresses.collect::<BTreeSet<_>>()))
}
