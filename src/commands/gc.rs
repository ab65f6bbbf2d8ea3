//! `gc`: removes what runtimes that were killed have left: containers whose creation did not finish, cgroups without a
//! state, and temporary files. Nothing that runs, and nothing that croci has not made.

use std::time::Duration;

use anyhow::{Error, Result};
use base::error::Report;

use super::{Context, LoadedContainer, delete, print};
use crate::cgroup::leftovers;
use crate::cli::args;
use crate::config::ContainerId;
use crate::state::Found;
use crate::state::Status;
use crate::state::status;

/// Age at which a state directory without a record is left over. A younger one may be of a `create` that has not locked
/// it yet.
const MIN_AGE: Duration = Duration::from_secs(10);

/// Removes what is left over, or only lists it; a line for each. Goes on after an error.
pub(super) fn gc(context: &Context<'_>, args: &args::Gc) -> Result<i32> {
    let mut lines = Vec::new();
    let mut failed = None;
    for id in context.store.ids()? {
        match collect(context, &id, args.dry_run) {
            Ok(line) => lines.extend(line),
            Err(err) => keep(context, &mut failed, err.context(format!("container {id}"))),
        }
    }
    for leftover in leftovers::find()? {
        let of = leftover.state.as_ref().map_or("no container is below it".to_owned(), |state| {
            format!("the state directory {} is gone", state.display())
        });
        match if args.dry_run { Ok(true) } else { leftover.remove() } {
            Ok(true) => lines.push(format!("cgroup {}: {of}", leftover.path)),
            // in use by now
            Ok(false) => {}
            Err(err) => keep(context, &mut failed, err),
        }
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    print(&lines.iter().map(|line| format!("{verb} {line}\n")).collect::<String>())?;
    failed.map_or(Ok(0), Err)
}

/// Keeps an error for the end, and logs the one that was kept.
fn keep(context: &Context<'_>, failed: &mut Option<Error>, err: Error) {
    if let Some(earlier) = failed.replace(err) {
        context.log.error(&Report::of(&earlier));
    }
}

/// Removes what is left over of one container; returns the line about it.
fn collect(context: &Context<'_>, id: &ContainerId, dry_run: bool) -> Result<Option<String>> {
    let Some(entry) = context.store.try_open(id)? else { return Ok(None) };
    // another verb works on it
    let Some(_lock) = entry.lock_if_free()? else { return Ok(None) };
    let directory = entry.path.display().to_string();
    match entry.find_record()? {
        Found::Record(record) if record.init.is_none() => {
            let (Status::Stopped, init) = status::of_record(&record)? else { return Ok(None) };
            let line = format!("{directory}: its creation did not finish, process {} is gone", record.runtime.pid);
            if !dry_run {
                delete::remove(context, &LoadedContainer { entry, record: *record, status: Status::Stopped, init })?;
            }
            Ok(Some(line))
        }
        Found::Record(_) if entry.has_next_record() => {
            if !dry_run {
                entry.remove_next_record()?;
            }
            Ok(Some(format!("a record in {directory} that a verb did not finish")))
        }
        Found::Missing if entry.unchanged_for()? >= MIN_AGE => {
            if !dry_run {
                entry.remove()?;
            }
            Ok(Some(format!("{directory}: it has no record")))
        }
        // a container, or one whose record is damaged: `delete --force` is the caller's to choose
        _ => Ok(None),
    }
}
