//! Masked and read-only paths (LX-2, LX-3), by descriptor, after the pivot.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::AT_FDCWD;

use super::path;
use super::root::Root;
use crate::plan::mount::SymlinkPolicy;
use crate::plan::rootfs::RootfsPlan;
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

/// Returns a detached bind of the host's /dev/null; `None`: it is missing or is not character device 1:3
/// (CVE-2025-31133), or the kernel refuses its bind to this user namespace. With `in_host_group` it is cloned from the
/// host's own mount, whose peer group it leaves.
///
/// # Errors
/// Other errors of open_tree(2); as mount_setattr(2).
pub(super) fn host_null(plan: &RootfsPlan, in_host_group: bool) -> Result<Option<OwnedFd>> {
    const WHAT: &str = "linux.maskedPaths: bind of the host's /dev/null";
    if sys_mount::is_old() {
        // a mount that is attached nowhere does not outlive the change of the root there: the container's node is used
        return Ok(None);
    }
    let tree = match sys_mount::clone_tree(AT_FDCWD, c"/dev/null", CloneFlags { recursive: false, nofollow: true }) {
        Err(err) if err.is_errno(&[libc::ENOENT]) => return Ok(None),
        Err(err) if err.is_errno(&[libc::EPERM, libc::EINVAL, libc::EACCES]) && super::in_user_namespace(plan) => {
            return Ok(None);
        }
        tree => tree.context(WHAT)?,
    };
    if in_host_group {
        let slave = MountAttr { propagation: libc::MS_SLAVE, ..MountAttr::default() };
        sys_mount::set_attr(tree.as_fd(), false, slave).context(WHAT)?;
    }
    Ok(if is_null(tree.as_fd()).context(WHAT)? { Some(tree) } else { None })
}

/// Returns whether a file is the null device, major 1 and minor 3.
///
/// # Errors
/// As fstat(2).
pub(crate) fn is_null(fd: BorrowedFd<'_>) -> std::io::Result<bool> {
    Ok(sys_path::fstat(fd)?.is_char(1, 3))
}

fn has_parent_component(path: &CStr) -> bool {
    path.to_bytes().split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// Masks files by /dev/null, and directories by one empty tmpfs, created for the first directory and bound for the
/// others.
pub(super) struct Masks<'a> {
    root: &'a Root,
    /// Device and inode of the root directory.
    top: (libc::dev_t, libc::ino_t),
    /// A mounted empty directory.
    empty: Option<OwnedFd>,
    /// A mounted null device.
    null: Option<OwnedFd>,
}

impl<'a> Masks<'a> {
    pub(super) fn new(root: &'a Root) -> Result<Self> {
        let top =
            sys_path::fstat(root.fd()).code(Code::RootfsInvalid, "linux.maskedPaths: fstat of the root")?.identity();
        Ok(Self { root, top, empty: None, null: None })
    }

    /// Opens the path inside the root and follows symlinks of the image; `None` for a missing file.
    ///
    /// # Errors
    /// A loop of symlinks, a magic link of procfs, or a path that leads to the root itself.
    fn resolve(&self, path: &CStr) -> Result<Option<(OwnedFd, Stat)>> {
        // a `..` that leads to the root would lead to what the way of old kernels has mounted above it
        sys_mount::finish().context("removing the mounts of croci's own")?;
        let target = match path::open(self.root.fd(), path, SymlinkPolicy::Follow, 0) {
            // with `..` after a file the configuration may mean that file
            Err(err) if err.raw_os_error() == Some(libc::ENOTDIR) && has_parent_component(path) => {
                return Err(err).context("goes up from what is no directory");
            }
            // ENOTDIR: a component of the path is a file, so the path does not exist
            Err(err) if err.is_errno(&[libc::ENOENT, libc::ENOTDIR]) => return Ok(None),
            Err(err) if err.raw_os_error() == Some(libc::ELOOP) => {
                return Err(err).context("a loop of symlinks, or a link of procfs that is no path");
            }
            opened => opened?,
        };
        let stat = sys_path::fstat(target.as_fd())?;
        // another mount of the root directory is allowed
        if stat.identity() == self.top && sys_mount::id(target.as_fd())? == sys_mount::id(self.root.fd())? {
            bail!(coded!(RootfsInvalid, "leads to the root"));
        }
        Ok(Some((target, stat)))
    }

    /// Makes the file or directory at the path read-only; mounts below keep their own flags. Returns whether it exists.
    pub(super) fn readonly(&self, path: &CStr) -> Result<bool> {
        let Some((target, _)) = self.resolve(path)? else { return Ok(false) };
        let tree = sys_mount::clone_fd(target.as_fd(), true).context("bind")?;
        let readonly = MountAttr { set: ATTR_RDONLY, ..MountAttr::default() };
        sys_mount::set_attr(tree.as_fd(), false, readonly).context("read-only")?;
        sys_mount::move_mount(tree.as_fd(), target.as_fd()).context("attach")?;
        Ok(true)
    }

    pub(super) fn mask(&mut self, path: &CStr) -> Result<()> {
        // the target of a symlink of the image is masked, because it can be reached by other names
        let Some((target, stat)) = self.resolve(path)? else { return Ok(()) };
        // checked first, because a bind of a file on a directory fails only after a grace period of the kernel
        let directory = stat.is_dir();
        let mounted_mask = if directory { &mut self.empty } else { &mut self.null };
        if let Some(mounted) = mounted_mask {
            let tree = sys_mount::clone_fd(mounted.as_fd(), false)?;
            sys_mount::move_mount(tree.as_fd(), target.as_fd())?;
            return Ok(());
        }
        let tree = if directory { empty_tmpfs()? } else { first_null(self.root)? };
        sys_mount::move_mount(tree.as_fd(), target.as_fd())?;
        *mounted_mask = Some(tree);
        Ok(())
    }
}

/// Creates an empty read-only directory, which no mount namespace has.
///
/// # Errors
/// The kernel refuses a tmpfs, or has no detached mounts.
pub(crate) fn empty_dir() -> Result<OwnedFd> {
    if sys_mount::is_old() {
        return Err(sys_mount::needs_detached("an empty root directory of a process").into());
    }
    empty_tmpfs()
}

/// Creates an empty read-only directory to be mounted: on an older kernel it is on init's stage until then.
fn empty_tmpfs() -> Result<OwnedFd> {
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
    // without a usable one on the host: the container's, if it is the null device
    let own = path::open(root.fd(), c"/dev/null", SymlinkPolicy::NoSymlinks, 0).context("open \"/dev/null\"")?;
    if !is_null(own.as_fd())? {
        bail!(coded!(DeviceFailed, "neither the host's nor the container's /dev/null is the null device"));
    }
    Ok(sys_mount::clone_fd(own.as_fd(), false)?)
}
