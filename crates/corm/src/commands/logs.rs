//! `corm logs`: prints a container's output.

use anyhow::{Context as _, Result};

use super::Context;
use crate::container::log::Reader;
use crate::container::run_dir::RunDir;
use crate::container::supervise;

/// Prints the log, each stream to its own; with `follow` until the container's end.
///
/// # Errors
/// The log cannot be read, or the output is closed.
pub(super) fn run(context: &Context, name: &str, follow: bool) -> Result<u8> {
    let store = context.store()?;
    let record = store.find_container(name)?;
    let dir = store.container_dir(&record.id);
    let run = RunDir::of(store.root())?;
    // before the log is read: later output is waited for
    let supervisor = run.supervisor(&record.id)?;
    let Some(mut reader) = Reader::open(&dir, record.setup.log)? else { return Ok(0) };
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let mut print = || reader.print(&mut out, &mut err);
    match supervisor.filter(|_| follow).map(|supervisor| supervisor.pid()).transpose()?.flatten() {
        Some(writer) => supervise::follow(&dir, writer, print).context("follow the log")?,
        None => print()?,
    }
    Ok(0)
}
