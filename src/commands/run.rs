//! `run`: creates and starts a container; without `--detach` waits until it exits, and deletes it.

use crate::state::store::CONFIG;
use base::coded;
use base::error::Report;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use super::Context;
use super::kernel_log::KernelLog;
use super::reached;
use crate::cgroup::Cgroup;
use crate::cli::args;
use crate::hook;
use crate::hook::Hooks;
use crate::runtime::create;
use crate::runtime::create::Created;
use crate::runtime::destroy;
use crate::runtime::notify::Manager;
use crate::runtime::notify::Notify;
use crate::runtime::options::Mode;
use crate::runtime::record_seccomp;
use crate::runtime::start;
use crate::runtime::terminal;
use crate::runtime::terminal::Foreground;
use crate::runtime::transaction::Committed;
use crate::state::Entry;
use crate::state::Record;
use crate::state::exit;
use crate::state::exit::Exit;
use linux::process::ExitStatus;

/// Runs the container.
pub(super) fn run(context: &Context<'_>, args: &args::Run) -> Result<i32> {
    let mode = if args.detach { Mode::RunDetached } else { Mode::RunForeground };
    if mode == Mode::RunForeground && !args.create.no_subreaper {
        // the subreaper of a container without a pid namespace of its own: its orphans are not re-parented to the
        // caller
        linux::process::set_child_subreaper(true).context("become the subreaper")?;
    }
    if let Some(file) = &args.create.record_seccomp {
        record_seccomp::check_file(file)?;
    }
    let mut created = create::create(&context.store, &args.create, mode, context.global.cgroups())?;
    context.warn(&created.container.warnings);
    context.warn_by_default(&created.container.of_configuration);
    context.warn_always(&created.container.unprotected);
    let notify = match start(&created, args.detach) {
        Ok(notify) => notify,
        Err(err) => {
            created.init.abort();
            context.warn_always(&created.container.undo()?);
            return Err(err);
        }
    };
    if args.detach {
        drop(created.container.lock);
        let notified = notify.map_or(Ok(()), |notify| notify.wait(created.init.pidfd.as_fd()));
        if let Err(err) = notified {
            context.warn(&[base::error::describe(&err)]);
        }
        return Ok(0);
    }
    let console = created.console.take();
    wait(created, console, notify, context, args)
}

/// Starts the program and runs the poststart hooks. For a service manager the notify socket is bound before, because
/// the program may send `READY=1` at once.
fn start(created: &Created, detach: bool) -> Result<Option<Notify>> {
    let notify = match Manager::from_env()? {
        Some(manager) => {
            let main = if detach { created.init.pid } else { std::process::id() as i32 };
            Notify::bind(created.container.entry.dir(), manager, main)?
        }
        None => None,
    };
    if !detach {
        terminal::block_forwarded()?;
    }
    start::signal_channel(&created.init)?;
    if detach {
        // in the foreground the exit status shows it
        start::check_child_executed(&created.init)?;
    }
    let hooks = &created.container.hooks;
    if !hooks.plan.poststart.is_empty() {
        hook::run_all(
            &hooks.plan.poststart,
            &hooks.output,
            &hooks.hook_state.state("running", Some(created.init.pid)),
            hook::Procfs::Runtime,
            None,
        )?;
    }
    Ok(notify)
}

fn wait(
    created: Created,
    console: Option<Foreground>,
    mut notify: Option<Notify>,
    context: &Context<'_>,
    args: &args::Run,
) -> Result<i32> {
    let Created { container: Committed { entry, lock, record, hooks, .. }, init, interrupt, recorder, .. } = created;
    // other verbs work on the running container
    drop(lock);
    if let Some(notify) = &mut notify
        && let Err(err) = terminal::wait_until_ready(&init.pidfd, notify)
    {
        context.warn(&[base::error::describe(&err)]);
    }
    let ended = terminal::wait_relaying(init.pid, &init.pidfd, console);
    report_oom_kill(context, &record, 0, &ended);
    report_refusals(context, (&entry, &record), &ended);
    // before the deletion, which may fail; an error is returned after it
    let recorded = match (recorder, &args.create.record_seccomp) {
        (Some(recorder), Some(file)) => recorder.finish(file),
        _ => Ok(()),
    };
    // keep the signals blocked, because a signal must not interrupt the deletion
    std::mem::forget(interrupt);
    if let Some(notify) = notify {
        notify.finish();
    }
    if args.keep {
        keep_exit(&entry, &init.pidfd, &ended);
        return recorded.and(ended);
    }
    let ended = cleanup(context, &entry, &record, &hooks, ended);
    recorded.and(ended)
}

/// Keeps the end of a container that stays, for `state`, `wait` and `why`.
fn keep_exit(entry: &Entry, pidfd: &OwnedFd, ended: &Result<i32>) {
    let Ok(status) = ended else { return };
    let from_status = match status {
        // older kernels tell no more
        129..=192 => ExitStatus::Killed(status - 128),
        _ => ExitStatus::Exited(*status),
    };
    let told = linux::pidfd_info::exit_status(pidfd.as_fd()).ok().flatten();
    exit::keep(entry, &Exit::now(told.unwrap_or(from_status)));
}

/// Logs an error when the OOM killer may have killed the process: it ended by SIGKILL and the cgroup's number of OOM
/// kills is greater than `before`.
pub(super) fn report_oom_kill(context: &Context<'_>, record: &Record, before: u64, ended: &Result<i32>) {
    if matches!(ended, Ok(status) if *status == 128 + libc::SIGKILL)
        && reached::oom_kills(record, &KernelLog::default()) > before
    {
        let error = coded!(CgroupMemory, "killed by the OOM killer: the memory limit of the container is reached");
        context.log.error(&Report::of(&error.into()));
    }
}

/// Logs why a program may have failed that ended with an error: the seccomp filter killed it, or forks failed because the
/// pids limit was reached.
fn report_refusals(context: &Context<'_>, (entry, record): (&Entry, &Record), ended: &Result<i32>) {
    let Ok(status) = ended else { return };
    let config = || serde_json::from_slice::<serde_json::Value>(&entry.read(CONFIG).ok()?).ok();
    let filtered =
        || config().is_some_and(|config| config.pointer("/linux/seccomp").is_some_and(|seccomp| !seccomp.is_null()));
    if *status == 128 + libc::SIGSYS && filtered() {
        let error = coded!(
            SeccompKilled,
            "linux.seccomp: killed by SIGSYS: the filter forbids a system call that the program made"
        );
        context.log.error(&Report::of(&error.into()));
    }
    if *status == 0 {
        return;
    }
    let refused = reached::refused_forks(record, &KernelLog::default());
    if refused > 0 {
        let limit = Cgroup::open(&record.cgroup).pids_limit().map(|limit| format!(" of {limit}")).unwrap_or_default();
        let error = coded!(
            CgroupPidsLimit,
            "linux.resources.pids.limit: forks failed: {refused}, because the limit{limit} was reached"
        );
        context.log.error(&Report::of(&error.into()));
    }
}

/// Deletes a container that has ended, and returns its exit status `ended`.
pub(super) fn cleanup(
    context: &Context<'_>,
    entry: &Entry,
    record: &Record,
    hooks: &Hooks,
    ended: Result<i32>,
) -> Result<i32> {
    // none: another process has deleted the container
    let Some(_lock) = entry.try_lock().context("delete the container, which has ended")? else { return ended };
    context.warn_always(&destroy::destroy(entry, record, hooks)?);
    ended
}
