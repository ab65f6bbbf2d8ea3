//! `corm create`: creates a container without starting it.

use anyhow::Result;

use super::{Context, new_container, print};
use crate::cli::args;
use crate::container::create;
use crate::container::monitor;
use crate::container::run_dir::RunDir;
use crate::store::ContainerRecord;
use crate::store::Store;

/// Creates the container and prints its ID.
///
/// # Errors
/// As `run`; nothing is left then.
pub(super) fn run(context: &Context, args: &args::Run) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let (record, supervisor) = new_container::create(context, &store, &run, args)?;
    let kept = keep(&store, &run, &record);
    if let Err(err) = kept {
        monitor::remove_not_started(&store, &run, &record);
        return Err(err);
    }
    drop(supervisor);
    print::line(&record.id)?;
    Ok(0)
}

/// Completes the container: from now on a removal of what killed processes left keeps it, and a power cut does too.
fn keep(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    create::unmount(store, &record.id)?;
    store.note_unsynced();
    store.sync()?;
    store.change_container(&record.id, |record| {
        record.setup.created = true;
        Ok(())
    })?;
    run.remove_files(&record.id)
}
