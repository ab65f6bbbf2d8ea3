//! Mounts in a running container: added and removed in its namespaces, below its root by descriptor.

use base::coded;
use base::error::{Code, Coding as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::opened::{OpenedRootfs, Step};
use super::root::Root;
use super::unmount::detach;
use super::{Host, mount, path};
use crate::plan::mount::MountStep;
use crate::plan::mount::SymlinkPolicy;
use crate::plan::rootfs::RootfsPlan;
use linux::mount as sys_mount;
use linux::path as sys_path;

/// Executes the steps in order below `root`, and returns the mount IDs of the steps that attach a mount. `proc_dir` is
/// the host's `/proc`.
///
/// # Errors
/// A step that fails; the error names it. Mounts and mount points created before are removed.
pub(crate) fn add(
    plan: &RootfsPlan,
    opened: &OpenedRootfs,
    root: OwnedFd,
    pid_namespace: Option<OwnedFd>,
    proc_dir: BorrowedFd<'_>,
) -> Result<Vec<u64>> {
    let umask = sys_path::umask(0);
    let mut root = Root::live(root, pid_namespace);
    let result = Step::all(plan, opened).try_for_each(|step| {
        one(&mut root, step, proc_dir).with_code(Code::MountFailed, || step.planned.label.clone())
    });
    let ids = result
        .and_then(|()| root.attached.iter().map(|mount| Ok(sys_mount::id(mount.as_fd())?)).collect::<Result<_>>());
    if ids.is_err() {
        for mount in root.attached.drain(..).rev() {
            // the error of the step is returned, not that of the clean-up
            let _ = detach(mount.as_fd(), proc_dir);
        }
        root.created.drain(..).rev().for_each(|path| path.remove());
    }
    sys_path::umask(umask);
    ids
}

fn one(root: &mut Root, step: Step<'_>, proc_dir: BorrowedFd<'_>) -> Result<()> {
    // the sources were opened by a process of the host, ID-mapped ones too
    let idmap_outside = |_: usize, _: BorrowedFd<'_>| bail!("the source was not opened");
    let host = Host { proc_dir, pid_namespace: None, idmap_outside: &idmap_outside, announce: &|_| Ok(()) };
    mount::mount(root, step, &host)?;
    // after the copy of `tmpcopyup` has been written
    for tmpfs in root.late_readonly.drain(..) {
        let readonly = sys_mount::MountAttr { set: sys_mount::ATTR_RDONLY, ..Default::default() };
        sys_mount::set_attr(tmpfs.as_fd(), false, readonly).context("making it read-only")?;
    }
    Ok(())
}

/// Removes the mounts at the steps' destinations, the last first, and returns their mount IDs. Each must be in `added`,
/// a list of destination and mount ID. If one is not, none is removed.
///
/// # Errors
/// No mount at a destination, or one that is not in `added`; the error names the step.
pub(crate) fn remove(
    plan: &RootfsPlan,
    root: OwnedFd,
    added: &[(PathBuf, u64)],
    proc_dir: BorrowedFd<'_>,
) -> Result<Vec<u64>> {
    let root = Root::live(root, None);
    let mut found = Vec::new();
    for step in &plan.steps {
        found.push(added_mount(&root, step, added).with_code(Code::MountFailed, || step.label.clone())?);
    }
    for (step, (mount, _)) in plan.steps.iter().zip(&found).rev() {
        detach(mount.as_fd(), proc_dir).with_code(Code::MountFailed, || step.label.clone())?;
    }
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Opens the root of the mount at the step's destination, and returns its mount ID. Destination and ID are compared
/// with `added`, because the container may have replaced the mount by a symlink or another mount.
fn added_mount(root: &Root, step: &MountStep, added: &[(PathBuf, u64)]) -> Result<(OwnedFd, u64)> {
    let target =
        if step.target == SymlinkPolicy::NoSymlinks { SymlinkPolicy::NoSymlinks } else { SymlinkPolicy::Follow };
    let mount = match path::open(root.fd(), &step.destination, target, 0) {
        Err(err) if err.raw_os_error() == Some(libc::ENOENT) => {
            bail!(coded!(MountDestination, "nothing is mounted there"))
        }
        opened => opened?,
    };
    if !sys_mount::is_root(mount.as_fd())? {
        bail!(coded!(MountDestination, "nothing is mounted there"));
    }
    let id = sys_mount::id(mount.as_fd())?;
    let destination = step.cleaned_destination();
    if !added.iter().any(|(known, number)| *number == id && *known == destination) {
        bail!(coded!(MountDestination, "the mount there was not added by `mounts add`"));
    }
    Ok((mount, id))
}
