//! `delete`: removes all that `create` made.

use anyhow::Result;

use super::{Context, LoadedContainer, for_each_id, found, matching};
use crate::cli::args;
use crate::config::ContainerId;
use crate::hook::Hooks;
use crate::runtime::destroy;
use crate::state::Entry;
use crate::state::Status;
use crate::state::status;
use crate::state::status::Action;

/// Deletes each; the first failure is told when all were tried.
pub(super) fn delete(context: &Context<'_>, args: &args::Delete) -> Result<i32> {
    let mut ids = Vec::new();
    for id in &args.ids {
        if args.regex {
            ids.extend(matching(context, id)?);
        } else {
            ids.push(ContainerId::new(id)?);
        }
    }
    for_each_id(context, &ids, |id| one(context, id, args.force))
}

fn one(context: &Context<'_>, id: &ContainerId, force: bool) -> Result<()> {
    if !force {
        let entry = context.store.open(id)?;
        let _lock = entry.lock()?;
        let found = found(entry)?;
        status::check(Action::Delete, status_after_exit(&found)?, id.as_str())?;
        return remove(context, &found);
    }
    // unknown, or gone while we waited for the lock: what was asked for is the case
    let Some(entry) = context.store.try_open(id)? else { return Ok(()) };
    let Ok(_lock) = entry.lock() else {
        return if entry.exists() { entry.lock().map(drop) } else { Ok(()) };
    };
    match entry.record() {
        Ok(record) => {
            let (status, init) = status::of_record(&record)?;
            remove(context, &LoadedContainer { entry, record, status, init })
        }
        Err(_) => salvage(context, &entry),
    }
}

/// A process that was killed a moment ago may still be on its way out: callers delete right after kill.
fn status_after_exit(found: &LoadedContainer) -> Result<Status> {
    let Some(init) = found.init.filter(|_| found.status != Status::Created) else { return Ok(found.status) };
    if !status::dying(init)? {
        return Ok(found.status);
    }
    match status::open(init)? {
        Some(pidfd) if !status::wait_ended(&pidfd, 1000)? => Ok(found.status),
        _ => Ok(Status::Stopped),
    }
}

fn remove(context: &Context<'_>, found: &LoadedContainer) -> Result<()> {
    // a damaged copy of the configuration costs the hooks, not the deletion
    let hooks = match destroy::stored_hooks(&found.entry, &found.record) {
        Ok(stored) => stored,
        Err(err) => {
            context.log.warning(&format!("poststop hooks: {}", base::error::describe(&err)));
            Hooks::default()
        }
    };
    context.warn(&destroy::destroy(&found.entry, &found.record, &hooks)?);
    Ok(())
}

fn salvage(context: &Context<'_>, entry: &Entry) -> Result<()> {
    context.log.warning(&format!("container {}: the state is damaged, removing what can be found", entry.id));
    destroy::force_cleanup(entry)
}
