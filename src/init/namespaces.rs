//! Entering the namespaces that the clone itself could not give, and naming the host.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::credentials;
use crate::opened::Joined;
use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::protocol::Channel;

/// Joins what is to be joined, waits for the id maps of a new user namespace, and makes the namespaces whose moment
/// comes after that.
///
/// # Errors
/// The kernel refuses a namespace, or the runtime ended.
pub(crate) fn enter(plan: &ContainerPlan, opened: &mut Opened, channel: &Channel) -> Result<()> {
    let namespaces = &plan.namespaces;
    // the files of a non-dumpable process in procfs belong to the machine's root, which it will not be for long
    let offsets = open_offsets(plan, opened)?;
    join_cgroups(opened)?;
    if !namespaces.new_user() {
        oom_score_before_hiding(plan, opened)?;
    }
    if !namespaces.joined_before_clone() {
        join_all(opened.namespaces.user.as_ref(), &opened.namespaces.joins)?;
    }
    if namespaces.new_user() || plan.joins_cgroup_late {
        channel.recv_go()?;
    }
    // the runtime has written the id maps: from here on until the program's execve nothing of it can be traced (SEC-5)
    linux::process::set_dumpable(false).context("set non-dumpable")?;
    if namespaces.own_user() {
        become_root()?;
    }
    if plan.unprivileged && namespaces.pid.is_some() {
        // It builds the root file system outside of the pid namespace that is joined, so that none of those in there can
        // see it; the helper that enters its namespaces has no right to a process that is not dumpable.
        linux::process::set_dumpable(true).context("set dumpable")?;
    }
    if namespaces.new_cgroup {
        linux::process::unshare(libc::CLONE_NEWCGROUP).context("new cgroup namespace")?;
    }
    new_time(plan, opened, offsets)
}

/// Joins the hierarchies of cgroup v1: before any namespace hides the host's ids, and before a cgroup namespace is rooted
/// there.
///
/// # Errors
/// As write(2).
pub(super) fn join_cgroups(opened: &mut Opened) -> Result<()> {
    std::mem::take(&mut opened.cgroup_join).into_iter().try_for_each(|file| {
        nix::unistd::write(&file, b"0").context("join the cgroup")?;
        Ok(())
    })
}

/// Writes the OOM score where only this process may: the runtime of an ordinary user has no right to the files in
/// procfs of a process that is not dumpable.
///
/// # Errors
/// As `credentials::oom_score`.
pub(super) fn oom_score_before_hiding(plan: &ContainerPlan, opened: &Opened) -> Result<()> {
    match &plan.process {
        Some(process) if plan.unprivileged => credentials::oom_score(process, opened.proc_dir.as_fd(), "self"),
        _ => Ok(()),
    }
}

/// A namespace that another user namespace owns can be entered only before or only after that one (NS-7): those that
/// can be entered now are, the rest follows behind the user namespace.
fn join_all(user: Option<&Joined>, joins: &[Joined]) -> Result<()> {
    let enter = |join: &Joined| linux::process::setns(join.fd.as_fd(), join.flag);
    let refused = |join: &Joined| format!("join the {} namespace", join.name);
    let Some(user) = user else {
        return joins.iter().try_for_each(|join| enter(join).with_context(|| refused(join)));
    };
    let mut later = Vec::new();
    for join in joins {
        match enter(join) {
            Err(err) if err.raw_os_error() == Some(libc::EPERM) => later.push(join),
            other => other.with_context(|| refused(join))?,
        }
    }
    // already there when a helper process entered it for the clone
    match enter(user) {
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => {}
        other => other.with_context(|| refused(user))?,
    }
    later.into_iter().try_for_each(|join| enter(join).with_context(|| refused(join)))
}

/// In a user namespace: its root, if it has one. Else the process keeps the overflow id, with all capabilities.
///
/// # Errors
/// The kernel refuses an id that is mapped.
pub(crate) fn become_root() -> Result<()> {
    // the caller's groups mean nothing here; where they may not be dropped (denied, unprivileged) they are kept
    let _ = linux::cred::setgroups(&[]);
    for result in [linux::cred::setresgid(0), linux::cred::setresuid(0)] {
        match result {
            Ok(()) => {}
            // id 0 is not mapped
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) => {}
            Err(err) => return Err(err).context("become root of the user namespace"),
        }
    }
    // a change of ids takes the value of fs.suid_dumpable
    linux::process::set_dumpable(false).context("set non-dumpable")
}

/// Where the offsets of the clocks are written, if there are any.
fn open_offsets(plan: &ContainerPlan, opened: &Opened) -> Result<Option<File>> {
    if plan.namespaces.new_time.as_ref().is_none_or(String::is_empty) {
        return Ok(None);
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(&opened.proc_dir, "self/timens_offsets", flags, Mode::empty()).context("linux.timeOffsets")?;
    Ok(Some(file.into()))
}

/// The offsets can be set only while the namespace is empty; then the process enters it.
fn new_time(plan: &ContainerPlan, opened: &Opened, offsets_file: Option<File>) -> Result<()> {
    let Some(offsets) = &plan.namespaces.new_time else { return Ok(()) };
    linux::process::unshare(libc::CLONE_NEWTIME).context("new time namespace")?;
    if let Some(mut file) = offsets_file {
        file.write_all(offsets.as_bytes()).context("linux.timeOffsets")?;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let space =
        openat(&opened.proc_dir, "self/ns/time_for_children", flags, Mode::empty()).context("time namespace")?;
    linux::process::setns(space.as_fd(), libc::CLONE_NEWTIME).context("enter the new time namespace")?;
    Ok(())
}

/// Host and domain name of the container's UTS namespace.
///
/// # Errors
/// The kernel refuses the name.
pub(crate) fn names(plan: &ContainerPlan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name).with_context(|| format!("hostname: {name:?}"))?;
    }
    if let Some(name) = &plan.domainname {
        linux::process::setdomainname(name).with_context(|| format!("domainname: {name:?}"))?;
    }
    Ok(())
}
