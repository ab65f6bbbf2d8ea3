//! Unmounting: by path, for containers without a mount namespace, whose mounts are in the caller's namespace, and by
//! descriptor.
//!
//! The mounts of a container's own namespace end with it.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::AT_FDCWD;
use serde::{Deserialize, Serialize};

use base::mountinfo;
use linux::mount as sys_mount;
use linux::mount::FsContext;
use linux::path as sys_path;

/// The root directory on the host before its container was created, for a container without a mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoot {
    /// ID of its mount, of statx(2).
    pub mount: u64,
    /// Device number of the directory.
    pub dev: u64,
    /// Inode of the directory.
    pub inode: u64,
}

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

/// Opens the root directory of a container, with its identity and that of its mount.
///
/// # Errors
/// As open(2) and statx(2).
fn open_root(rootfs: &Path) -> io::Result<(OwnedFd, HostRoot)> {
    let path = CString::new(rootfs.as_os_str().as_bytes())?;
    let root = sys_path::openat(AT_FDCWD, &path, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let (dev, inode) = sys_path::fstat(root.as_fd())?.identity();
    let mount = sys_mount::id(root.as_fd())?;
    Ok((root, HostRoot { mount, dev, inode }))
}

/// Returns what the root directory is, before a container without a mount namespace mounts it on itself.
///
/// # Errors
/// As open(2) and statx(2).
pub(crate) fn host_root(rootfs: &Path) -> io::Result<HostRoot> {
    open_root(rootfs).map(|(_, root)| root)
}

/// Unmounts the mount of `rootfs` on itself with all mounts below, if it still is the uppermost one there: `before` is
/// what [`host_root`] returned before the container was created. No mount of the host is unmounted.
///
/// # Errors
/// As open(2) and umount2(2). A directory that is gone has no mount.
pub(crate) fn own(rootfs: &Path, before: &HostRoot) -> Result<()> {
    let (root, now) = match open_root(rootfs) {
        Err(err) if matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(()),
        opened => opened?,
    };
    let same_directory = (now.dev, now.inode) == (before.dev, before.inode);
    if !same_directory || now.mount == before.mount || !sys_mount::is_root(root.as_fd())? {
        return Ok(());
    }
    detach(root.as_fd(), base::host::proc_dir()?.as_fd())
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
