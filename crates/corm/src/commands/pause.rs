//! `corm pause`, `corm unpause`: freezes and thaws the processes of containers.

use anyhow::{Result, ensure};

use super::{Context, print, select};
use crate::cli::args::Selection;
use crate::container::run_dir::RunDir;
use crate::container::status::{self, Status};

/// Pauses each container and prints its ID.
///
/// # Errors
/// As [`super::for_each`]: a container does not run or is paused already.
pub(super) fn run(context: &Context, which: &Selection) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    select::each(
        context,
        (&store, &run),
        which,
        |status| matches!(status, Status::Running(_)),
        |name| {
            let record = store.find_container(name)?;
            let now = status::of(&store, &run, &record)?;
            ensure!(
                matches!(now, Status::Running(_)),
                "\"{}\" is not running, can't pause: container state improper",
                now.name()
            );
            status::runtime(&run, &record).pause(&record.id)?;
            print::line(&record.id)
        },
    )
}

/// Resumes each container and prints its ID.
///
/// # Errors
/// As [`super::for_each`]: a container is not paused.
pub(super) fn undo(context: &Context, which: &Selection) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    select::each(
        context,
        (&store, &run),
        which,
        |status| matches!(status, Status::Paused(_)),
        |name| {
            let record = store.find_container(name)?;
            let paused = matches!(status::of(&store, &run, &record)?, Status::Paused(_));
            ensure!(paused, "\"{}\" is not paused, can't unpause: container state improper", record.id);
            status::runtime(&run, &record).resume(&record.id)?;
            print::line(&record.id)
        },
    )
}
