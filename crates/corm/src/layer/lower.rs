//! What the layers below decide for a delta: paths that lead through their directories and symlinks, hard links to their
//! files, and which whiteouts hide anything.
//!
//! A delta is unpacked without them, in parallel with them, because the layers of usual builders have an entry for every
//! directory that they touch. The few others are applied to the whole tree.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::entry_name::WHITEOUT;
use crate::model::layer::WhiteoutFormat;
use linux::path;

/// The error of a delta whose result depends on the layers below: it has to be applied to the whole tree.
#[derive(Debug)]
pub struct NeedsLower;

impl fmt::Display for NeedsLower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the layers below decide what this entry is")
    }
}

impl std::error::Error for NeedsLower {}

/// Removes those whiteouts of a delta that hide nothing in the tree `lower` below it, because in a directory that no
/// layer below has, the kernel shows them as names.
///
/// # Errors
/// The file system fails.
pub fn drop_ghosts(
    delta: BorrowedFd<'_>,
    lower: BorrowedFd<'_>,
    written: &[PathBuf],
    format: WhiteoutFormat,
) -> Result<()> {
    for path in written {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let hides = match open_dir(lower, above) {
            Some(dir) => is_there(&dir, name)?,
            None => false,
        };
        if hides {
            continue;
        }
        let Some(dir) = open_dir(delta, above) else { continue };
        remove_whiteout(&dir, name, format).with_context(|| format!("remove the whiteout of {path:?}"))?;
    }
    Ok(())
}

/// Opens a directory of a tree; `None` if it is none or a symlink leads to it.
fn open_dir(root: BorrowedFd<'_>, path: &Path) -> Option<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    path::openat2(root, &path, flags, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS).ok()
}

fn is_there(dir: &OwnedFd, name: &OsStr) -> Result<bool> {
    match path::stat_at(dir.as_fd(), &CString::new(name.as_bytes())?, false) {
        Err(err) if err.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        other => Ok(other.map(|_| true)?),
    }
}

/// Removes the whiteout of `name`, unless an entry has taken its place. The times of the directory stay.
fn remove_whiteout(dir: &OwnedFd, name: &OsStr, format: WhiteoutFormat) -> Result<()> {
    let marker = match format {
        WhiteoutFormat::Aufs => [WHITEOUT, name.as_bytes()].concat(),
        _ => name.as_bytes().to_vec(),
    };
    let marker = CString::new(marker)?;
    let is_whiteout = match path::stat_at(dir.as_fd(), &marker, false) {
        Err(err) if err.raw_os_error() == Some(libc::ENOENT) => false,
        Ok(_) if format == WhiteoutFormat::Aufs => true,
        other => other?.is_char(0, 0),
    };
    if is_whiteout {
        let times = path::fstat(dir.as_fd())?.times();
        path::unlinkat(dir.as_fd(), &marker, false)?;
        path::set_times(dir.as_fd(), c".", &times)?;
    }
    Ok(())
}
