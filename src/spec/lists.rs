//! Lists of CPUs and memory nodes as the kernel writes them: `0-3,7`.

use anyhow::{Result, bail};

/// The largest number taken: far beyond any machine, small enough that a bit mask of it is no burden.
const MAX: u32 = 0xffff;

/// A parsed list: ranges in the order given, both ends included.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IdList(Vec<(u32, u32)>);

impl IdList {
    /// Parses `0-3,7`; blanks around numbers are allowed, and the empty list.
    ///
    /// # Errors
    /// Says which part is not a number or a range.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim_matches(' ').is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(parse_part).collect::<Result<_>>().map(Self)
    }

    /// Every number of the list; one given twice comes twice.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }

    /// The largest number.
    pub fn max(&self) -> Option<u32> {
        self.0.iter().map(|&(_, last)| last).max()
    }

    /// Whether no number is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn parse_part(part: &str) -> Result<(u32, u32)> {
    let (first, last) = match part.split_once('-') {
        Some((first, last)) => (parse_number(first)?, parse_number(last)?),
        None => {
            let number = parse_number(part)?;
            (number, number)
        }
    };
    if first > last {
        bail!("range {part:?} runs backwards");
    }
    Ok((first, last))
}

fn parse_number(text: &str) -> Result<u32> {
    let digits = text.trim_matches(' ');
    // `parse` alone would take "+3"
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if let Some(number) = digits.parse().ok().filter(|number| *number <= MAX) {
            return Ok(number);
        }
        bail!("number {digits} is out of range (0 to {MAX})");
    }
    bail!("expected a list such as \"0-3,7\", found {text:?}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn pr_18_lists_of_cpus_are_read() {
        for (text, want) in [
            ("", vec![]),
            ("0", vec![0]),
            ("0-3,7", vec![0, 1, 2, 3, 7]),
            (" 1 , 2-3 ", vec![1, 2, 3]),
            ("5000", vec![5000]),
        ] {
            assert_eq!(IdList::parse(text).unwrap().iter().collect::<Vec<_>>(), want, "{text:?}");
        }
        assert_eq!(IdList::parse("0-3,7").unwrap().max(), Some(7));
        assert!(IdList::parse(" ").unwrap().is_empty());
    }

    #[test]
    fn pr_18_bad_lists_are_refused() {
        for text in [",", "1,", "-", "1-", "-1", "3-1", "a", "+1", "0x1", "1-2-3", "1;2", "1\n", "99999999999", "65536"]
        {
            assert!(IdList::parse(text).is_err(), "{text:?}");
        }
    }
}
