//! The root directory of a container while its file system is built, and the removal of created files on failure.

use base::coded;
use base::error::{Code, Coding as _};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::Host;
use super::opened::Step;
use super::path::{self, CreatedPath, FileKind};
use super::unmount;
use crate::plan::mount::MountKind;
use crate::plan::mount::MountStep;
use crate::plan::mount::SymlinkPolicy;
use linux::mount as sys_mount;
use linux::path as sys_path;

/// The container's root while it is built.
#[derive(Debug)]
pub(crate) struct Root {
    /// The root directory, O_PATH.
    pub(super) fd: OwnedFd,
    /// Created mount points, nodes and symlinks, in order.
    pub(super) created: Vec<CreatedPath>,
    /// Mounts that become read-only last.
    pub(super) late_readonly: Vec<OwnedFd>,
    /// A detached bind of the host's /dev/null, checked, to mask files.
    pub(super) null: Option<OwnedFd>,
    /// Mounts that were attached to a running container, in order.
    pub(super) attached: Vec<OwnedFd>,
    /// Device number of the host's /dev, where it was read before the host's mounts were left.
    pub(super) host_dev: Option<Option<libc::dev_t>>,
    /// The container's pid namespace, if this process is not in it.
    pub(super) pid_namespace: Option<OwnedFd>,
    /// The mount point of the root before the pivot.
    pub(super) attach_point: AttachPoint,
    /// Warnings for the caller of the runtime.
    pub(super) warnings: Vec<String>,
    /// Path of the root directory on the host, to find mounts of a container without a mount namespace.
    pub(super) host_path: PathBuf,
}

/// The mount point of the root before the pivot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttachPoint {
    /// Not attached: without a mount namespace and the right to mount, the root is the directory itself.
    None,
    /// The root directory itself, because createContainer hooks look for the container's mounts there.
    Own,
    /// The old root, when the user namespace has no permission for the path of the directory, or its namespace is no copy
    /// of the host's. Paths of the host still
    /// resolve, because they start at the process's root, below that mount.
    OldRoot,
}

impl Root {
    /// Removes and returns the warnings for the caller of the runtime.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The container's root directory, O_PATH.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns the root of a running container.
    pub(super) fn live(fd: OwnedFd, pid_namespace: Option<OwnedFd>) -> Root {
        let (created, late_readonly) = (Vec::new(), Vec::new());
        let (attached, attach_point, host_path) = (Vec::new(), AttachPoint::Own, PathBuf::new());
        let (host_dev, warnings) = (None, Vec::new());
        Root {
            fd,
            created,
            late_readonly,
            null: None,
            attached,
            host_dev,
            pid_namespace,
            attach_point,
            host_path,
            warnings,
        }
    }

    /// Attaches the detached mount `tree` at `mount_point`. With `live` a descriptor of the mount is kept, so that on
    /// failure exactly this mount is detached.
    pub(super) fn attach(&mut self, live: bool, tree: BorrowedFd<'_>, mount_point: BorrowedFd<'_>) -> Result<()> {
        // before move_mount(2), because a mount without a descriptor could not be detached on failure
        let kept = live.then(|| sys_path::dup(tree)).transpose().context("attach")?;
        sys_mount::move_mount(tree, mount_point).context("attach")?;
        self.attached.extend(kept);
        Ok(())
    }

    /// Opens the mount point of a step, and creates a missing one.
    ///
    /// Refuses a mount point on procfs if the destination is not below /proc, because then a symlink of the image led
    /// there (SEC-4).
    pub(super) fn open_mount_point(&mut self, step: Step<'_>, kind: FileKind, host: &Host<'_>) -> Result<OwnedFd> {
        let is_below_another = step.is_below_another();
        let step = step.planned;
        let mount_point = match path::open_existing(self.fd(), &step.destination, step.target, kind) {
            Ok(None) => {
                if !is_below_another {
                    (host.announce)(&step.destination)?;
                }
                let mut created = Vec::new();
                let mount_point = path::create_missing(self.fd(), &step.destination, step.target, kind, &mut created);
                self.created.append(&mut created);
                if mount_point.as_ref().is_err_and(is_refusal) {
                    return mount_point.code(Code::RootfsInvalid, "the mount point is missing and cannot be created");
                }
                mount_point
            }
            Ok(Some(mount_point)) => Ok(mount_point),
            Err(err) => Err(err),
        };
        let is_symlink = mount_point.as_ref().is_err_and(|err| err.raw_os_error() == Some(libc::ELOOP));
        if is_symlink && step.target == SymlinkPolicy::NoSymlinks {
            // the text is runc's
            bail!(coded!(MountDestination, "must be mounted on ordinary directory, and this path has a symbolic link"));
        }
        let mount_point = match mount_point {
            Err(err) if err.raw_os_error() == Some(libc::ENOTDIR) => {
                return Err(err).code(Code::MountDestination, "a file is where a directory is needed");
            }
            other => other?,
        };
        if !step.below_proc && sys_path::fs_magic(mount_point.as_fd())? == sys_path::PROC_MAGIC && !is_proc(step) {
            bail!(coded!(MountDestination, "cannot be mounted because it is inside a procfs"));
        }
        Ok(mount_point)
    }

    /// Adds a warning for the caller of the runtime.
    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// Removes mounts and files created in the rootfs, for a container whose creation fails (OP-3). Best effort.
    pub(crate) fn undo(&mut self) {
        if self.attach_point == AttachPoint::None {
            let _ = unmount::below(&self.host_path);
        } else if sys_path::fchdir(self.fd()).is_ok() {
            let writable = sys_mount::MountAttr { clear: sys_mount::ATTR_RDONLY, ..Default::default() };
            let _ = sys_mount::set_attr(self.fd(), false, writable);
            // detaches the mounts of this namespace, so that the mount points can be removed
            let _ = sys_mount::detach(c".");
        }
        self.created.drain(..).rev().for_each(|path| path.remove());
    }
}

fn is_proc(step: &MountStep) -> bool {
    matches!(&step.kind, MountKind::New(new) if new.fs.as_c_str() == c"proc")
}

/// Reports whether an error is that of a file system or directory in which this process may not create a file.
fn is_refusal(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
}
