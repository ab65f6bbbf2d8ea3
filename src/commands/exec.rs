//! `exec`: runs a further process in a running container.

use anyhow::{Context as _, Result, bail};
use base::coded;

use super::{Context, LoadedContainer};
use crate::cgroup::Cgroup;
use crate::cli::args;
use crate::runtime::exec;
use crate::runtime::exec::{Executed, Ready};
use crate::runtime::terminal;
use crate::state::status::Action;
use crate::state::{Entry, ProcessId, Record, status};

/// Runs the process; without `--detach` waits until it ends and returns its exit status.
pub(super) fn exec(context: &Context<'_>, args: &args::Exec) -> Result<i32> {
    if !args.detach && !args.no_subreaper {
        linux::process::set_child_subreaper(true).context("become the subreaper")?;
    }
    let target = find(context, args)?;
    let before = if args.detach { 0 } else { Cgroup::open(&target.record.cgroup).oom_kills() };
    let executed = run(context, args, &target, prepare(args, &target)?)?;
    if args.detach {
        return Ok(0);
    }
    let ended = terminal::wait_relaying(executed.init.pid, &executed.init.pidfd, executed.console);
    super::run::report_oom_kill(context, &target.record, before, &ended);
    ended
}

/// Creates the process and starts its program.
pub(crate) fn begin(context: &Context<'_>, args: &args::Exec) -> Result<Executed> {
    let target = find(context, args)?;
    run(context, args, &target, prepare(args, &target)?)
}

/// As [`begin`], but calls `wait` when all is prepared that changes nothing.
pub(crate) fn begin_held(context: &Context<'_>, args: &args::Exec, wait: &dyn Fn() -> Result<()>) -> Result<Executed> {
    let before = find(context, args).and_then(|target| Ok((target.init, prepare(args, &target)?)));
    wait()?;
    // it may have been paused or resumed, have ended, or have given its ID to another container; one container's configuration
    // does not change
    let target = find(context, args)?;
    let ready = match before {
        Ok((init, ready)) if init == target.init => ready,
        _ => prepare(args, &target)?,
    };
    run(context, args, &target, ready)
}

/// A running container.
struct Target {
    /// Its state directory.
    entry: Entry,
    /// Its record.
    record: Record,
    /// Its first process.
    init: ProcessId,
}

/// Finds the container, in which a process can be created.
fn find(context: &Context<'_>, args: &args::Exec) -> Result<Target> {
    let LoadedContainer { entry, record, status, init } = context.find(&args.id)?;
    let action = if args.ignore_paused { Action::ExecPaused } else { Action::Exec };
    status::check(action, status, &args.id)?;
    let Some(init) = init else { bail!(coded!(ContainerNotRunning, "container not running: {}", args.id)) };
    Ok(Target { entry, record, init })
}

/// What is said first of an error: words of runc, which conmon's and runc's own tests look for.
const FAILED: &str = "exec failed";

/// Prepares the process.
fn prepare(args: &args::Exec, target: &Target) -> Result<Ready> {
    exec::prepare(&target.entry, &target.record, target.init, args).context(FAILED)
}

/// Creates the process and starts its program.
fn run(context: &Context<'_>, args: &args::Exec, target: &Target, ready: Ready) -> Result<Executed> {
    let executed = exec::exec(ready, &target.record, target.init, args).context(FAILED)?;
    context.warn_by_default(&executed.of_configuration);
    context.warn_always(&executed.unprotected);
    Ok(executed)
}
