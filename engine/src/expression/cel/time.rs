//! Points in time and spans between them.

use std::fmt;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

use super::fault::Fault;

/// `google.protobuf.Timestamp`, which prints with the offset it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(OffsetDateTime);

/// `google.protobuf.Duration` in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

/// What can be asked of a moment.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

impl Moment {
    pub fn parse(text: &str) -> Option<Self> {
        Self::checked(OffsetDateTime::parse(text, &Rfc3339).ok()?)
    }

    pub fn from_unix(seconds: i64) -> Option<Self> {
        Self::checked(OffsetDateTime::from_unix_timestamp(seconds).ok()?)
    }

    /// Years 1 to 9999, as the protobuf type has it.
    fn checked(moment: OffsetDateTime) -> Option<Self> {
        (1..=9999).contains(&moment.to_offset(UtcOffset::UTC).year()).then_some(Self(moment))
    }

    pub const fn unix(self) -> i64 {
        self.0.unix_timestamp()
    }

    pub fn plus(self, span: Span) -> Option<Self> {
        Self::checked(self.0.checked_add(Duration::nanoseconds(span.0))?)
    }

    pub fn minus(self, span: Span) -> Option<Self> {
        Self::checked(self.0.checked_sub(Duration::nanoseconds(span.0))?)
    }

    pub fn since(self, other: Self) -> Option<Span> {
        let nanos = self.0.unix_timestamp_nanos().checked_sub(other.0.unix_timestamp_nanos())?;
        i64::try_from(nanos).ok().map(Span)
    }

    /// A field in UTC, or in the zone given as `UTC` or as an offset like `+02:00`.
    pub fn field(self, field: Field, zone: Option<&str>) -> Result<i64, Fault> {
        let offset = zone.map_or(Ok(UtcOffset::UTC), offset)?;
        let local = self.0.checked_to_offset(offset).ok_or_else(|| Fault::new("timestamp overflow"))?;
        Ok(match field {
            Field::FullYear => local.year().into(),
            Field::Month => i64::from(u8::from(local.month())).saturating_sub(1),
            Field::Date => local.day().into(),
            Field::DayOfMonth => i64::from(local.day()).saturating_sub(1),
            Field::DayOfWeek => local.weekday().number_days_from_sunday().into(),
            Field::DayOfYear => i64::from(local.ordinal()).saturating_sub(1),
            Field::Hours => local.hour().into(),
            Field::Minutes => local.minute().into(),
            Field::Seconds => local.second().into(),
            Field::Milliseconds => local.millisecond().into(),
        })
    }
}

/// Zones with a name need a database of a megabyte, which is not worth its time to load.
fn offset(zone: &str) -> Result<UtcOffset, Fault> {
    if matches!(zone, "" | "UTC") {
        return Ok(UtcOffset::UTC);
    }
    let parse = || {
        let (sign, digits) = match zone.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, zone.strip_prefix('+').unwrap_or(zone)),
        };
        let (hours, minutes) = digits.split_once(':')?;
        let number = |text: &str| {
            let two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i8>().ok().filter(|_| two_digits)
        };
        let part = |text| number(text)?.checked_mul(sign);
        UtcOffset::from_hms(part(hours)?, part(minutes)?, 0).ok()
    };
    parse().ok_or_else(|| Fault::new("unknown time zone: write UTC or an offset like +02:00".to_owned()))
}

/// Whether a zone is one that is known here.
pub fn is_zone(zone: &str) -> bool {
    offset(zone).is_ok()
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Span {
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// As Go writes it: numbers with units, as in `1h30m` or `-1.5s`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut nanos: i128 = 0;
        while !rest.is_empty() {
            let (part, after) = part(rest)?;
            nanos = nanos.checked_add(part)?;
            rest = after;
        }
        i64::try_from(if negative { nanos.checked_neg()? } else { nanos }).ok().map(Self)
    }
}

/// A number with its unit at the start of a text, in nanoseconds, and what is left of the text.
fn part(text: &str) -> Option<(i128, &str)> {
    let (number, rest) = text.split_at(text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))?);
    let (unit, rest) =
        rest.split_at(rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len()));
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Nanoseconds of an hour have no more than 13 digits: what is beyond does not count.
    let fraction = fraction.get(..fraction.len().min(15))?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let nanos = whole.checked_mul(unit)?.checked_add(fraction.checked_mul(unit)?.checked_div(scale)?)?;
    Some((nanos, rest))
}

impl fmt::Display for Span {
    /// Seconds with as many digits as it takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let (seconds, fraction) = (nanos / NANOS_PER_SECOND, format!("{:09}", nanos % NANOS_PER_SECOND));
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{sign}{seconds}s"),
            fraction => write!(f, "{sign}{seconds}.{fraction}s"),
        }
    }
}
