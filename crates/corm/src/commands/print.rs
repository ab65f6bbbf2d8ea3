//! Output on standard output: tables for people, JSON for programs; control characters are escaped in both.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use comfy_table::Table;
use serde::Serialize;

use base::error::escape;

/// Prints a table: columns two spaces apart below headers, without lines, as `ps` and `docker` do.
pub fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(headers);
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| escape::one_line(&cell).into_owned())));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    write(text.as_bytes())
}

/// Prints one JSON document, indented.
pub fn json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(escape::output(&text).as_bytes())
}

/// Prints one line.
pub fn line(text: impl std::fmt::Display) -> Result<()> {
    write(format!("{}\n", escape::one_line(&text.to_string())).as_bytes())
}

/// Writes bytes unbuffered; a closed reader is an error.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context("standard output")
}

/// Formats a size for people: `12.3 MB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// Formats a size without a space and with four digits, as Docker and Podman do in statistics: `1.311MB`.
pub fn short_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 || unit == "TB" {
            let digits = if value >= 100.0 {
                1
            } else if value >= 10.0 {
                2
            } else {
                3
            };
            let text = format!("{value:.digits$}");
            let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            return format!("{text}{unit}");
        }
        value /= 1000.0;
    }
    String::new()
}

/// Formats a time span as Go does: `1h2m3.5s`, `12.34ms`, `0s`; to microseconds.
pub fn duration(span: std::time::Duration) -> String {
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

/// Formats the age of an RFC 3339 time: `3 hours ago`; empty for an invalid time.
pub fn age(created: &str) -> String {
    let Ok(created) = created.parse::<jiff::Timestamp>() else { return String::new() };
    let seconds = jiff::Timestamp::now().as_second().saturating_sub(created.as_second());
    let units = [("year", 365 * 86_400), ("month", 30 * 86_400), ("day", 86_400), ("hour", 3_600), ("minute", 60)];
    for (unit, length) in units {
        let count = seconds / length;
        if count > 0 {
            return format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" });
        }
    }
    "just now".to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (107_000_000, "107.0 MB")] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn statistics_have_the_form_of_other_tools() {
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (1_311_000, "1.311MB"), (25_280_000_000, "25.28GB"), (150_000, "150kB")]
        {
            assert_eq!(short_size(bytes), text);
        }
        for (millis, text) in [(0, "0s"), (12, "12ms"), (1_500, "1.5s"), (62_003, "1m2.003s"), (3_600_000, "1h0m0s")] {
            assert_eq!(duration(std::time::Duration::from_millis(millis)), text);
        }
        assert_eq!(duration(std::time::Duration::from_micros(12_345)), "12.345ms");
    }

    #[test]
    fn ages_have_one_unit() {
        let ago = |seconds: i64| age(&(jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds)).to_string());
        for (seconds, text) in [(5, "just now"), (-90, "just now"), (61, "1 minute ago"), (7_205, "2 hours ago")] {
            assert_eq!(ago(seconds), text);
        }
        assert_eq!((age("yesterday"), ago(800 * 86_400)), (String::new(), "2 years ago".to_owned()));
    }
}
