//! Conversion of flag values: numbers, sizes, durations, booleans.
//!
//! The errors do not name the flag, because the caller adds its name.

use crate::coded;
use anyhow::{Context as _, Result, bail, ensure};

/// Parses a boolean as Go's `strconv.ParseBool` does.
pub fn parse_bool(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => bail!(coded!(UsageValue, "must be true or false")),
    }
}

/// Parses a number from 0 to `most`.
pub fn unsigned(text: &str, most: u64) -> Result<u64> {
    // parse::<u64> would take a leading "+"
    ensure!(
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
        coded!(UsageValue, "must be a number from 0 to {most}")
    );
    match text.parse() {
        Ok(number) if number <= most => Ok(number),
        _ => bail!(coded!(UsageValue, "must be a number from 0 to {most}")),
    }
}

/// Parses a number; -1, as any negative one, means "no limit".
pub fn signed(text: &str) -> Result<i64> {
    match text.parse() {
        Ok(number) => Ok(number),
        _ => bail!(coded!(UsageValue, "must be a number, or -1 for no limit")),
    }
}

/// Parses a size in bytes as `docker` writes it: `512`, `64k`, `1.5G`, `2gb`, `1GiB`, or as Kubernetes does: `64Mi`; -1
/// means "no limit". Units are binary.
pub fn size(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        "p" | "pb" | "pi" | "pib" => 50,
        _ => bail!(coded!(UsageValue, "must be a size like 512, 64k, 10m or 1g, or -1 for no limit")),
    };
    let bytes = decimal(number, 1 << shift).context("must be a size like 512, 64k, 10m or 1g, or -1 for no limit")?;
    bytes.and_then(|bytes| i64::try_from(bytes).ok()).context("is too large")
}

/// Parses a duration as Go writes it (`1m30s`, `100ms`, `0.5s`) into milliseconds, rounded up; refuses zero and less.
pub fn parse_duration_ms(text: &str) -> Result<u64> {
    const SHAPE: &str = "must be a duration like 5s, 500ms or 1m30s";
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    ensure!(!rest.starts_with('-') && rest != "0", coded!(UsageValue, "must be above 0"));
    ensure!(!rest.is_empty(), SHAPE);
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').context(SHAPE)?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len()));
        let nanoseconds = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => bail!(SHAPE),
        };
        let part = decimal(number, nanoseconds).context(SHAPE)?;
        total = part.and_then(|part| total.checked_add(part)).context("is too long")?;
        rest = tail;
    }
    ensure!(total > 0, coded!(UsageValue, "must be above 0"));
    // Go's durations end at 2^63 ns (292 years)
    ensure!(total <= i64::MAX as u128, coded!(UsageValue, "is too long"));
    u64::try_from(total.div_ceil(1_000_000)).context("is too long")
}

/// Multiplies `text` (digits, perhaps with a point) by `unit`, rounded down. The outer `None`: no number; the inner:
/// overflow.
fn decimal(text: &str, unit: u128) -> Option<Option<u128>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    // 15 digits are finer than any unit needs, and 10^15 times the largest unit fits
    let fraction = fraction.get(..15).unwrap_or(fraction);
    let scale = 10_u128.pow(fraction.len() as u32);
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().unwrap_or(0) * unit / scale };
    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<u128>().ok() };
    Some(whole.and_then(|whole| whole.checked_mul(unit)).and_then(|bytes| bytes.checked_add(part)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [
            ("0", 0),
            ("-1", -1),
            ("512", 512),
            ("1b", 1),
            ("64k", 65_536),
            ("64K", 65_536),
            ("64kb", 65_536),
            ("64KiB", 65_536),
            ("64Ki", 65_536),
            ("10m", 10 << 20),
            ("10MB", 10 << 20),
            ("10 MB", 10 << 20),
            ("1g", 1 << 30),
            ("1.5G", 3 << 29),
            (".5k", 512),
            ("2t", 2 << 40),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(size(text).unwrap(), want, "{text}");
        }
        for text in ["", "k", ".", "x", "1x", "1i", "-2", "-1m", "+1", "1..2", "1.2.3", "1e3", "0x10", "1 2", "١k"] {
            let err = size(text).expect_err(text);
            assert!(err.to_string().contains("must be a size"), "{text}: {err}");
        }
        for text in ["9223372036854775808", "8388608t", "340282366920938463463374607431768211456"] {
            assert_eq!(size(text).expect_err(text).to_string(), "is too large", "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, want) in [
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("100ms", 100),
            ("0.5s", 500),
            (".5s", 500),
            ("1h", 3_600_000),
            ("1h1ms", 3_600_001),
            ("+2s", 2_000),
            ("1500us", 2),
            ("1µs", 1),
            ("1ns", 1),
        ] {
            assert_eq!(parse_duration_ms(text).unwrap(), want, "{text}");
        }
        for text in ["", "5", "s", "1x", "5s3", "5 s", "1d", "1.2.3s", "."] {
            let err = parse_duration_ms(text).expect_err(text);
            assert!(err.to_string().contains("must be a duration"), "{text}: {err}");
        }
        for text in ["0", "0s", "-5s", "0h0m0s", "0.0s"] {
            assert_eq!(parse_duration_ms(text).expect_err(text).to_string(), "must be above 0", "{text}");
        }
        for text in ["99999999999h", "9999999999999999999999999999999999999999999s"] {
            assert_eq!(parse_duration_ms(text).expect_err(text).to_string(), "is too long", "{text}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(unsigned("0", 10).unwrap(), 0);
        assert_eq!(unsigned("10", 10).unwrap(), 10);
        for text in ["11", "-1", "+1", "", " 1", "x", "99999999999999999999"] {
            assert_eq!(unsigned(text, 10).expect_err(text).to_string(), "must be a number from 0 to 10", "{text}");
        }
        for (text, want) in [("-1", -1), ("-9999", -9999), ("0", 0), ("9223372036854775807", i64::MAX)] {
            assert_eq!(signed(text).unwrap(), want, "{text}");
        }
        for text in ["", "x", "-", "9223372036854775808", "1.0"] {
            assert_eq!(signed(text).expect_err(text).to_string(), "must be a number, or -1 for no limit", "{text}");
        }
    }
}
