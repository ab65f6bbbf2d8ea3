//! `corm restart`: stops containers and starts them again.

use anyhow::{Result, ensure};
use base::coded;

use super::{Context, print, select};
use crate::cli::args::{LogLevel, Selection, StopHow};
use crate::container::Purpose;
use crate::container::lifecycle;
use crate::container::status;

/// Stops each container, if it runs, and starts it in the background; with `running` only those that run.
///
/// # Errors
/// As [`super::for_each`]; a container that is removed when it exits.
pub(super) fn run(context: &Context, which: &Selection, how: &StopHow, running: bool) -> Result<u8> {
    select::each(
        context,
        which,
        |_| true,
        |store, run, name| {
            let record = store.find_container(name)?;
            ensure!(
                record.setup.purpose == Purpose::Run,
                coded!(UsageValue, "container '{}' is a bundle, which corm does not run", record.name)
            );
            let runs = status::of(store, run, &record)?.pid().is_some();
            if running && !runs {
                return Ok(());
            }
            // before it is stopped, because nothing would be left to start
            ensure!(
                !(runs && record.setup.remove),
                coded!(UsageValue, "container '{}' is removed when it exits (--rm)", record.name)
            );
            lifecycle::stop(store, run, &record, how.seconds, how.signal.as_deref())?;
            let report = |text: &str| context.report(LogLevel::Debug, text);
            lifecycle::start(store, run, &record, &report).map_err(|failed| failed.error)?;
            print::line(name)
        },
    )
}
