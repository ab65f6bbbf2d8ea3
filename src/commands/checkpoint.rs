//! `checkpoint`: dumps a running container to images, and deletes it unless it is left running.

use anyhow::{Context as _, Result, bail};
use base::coded;

use super::{Context, LoadedContainer, load};
use crate::cli::args;
use crate::config::ContainerId;
use crate::runtime::checkpoint;
use crate::runtime::destroy;
use crate::state::status;
use crate::state::status::Action;

/// Checkpoints the container.
pub(super) fn checkpoint(context: &Context<'_>, args: &args::Checkpoint) -> Result<i32> {
    let entry = context.store.open(&ContainerId::new(&args.id)?)?;
    let _lock = entry.lock()?;
    let LoadedContainer { entry, record, status, init } = load(entry)?;
    status::check(Action::Checkpoint, status, &args.id)?;
    let Some(init) = init else {
        bail!(coded!(ContainerNotRunning, "cannot checkpoint container {}: container not running", args.id))
    };
    checkpoint::checkpoint(&entry, &record, init, args, context.global.criu.as_deref()).context("checkpoint")?;
    if !args.leave_running && !args.pre_dump {
        // CRIU has killed the processes, and callers expect that the container is deleted (callers' list, 3.17)
        let hooks = destroy::stored_hooks(&entry, &record)?;
        context.warn_always(&destroy::destroy(&entry, &record, &hooks)?);
    }
    Ok(0)
}
