//! The helper that becomes all that a further process of a running container needs, but for the pid namespace.
//!
//! What it clones is seen by the container at once. It must then have the container's namespaces and root directory
//! already, no descriptor and no environment of the host's, and no capability that it does not need (SEC-5).

use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result};

use super::{check, credentials, lsm, namespaces};
use crate::plan::{ContainerPlan, Gate, Target};
use crate::protocol::Channel;
use crate::sys;

/// Turns this process into the parent of a further process of the container. It stays in the runtime's pid namespace
/// itself; its children will be in the container's.
///
/// # Errors
/// The kernel refuses a namespace, the cgroup, the keyring or a label.
pub fn enter(plan: &ContainerPlan, target: &Target, channel: &Channel) -> Result<()> {
    sys::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
    namespaces::oom_score_before_hiding(plan)?;
    sys::process::set_dumpable(false).context("set non-dumpable")?;
    namespaces::join_cgroups(plan)?;
    join_namespaces(target)?;
    check::own_namespaces(plan, Some("pid_for_children"))
        .context("init of the container has left the namespaces that it was created in")?;
    if target.flags & libc::CLONE_NEWUSER != 0 {
        namespaces::become_root()?;
    }
    if let Some(process) = &plan.process {
        // inherited by the child, which sees no procfs of the host's any more
        lsm::label_keys(process, plan.proc_dir.as_fd())?;
        credentials::keyring(process, &plan.id)?;
        lsm::unlabel_keys(process, plan.proc_dir.as_fd())?;
        lsm::prepare(process, plan.proc_dir.as_fd())?;
    }
    if let Some(root) = &target.root {
        sys::path::fchdir(root.as_fd()).context("change to the container's root directory")?;
        sys::path::chroot_to_cwd().context("chroot to the container's root directory")?;
    }
    close_foreign(plan, channel)?;
    sys::binary::clear_arguments_and_environment();
    credentials::limit_capabilities(plan.process.as_ref())
}

/// Enters the namespaces of the target; the pid namespace will be that of children.
fn join_namespaces(target: &Target) -> Result<()> {
    let entered = join_pid_namespace(target)?;
    sys::process::setns(target.pidfd.as_fd(), target.flags).context("join the container's namespaces")?;
    if !entered && let Some(pid) = &target.pid_namespace {
        sys::process::setns(pid.as_fd(), libc::CLONE_NEWPID).context("join the pid namespace")?;
    }
    Ok(())
}

/// Before the user namespace is joined, because the pid namespace may be the host's; whether that was allowed.
fn join_pid_namespace(target: &Target) -> Result<bool> {
    let Some(pid) = &target.pid_namespace else { return Ok(true) };
    match sys::process::setns(pid.as_fd(), libc::CLONE_NEWPID) {
        Ok(()) => Ok(true),
        Err(err) if err.raw_os_error() == Some(libc::EPERM) => Ok(false),
        Err(err) => Err(err).context("join the pid namespace"),
    }
}

/// Leaves the standard streams, what is passed on, and the ways to the runtime and to `start`.
fn close_foreign(plan: &ContainerPlan, channel: &Channel) -> Result<()> {
    let mut keep: Vec<i32> = (0..3 + plan.preserve_fds as i32).collect();
    keep.push(channel.fd().as_raw_fd());
    if let Gate::Fifos { start, status } = &plan.gate {
        keep.extend([start.as_raw_fd(), status.as_raw_fd()]);
    }
    let files = plan.hooks.start_container.iter().flat_map(|hook| hook.output.iter().flatten());
    keep.extend(files.map(|file| file.as_raw_fd()));
    sys::process::close_all_but(keep).context("close descriptors")
}
