//! Joining and creating the namespaces that clone3(2) itself could not, and setting the host name.

use base::error::{Code, Coding as _};
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

/// Joins the existing namespaces, waits for the ID maps of a new user namespace, then creates the cgroup and the time
/// namespace.
///
/// # Errors
/// As setns(2) and unshare(2); the runtime has ended.
pub(crate) fn enter(plan: &ContainerPlan, opened: &mut Opened, channel: &Channel) -> Result<()> {
    let namespaces = &plan.namespaces;
    // first, because root of the initial user namespace owns the procfs files of a process that is not dumpable
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
    // now that the runtime has written the ID maps: until its execve no other process can trace this one (SEC-5)
    linux::process::set_dumpable(false).context("set non-dumpable")?;
    if namespaces.own_user() {
        become_root(plan.process.as_ref().is_some_and(|process| process.keep_groups))?;
    }
    if plan.unprivileged && namespaces.pid.is_some() {
        // dumpable, because the helper that joins this process's namespaces needs it; safe, because this process is not
        // in the pid namespace to join, so no process there sees it
        linux::process::set_dumpable(true).context("set dumpable")?;
    }
    if namespaces.new_cgroup {
        linux::process::unshare(libc::CLONE_NEWCGROUP).code(Code::NamespaceDenied, "new cgroup namespace")?;
    }
    create_time_namespace(plan, opened, offsets)
}

/// Joins the hierarchies of cgroup v1. Before a user namespace, because the files' owners are the host's users; before
/// a new cgroup namespace, because its root is the cgroup of this process.
///
/// # Errors
/// As write(2).
pub(super) fn join_cgroups(opened: &mut Opened) -> Result<()> {
    std::mem::take(&mut opened.cgroup_join).into_iter().try_for_each(|file| {
        nix::unistd::write(&file, b"0").code(Code::CgroupFailed, "join the cgroup")?;
        Ok(())
    })
}

/// Writes the OOM score for an unprivileged runtime, which has no right to the procfs files of a process that is not
/// dumpable. A privileged runtime writes it itself.
///
/// # Errors
/// As [`credentials::oom_score`].
pub(super) fn oom_score_before_hiding(plan: &ContainerPlan, opened: &Opened) -> Result<()> {
    match &plan.process {
        Some(process) if plan.unprivileged => credentials::oom_score(process, opened.proc_dir.as_fd(), "self"),
        _ => Ok(()),
    }
}

/// Joins the user namespace and the others, each before or after it: before, unless the kernel refuses with EPERM.
/// Which of both is possible depends on the user namespace that owns the other one (NS-7).
fn join_all(user: Option<&Joined>, joins: &[Joined]) -> Result<()> {
    let setns = |join: &Joined| linux::process::setns(join.fd.as_fd(), join.flag);
    let refused = |join: &Joined| format!("join the {} namespace", join.name);
    let Some(user) = user else {
        return joins.iter().try_for_each(|join| setns(join).with_code(Code::NamespaceJoin, || refused(join)));
    };
    let mut later = Vec::new();
    for join in joins {
        match setns(join) {
            Err(err) if err.raw_os_error() == Some(libc::EPERM) => later.push(join),
            other => other.with_code(Code::NamespaceJoin, || refused(join))?,
        }
    }
    // EINVAL: this process is there already, because the helper that cloned it has joined the namespace
    match setns(user) {
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => {}
        other => other.with_code(Code::NamespaceJoin, || refused(user))?,
    }
    later.into_iter().try_for_each(|join| setns(join).with_code(Code::NamespaceJoin, || refused(join)))
}

/// Becomes user and group 0 of the user namespace. Where 0 is not mapped the process keeps the overflow ID, with all
/// capabilities. `keep_groups`: the caller's supplementary groups stay.
///
/// # Errors
/// As setresuid(2) and setresgid(2), except that ID 0 is not mapped.
pub(crate) fn become_root(keep_groups: bool) -> Result<()> {
    if !keep_groups {
        // drop the caller's groups; ignored where setgroups(2) is denied
        let _ = linux::cred::setgroups(&[]);
    }
    for result in [linux::cred::setresgid(0), linux::cred::setresuid(0)] {
        match result {
            Ok(()) => {}
            // EINVAL: ID 0 is not mapped
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) => {}
            Err(err) => return Err(err).code(Code::NamespaceDenied, "become root of the user namespace"),
        }
    }
    // again, because a change of IDs sets the flag to the value of fs.suid_dumpable
    linux::process::set_dumpable(false).context("set non-dumpable")
}

/// Opens `/proc/self/timens_offsets` if the configuration has clock offsets.
fn open_offsets(plan: &ContainerPlan, opened: &Opened) -> Result<Option<File>> {
    if plan.namespaces.new_time.as_ref().is_none_or(String::is_empty) {
        return Ok(None);
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(&opened.proc_dir, "self/timens_offsets", flags, Mode::empty())
        .code(Code::ConfigInvalid, "linux.timeOffsets")?;
    Ok(Some(file.into()))
}

/// Creates the time namespace, writes its clock offsets and enters it. In this order, because the kernel accepts
/// offsets only while the namespace has no process.
fn create_time_namespace(plan: &ContainerPlan, opened: &Opened, offsets_file: Option<File>) -> Result<()> {
    let Some(offsets) = &plan.namespaces.new_time else { return Ok(()) };
    match linux::process::unshare(libc::CLONE_NEWTIME) {
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => {
            Err(err).code(Code::HostUnsupported, "new time namespace: needs Linux 5.6 with CONFIG_TIME_NS")
        }
        result => result.code(Code::NamespaceDenied, "new time namespace"),
    }?;
    if let Some(mut file) = offsets_file {
        file.write_all(offsets.as_bytes()).code(Code::ConfigInvalid, "linux.timeOffsets")?;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let namespace = openat(&opened.proc_dir, "self/ns/time_for_children", flags, Mode::empty())
        .code(Code::NamespaceDenied, "time namespace")?;
    linux::process::setns(namespace.as_fd(), libc::CLONE_NEWTIME)
        .code(Code::NamespaceDenied, "enter the new time namespace")?;
    Ok(())
}

/// Sets host and domain name of the container's UTS namespace.
///
/// # Errors
/// As sethostname(2) and setdomainname(2).
pub(crate) fn set_names(plan: &ContainerPlan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name).with_code(Code::ConfigInvalid, || format!("hostname: {name:?}"))?;
    }
    if let Some(name) = &plan.domainname {
        linux::process::setdomainname(name).with_code(Code::ConfigInvalid, || format!("domainname: {name:?}"))?;
    }
    Ok(())
}
