//! Lengths of time as Go writes and reads them: `1h30m`, `1.5s`, `100ms`.

use std::time::Duration;

/// Parses numbers, each with its unit; 0 needs none. `None` for another form, a negative length, or one out of range.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let length = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(length)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_and_this_read_the_same() {
        for (text, millis) in [
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("100ms", Some(100)),
            ("1h.5m", Some(3_630_000)),
            ("+2s", Some(2000)),
            ("0", Some(0)),
            ("", None),
            ("+", None),
            ("5", None),
            (".s", None),
            ("1x", None),
            ("-1s", None),
            ("s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(parse(text).map(|length| length.as_millis()), millis, "{text}");
        }
    }
}
