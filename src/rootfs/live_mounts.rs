//! Mounting and unmounting in a container that runs: in its namespaces, below its root by descriptor.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::opened::{OpenedRootfs, Step};
use super::root::Root;
use super::{mount, path};
use crate::plan::mount::MountStep;
use crate::plan::mount::Target;
use crate::plan::rootfs::RootfsPlan;
use linux::mount as sys_mount;
use linux::path as sys_path;

/// Does the steps in their order, in the root `root`. Returns the numbers of the mounts, in that order, for those steps
/// that attach one. `proc_dir` is the host's `/proc`.
///
/// # Errors
/// Names the step; mounts and mount points created so far are taken back.
pub(crate) fn add(
    plan: &RootfsPlan,
    opened: &OpenedRootfs,
    root: OwnedFd,
    pid_namespace: Option<OwnedFd>,
    proc_dir: BorrowedFd<'_>,
) -> Result<Vec<u64>> {
    let umask = sys_path::umask(0);
    let mut root = Root::live(root, pid_namespace);
    let result =
        Step::all(plan, opened).try_for_each(|step| one(&mut root, step).with_context(|| step.planned.label.clone()));
    let ids = result
        .and_then(|()| root.attached.iter().map(|mount| Ok(sys_mount::id(mount.as_fd())?)).collect::<Result<_>>());
    if ids.is_err() {
        for mount in root.attached.drain(..).rev() {
            // the failure itself is what is reported
            let _ = detach(mount.as_fd(), proc_dir);
        }
        root.made.drain(..).rev().for_each(|made| made.remove());
    }
    sys_path::umask(umask);
    ids
}

fn one(root: &mut Root, step: Step<'_>) -> Result<()> {
    mount::mount(root, step)?;
    // the copy that a tmpfs starts with has been written by now
    for tmpfs in root.late_readonly.drain(..) {
        let readonly = sys_mount::MountAttr { set: sys_mount::ATTR_RDONLY, ..Default::default() };
        sys_mount::set_attr(tmpfs.as_fd(), false, readonly).context("making it read-only")?;
    }
    Ok(())
}

/// Takes the mounts at the steps' destinations away, the last first; only those that were `added` there, each given as its
/// destination and its number. None is touched unless all are there. Returns their numbers.
///
/// # Errors
/// Names the step: nothing is mounted there, or a mount that is not among those that were added.
pub(crate) fn remove(
    plan: &RootfsPlan,
    root: OwnedFd,
    added: &[(PathBuf, u64)],
    proc_dir: BorrowedFd<'_>,
) -> Result<Vec<u64>> {
    let root = Root::live(root, None);
    let mut found = Vec::new();
    for step in &plan.steps {
        found.push(added_mount(&root, step, added).with_context(|| step.label.clone())?);
    }
    for (step, (mount, _)) in plan.steps.iter().zip(&found).rev() {
        detach(mount.as_fd(), proc_dir).with_context(|| step.label.clone())?;
    }
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// What is mounted at the step's destination, by a descriptor of its root. The container may have put a symlink there, or
/// another mount, one that was added elsewhere too: destination and number of the mount are compared.
fn added_mount(root: &Root, step: &MountStep, added: &[(PathBuf, u64)]) -> Result<(OwnedFd, u64)> {
    let target = if step.target == Target::NoSymlinks { Target::NoSymlinks } else { Target::Follow };
    let mount = match path::open(root.fd(), &step.destination, target, 0) {
        Err(err) if err.raw_os_error() == Some(libc::ENOENT) => bail!("nothing is mounted there"),
        opened => opened?,
    };
    if !sys_mount::is_root(mount.as_fd())? {
        bail!("nothing is mounted there");
    }
    let id = sys_mount::id(mount.as_fd())?;
    let place = step.cleaned_destination();
    if !added.iter().any(|(destination, number)| *number == id && *destination == place) {
        bail!("the mount there was not added by `mounts add`");
    }
    Ok((mount, id))
}

/// Detaches the mount whose root `mount` is, by the descriptor in the host's procfs: it cannot be replaced, as a path of
/// the container could.
fn detach(mount: BorrowedFd<'_>, proc_dir: BorrowedFd<'_>) -> Result<()> {
    sys_path::fchdir(proc_dir).context("procfs of the host")?;
    let link = std::ffi::CString::new(format!("self/fd/{}", mount.as_raw_fd()))?;
    sys_mount::detach_link(&link).context("unmount")
}
