//! The root directory of a container while its file system is built: what was created in it, and how that is taken back.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::path::{self, CreatedPath, FileKind};
use super::unmount;
use crate::plan::mount::MountKind;
use crate::plan::mount::MountStep;
use linux::mount as sys_mount;
use linux::path as sys_path;

/// The container's root while it is being built.
#[derive(Debug)]
pub(crate) struct Root {
    /// Its root directory.
    pub(super) fd: OwnedFd,
    /// Mount points, nodes and links made in it.
    pub(super) made: Vec<CreatedPath>,
    /// File systems that become read-only at the end.
    pub(super) late_readonly: Vec<OwnedFd>,
    /// The host's /dev/null, checked, detached: what masked files show.
    pub(super) null: Option<OwnedFd>,
    /// Mounts that were attached to a running container, in their order.
    pub(super) attached: Vec<OwnedFd>,
    /// The container's pid namespace, where this process is not in it.
    pub(super) pid_namespace: Option<OwnedFd>,
    /// Where it is attached.
    pub(super) place: Place,
    /// The directory by the host's path, to find mounts without a namespace of their own.
    pub(super) host_path: PathBuf,
}

/// Where the root is attached before the pivot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: without a mount namespace it is the directory itself.
    None,
    /// On its own directory, for createContainer hooks look for the container's mounts there.
    Own,
    /// On the old root, which is always there, when a user namespace cannot reach the directory. Paths of the host
    /// resolve all the same: they start at the process's root, below that mount.
    OldRoot,
}

impl Root {
    /// The container's root directory, O_PATH.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The root of a container that runs.
    pub(super) fn live(fd: OwnedFd, pid_namespace: Option<OwnedFd>) -> Root {
        let (made, late_readonly) = (Vec::new(), Vec::new());
        let (attached, place, host_path) = (Vec::new(), Place::Own, PathBuf::new());
        Root { fd, made, late_readonly, null: None, attached, pid_namespace, place, host_path }
    }

    /// Attaches the detached mount `tree` at `place`. The mounts of a running container are kept, so that they, and not
    /// what lies at their place then, can be taken away again.
    pub(super) fn attach(&mut self, live: bool, tree: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<()> {
        // before, because a mount whose descriptor cannot be kept could not be taken back
        let kept = live.then(|| sys_path::dup(tree)).transpose().context("attach")?;
        sys_mount::move_mount(tree, place).context("attach")?;
        self.attached.extend(kept);
        Ok(())
    }

    /// The place of a mount, made if missing.
    ///
    /// A place on procfs that was not asked for as such was reached through a symlink of the image: refused (SEC-4).
    pub(super) fn place(&mut self, step: &MountStep, kind: FileKind) -> Result<OwnedFd> {
        let mut made = Vec::new();
        let place = path::open_or_make(self.fd(), &step.destination, step.target, kind, &mut made);
        self.made.append(&mut made);
        let place = place?;
        if !step.below_proc && sys_path::fs_magic(place.as_fd())? == sys_path::PROC_MAGIC && !is_proc(step) {
            bail!("cannot be mounted because it is inside a procfs");
        }
        Ok(place)
    }

    /// Takes back what was created in the rootfs, for a container whose creation fails (OP-3). Best effort.
    pub(crate) fn undo(&mut self) {
        if self.place == Place::None {
            let _ = unmount::below(&self.host_path);
        } else if sys_path::fchdir(self.fd()).is_ok() {
            let writable = sys_mount::MountAttr { clear: sys_mount::ATTR_RDONLY, ..Default::default() };
            let _ = sys_mount::set_attr(self.fd(), false, writable);
            // frees the mount points, in this namespace alone
            let _ = sys_mount::detach(c".");
        }
        self.made.drain(..).rev().for_each(|made| made.remove());
    }
}

fn is_proc(step: &MountStep) -> bool {
    matches!(&step.kind, MountKind::New(new) if new.fs.as_c_str() == c"proc")
}
