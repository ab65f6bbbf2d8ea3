//! `corm stop`: sends the stop signal, then SIGKILL.

use anyhow::Result;

use super::{Context, select};
use crate::cli::args::Selection;
use crate::container::lifecycle;

/// Stops each container; one that does not run counts as stopped.
///
/// # Errors
/// As [`super::for_each`].
pub(super) fn run(context: &Context, which: &Selection, seconds: Option<u64>) -> Result<u8> {
    select::each(context, which, select::runs, |store, run, name| {
        lifecycle::stop(store, run, &store.find_container(name)?, seconds)?;
        context.note(format_args!("{name} has stopped"));
        Ok(())
    })
}
