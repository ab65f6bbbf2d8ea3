//! Unmounting: by path, for containers without a mount namespace, whose mounts are in the caller's namespace, and by
//! descriptor.
//!
//! The mounts of a container's own namespace end with it.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::AT_FDCWD;

use base::mountinfo;
use linux::mount as sys_mount;
use linux::mount::FsContext;
use linux::path as sys_path;

/// Detaches the mount with the root `mount` by the descriptor's link in the host's procfs `proc_dir`, because a path could
/// be replaced.
///
/// # Errors
/// As umount2(2).
pub(super) fn detach(mount: BorrowedFd<'_>, proc_dir: BorrowedFd<'_>) -> Result<()> {
    let link = CString::new(format!("self/fd/{}", mount.as_raw_fd()))?;
    in_directory(proc_dir, || sys_mount::detach_link(&link)).context("unmount")
}

/// Runs `act` with the working directory `dir`.
///
/// # Errors
/// As fchdir(2), or the error of `act`.
pub(super) fn in_directory(dir: BorrowedFd<'_>, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let before = sys_path::openat(AT_FDCWD, c".", libc::O_PATH | libc::O_DIRECTORY, 0)?;
    sys_path::fchdir(dir)?;
    let done = act();
    sys_path::fchdir(before.as_fd())?;
    done
}

/// Unmounts each complete procfs and sysfs of this mount namespace, or covers it if it is locked, but for those below
/// `rootfs`.
///
/// # Errors
/// The mount table cannot be read; one can neither be unmounted nor covered.
pub(super) fn complete_proc_and_sys(rootfs: &Path) -> Result<()> {
    let table = mountinfo::read("/proc/self/mountinfo").context("the mount table")?;
    // the table has resolved paths
    let rootfs = fs::canonicalize(rootfs).unwrap_or_else(|_| rootfs.to_owned());
    // the innermost first
    for mount in table.iter().rev() {
        let is_complete = mount.root == Path::new("/") && matches!(mount.fs_type.as_slice(), b"proc" | b"sysfs");
        if !is_complete || mount.mount_point.starts_with(&rootfs) {
            continue;
        }
        let path = CString::new(mount.mount_point.as_os_str().as_bytes())?;
        let context = || format!("unmounting {path:?} of the old root");
        match sys_mount::detach(&path) {
            Err(err) if err.raw_os_error() == Some(libc::ENOENT) => {}
            Err(err) if matches!(err.raw_os_error(), Some(libc::EINVAL | libc::EPERM)) => {
                cover(&path).with_context(context)?;
            }
            done => done.with_context(context)?,
        }
    }
    Ok(())
}

/// Mounts an empty tmpfs on `path`, a directory of the host.
fn cover(path: &CStr) -> Result<()> {
    let place = match sys_path::openat(AT_FDCWD, path, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0) {
        Err(err) if err.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        place => place?,
    };
    let fs = FsContext::open(c"tmpfs")?;
    fs.create()?;
    Ok(sys_mount::move_mount(fs.mount(sys_mount::ATTR_RDONLY)?.as_fd(), place.as_fd())?)
}

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
        match sys_mount::detach(&path) {
            // it was detached with the mount on which it is: a tree that was attached as one is listed in another order
            Err(err) if err.raw_os_error() == Some(libc::ENOENT) => {}
            Err(err) if result.is_ok() => result = Err(err).with_context(|| format!("unmounting {place:?}")),
            _ => {}
        }
    }
    result
}
