//! `kill`: sends a signal to the container's init process, or to all its processes.

use base::coded;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail};

use super::{Context, LoadedContainer, matching};
use crate::cgroup::Cgroup;
use crate::cli::args;
use crate::state::Record;
use crate::state::Status;
use crate::state::status;
use crate::state::status::Action;
use base::signal;

/// The annotation of image tools that names the signal to stop the container (AN-3).
const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// Signals one container, or those whose IDs match the regular expression.
pub(super) fn kill(context: &Context<'_>, args: &args::Kill) -> Result<i32> {
    if !args.regex {
        kill_one(context, &args.id, args)?;
        return Ok(0);
    }
    for id in matching(context, &args.id)? {
        kill_one(context, id.as_str(), args)?;
    }
    Ok(0)
}

/// Parses a signal; 0 sends none, but fails where there is no process, as kill(2).
fn parse(name: &str) -> Result<i32> {
    if name == "0" { Ok(0) } else { signal::parse(name) }
}

fn signal_number(name: Option<&str>, record: &Record) -> Result<i32> {
    match name.or_else(|| record.annotations.get(STOP_SIGNAL).map(String::as_str)) {
        Some(name) => parse(name),
        None => Ok(libc::SIGTERM),
    }
}

/// Signals the container `id`.
pub(crate) fn kill_one(context: &Context<'_>, id: &str, args: &args::Kill) -> Result<()> {
    // first, because an unknown signal is an error also for an unknown container
    if let Some(name) = &args.signal {
        parse(name)?;
    }
    let LoadedContainer { record, status, init, .. } = context.find(id)?;
    let number = signal_number(args.signal.as_deref(), &record)?;
    let cgroup = Cgroup::open(&record.cgroup);
    // a rootless container may have no cgroup: then only its init can be signalled
    if args.all && !cgroup.is_none() {
        // also after init has ended, because without a pid namespace of its own the container may have other processes
        return cgroup.kill(number).context("signal the container's processes");
    }
    let target = init.map(status::open_pidfd).transpose()?.flatten();
    if target.is_none() && number == libc::SIGKILL && kill_what_is_left(&record, &cgroup)? {
        return Ok(());
    }
    status::check(Action::Kill, status, id)?;
    let Some(pidfd) = target else {
        bail!(coded!(ContainerNotRunning, "cannot kill container {id}: container not running"))
    };
    // a pid namespace's init that has no handlers ignores all but SIGKILL, and the one that waits for `start` has none
    let number = if status == Status::Created && signal::terminates(number) { libc::SIGKILL } else { number };
    linux::process::pidfd_send_signal(pidfd.as_fd(), number).with_context(|| format!("signal container {id}"))?;
    if number == libc::SIGKILL {
        // without a pid namespace of its own the container's other processes would outlive init (KI-2)
        if !record.own_pid_namespace {
            cgroup.kill(number).context("kill the container's other processes")?;
        }
        if status == Status::Paused {
            // on cgroup v1 a frozen process does not die
            cgroup.thaw().context("thaw")?;
        }
    }
    Ok(())
}

/// Kills the processes that have outlived the container's init, which they can where the pid namespace is not the
/// container's own; `false` if there are none (KI-2). Other signals do not reach them, as in runc.
fn kill_what_is_left(record: &Record, cgroup: &Cgroup) -> Result<bool> {
    // a container without init was never complete, and after a reboot the cgroup may be another's
    let may_have_left = record.init.is_some() && !record.own_pid_namespace && status::is_this_boot(&record.boot_id)?;
    if !may_have_left || cgroup.pids()?.is_empty() {
        return Ok(false);
    }
    cgroup.kill(libc::SIGKILL).context("kill the processes that are left of the container")?;
    Ok(true)
}
