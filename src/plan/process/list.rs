//! Lists of CPUs or NUMA nodes: `0-3,7` as a bit mask of any length.

use anyhow::{Context as _, Result, ensure};

/// The highest number taken. The kernel's own limits are far below (8192 CPUs, 1024 nodes); this one bounds memory.
const LAST: u32 = 65_535;

/// A set of small numbers, one bit each, lowest word first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdSet(Vec<u64>);

impl IdSet {
    /// The mask as the kernel takes it: bit n of word n/64.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn insert(&mut self, number: u32) {
        let (word, bit) = (number as usize / 64, number % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }
}

/// Reads a list of numbers and ranges, separated by commas; blanks around them are no error, an empty text is an empty set.
pub(crate) fn parse(text: &str) -> Result<IdSet> {
    let mut set = IdSet::default();
    if text.trim().is_empty() {
        return Ok(set);
    }
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        ensure!(first <= last, "range {:?} runs backwards", part.trim());
        for id in first..=last {
            set.insert(id);
        }
    }
    Ok(set)
}

fn number(text: &str) -> Result<u32> {
    let text = text.trim();
    ensure!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()), "{text:?} is not a number");
    text.parse().ok().filter(|n| *n <= LAST).with_context(|| format!("{text} is more than {LAST}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn pr_18_lists_of_any_length_are_read() {
        let members = |text| {
            let set = parse(text).unwrap();
            (0..set.words().len() * 64).filter(|n| set.words()[n / 64] >> (n % 64) & 1 == 1).collect::<Vec<_>>()
        };
        assert_eq!(members(""), Vec::<usize>::new());
        assert_eq!(members("0-3,7"), [0, 1, 2, 3, 7]);
        assert_eq!(members("7,0, 2 - 3,2"), [0, 2, 3, 7]);
        assert_eq!(members("63,64,1023-1025"), [63, 64, 1023, 1024, 1025]);
        assert_eq!(members("65535"), [65_535]);
        assert!(parse("").unwrap().is_empty() && !parse("0").unwrap().is_empty());
    }

    #[test]
    fn pr_18_malformed_lists_are_refused() {
        for text in [",", "1,", "-", "1-", "-1", "3-1", "a", "1-2-3", "0x1", "65536", "4294967296", "1;2", "+1", "1 2"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
