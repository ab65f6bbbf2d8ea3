//! `corm kill`: sends a signal to a container's first process.

use anyhow::{Result, ensure};

use super::{Context, for_each};
use crate::container::run_dir::RunDir;
use crate::container::status;
use base::signal;

/// Sends the signal to each container.
///
/// # Errors
/// The signal is unknown; as [`for_each`].
pub(super) fn run(context: &Context, names: &[String], signal: &str) -> Result<u8> {
    signal::parse(signal)?;
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    for_each(context, names, |name| {
        let record = store.find_container(name)?;
        ensure!(status::of(&store, &run, &record)?.pid().is_some(), "container '{}' is not running", record.name);
        status::runtime(&run, &record).kill(&record.id, signal)
    })
}
