//! `corm stop`: sends the stop signal, then SIGKILL.

use anyhow::Result;

use super::{Context, print, select};
use crate::cli::args::{Selection, StopHow};
use crate::container::lifecycle;

/// Stops each container and prints its name as it was given; one that does not run counts as stopped.
///
/// # Errors
/// As [`super::for_each`].
pub(super) fn run(context: &Context, which: &Selection, how: &StopHow) -> Result<u8> {
    select::each(context, which, select::runs, |store, run, name| {
        lifecycle::stop(store, run, &store.find_container(name)?, how.seconds, how.signal.as_deref())?;
        print::line(name)
    })
}
