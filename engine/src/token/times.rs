//! When a token holds (RFC 7519 sections 4.1.4 and 4.1.5).

use std::time::Duration;

use rsa::pkcs8::der::DateTime;
use serde_json::{Map, Value};

use super::claims_error;
use crate::error::StepError;
use crate::time::Timestamp;

/// How far the issuer's clock may be ahead of ours, for `nbf` alone.
const LEEWAY: Duration = Duration::from_secs(300);

/// When a token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Seconds since the epoch; a token without it never holds.
    exp: Option<i64>,
    nbf: Option<i64>,
}

impl Times {
    /// Reads `exp` and `nbf`, and looks at `iat`.
    ///
    /// # Errors
    /// One of them is no number.
    pub fn of(claims: &Map<String, Value>) -> Result<Self, StepError> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => seconds(value).map(Some).ok_or_else(|| claims_error(&format!("`{name}` is no number"))),
        };
        time("iat")?;
        Ok(Self { exp: time("exp")?, nbf: time("nbf")? })
    }

    /// Whether the token holds now.
    ///
    /// # Errors
    /// It does not.
    pub fn check(self, now: Timestamp) -> Result<(), StepError> {
        let expired = self.exp.is_none_or(|exp| point(exp) <= now);
        if expired {
            let exp = self.exp.map_or_else(|| "0001-01-01 00:00:00 +0000 UTC".to_owned(), go_time);
            return Err(StepError::denied(format!("oidc: token is expired (Token Expiry: {exp})")));
        }
        match self.nbf {
            Some(nbf) if now.after(LEEWAY) < point(nbf) => {
                let now = go_time(i64::try_from(now.secs()).unwrap_or(i64::MAX));
                let nbf = go_time(nbf);
                Err(StepError::denied(format!("oidc: current time {now} before the nbf (not before) time: {nbf}")))
            }
            _ => Ok(()),
        }
    }
}

/// Whole seconds; a fraction is cut off.
pub fn seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "cutting off is what is wanted, and `as` stays within i64")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

/// Before the epoch counts as the epoch: long ago in any case.
pub fn point(seconds: i64) -> Timestamp {
    Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// As Go prints a time: `2006-01-02 15:04:05 +0000 UTC`; the bare number if it is before 1970 or after 9999.
fn go_time(seconds: i64) -> String {
    let date =
        u64::try_from(seconds).ok().and_then(|seconds| DateTime::from_unix_duration(Duration::from_secs(seconds)).ok());
    match date {
        Some(date) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} +0000 UTC",
            date.year(),
            date.month(),
            date.day(),
            date.hour(),
            date.minutes(),
            date.seconds()
        ),
        None => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_136_214_245;

    fn check(claims: &Value) -> Result<(), String> {
        let claims = claims.as_object().unwrap();
        Times::of(claims).and_then(|times| times.check(Timestamp::from_secs(NOW))).map_err(|error| error.reason)
    }

    #[test]
    fn expiry_has_no_leeway() {
        assert_eq!(check(&json!({"exp": NOW + 1})), Ok(()));
        let expired = "oidc: token is expired (Token Expiry: 2006-01-02 15:04:05 +0000 UTC)";
        assert_eq!(check(&json!({ "exp": NOW })), Err(expired.to_owned()));
        assert!(check(&json!({"exp": NOW - 1})).is_err());
        assert!(check(&json!({"exp": -1})).unwrap_err().contains("-1"));
    }

    #[test]
    fn a_token_that_says_nothing_of_its_end_has_expired() {
        let expired = "oidc: token is expired (Token Expiry: 0001-01-01 00:00:00 +0000 UTC)";
        assert_eq!(check(&json!({})), Err(expired.to_owned()));
    }

    #[test]
    fn not_before_has_five_minutes_of_leeway() {
        let at = |nbf: u64| check(&json!({"exp": NOW + 1, "nbf": nbf}));
        assert_eq!(at(NOW + 300), Ok(()));
        let early = "oidc: current time 2006-01-02 15:04:05 +0000 UTC before the nbf (not before) time: 2006-01-02 15:09:06 +0000 UTC";
        assert_eq!(at(NOW + 301), Err(early.to_owned()));
    }

    #[test]
    fn times_are_numbers_of_any_kind() {
        assert_eq!(check(&json!({"exp": 1_136_214_246.9})), Ok(()));
        assert!(check(&json!({"exp": 1_136_214_245.9})).is_err());
        assert_eq!(check(&json!({"exp": 1e300, "nbf": -1e300, "iat": 0.5})), Ok(()));
        assert_eq!(check(&json!({"exp": u64::MAX})), Ok(()));
        for claims in
            [json!({"exp": "1136214246"}), json!({"exp": NOW + 1, "nbf": null}), json!({"exp": NOW + 1, "iat": []})]
        {
            assert!(check(&claims).unwrap_err().starts_with("oidc: failed to unmarshal claims"), "{claims}");
        }
    }

    #[test]
    fn far_away_times_can_be_printed() {
        for time in [i64::MIN, i64::MAX, -1, 0, 253_402_300_800] {
            assert!(!go_time(time).is_empty());
        }
    }
}
