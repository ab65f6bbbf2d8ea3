//! The helper that joins a running container and clones a further process there.
//!
//! The container sees the clone at once. So the helper must before have joined the container's namespaces and root
//! directory, and have no descriptor, no environment of the host and no capability that the clone does not need
//! (SEC-5).

use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};

use super::{check, credentials, lsm, namespaces};
use crate::opened::JoinTarget;
use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::protocol::Channel;

/// Makes this process the parent of a further process of the container. This process itself stays in the runtime's pid
/// namespace; its children are created in the container's.
///
/// # Errors
/// The kernel refuses a namespace, the cgroup, the keyring or a label; the container's init has left its namespaces.
pub(crate) fn enter(plan: &ContainerPlan, opened: &mut Opened, channel: &Channel) -> Result<()> {
    linux::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
    namespaces::oom_score_before_hiding(plan, opened)?;
    linux::process::set_dumpable(false).context("set non-dumpable")?;
    namespaces::join_cgroups(opened)?;
    let opened = &*opened;
    let target = opened.target.as_ref().context("the process to join was not opened")?;
    join_namespaces(opened, target)?;
    check::own_namespaces(opened, Some("pid_for_children"))
        .context("init of the container has left the namespaces that it was created in")?;
    if target.flags & libc::CLONE_NEWUSER != 0 {
        namespaces::become_root(plan.process.as_ref().is_some_and(|process| process.keep_groups))?;
    }
    if let Some(process) = &plan.process {
        // here because the child inherits it, and can no longer reach the host's procfs
        lsm::label_keys(process, opened.proc_dir.as_fd())?;
        credentials::keyring(process, &plan.id)?;
        lsm::unlabel_keys(process, opened.proc_dir.as_fd())?;
        lsm::prepare(process, opened.proc_dir.as_fd())?;
    }
    if let Some(root) = &target.root {
        change_root(root.as_fd())?;
    }
    super::close_rest(plan, opened, channel)?;
    linux::binary::clear_arguments_and_environment();
    credentials::limit_capabilities(plan.process.as_ref(), target.awaits_root)
}

/// Enters the container's root directory, in the child of the helper: it was created before pivot_root(2), until which the
/// host's root is above the container's, and a process that may trace it would reach that by `/proc/PID/root/..` (SEC-5).
///
/// # Errors
/// The runtime has ended; as chroot(2).
pub(crate) fn enter_late_root(plan: &ContainerPlan, channel: &Channel) -> Result<()> {
    let root = channel.recv_go_with()?.1.context("the runtime sent no root directory")?;
    change_root(root.as_fd())?;
    credentials::limit_capabilities(plan.process.as_ref(), false)
}

fn change_root(root: BorrowedFd<'_>) -> Result<()> {
    linux::path::fchdir(root).context("change to the container's root directory")?;
    linux::path::chroot_to_cwd().context("chroot to the container's root directory")
}

/// Joins the namespaces of the target; the pid namespace is for children only.
fn join_namespaces(opened: &Opened, target: &JoinTarget) -> Result<()> {
    let entered = join_pid_namespace(opened)?;
    linux::process::setns(target.pidfd.as_fd(), target.flags).context("join the container's namespaces")?;
    if !entered && let Some(pid) = &opened.namespaces.pid {
        linux::process::setns(pid.fd.as_fd(), libc::CLONE_NEWPID).context("join the pid namespace")?;
    }
    Ok(())
}

/// Joins the pid namespace for children; returns false when the kernel refuses with EPERM. Before the user namespace is
/// joined, because the pid namespace may be the host's.
fn join_pid_namespace(opened: &Opened) -> Result<bool> {
    let Some(pid) = &opened.namespaces.pid else { return Ok(true) };
    match linux::process::setns(pid.fd.as_fd(), libc::CLONE_NEWPID) {
        Ok(()) => Ok(true),
        Err(err) if err.raw_os_error() == Some(libc::EPERM) => Ok(false),
        Err(err) => Err(err).context("join the pid namespace"),
    }
}
