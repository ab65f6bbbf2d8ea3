//! `restore`: restores a container from a checkpoint; without `--detach` waits until it exits, and deletes it.

use anyhow::{Context as _, Result};

use super::Context;
use crate::cli::args;
use crate::runtime::restore;
use crate::runtime::restore::Restored;
use crate::runtime::terminal;

/// Restores the container.
pub(super) fn restore(context: &Context<'_>, args: &args::Restore) -> Result<i32> {
    if !args.detach && !args.create.no_subreaper {
        linux::process::set_child_subreaper(true)?;
    }
    let restored = restore::restore(&context.store, args, context.global.cgroups(), context.global.criu.as_deref())
        .context("restore")?;
    context.warn(&restored.warnings);
    context.warn_of_unprotected(&restored.unprotected);
    if args.detach {
        return Ok(0);
    }
    let Restored { entry, lock, record, pid, pidfd, console, hooks, interrupt, .. } = restored;
    drop(lock);
    let ended = terminal::wait_relaying(pid, &pidfd, console);
    // signals stay blocked until the end: what is left to do here is not to be interrupted
    std::mem::forget(interrupt);
    super::run::cleanup(context, &entry, &record, &hooks, ended)
}
