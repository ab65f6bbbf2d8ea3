//! Files and trees of untrusted origin, addressed by descriptor: copy, removal, walks, locks, atomic publication.
//!
//! Images, layers and stores are not known here.

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

/// Returns the path below `/proc/self/fd` of an entry of an open directory, for calls without a directory descriptor.
///
/// # Errors
/// A NUL in the name.
pub fn proc_path(dir: BorrowedFd<'_>, name: &OsStr) -> Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    Ok(CString::new(path)?)
}
