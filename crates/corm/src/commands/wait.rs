//! `corm wait`: waits for a container's end and prints its exit status.

use anyhow::{Context as _, Result};

use super::{Context, for_each, print};
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::status::Last;
use crate::container::supervise::wait_gone;
use crate::store::Store;

/// Waits for each, and prints the exit statuses; at once for a container that has ended.
///
/// # Errors
/// As [`for_each`]: a container never ran, or no supervisor recorded its exit status.
pub(super) fn run(context: &Context, names: &[String]) -> Result<u8> {
    let store = context.store()?;
    for_each(context, names, |name| wait_for(&store, name))
}

fn wait_for(store: &Store, name: &str) -> Result<()> {
    let record = store.find_container(name)?;
    let run = RunDir::of(store.root())?;
    if let Some(supervisor) = run.supervisor(&record.id)?
        && let Some(status) = supervisor.wait()?
    {
        return print::line(status);
    }
    // it has no supervisor, or its supervisor was killed
    if let Some(pid) = status::of(store, &run, &record)?.pid() {
        wait_gone(pid, None)?;
    }
    // it may have been removed meanwhile
    store.find_container(&record.id)?;
    let last = Last::read(&store.container_dir(&record.id))?;
    let last = last.with_context(|| format!("container '{}' was never started", record.name))?;
    let status = last
        .status
        .with_context(|| format!("exit status of container '{}' is unknown: its supervisor was killed", record.name))?;
    print::line(status)
}
