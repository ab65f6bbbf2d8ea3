//! `exec`: runs a further process in a running container.

use anyhow::{Context as _, Result, bail};
use base::coded;

use super::{Context, LoadedContainer};
use crate::cgroup::Cgroup;
use crate::cli::args;
use crate::runtime::exec;
use crate::runtime::exec::Executed;
use crate::runtime::terminal;
use crate::state::Record;
use crate::state::status;
use crate::state::status::Action;

/// Runs the process; without `--detach` waits until it ends and returns its exit status.
pub(super) fn exec(context: &Context<'_>, args: &args::Exec) -> Result<i32> {
    if !args.detach && !args.no_subreaper {
        linux::process::set_child_subreaper(true).context("become the subreaper")?;
    }
    let (executed, record, before) = begin(context, args)?;
    if args.detach {
        return Ok(0);
    }
    let ended = terminal::wait_relaying(executed.init.pid, &executed.init.pidfd, executed.console);
    super::run::report_oom_kill(context, &record, before, &ended);
    ended
}

/// Creates the process and starts its program. Returns it with the record of its container and the number of OOM kills
/// before.
pub(crate) fn begin(context: &Context<'_>, args: &args::Exec) -> Result<(Executed, Record, u64)> {
    let LoadedContainer { entry, record, status, init } = context.find(&args.id)?;
    let action = if args.ignore_paused { Action::ExecPaused } else { Action::Exec };
    status::check(action, status, &args.id)?;
    let Some(target) = init else { bail!(coded!(ContainerNotRunning, "container not running: {}", args.id)) };
    let before = Cgroup::open(&record.cgroup).oom_kills();
    // words of runc, which conmon's and runc's own tests look for
    let executed = exec::exec(&entry, &record, target, args).context("exec failed")?;
    context.warn_by_default(&executed.of_configuration);
    context.warn_always(&executed.unprotected);
    Ok((executed, record, before))
}
