//! Ports of `EXPOSE`.

use anyhow::{Context as _, Result, ensure};
use base::coded;

/// Maximum number of ports of one range.
const MAX_PORTS: u32 = 65_535;

/// Replaces ranges such as `7000-7010/udp` by their ports.
///
/// # Errors
/// A malformed range.
pub fn ranges(words: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for word in words {
        let (numbers, protocol) = word.split_once('/').map_or((word.as_str(), ""), |(numbers, rest)| (numbers, rest));
        let end = if protocol.is_empty() { String::new() } else { format!("/{}", protocol.to_ascii_lowercase()) };
        let Some((first, last)) = numbers.split_once('-') else {
            all.push(format!("{numbers}{end}"));
            continue;
        };
        let number = |text: &str| text.parse::<u32>().with_context(|| format!("{word:?}: not a range of ports"));
        let (first, last) = (number(first)?, number(last)?);
        ensure!(first <= last && last <= MAX_PORTS, coded!(BuildInvalid, "{word:?}: not a range of ports"));
        all.extend((first..=last).map(|port| format!("{port}{end}")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_range_is_its_ports() {
        let of = |word: &str| ranges(&[word.to_owned()]);
        assert_eq!(of("80").unwrap(), ["80"]);
        assert_eq!(of("80-82/UDP").unwrap(), ["80/udp", "81/udp", "82/udp"]);
        for bad in ["82-80", "a-b", "1-70000", "-"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
