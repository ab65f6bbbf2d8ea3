//! Mounting and unmounting in a container that runs: in its namespaces, below its root by descriptor.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};

use super::rootfs::Root;
use super::{mount, path};
use crate::plan::mount::{Added, MountStep};
use crate::plan::rootfs::RootfsPlan;
use crate::sys::mount as sys_mount;
use crate::sys::path as sys_path;

/// Does the steps in their order, in the root `root`; what was mounted. `proc_dir` is the host's `/proc`.
///
/// # Errors
/// Names the step; mounts and mount points made so far are taken back.
pub fn add(
    plan: &RootfsPlan,
    root: OwnedFd,
    pid_namespace: Option<OwnedFd>,
    proc_dir: BorrowedFd<'_>,
) -> Result<Vec<Added>> {
    let umask = sys_path::umask(0);
    let mut root = Root::live(root, pid_namespace);
    let (mut mounts, mut added) = (Vec::new(), Vec::new());
    let mut result = Ok(());
    for step in &plan.steps {
        result = one(plan, &mut root, step).with_context(|| step.label.clone());
        for mount in root.attached.iter_mut().flat_map(|attached| attached.drain(..)) {
            if result.is_ok() {
                result = identify(step, mount.as_fd()).map(|found| added.push(found));
            }
            mounts.push(mount);
        }
        if result.is_err() {
            break;
        }
    }
    if result.is_err() {
        for mount in mounts.iter().rev() {
            // the failure itself is what is reported
            let _ = detach(mount.as_fd(), proc_dir);
        }
        root.made.drain(..).rev().for_each(|made| made.remove());
    }
    sys_path::umask(umask);
    result.map(|()| added)
}

/// What the mount at the step's destination is known by later.
fn identify(step: &MountStep, mount: BorrowedFd<'_>) -> Result<Added> {
    let (device, inode) = sys_path::fstat(mount).with_context(|| step.label.clone())?.identity();
    let mount_id = sys_mount::id(mount).with_context(|| step.label.clone())?;
    Ok(Added { destination: step.place().to_string_lossy().into_owned(), mount_id, device, inode })
}

fn one(plan: &RootfsPlan, root: &mut Root, step: &MountStep) -> Result<()> {
    mount::mount(plan, root, step)?;
    // the copy that a tmpfs starts with has been written by now
    for tmpfs in root.late_readonly.drain(..) {
        let readonly = sys_mount::Change { set: sys_mount::ATTR_RDONLY, ..Default::default() };
        sys_mount::change(tmpfs.as_fd(), false, readonly).context("making it read-only")?;
    }
    Ok(())
}

/// Takes the mounts at the steps' destinations away, the last first, if they are among those that were `added`; which
/// they were. None is touched unless all are there; of several at one destination the uppermost is looked at first.
///
/// # Errors
/// Names the step.
pub fn remove(plan: &RootfsPlan, root: OwnedFd, added: &[Added], proc_dir: BorrowedFd<'_>) -> Result<Vec<Added>> {
    let root = Root::live(root, None);
    let steps = || plan.steps.iter().filter(|step| step.attaches()).rev();
    for step in steps().rev() {
        own_mount(&root, step, added).with_context(|| step.label.clone())?;
    }
    let mut removed = Vec::new();
    for step in steps() {
        // looked at again: the descriptor that is detached is the one that was compared
        let (mount, found) = own_mount(&root, step, added).with_context(|| step.label.clone())?;
        detach(mount.as_fd(), proc_dir).with_context(|| step.label.clone())?;
        removed.push(found);
    }
    Ok(removed)
}

/// Opens what is mounted at the step's destination and finds it among those that were `added`.
fn own_mount(root: &Root, step: &MountStep, added: &[Added]) -> Result<(OwnedFd, Added)> {
    let mount = path::open(root.fd(), &step.destination, step.target, 0)?;
    if !sys_mount::is_root(mount.as_fd())? {
        bail!("nothing is mounted there");
    }
    let found = identify(step, mount.as_fd())?;
    if !added.contains(&found) {
        bail!("what is mounted there was not mounted by \"mounts add\"");
    }
    Ok((mount, found))
}

/// The descriptor in the host's procfs: it cannot be replaced, as a path of the container could.
fn link(fd: BorrowedFd<'_>) -> String {
    format!("self/fd/{}", fd.as_raw_fd())
}

fn detach(place: BorrowedFd<'_>, proc_dir: BorrowedFd<'_>) -> Result<()> {
    sys_path::fchdir(proc_dir).context("procfs of the host")?;
    sys_mount::detach_link(&std::ffi::CString::new(link(place))?).context("unmount")
}
