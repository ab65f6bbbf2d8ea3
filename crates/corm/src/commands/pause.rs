//! `corm pause`, `corm unpause`: freezes and thaws the processes of containers.

use anyhow::{Result, ensure};
use base::coded;

use super::{Context, print, select};
use crate::cli::args::Selection;
use crate::container::run_dir::RunDir;
use crate::container::status::{self, Status};
use crate::store::ContainerRecord;

/// Pauses each container and prints its ID.
///
/// # Errors
/// As [`super::for_each`]: a container does not run or is paused already.
pub(super) fn run(context: &Context, which: &Selection) -> Result<u8> {
    let fits: fn(&Status) -> bool = |status| matches!(status, Status::Running(_));
    each(context, which, fits, |run, record, now| {
        ensure!(
            fits(now),
            coded!(ContainerStatus, "\"{}\" is not running, can't pause: container state improper", now.name())
        );
        status::runtime(run, record).pause(&record.id)
    })
}

/// Resumes each container and prints its ID.
///
/// # Errors
/// As [`super::for_each`]: a container is not paused.
pub(super) fn undo(context: &Context, which: &Selection) -> Result<u8> {
    let fits: fn(&Status) -> bool = |status| matches!(status, Status::Paused(_));
    each(context, which, fits, |run, record, now| {
        ensure!(
            fits(now),
            coded!(ContainerStatus, "\"{}\" is not paused, can't unpause: container state improper", record.id)
        );
        status::runtime(run, record).resume(&record.id)
    })
}

/// Carries out `act` on each container and prints its ID; `fits` chooses those of `--all`.
fn each(
    context: &Context,
    which: &Selection,
    fits: fn(&Status) -> bool,
    act: impl Fn(&RunDir, &ContainerRecord, &Status) -> Result<()>,
) -> Result<u8> {
    select::each(context, which, fits, |store, run, name| {
        let record = store.find_container(name)?;
        act(run, &record, &status::of(store, run, &record)?)?;
        print::line(name)
    })
}
