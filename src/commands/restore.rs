//! `restore`: restores a container from a checkpoint; without `--detach` waits until it exits, and deletes it.

use anyhow::{Context as _, Result};

use super::Context;
use crate::cli::args;
use crate::runtime::restore;
use crate::runtime::restore::Restored;
use crate::runtime::terminal;
use crate::runtime::transaction::Committed;

/// Restores the container.
pub(super) fn restore(context: &Context<'_>, args: &args::Restore) -> Result<i32> {
    if !args.detach && !args.create.no_subreaper {
        linux::process::set_child_subreaper(true).context("become the subreaper")?;
    }
    let restored = restore::restore(&context.store, args, context.global.cgroups(), context.global.criu.as_deref())
        .context("restore")?;
    context.warn(&restored.container.warnings);
    context.warn_by_default(&restored.container.of_configuration);
    context.warn_always(&restored.container.unprotected);
    if args.detach {
        return Ok(0);
    }
    let Restored { container: Committed { entry, lock, record, hooks, .. }, process, interrupt } = restored;
    drop(lock);
    terminal::block_forwarded()?;
    let ended = terminal::wait_relaying(process.pid, &process.pidfd, process.console);
    // signals stay blocked until the end: what is left to do here is not to be interrupted
    std::mem::forget(interrupt);
    super::run::cleanup(context, &entry, &record, &hooks, ended)
}
