//! Small files that are replaced as a whole: a reader finds the old content or the new.
//!
//! A file in a directory that is not published yet is written without this: it appears with the directory.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::staging::StagedEntry;

/// What of a write is still there after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing is sure; the file may be empty.
    None,
    /// The old content or the new.
    Content,
    /// The new content, from the return of the call on.
    Full,
}

/// Writes `bytes` to the file `to`, by way of a file in `staging`, a directory of the same file system.
///
/// # Errors
/// No space, read-only; the old content is still there.
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

/// Makes the names in a directory outlast a power cut.
///
/// # Errors
/// The device failed.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("sync {dir:?}"))
}
