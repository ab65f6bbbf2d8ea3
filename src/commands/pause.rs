//! `pause` and `resume`: freeze and thaw all processes of a container.

use anyhow::{Context as _, Result};

use super::{Context, LoadedContainer, load};
use crate::cgroup::Cgroup;
use crate::config::ContainerId;
use crate::state::status;
use crate::state::status::Action;

/// Freezes the container's cgroup; returns when every process is frozen.
pub(crate) fn pause(context: &Context<'_>, id: &str) -> Result<i32> {
    change(context, id, Action::Pause)
}

/// Thaws the container's cgroup.
pub(crate) fn resume(context: &Context<'_>, id: &str) -> Result<i32> {
    change(context, id, Action::Resume)
}

fn change(context: &Context<'_>, id: &str, action: Action) -> Result<i32> {
    let entry = context.store.open(&ContainerId::new(id)?)?;
    let _lock = entry.lock()?;
    let LoadedContainer { record, status, .. } = load(entry)?;
    status::check(action, status, id)?;
    let cgroup = Cgroup::open(&record.cgroup);
    if action == Action::Pause {
        cgroup.freeze().context("freeze the container")?;
    } else {
        cgroup.thaw().context("thaw the container")?;
    }
    Ok(0)
}
