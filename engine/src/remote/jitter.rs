//! Spreads work over time, so that a thousand proxies do not call a server in the same moment.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

/// Numbers that look random; nothing secret rests on them.
#[derive(Debug, Default)]
pub struct Jitter(Cell<u64>);

impl Jitter {
    /// Starts over from another number.
    pub fn seed(&self, seed: u64) {
        self.0.set(seed);
    }

    /// A part of `whole` within `parts`.
    pub fn spread(&self, whole: Duration, parts: Range<f64>) -> Duration {
        let part = self.fraction().mul_add(parts.end - parts.start, parts.start);
        Duration::try_from_secs_f64(whole.as_secs_f64() * part).unwrap_or(whole)
    }

    /// From 0 to 1, by SplitMix64 (Steele, Lea, Flood 2014).
    fn fraction(&self) -> f64 {
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = u32::try_from(mixed >> 32).unwrap_or_default();
        f64::from(high) / f64::from(u32::MAX)
    }
}
