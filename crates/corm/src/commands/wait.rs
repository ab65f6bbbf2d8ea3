//! `corm wait`: a container's end and how its program ended.

use anyhow::{Context as _, Result};

use super::{Context, print};
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::status::Last;
use crate::container::supervise::wait_gone;

/// Waits, and prints the exit status; of one that has ended, at once.
///
/// # Errors
/// It never ran, or no supervisor saw how it ended.
pub(super) fn run(context: &Context, name: &str) -> Result<u8> {
    let store = context.store()?;
    let record = store.find_container(name)?;
    let run = RunDir::of(store.root())?;
    if let Some(attended) = run.supervisor(&record.id)?
        && let Some(status) = attended.wait()?
    {
        print::line(status)?;
        return Ok(0);
    }
    // it has no supervisor, or had one that was killed
    if let Some(pid) = status::of(&store, &run, &record)?.pid() {
        wait_gone(pid, None)?;
    }
    // it may have been removed meanwhile
    store.find_container(&record.id)?;
    let last = Last::read(&store.container_dir(&record.id))?;
    let last = last.with_context(|| format!("container '{}' was never started", record.name))?;
    let status = last
        .status
        .with_context(|| format!("how container '{}' ended is not known: its attendant was killed", record.name))?;
    print::line(status)?;
    Ok(0)
}
