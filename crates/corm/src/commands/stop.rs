//! `corm stop`: sends the stop signal, then SIGKILL.

use std::time::Duration;

use anyhow::Result;

use super::{Context, for_each};
use crate::container::cleanup;
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::supervise::wait_gone;

/// Stops each container; one that does not run counts as stopped.
///
/// # Errors
/// As [`for_each`].
pub(super) fn run(context: &Context, names: &[String], seconds: u64) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    for_each(context, names, |name| {
        let record = store.find_container(name)?;
        let now = status::of(&store, &run, &record)?;
        if let Some(pid) = now.pid() {
            let runtime = status::runtime(&run, &record);
            if runtime.kill(&record.id, &record.setup.stop_signal).is_err()
                || !wait_gone(pid, Some(Duration::from_secs(seconds)))?
            {
                cleanup::kill(&store, &run, &record)?;
            }
        }
        cleanup::wait_for_supervisor(&run, &record)?;
        cleanup::reap_orphan(&store, &run, &record)
    })
}
