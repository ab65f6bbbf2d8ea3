//! Masked and read-only paths (LX-2, LX-3), by descriptor, after the pivot.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::AT_FDCWD;

use super::path;
use super::root::Root;
use crate::plan::mount::Target;
use base::error::HasErrno as _;
use linux::mount as sys_mount;
use linux::mount::ATTR_NODEV;
use linux::mount::ATTR_NOEXEC;
use linux::mount::ATTR_NOSUID;
use linux::mount::ATTR_RDONLY;
use linux::mount::CloneFlags;
use linux::mount::FsContext;
use linux::mount::MountAttr;
use linux::path as sys_path;
use linux::path::Stat;

/// A detached bind of the host's /dev/null, if it is what it should be: character device 1:3 (CVE-2025-31133).
pub(super) fn host_null() -> Option<OwnedFd> {
    let tree = sys_mount::clone_tree(AT_FDCWD, c"/dev/null", CloneFlags { recursive: false, nofollow: true }).ok()?;
    is_null(tree.as_fd()).then_some(tree)
}

fn is_null(fd: BorrowedFd<'_>) -> bool {
    sys_path::fstat(fd).is_ok_and(|stat| stat.is_char(1, 3))
}

fn goes_up(path: &CStr) -> bool {
    path.to_bytes().split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// Hides files behind /dev/null and directories behind one empty tmpfs, which is made for the first and bound for the
/// rest.
pub(super) struct Masks<'a> {
    root: &'a Root,
    /// Device and inode of the root directory.
    top: (libc::dev_t, libc::ino_t),
    /// The empty directory, mounted.
    empty: Option<OwnedFd>,
    /// The null device, mounted.
    null: Option<OwnedFd>,
}

impl<'a> Masks<'a> {
    pub(super) fn new(root: &'a Root) -> Result<Self> {
        let top = sys_path::fstat(root.fd())?.identity();
        Ok(Self { root, top, empty: None, null: None })
    }

    /// Opens what the path leads to inside the root, symlinks of the image followed; None where nothing is there.
    ///
    /// # Errors
    /// A loop of symlinks, one that leads through a magic link of procfs, or to the root itself.
    fn resolve(&self, path: &CStr) -> Result<Option<(OwnedFd, Stat)>> {
        let place = match path::open(self.root.fd(), path, Target::Follow, 0) {
            // a file is there that the path takes for a directory: what is meant may be the file
            Err(err) if err.raw_os_error() == Some(libc::ENOTDIR) && goes_up(path) => {
                return Err(err).context("has \"..\" after a file");
            }
            // a file where the path has a directory: then what is to be hidden is not there either
            Err(err) if err.is_errno(&[libc::ENOENT, libc::ENOTDIR]) => return Ok(None),
            Err(err) if err.raw_os_error() == Some(libc::ELOOP) => {
                return Err(err).context("a loop of symlinks, or a link of procfs that is no path");
            }
            opened => opened?,
        };
        let stat = sys_path::fstat(place.as_fd())?;
        // another mount of the same directory is no concern
        if stat.identity() == self.top && sys_mount::id(place.as_fd())? == sys_mount::id(self.root.fd())? {
            bail!("leads to the root");
        }
        Ok(Some((place, stat)))
    }

    /// What is at the path becomes read-only; mounts below keep their own flags.
    pub(super) fn readonly(&self, path: &CStr) -> Result<()> {
        let Some((place, _)) = self.resolve(path)? else { return Ok(()) };
        let tree = sys_mount::clone_fd(place.as_fd(), true).context("bind")?;
        let readonly = MountAttr { set: ATTR_RDONLY, ..MountAttr::default() };
        sys_mount::set_attr(tree.as_fd(), false, readonly).context("read-only")?;
        sys_mount::move_mount(tree.as_fd(), place.as_fd()).context("attach")?;
        Ok(())
    }

    pub(super) fn mask(&mut self, path: &CStr) -> Result<()> {
        // what a symlink of the image leads to is hidden: it has other names than the symlink
        let Some((place, stat)) = self.resolve(path)? else { return Ok(()) };
        // looked at first: a bind of a file on a directory fails only after a grace period of the kernel
        let directory = stat.is_dir();
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
    let own = path::open(root.fd(), c"/dev/null", Target::NoSymlinks, 0).context("open \"/dev/null\"")?;
    if !is_null(own.as_fd()) {
        bail!("neither the host's nor the container's /dev/null is the null device");
    }
    Ok(sys_mount::clone_fd(own.as_fd(), false)?)
}
