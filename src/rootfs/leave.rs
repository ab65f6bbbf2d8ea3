//! The way of init out of the host's mounts when its mount namespace is no copy of them: see `opened::kernel_mounts`.

use base::error::{Code, Coding as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};

use super::bind::{Place, prepare_bind};
use super::mount::clone_source;
use super::opened::{OpenedRootfs, ResolvedSource, Source, Taken};
use super::{cgroupfs, device, mask};
use crate::plan::mount::{Bind, MountKind, MountStep};
use crate::plan::rootfs::RootfsPlan;

/// Clones every source of the plan, then enters `kernel_mounts` and unshares the mount namespace. Where the kernel or a
/// security module refuses to enter, the new namespace is a copy of the host's.
///
/// # Errors
/// A source that cannot be cloned, by its field; as unshare(2).
pub(crate) fn leave_host_mounts(plan: &RootfsPlan, opened: &mut OpenedRootfs, kernel_mounts: &OwnedFd) -> Result<()> {
    for (step, opened) in plan.steps.iter().zip(&mut opened.steps) {
        let cloned = match (&step.kind, &mut opened.source) {
            (MountKind::Bind(bind), Source::Found(found)) if found.tree.is_none() => {
                let userns = opened.userns.as_ref().map(|fd| fd.as_fd());
                clone_bind(step, bind, found, userns).map(|tree| found.tree = Some(tree))
            }
            (MountKind::Cgroup, _) => cgroupfs::trees(plan, step).map(|trees| opened.cgroup = Some(trees)),
            _ => Ok(()),
        };
        cloned.with_code(Code::MountFailed, || step.label.clone())?;
    }
    let null = if plan.masked.is_empty() { None } else { mask::host_null(plan, true)? };
    let dev = device::host_dev()?;
    if linux::process::setns(kernel_mounts.as_fd(), libc::CLONE_NEWNS).is_ok() {
        opened.taken = Some(Taken { null, dev });
    }
    linux::process::unshare(libc::CLONE_NEWNS).context("new mount namespace")
}

fn clone_bind(
    step: &MountStep,
    bind: &Bind,
    found: &ResolvedSource,
    userns: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd> {
    let tree = clone_source(bind, found)?;
    let place = Place { in_host_group: true, locked: false };
    prepare_bind(step, bind, userns, tree.as_fd(), place)?;
    Ok(tree)
}
