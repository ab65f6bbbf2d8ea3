//! Resource limits of a layer. The defaults are far above any image in use, and `--layer-limit` changes them.

use anyhow::{Context as _, Result, bail, ensure};
use base::cli_parser::values;
use base::coded;
use base::fs::walk::MAX_DEPTH;

/// Limits of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of tar for each byte of blob, checked from [`Limits::ratio_from`] on. Deflate's maximum is 1032, which one
    /// line of a log many times comes near to; zstd has no maximum.
    pub ratio: u64,
    /// Bytes of tar from which the ratio is checked, because zeros are common: empty disks, databases and swap files.
    pub ratio_from: u64,
    /// Bytes of tar.
    pub tar: u64,
    /// Sum of the file sizes in bytes (`st_size`), because a sparse file can be larger than the data sent for it.
    pub apparent: u64,
    /// Bytes that stay free on the disk; `None` is a hundredth of it, 1 GiB at most. Zeros become holes, which need no
    /// space.
    pub min_free: Option<u64>,
    /// Number of entries, and of directories created without an entry. Each takes about 20 bytes of memory.
    pub entries: u64,
    /// Maximum nesting of directories, by a path or through symlinks, because a tree is read with one descriptor a
    /// level.
    pub depth: usize,
    /// Bytes of a path and of a link's target (PATH_MAX).
    pub path: usize,
    /// Number of extended attributes of one entry: each is compared with the previous ones.
    pub xattrs: usize,
    /// Bytes of one extended attribute's value (XATTR_SIZE_MAX).
    pub xattr: usize,
    /// Bytes of one pax header, which is read into memory.
    pub pax: u64,
    /// Number of data extents of a sparse file, 16 bytes of memory each.
    pub extents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ratio: 2000,
            ratio_from: 16 << 30,
            tar: 1 << 40,
            apparent: 16 << 40,
            min_free: None,
            entries: 1 << 24,
            depth: MAX_DEPTH,
            path: 4095,
            xattrs: 4096,
            xattr: 64 << 10,
            pax: 1 << 20,
            extents: 1 << 18,
        }
    }
}

impl Limits {
    /// Sets one limit by `NAME=VALUE`.
    ///
    /// # Errors
    /// There is no such limit, or it has no such value.
    pub fn set(&mut self, text: &str) -> Result<()> {
        let (name, value) = text.split_once('=').context("must be NAME=VALUE")?;
        match name {
            "size" => self.tar = bytes(value)?,
            "files" => self.apparent = bytes(value)?,
            "min-free" => self.min_free = Some(bytes(value)?),
            "entries" => self.entries = count(value)?,
            "ratio" => self.ratio = count(value)?,
            "ratio-from" => self.ratio_from = bytes(value)?,
            "depth" => {
                let depth = usize::try_from(count(value)?)?;
                ensure!(depth <= MAX_DEPTH, coded!(UsageValue, "must be {MAX_DEPTH} at most"));
                self.depth = depth;
            }
            _ => bail!(coded!(
                UsageValue,
                "unknown limit (there are size, files, min-free, entries, depth, ratio and ratio-from)"
            )),
        }
        Ok(())
    }
}

/// Parses a size; -1 is no limit.
fn bytes(text: &str) -> Result<u64> {
    Ok(u64::try_from(values::size(text)?).unwrap_or(u64::MAX))
}

/// Parses a number above 0; -1 is no limit.
fn count(text: &str) -> Result<u64> {
    match values::signed(text)? {
        -1 => Ok(u64::MAX),
        number => {
            u64::try_from(number).ok().filter(|&number| number > 0).context("must be above 0, or -1 for no limit")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn limits_have_names_and_units() {
        let mut limits = Limits::default();
        for text in ["size=2t", "files=-1", "min-free=10g", "entries=40", "depth=300", "ratio=-1", "ratio-from=1m"] {
            limits.set(text).unwrap();
        }
        let wanted = Limits {
            tar: 2 << 40,
            apparent: u64::MAX,
            min_free: Some(10 << 30),
            entries: 40,
            depth: 300,
            ratio: u64::MAX,
            ratio_from: 1 << 20,
            ..Limits::default()
        };
        assert_eq!(limits, wanted);
        for text in ["size", "size=", "size=x", "entries=0", "entries=-2", "depth=1025", "depth=-1", "xattrs=1", "=1"] {
            assert!(limits.set(text).is_err(), "{text}");
        }
        assert_eq!(limits, wanted);
    }
}
