//! `mounts`: adds mounts to a running container, or removes them.

use anyhow::{Result, bail};
use base::coded;

use super::{Context, LoadedContainer, load};
use crate::cli::args;
use crate::config::ContainerId;
use crate::runtime::mounts;
use crate::state::status;
use crate::state::status::Action;

/// Changes the container's mounts.
pub(super) fn mounts(context: &Context<'_>, args: &args::Mounts) -> Result<i32> {
    let entry = context.store.open(&ContainerId::new(&args.id)?)?;
    let _lock = entry.lock()?;
    let LoadedContainer { entry, record, status, init } = load(entry)?;
    status::check(Action::Mounts, status, &args.id)?;
    let Some(init) = init else { bail!(coded!(ContainerNotRunning, "container not running: {} has exited", args.id)) };
    context.warn(&mounts::change(&entry, record, init, args)?);
    Ok(0)
}
