//! `corm stop`: sends the stop signal, then SIGKILL.

use anyhow::Result;

use super::{Context, select};
use crate::cli::args::Selection;
use crate::container::lifecycle;
use crate::container::run_dir::RunDir;

/// Stops each container; one that does not run counts as stopped.
///
/// # Errors
/// As [`super::for_each`].
pub(super) fn run(context: &Context, which: &Selection, seconds: Option<u64>) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    select::each(context, (&store, &run), which, select::runs, |name| {
        let record = store.find_container(name)?;
        lifecycle::stop(&store, &run, &record, seconds)
    })
}
