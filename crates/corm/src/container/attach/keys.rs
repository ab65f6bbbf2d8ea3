//! The keys by which a caller leaves a container that goes on running.

use anyhow::{Result, bail};
use base::coded;

/// The keys when the caller gives none, as in Docker and Podman.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// A sequence of keys that is looked for in typed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    /// Number of keys that were typed last.
    typed: usize,
}

impl DetachKeys {
    /// Parses keys with commas between them: a letter, or `ctrl-` and one of `a-z@[\]^_`. An empty text is no sequence.
    ///
    /// # Errors
    /// Another key.
    pub fn parse(text: &str) -> Result<Self> {
        let key = |word: &str| match (word.strip_prefix("ctrl-").map(str::as_bytes), word.as_bytes()) {
            (Some(&[letter @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'['..=b'_')]), _) => {
                Ok(letter.to_ascii_uppercase() & 0x1f)
            }
            (None, &[letter]) => Ok(letter),
            _ => bail!(coded!(ContainerKilled, "{word:?}: must be a letter, or ctrl- and a letter or one of @[\\]^_")),
        };
        let words = text.split(',').filter(|_| !text.is_empty());
        Ok(Self { keys: words.map(key).collect::<Result<_>>()?, typed: 0 })
    }

    /// Returns whether there is no sequence, so that a caller cannot leave.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the part of typed text that is for the program, and whether the sequence was typed.
    pub fn filter(&mut self, text: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(text.len());
        for &byte in text {
            if self.keys.get(self.typed) != Some(&byte) {
                // what was held back was no sequence
                passed.extend_from_slice(self.keys.get(..self.typed).unwrap_or_default());
                self.typed = 0;
            }
            if self.keys.get(self.typed) == Some(&byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    self.typed = 0;
                    return (passed, true);
                }
            } else {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn keys_are_letters_with_and_without_control() {
        let keys = |text: &str| DetachKeys::parse(text).map(|keys| keys.keys);
        assert_eq!(keys(DEFAULT).unwrap(), [16, 17]);
        assert_eq!(keys("ctrl-@,x,ctrl-[,ctrl-_").unwrap(), [0, b'x', 27, 31]);
        assert!(keys("").unwrap().is_empty());
        for bad in ["ctrl-", "ctrl-1", "ab", ",", "alt-x"] {
            assert!(keys(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_sequence_is_found_across_reads_and_nothing_else_is_lost() {
        let mut keys = DetachKeys::parse(DEFAULT).unwrap();
        assert_eq!(keys.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"c\x10\x10"), (b"\x10c\x10".to_vec(), false));
        assert_eq!(keys.filter(b"\x11rest"), (Vec::new(), true));
        let mut none = DetachKeys::parse("").unwrap();
        assert_eq!(none.filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
