//! Taking mounts away by path, for containers without a mount namespace: theirs lie in the caller's.
//!
//! Not on the usual way: the mounts of a namespace end with it.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::sys::mount as sys_mount;

/// Unmounts everything below `rootfs` (not the directory itself), the innermost first.
///
/// # Errors
/// The first mount that stays; the others are still taken away.
pub fn below(rootfs: &Path) -> Result<()> {
    let table = fs::read("/proc/self/mountinfo").context("the mount table")?;
    // the table has the kernel's name of the directory
    let rootfs = fs::canonicalize(rootfs).context("the rootfs")?;
    let mut result = Ok(());
    for place in table.split(|b| *b == b'\n').rev().filter_map(place) {
        if place == rootfs || !place.starts_with(&rootfs) {
            continue;
        }
        let path = CString::new(place.as_os_str().as_bytes())?;
        if let Err(err) = sys_mount::detach(&path)
            && result.is_ok()
        {
            result = Err(err).with_context(|| format!("unmounting {place:?}"));
        }
    }
    result
}

/// A line of a mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Number of the mount.
    pub id: u32,
    /// What of the file system is mounted.
    pub root: PathBuf,
    /// Where.
    pub place: PathBuf,
}

/// The mounts of a mountinfo file, in its order.
pub fn table(text: &[u8]) -> Vec<Mounted> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|b| *b == b' ');
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let root = fields.nth(2).map(unescape)?;
        Some(Mounted { id, root, place: fields.next().map(unescape)? })
    };
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

/// The mount point of a line of mountinfo, its fifth field.
fn place(line: &[u8]) -> Option<PathBuf> {
    line.split(|b| *b == b' ').nth(4).map(unescape)
}

/// Blanks, tabs, newlines and backslashes are octal there.
fn unescape(field: &[u8]) -> PathBuf {
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.get(..3)).flatten().and_then(|digits| {
            let text = OsStr::from_bytes(digits).to_str()?;
            u8::from_str_radix(text, 8).ok()
        });
        match octal {
            Some(byte) => {
                name.push(byte);
                rest = tail.get(3..).unwrap_or(&[]);
            }
            None => {
                name.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let text = b"36 35 98:0 /null /proc/kcore ro - devtmpfs x rw\n37 36 0:1 / /a\\040b rw - tmpfs t rw\n\nx\n";
        let line = |id, root: &str, place: &str| Mounted { id, root: root.into(), place: place.into() };
        assert_eq!(table(text), [line(36, "/null", "/proc/kcore"), line(37, "/", "/a b")]);
    }

    #[test]
    fn places_of_mountinfo() {
        for (line, want) in [
            ("36 35 98:0 / /mnt\\040a\\134b rw - ext4 /dev/x rw", Some("/mnt a\\b")),
            ("36 35 98:0 /x / rw", Some("/")),
            ("36 35 98:0 / /tail\\04", Some("/tail\\04")),
            ("", None),
        ] {
            assert_eq!(place(line.as_bytes()), want.map(PathBuf::from), "{line:?}");
        }
    }
}
