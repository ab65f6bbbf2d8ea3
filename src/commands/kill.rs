//! `kill`: a signal for the container's process, or for all of them.

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

/// The annotation of image tools that names the signal to stop the container with (AN-3).
const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// Signals one container, or those whose IDs match.
pub(super) fn kill(context: &Context<'_>, args: &args::Kill) -> Result<i32> {
    if !args.regex {
        one(context, &args.id, args)?;
        return Ok(0);
    }
    for id in matching(context, &args.id)? {
        one(context, id.as_str(), args)?;
    }
    Ok(0)
}

fn wanted(given: Option<&str>, record: &Record) -> Result<i32> {
    match given.or_else(|| record.annotations.get(STOP_SIGNAL).map(String::as_str)) {
        Some(name) => signal::parse(name),
        None => Ok(libc::SIGTERM),
    }
}

fn one(context: &Context<'_>, id: &str, args: &args::Kill) -> Result<()> {
    // a wrong signal is told before anything else
    if let Some(name) = &args.signal {
        signal::parse(name)?;
    }
    let LoadedContainer { record, status, init, .. } = context.find(id)?;
    let number = wanted(args.signal.as_deref(), &record)?;
    let cgroup = Cgroup::open(&record.cgroup);
    // rootless, a container may be without a cgroup: its init is then all that can be reached
    if args.all && !cgroup.is_none() {
        // also when init is gone: what is left of a container without a pid namespace of its own
        return cgroup.kill(number).context("signal the container's processes");
    }
    status::check(Action::Kill, status, id)?;
    let target = init.map(status::open).transpose()?.flatten();
    let Some(pidfd) = target else { bail!("cannot kill container {id}: container not running") };
    linux::process::pidfd_send_signal(pidfd.as_fd(), number).with_context(|| format!("signal container {id}"))?;
    if number == libc::SIGKILL {
        // without a pid namespace of their own the others would outlive init (KI-2); frozen on v1, nothing dies
        if !record.own_pid_namespace {
            let _ = cgroup.kill(number);
        }
        if status == Status::Paused {
            cgroup.thaw().context("thaw")?;
        }
    }
    Ok(())
}
