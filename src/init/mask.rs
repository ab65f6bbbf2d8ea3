//! Masked and read-only paths (LX-2, LX-3), by descriptor, after the pivot.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::AT_FDCWD;

use super::path;
use super::rootfs::Root;
use crate::plan::mount::Target;
use crate::sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, Change, Clone, FsContext};
use crate::sys::{mount as sys_mount, path as sys_path};

/// A detached bind of the host's /dev/null, if it is what it should be: character device 1:3 (CVE-2025-31133).
pub(super) fn host_null() -> Option<OwnedFd> {
    let tree = sys_mount::clone_tree(AT_FDCWD, c"/dev/null", Clone { recursive: false, nofollow: true }).ok()?;
    is_null(tree.as_fd()).then_some(tree)
}

fn is_null(fd: BorrowedFd<'_>) -> bool {
    sys_path::fstat(fd).is_ok_and(|stat| stat.is_char(1, 3))
}

fn is_missing(err: &io::Error) -> bool {
    // a file where the path has a directory: then what is to be hidden is not there either
    matches!(err.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// What is at the path becomes read-only; mounts below keep their own flags.
pub(super) fn readonly(root: &Root, path: &CStr) -> Result<()> {
    let place = match path::open(root.fd(), path, Target::Follow, 0) {
        Err(err) if is_missing(&err) => return Ok(()),
        opened => opened?,
    };
    let tree = sys_mount::clone_fd(place.as_fd(), true).context("bind")?;
    let readonly = Change { set: ATTR_RDONLY, ..Change::default() };
    sys_mount::change(tree.as_fd(), false, readonly).context("read-only")?;
    sys_mount::move_mount(tree.as_fd(), place.as_fd()).context("attach")?;
    Ok(())
}

/// Hides files behind /dev/null and directories behind one empty tmpfs, which is made for the first and bound for the
/// rest.
pub(super) struct Masks<'a> {
    root: &'a Root,
    /// The empty directory, mounted.
    empty: Option<OwnedFd>,
    /// The null device, mounted.
    null: Option<OwnedFd>,
}

impl<'a> Masks<'a> {
    pub(super) fn new(root: &'a Root) -> Self {
        Self { root, empty: None, null: None }
    }

    pub(super) fn mask(&mut self, path: &CStr) -> Result<()> {
        // the last component as it is: a symlink of the image is hidden itself, not what it points to
        let place = match path::open(self.root.fd(), path, Target::NoFollowLast, 0) {
            Err(err) if is_missing(&err) => return Ok(()),
            opened => opened?,
        };
        // looked at first: a bind of a file on a directory fails only after a grace period of the kernel
        let directory = sys_path::fstat(place.as_fd())?.is_dir();
        let seen = if directory { &mut self.empty } else { &mut self.null };
        if let Some(mounted) = seen {
            let tree = sys_mount::clone_fd(mounted.as_fd(), false)?;
            sys_mount::move_mount(tree.as_fd(), place.as_fd())?;
            return Ok(());
        }
        let tree = if directory { empty_dir()? } else { first_null(self.root)? };
        sys_mount::move_mount(tree.as_fd(), place.as_fd())?;
        *seen = Some(tree);
        Ok(())
    }
}

fn empty_dir() -> Result<OwnedFd> {
    let fs = FsContext::open(c"tmpfs").context("tmpfs")?;
    for (key, value) in [(c"source", c"tmpfs"), (c"nr_blocks", c"1"), (c"nr_inodes", c"1"), (c"mode", c"0755")] {
        fs.option(key, Some(value)).with_context(|| format!("tmpfs: option {key:?}"))?;
    }
    fs.create().context("tmpfs")?;
    fs.mount(ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC).context("tmpfs")
}

fn first_null(root: &Root) -> Result<OwnedFd> {
    if let Some(null) = &root.null {
        return Ok(sys_path::dup(null.as_fd())?);
    }
    // no usable one on the host: the container's, if it is real
    let own = path::open(root.fd(), c"/dev/null", Target::Real, 0).context("open \"/dev/null\"")?;
    if !is_null(own.as_fd()) {
        bail!("neither the host's nor the container's /dev/null is the null device");
    }
    Ok(sys_mount::clone_fd(own.as_fd(), false)?)
}
