//! Unmounting by path, for containers without a mount namespace, whose mounts are in the caller's namespace.
//!
//! Other containers do not need it, because the mounts of a namespace end with it.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use base::mountinfo;
use linux::mount as sys_mount;

/// Unmounts all mounts below `rootfs` (not on the directory itself), the innermost first.
///
/// # Errors
/// The first mount that cannot be unmounted; the others are still unmounted.
pub(crate) fn below(rootfs: &Path) -> Result<()> {
    let table = mountinfo::read("/proc/self/mountinfo").context("the mount table")?;
    // the table has resolved paths
    let rootfs = fs::canonicalize(rootfs).context("the rootfs")?;
    let mut result = Ok(());
    for place in table.into_iter().rev().map(|mount| mount.mount_point) {
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
