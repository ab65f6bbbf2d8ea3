//! `corm create`: creates a container without starting it.

use anyhow::Result;

use super::{Context, new_container, print};
use crate::cli::args;
use crate::container::create;
use crate::container::monitor;
use crate::container::run_dir::RunDir;

/// Creates the container and prints its ID.
///
/// # Errors
/// As `run`; nothing is left then.
pub(super) fn run(context: &Context, args: &args::Run) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let (record, supervisor) = new_container::create(context, &store, &run, args)?;
    let kept = create::unmount(&store, &record.id)
        // from here on a removal of what killed processes left keeps it
        .and_then(|()| {
            store
                .change_container(&record.id, |record| {
                    record.setup.created = true;
                    Ok(())
                })
                .map(drop)
        })
        .and_then(|()| run.remove_files(&record.id));
    if let Err(err) = kept {
        monitor::remove_not_started(&store, &run, &record);
        return Err(err);
    }
    drop(supervisor);
    print::line(&record.id)?;
    Ok(0)
}
