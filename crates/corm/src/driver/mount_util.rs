//! Helpers for mounts: attach, detach, check, clone.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::MsFlags;
use nix::sys::stat::Mode;

use super::View;
use super::layout::DriverDirs;

use linux::mount;
use linux::open::{open, openat};
use linux::path;

const DIR: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opens a directory for reading, following no symlink at the last component.
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    open(path, DIR, Mode::empty()).with_context(|| format!("open {path:?}"))
}

/// Opens the same directory for reading.
pub fn reopen(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    openat(dir, ".", DIR, Mode::empty()).context("open the root of a tree")
}

/// Opens the root directory of a process in another mount namespace.
///
/// # Errors
/// The process has ended, or is another user's.
pub fn open_root_of(pid: i32) -> Result<OwnedFd> {
    // the kernel follows this magic link to the directory itself
    let path = format!("/proc/{pid}/root");
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path.as_str(), flags, Mode::empty()).with_context(|| format!("open {path:?}"))
}

/// Returns whether `target` is a mount point.
pub fn is_mounted(target: &Path) -> Result<bool> {
    let name = super::c_path(target)?;
    path::is_mount_root(AT_FDCWD, &name).with_context(|| format!("mount point {target:?}"))
}

/// Attaches a detached mount at `target`.
pub fn at(tree: BorrowedFd<'_>, target: &Path) -> Result<()> {
    let context = || format!("mount at {target:?}");
    mount::move_mount(tree, open_dir(target)?.as_fd()).with_context(context)
}

/// Unmounts `target` lazily; no error when it is no mount point.
pub fn detach(target: &Path) -> Result<()> {
    let name = super::c_path(target)?;
    match mount::detach(&name) {
        Err(err) if matches!(err.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Ok(()),
        other => other.with_context(|| format!("unmount {target:?}")),
    }
}

/// A path to a directory for mount options, by descriptor where needed; the descriptor must stay open.
pub struct FdPath {
    /// The path.
    pub text: CString,
    /// The descriptor behind the path.
    pub _open: Option<OwnedFd>,
}

impl FdPath {
    /// Opens a directory and names it by its descriptor: short, and without the separators of mount options.
    pub fn by_descriptor(path: &Path) -> Result<Self> {
        let open = open_dir(path)?;
        let text = CString::new(format!("/proc/self/fd/{}", open.as_raw_fd()))?;
        Ok(Self { text, _open: Some(open) })
    }
}

/// Creates a detached mount by mount(2), which needs a mount point: the mount is cloned from there and unmounted.
pub fn mount_detached(dirs: &DriverDirs, kind: &str, options: &OsStr) -> Result<OwnedFd> {
    let place = dirs.stage()?;
    nix::mount::mount(Some(kind), place.path(), Some(kind), MsFlags::empty(), Some(options)).context("mount")?;
    let mounted = clone_mount(place.path());
    detach(place.path())?;
    mounted
}

/// Clones the mount at `place`, detached.
pub fn clone_mount(place: &Path) -> Result<OwnedFd> {
    mount::clone_fd(open_dir(place)?.as_fd(), false).context("clone the mount")
}

/// Clones the directory `place` as a detached mount with the IDs that the user namespace `userns` maps.
pub fn clone_mapped(place: &Path, userns: BorrowedFd<'_>) -> Result<OwnedFd> {
    let tree = clone_mount(place)?;
    let mapped = mount::idmap(tree.as_fd(), false, userns);
    mapped.with_context(|| format!("map the IDs of {place:?} (the file system must support ID-mapped mounts)"))?;
    Ok(tree)
}

/// A tree that needs no mount.
pub struct PlainView(pub OwnedFd);

/// Returns a view of the directory `path`, for drivers whose layers are whole trees.
pub fn view_of(path: &Path) -> Result<Box<dyn View>> {
    Ok(Box::new(PlainView(open_dir(path)?)))
}

impl View for PlainView {
    fn root(&self) -> Result<OwnedFd> {
        reopen(self.0.as_fd())
    }
}
