//! `corm kill`: sends a signal to a container's first process.

use base::coded;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Context, print, select};
use crate::cli::args::Selection;
use crate::container::status;
use crate::container::supervise::wait_gone;
use base::signal;

/// Time limit for the removal of a killed container, whose supervisor may still wait for a reader of its output.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the signal to each container.
///
/// # Errors
/// The signal is unknown; as [`super::for_each`].
pub(super) fn run(context: &Context, which: &Selection, signal: &str) -> Result<u8> {
    let number = signal::parse(signal)?;
    select::each(context, which, select::runs, |store, run, name| {
        let record = store.find_container(name)?;
        let status = status::of(store, run, &record)?;
        ensure!(
            status.pid().is_some(),
            coded!(ContainerNotRunning, "container '{}' is not running ({})", record.name, status.name())
        );
        let supervisor = run.supervisor(&record.id)?.map(|supervisor| supervisor.pid()).transpose()?.flatten();
        status::runtime(run, &record).kill(&record.id, signal)?;
        // so that the caller can use the name again
        if let Some(pid) = supervisor.filter(|_| record.setup.remove && number == libc::SIGKILL) {
            wait_gone(pid, Some(REMOVAL_TIMEOUT))?;
        }
        print::line(name)
    })
}
