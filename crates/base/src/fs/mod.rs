//! Files and trees of any origin, by descriptor: copied, removed, and made to appear when they are whole.
//!
//! Knows nothing of images, layers and stores.

pub mod atomic_file;
pub mod copy;
pub mod lock;
pub mod remove;
pub mod staging;
pub mod walk;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Result;

/// A path of an entry of an open directory, for the calls that take no directory descriptor.
///
/// # Errors
/// A NUL in the name.
pub fn proc_path(dir: BorrowedFd<'_>, name: &OsStr) -> Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    Ok(CString::new(path)?)
}
