//! Sets of CPUs or NUMA nodes, as the "List format" of cpuset(7) writes them: `0-3,7`.

use crate::coded;
use anyhow::{Context as _, Result, ensure};

/// Highest number accepted. The kernel's own limits are far below (8192 CPUs, 1024 nodes); this one bounds memory.
const MAX_MEMBER: u32 = 65_535;

/// A set of numbers from 0 to 65535, one bit each, lowest word first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(Vec<u64>);

impl CpuSet {
    /// Parses numbers and ranges separated by commas. Blanks around them are allowed; an empty text is an empty set.
    ///
    /// # Errors
    /// Names the part that is no number, is out of range, or runs backwards.
    pub fn parse(text: &str) -> Result<Self> {
        let mut set = Self::default();
        if text.trim().is_empty() {
            return Ok(set);
        }
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first, text)?, number(last, text)?),
                None => (number(part, text)?, number(part, text)?),
            };
            ensure!(first <= last, "range {:?} runs backwards", part.trim());
            for id in first..=last {
                set.insert(id);
            }
        }
        Ok(set)
    }

    /// Returns the mask in the form of the system calls: bit n of word n/64.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// Returns the mask as bytes, the lowest first, without zeros at the end.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        bytes
    }

    /// Returns whether the set has no member.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns whether every member of `other` is in this set.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().enumerate().all(|(index, word)| word & !self.0.get(index).copied().unwrap_or(0) == 0)
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

/// Returns a number of `list`.
fn number(text: &str, list: &str) -> Result<u32> {
    let text = text.trim_matches([' ', '\n']);
    // `parse` alone would accept "+3"
    ensure!(
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
        coded!(ConfigType, "expected a list such as \"0-3,7\", found {list:?}")
    );
    text.parse()
        .ok()
        .filter(|n| *n <= MAX_MEMBER)
        .with_context(|| format!("number {text} is out of range (0 to {MAX_MEMBER})"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn members(set: &CpuSet) -> Vec<usize> {
        (0..set.words().len() * 64).filter(|n| set.words()[n / 64] >> (n % 64) & 1 == 1).collect()
    }

    #[test]
    fn pr_18_lists_of_any_length_are_read() {
        let read = |text| members(&CpuSet::parse(text).unwrap());
        assert_eq!(read(""), Vec::<usize>::new());
        assert_eq!(read(" "), Vec::<usize>::new());
        assert_eq!(read("0-3,7"), [0, 1, 2, 3, 7]);
        assert_eq!(read("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(read("7,0, 2 - 3,2"), [0, 2, 3, 7]);
        assert_eq!(read("63,64,1023-1025"), [63, 64, 1023, 1024, 1025]);
        assert_eq!(read("65535"), [65_535]);
        assert!(CpuSet::parse("").unwrap().is_empty() && !CpuSet::parse("0").unwrap().is_empty());
    }

    #[test]
    fn pr_18_malformed_lists_are_refused() {
        for text in [
            ",",
            "1,",
            "-",
            "1-",
            "-1",
            "3-1",
            "a",
            "1-2-3",
            "0x1",
            "65536",
            "4294967296",
            "99999999999",
            "1;2",
            "+1",
            "1 2",
        ] {
            assert!(CpuSet::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn one_set_contains_another() {
        for (one, other, contains) in
            [("0-3", "1,3", true), ("0-3", "3-4", false), ("0", "64", false), ("64", "", true), ("", "0", false)]
        {
            let set = |text| CpuSet::parse(text).unwrap();
            assert_eq!(set(one).contains_all(&set(other)), contains, "{one} and {other}");
        }
    }

    #[test]
    fn bytes_end_with_the_highest_member() {
        for (text, bytes) in
            [("", &[][..]), ("0-2,5", &[0b10_0111]), ("9", &[0, 2]), ("64", &[0, 0, 0, 0, 0, 0, 0, 0, 1])]
        {
            assert_eq!(CpuSet::parse(text).unwrap().bytes(), bytes, "{text}");
        }
    }
}
