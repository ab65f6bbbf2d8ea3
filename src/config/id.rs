//! The container ID.

use base::coded;
use std::fmt;

use anyhow::{Result, bail};

/// Longest ID in bytes: the ID names a directory, and a file name has at most this many bytes.
const MAX_LEN: usize = 255;

/// A checked container ID: one path component that needs no quoting anywhere (CR-1).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ContainerId(String);

impl ContainerId {
    /// Accepts 1 to 255 letters, digits and `_+.-`, but neither `.` nor `..`.
    ///
    /// # Errors
    /// Any other ID. The text begins with `invalid container ID format`, because callers look for it.
    pub fn new(id: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+.-".contains(&b);
        if id.is_empty() {
            bail!(coded!(IdInvalid, "invalid container ID format: the ID is empty"));
        }
        if id.len() > MAX_LEN {
            bail!(coded!(
                IdInvalid,
                "invalid container ID format: the ID has {} bytes, at most {MAX_LEN} are allowed",
                id.len()
            ));
        }
        if let Some(other) = id.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
            // the last words are crun's, which its suite matches
            bail!(coded!(
                IdInvalid,
                "invalid container ID format: {id:?}: invalid character {other:?} in the container ID"
            ));
        }
        if id == "." || id == ".." {
            bail!(coded!(IdInvalid, "invalid container ID format: {id:?}"));
        }
        Ok(Self(id.to_owned()))
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn cr_1_good_ids() {
        let longest = "x".repeat(255);
        for id in ["a", "A-1_b+c.d", "...", ".hidden", "-x", &longest] {
            assert_eq!(ContainerId::new(id).unwrap().to_string(), id);
        }
    }

    #[test]
    fn f1_bad_ids() {
        let long = "x".repeat(1025);
        for id in ["", ".", "..", "../evil", "a/b", "a b", "a\n", "é", "a:b", "a\\b", "a\0", "a,b", &long] {
            let err = ContainerId::new(id).unwrap_err().to_string();
            assert!(err.contains("invalid container ID format"), "{id:?}: {err}");
        }
        let err = ContainerId::new("a/b").unwrap_err().to_string();
        assert_eq!(err, "invalid container ID format: \"a/b\": invalid character '/' in the container ID");
    }
}
