//! Sizes and durations for people, in the words of Docker and Podman.

use jiff::{SignedDuration, Timestamp};

/// Units of sizes, each 1000 of the one before.
const SIZES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Formats a size by a number of significant digits: `1.98MB`.
pub fn size(bytes: u64, digits: usize) -> String {
    let (number, unit) = size_parts(bytes, digits);
    format!("{number}{unit}")
}

/// Formats the size of an image: `1.98 MB`.
pub fn image_size(bytes: u64) -> String {
    let (number, unit) = size_parts(bytes, 3);
    format!("{number} {unit}")
}

fn size_parts(bytes: u64, digits: usize) -> (String, &'static str) {
    let mut value = bytes as f64;
    for unit in SIZES {
        let whole = if value < 1.0 { 1 } else { value.log10() as usize + 1 };
        let text = format!("{value:.*}", digits.saturating_sub(whole));
        // rounding may reach the next unit
        if text.parse::<f64>().unwrap_or(value) < 1000.0 {
            let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            return (text.to_owned(), unit);
        }
        value /= 1000.0;
    }
    (format!("{value:.0}"), "ZB")
}

/// Formats a duration by its largest unit: `5 minutes`.
pub fn duration(length: SignedDuration) -> String {
    const HOUR: i64 = 3600;
    let seconds = length.as_secs();
    // hours are rounded, the units below them cut
    let hours = (seconds + HOUR / 2) / HOUR;
    match (seconds, seconds / 60, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, minutes @ 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17_520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / HOUR / 24 / 365),
    }
}

/// Formats a time span as Go does: `1h2m3.5s`, `12.34ms`, `0s`; to microseconds.
pub fn span(span: std::time::Duration) -> String {
    let trimmed = |number: f64, digits: usize| {
        let text = format!("{number:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    let seconds = span.as_secs();
    if seconds == 0 {
        return match span.subsec_micros() {
            0 => "0s".to_owned(),
            micros @ 1..1000 => format!("{micros}µs"),
            micros => format!("{}ms", trimmed(f64::from(micros) / 1e3, 3)),
        };
    }
    let rest = trimmed((seconds % 60) as f64 + f64::from(span.subsec_micros()) / 1e6, 6);
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// Formats the time since an RFC 3339 time, without `ago`; empty for another text.
pub fn since(time: &str) -> String {
    time.parse::<Timestamp>().map(|time| duration(Timestamp::now().duration_since(time))).unwrap_or_default()
}

/// Formats the age of an RFC 3339 time: `3 hours ago`; empty for another text.
pub fn ago(time: &str) -> String {
    match since(time) {
        since if since.is_empty() => since,
        since => format!("{since} ago"),
    }
}

/// Formats an RFC 3339 time as Go prints a time in UTC: `2026-11-29 18:44:12.658 +0000 UTC`.
pub fn go_time(time: &str) -> String {
    let formatted = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string();
    time.parse().map(formatted).unwrap_or_default()
}

/// Formats an RFC 3339 time as [`go_time`] does, cut to seconds.
pub fn go_second(time: &str) -> String {
    let cut = |time: Timestamp| Timestamp::from_second(time.as_second()).map(|time| go_time(&time.to_string()));
    time.parse().map(cut).ok().and_then(Result::ok).unwrap_or_default()
}

/// Returns the seconds since 1970 of an RFC 3339 time; those of Go's zero time for another text.
pub fn unix(time: &str) -> i64 {
    const GO_ZERO: i64 = -62_135_596_800;
    time.parse::<Timestamp>().map_or(GO_ZERO, |time| time.as_second())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn sizes_are_those_of_docker() {
        for (bytes, three, four) in [
            (0, "0B", "0B"),
            (12, "12B", "12B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (1_996_800, "2MB", "1.997MB"),
            (1_980_000, "1.98MB", "1.98MB"),
            (123_456, "123kB", "123.5kB"),
            (999_999, "1MB", "1MB"),
            (45_678_901_234, "45.7GB", "45.68GB"),
            (u64::MAX, "18.4EB", "18.45EB"),
        ] {
            assert_eq!((size(bytes, 3).as_str(), size(bytes, 4).as_str()), (three, four), "{bytes}");
        }
        assert_eq!(image_size(1_980_000), "1.98 MB");
    }

    #[test]
    fn durations_are_those_of_docker() {
        let hour = 3600;
        for (seconds, want) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (hour, "About an hour"),
            (hour * 3 / 2, "2 hours"),
            (47 * hour, "47 hours"),
            (48 * hour, "2 days"),
            (14 * 24 * hour, "2 weeks"),
            (60 * 24 * hour, "2 months"),
            (730 * 24 * hour, "2 years"),
        ] {
            assert_eq!(duration(SignedDuration::from_secs(seconds)), want, "{seconds}");
        }
    }

    #[test]
    fn times_are_those_of_go() {
        assert_eq!(go_time("2026-11-29T18:44:12.658121195Z"), "2026-11-29 18:44:12.658121195 +0000 UTC");
        assert_eq!(go_time("2026-11-29T18:44:12Z"), "2026-11-29 18:44:12 +0000 UTC");
        assert_eq!((go_time("x"), unix("x"), unix("1970-01-01T00:01:00Z")), (String::new(), -62_135_596_800, 60));
        assert_eq!((ago("x"), since("2000-01-01T00:00:00Z").ends_with(" years")), (String::new(), true));
    }

    #[test]
    fn spans_have_the_form_of_go() {
        let millis = std::time::Duration::from_millis;
        for (length, text) in [(0, "0s"), (12, "12ms"), (1_500, "1.5s"), (62_003, "1m2.003s"), (3_600_000, "1h0m0s")] {
            assert_eq!(span(millis(length)), text);
        }
        assert_eq!(span(std::time::Duration::from_micros(12_345)), "12.345ms");
        assert_eq!((size(1_311_000, 4), size(25_280_000_000, 4)), ("1.311MB".to_owned(), "25.28GB".to_owned()));
    }
}
