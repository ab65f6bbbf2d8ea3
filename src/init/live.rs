//! Mounting and unmounting in a container that runs: in its namespaces, below its root by descriptor.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::rootfs::Root;
use super::{mount, path};
use crate::plan::mount::{MountKind, MountStep, Target};
use crate::plan::rootfs::RootfsPlan;
use crate::sys::mount as sys_mount;
use crate::sys::path as sys_path;

/// Does the steps in their order, in the root `root`. `proc_dir` is the host's `/proc`.
///
/// # Errors
/// Names the step; mounts and mount points made so far are taken back.
pub fn add(plan: &RootfsPlan, root: OwnedFd, pid_namespace: Option<OwnedFd>, proc_dir: BorrowedFd<'_>) -> Result<()> {
    let umask = sys_path::umask(0);
    let mut root = Root::live(root, pid_namespace);
    let mut done = 0;
    let mut result = Ok(());
    for step in &plan.steps {
        result = one(plan, &mut root, step).with_context(|| step.label.clone());
        if result.is_err() {
            break;
        }
        done += 1;
    }
    if result.is_err() {
        for step in plan.steps.iter().take(done).rev().filter(|step| attaches(step)) {
            // the failure itself is what is told
            let _ = place(&root, step).and_then(|place| detach(place.as_fd(), proc_dir));
        }
        root.made.drain(..).rev().for_each(|made| made.remove());
    }
    sys_path::umask(umask);
    result
}

fn attaches(step: &MountStep) -> bool {
    matches!(step.kind, MountKind::Bind(_) | MountKind::New(_) | MountKind::Cgroup)
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

/// Takes the mounts at the steps' destinations away, the last first. None is touched unless all are there.
///
/// # Errors
/// Names the step.
pub fn remove(plan: &RootfsPlan, root: OwnedFd, proc_dir: BorrowedFd<'_>) -> Result<()> {
    let root = Root::live(root, None);
    let table = openat(proc_dir, "self/mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .context("the container's mount table")?;
    let table = std::io::read_to_string(std::fs::File::from(table)).context("the container's mount table")?;
    let table = super::unmount::table(table.as_bytes());
    for step in &plan.steps {
        let found = place(&root, step).with_context(|| step.label.clone())?;
        let found = nix::fcntl::readlinkat(proc_dir, link(found.as_fd()).as_str()).context("its place")?;
        if !table.iter().any(|mount| mount.place == Path::new(&found)) {
            bail!("{}: nothing is mounted there", step.label);
        }
    }
    for step in plan.steps.iter().rev() {
        let taken = place(&root, step).and_then(|place| detach(place.as_fd(), proc_dir));
        taken.with_context(|| step.label.clone())?;
    }
    Ok(())
}

/// What is mounted at the step's destination.
fn place(root: &Root, step: &MountStep) -> Result<OwnedFd> {
    let target = if step.target == Target::Real { Target::Real } else { Target::Follow };
    Ok(path::open(root.fd(), &step.destination, target, 0)?)
}

/// The descriptor in the host's procfs: it cannot be replaced, as a path of the container could.
fn link(fd: BorrowedFd<'_>) -> String {
    format!("self/fd/{}", fd.as_raw_fd())
}

fn detach(place: BorrowedFd<'_>, proc_dir: BorrowedFd<'_>) -> Result<()> {
    sys_path::fchdir(proc_dir).context("procfs of the host")?;
    sys_mount::detach_link(&std::ffi::CString::new(link(place))?).context("unmount")
}
