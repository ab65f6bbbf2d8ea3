//! `run`: create and start in one process; in the foreground it stays until the program ends, and removes all.

use anyhow::Result;

use super::Context;
use crate::cli::args;
use crate::container::{Entry, Record};
use crate::launch::create::{self, Created, Mode};
use crate::launch::{destroy, hook, start, terminal};
use crate::plan::hook::HooksPlan;
use crate::sys;

/// Runs the container.
pub fn run(context: &Context<'_>, args: &args::Run) -> Result<i32> {
    let mode = if args.detach { Mode::RunDetached } else { Mode::RunForeground };
    if mode == Mode::RunForeground && !args.create.no_subreaper {
        // orphans of a container without a pid namespace of its own come to us, not to the caller
        sys::process::set_child_subreaper(true)?;
    }
    let mut created = create::create(&context.store, &args.create, mode, context.no_cgroup())?;
    context.warn(&created.warnings);
    let started = start(&created);
    if started.is_err() {
        created.init.abort();
        finish(context, &created)?;
        started?;
    }
    if args.detach {
        return Ok(0);
    }
    let console = created.console.take();
    let Created { entry, lock, record, init, hooks, told, .. } = created;
    // other verbs work on the running container
    drop(lock);
    let ended = terminal::attend(init.pid, &init.pidfd, console);
    if args.keep { ended } else { clear(context, &entry, &record, &hooks, &told, ended) }
}

fn start(created: &Created) -> Result<()> {
    start::by_channel(&created.init)?;
    if created.hooks.poststart.is_empty() {
        return Ok(());
    }
    hook::run_all(&created.hooks.poststart, &created.told.state("running", Some(created.init.pid)))
}

/// Removes a container that has ended.
pub(super) fn clear(
    context: &Context<'_>,
    entry: &Entry,
    record: &Record,
    hooks: &HooksPlan,
    told: &hook::Told,
    ended: Result<i32>,
) -> Result<i32> {
    let Ok(_lock) = entry.lock() else {
        // somebody has deleted it meanwhile
        return ended;
    };
    context.warn(&destroy::destroy(entry, record, hooks, told)?);
    ended
}

fn finish(context: &Context<'_>, created: &Created) -> Result<()> {
    context.warn(&destroy::destroy(&created.entry, &created.record, &created.hooks, &created.told)?);
    Ok(())
}
