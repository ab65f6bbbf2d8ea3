//! Atomic replacement of small files: a reader finds the old content or the new.
//!
//! Files in a directory that is not published yet need no such replacement, because they appear with the directory.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::staging::StagedEntry;

/// Guarantee of a write after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// No guarantee; the file may be empty.
    None,
    /// The old content or the new one is there.
    Content,
    /// The new content is there once the call has returned.
    Full,
}

/// Writes `bytes` to the file `to` by renaming a file of `staging`, a directory of the same file system.
///
/// # Errors
/// No space, read-only; the old content stays.
pub fn write(staging: &Path, to: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let staged = StagedEntry::file(staging)?;
    let context = || format!("write {to:?}");
    staged.file_ref().write_all(bytes).with_context(context)?;
    if durability >= Durability::Content {
        staged.file_ref().sync_all().with_context(context)?;
    }
    staged.replace(to)?;
    if durability >= Durability::Full { sync_dir(to.parent().unwrap_or(to)) } else { Ok(()) }
}

/// Flushes all of the file system on which `dir` is to its device (syncfs).
///
/// # Errors
/// The device failed.
pub fn sync_file_system(dir: &Path) -> Result<()> {
    let open = File::open(dir).with_context(|| format!("sync {dir:?}"))?;
    linux::file::sync_file_system(open.as_fd()).with_context(|| format!("sync the file system of {dir:?}"))
}

/// Flushes the entries of a directory to the device (fsync).
///
/// # Errors
/// The device failed.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("sync {dir:?}"))
}
