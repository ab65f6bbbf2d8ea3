//! Taking mounts away by path, for containers without a mount namespace: theirs lie in the caller's.
//!
//! Not on the usual way: the mounts of a namespace end with it.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use base::mountinfo;
use linux::mount as sys_mount;

/// Unmounts everything below `rootfs` (not the directory itself), the innermost first.
///
/// # Errors
/// The first mount that stays; the others are still taken away.
pub(crate) fn below(rootfs: &Path) -> Result<()> {
    let table = mountinfo::read("/proc/self/mountinfo").context("the mount table")?;
    // the table has the kernel's name of the directory
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
