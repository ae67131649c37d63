//! Time, of which a policy knows when the request came.

use regorus::Value;
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, Month, OffsetDateTime, UtcOffset};

use super::numbers::whole_at;
use super::{Call, Outcome, Stop, as_whole, items, list};
use crate::rego::machine::Fault;
use crate::rego::text;

pub fn now(call: &mut Call<'_>) -> Outcome {
    Ok(Value::from(call.time.nanos()))
}

pub fn parse_rfc3339(call: &mut Call<'_>) -> Outcome {
    let moment = OffsetDateTime::parse(call.text(0)?, &Rfc3339).map_err(|_| Stop::Undefined)?;
    nanos(moment)
}

pub fn parse(call: &mut Call<'_>) -> Outcome {
    let (layout, moment) = (call.text(0)?, call.text(1)?);
    check_layout(layout)?;
    nanos(OffsetDateTime::parse(moment, &Rfc3339).map_err(|_| Stop::Undefined)?)
}

fn nanos(moment: OffsetDateTime) -> Outcome {
    i64::try_from(moment.unix_timestamp_nanos()).map(Value::from).map_err(|_| Stop::Undefined)
}

/// Go's layouts by their names; to write and read others would take a library of its own.
fn check_layout(layout: &str) -> Result<(), Stop> {
    let known = ["RFC3339", "RFC3339Nano", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05.999999999Z07:00"];
    if known.contains(&layout) {
        return Ok(());
    }
    Err(Fault::Failed("a layout of times is not in Sidegate: use RFC3339".to_owned()).into())
}

/// The moment in a number, or in a list with a zone behind it and maybe more.
fn moment(value: &Value) -> Result<(OffsetDateTime, Vec<&Value>), Stop> {
    let (nanos, more) = match value {
        Value::Array(_) => {
            let items = items(value)?;
            (whole_at(&items, 0)?, items)
        }
        value => (as_whole(value)?, Vec::new()),
    };
    let offset = match more.get(1) {
        None => UtcOffset::UTC,
        Some(Value::String(zone)) => match zone.as_ref() {
            "" | "UTC" => UtcOffset::UTC,
            // It is not named, since it may come of the request.
            _ => return Err(Fault::Failed("a time zone is not in Sidegate: use UTC".to_owned()).into()),
        },
        Some(_) => return Err(Stop::Undefined),
    };
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).map_err(|_| Stop::Undefined)?;
    Ok((moment.to_offset(offset), more))
}

pub fn date(call: &mut Call<'_>) -> Outcome {
    let (moment, _) = moment(call.arg(0))?;
    Ok(list([i64::from(moment.year()), u8::from(moment.month()).into(), moment.day().into()].map(Value::from)))
}

pub fn clock(call: &mut Call<'_>) -> Outcome {
    let (moment, _) = moment(call.arg(0))?;
    Ok(list([moment.hour(), moment.minute(), moment.second()].map(|number| Value::from(u64::from(number)))))
}

pub fn weekday(call: &mut Call<'_>) -> Outcome {
    let (moment, _) = moment(call.arg(0))?;
    Ok(text(moment.weekday().to_string()))
}

pub fn format(call: &mut Call<'_>) -> Outcome {
    let (moment, more) = moment(call.arg(0))?;
    if let Some(layout) = more.get(2) {
        check_layout(super::as_text(layout)?)?;
    }
    moment.format(&Rfc3339).map(text).map_err(|_| Stop::Undefined)
}

/// As Go's `AddDate`: a month too many is one of the next year, a day too many one of the next month.
pub fn add_date(call: &mut Call<'_>) -> Outcome {
    let (moment, _) = moment(call.arg(0))?;
    let (years, months, days) = (call.whole(1)?, call.whole(2)?, call.whole(3)?);
    let months = i64::from(u8::from(moment.month())).saturating_sub(1).saturating_add(months);
    let year = i64::from(moment.year()).saturating_add(years).saturating_add(months.div_euclid(12));
    let month =
        u8::try_from(months.rem_euclid(12).saturating_add(1)).ok().and_then(|month| Month::try_from(month).ok());
    let (Ok(year), Some(month)) = (i32::try_from(year), month) else { return Err(Stop::Undefined) };
    let first = Date::from_calendar_date(year, month, 1).map_err(|_| Stop::Undefined)?;
    let days = i64::from(moment.day()).saturating_sub(1).saturating_add(days);
    let days = i32::try_from(days).map_err(|_| Stop::Undefined)?;
    let date = first.checked_add(Duration::days(days.into())).ok_or(Stop::Undefined)?;
    nanos(moment.replace_date(date))
}

pub fn diff(call: &mut Call<'_>) -> Outcome {
    let ((one, _), (other, _)) = (moment(call.arg(0))?, moment(call.arg(1))?);
    let (early, late) = if one <= other { (one, other) } else { (other, one) };
    let mut parts = [
        i64::from(late.year()).saturating_sub(early.year().into()),
        i64::from(u8::from(late.month())).saturating_sub(u8::from(early.month()).into()),
        i64::from(late.day()).saturating_sub(early.day().into()),
        i64::from(late.hour()).saturating_sub(early.hour().into()),
        i64::from(late.minute()).saturating_sub(early.minute().into()),
        i64::from(late.second()).saturating_sub(early.second().into()),
    ];
    if late.nanosecond() < early.nanosecond()
        && let [.., seconds] = &mut parts
    {
        *seconds = seconds.saturating_sub(1);
    }
    let sizes = [i64::MAX, 12, early.month().length(early.year()).into(), 24, 60, 60];
    for index in (1..parts.len()).rev() {
        let (Some(part), Some(size)) = (parts.get(index).copied(), sizes.get(index)) else { continue };
        if part < 0 {
            if let Some(part) = parts.get_mut(index) {
                *part = part.saturating_add(*size);
            }
            if let Some(larger) = parts.get_mut(index.saturating_sub(1)) {
                *larger = larger.saturating_sub(1);
            }
        }
    }
    Ok(list(parts.map(Value::from)))
}

/// As Go's `ParseDuration`, with days, weeks and years: `1h30m`, `-1.5s`, `2d`.
pub fn parse_duration(call: &mut Call<'_>) -> Outcome {
    let whole = call.text(0)?;
    let (sign, mut rest) = match whole.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, whole.strip_prefix('+').unwrap_or(whole)),
    };
    if rest == "0" {
        return Ok(Value::from(0_u64));
    }
    let mut nanos: f64 = 0.0;
    if rest.is_empty() {
        return Err(Stop::Undefined);
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(Stop::Undefined)?;
        let (number, after) = rest.split_at_checked(end).ok_or(Stop::Undefined)?;
        let number: f64 = number.parse().map_err(|_| Stop::Undefined)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end).ok_or(Stop::Undefined)?;
        let size = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            "w" => 604_800e9,
            "y" => 31_536_000e9,
            _ => return Err(Stop::Undefined),
        };
        nanos += number * size;
        rest = after;
    }
    if nanos >= 9.2e18 {
        return Err(Stop::Undefined);
    }
    format!("{:.0}", sign * nanos).parse::<i64>().map(Value::from).map_err(|_| Stop::Undefined)
}
