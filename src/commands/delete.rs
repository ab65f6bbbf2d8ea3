//! `delete`: removes all resources that `create` has created.

use anyhow::Result;
use base::error::{Code, Coding as _};

use super::{Context, LoadedContainer, for_each_id, load, matching};
use crate::cli::args;
use crate::config::ContainerId;
use crate::hook::Hooks;
use crate::runtime::destroy;
use crate::state::Entry;
use crate::state::Found;
use crate::state::Status;
use crate::state::status;
use crate::state::status::Action;
use crate::state::store::is_damage;

/// Deletes each container, also after an error.
pub(super) fn delete(context: &Context<'_>, args: &args::Delete) -> Result<i32> {
    let mut ids = Vec::new();
    for id in &args.ids {
        if args.regex {
            ids.extend(matching(context, id)?);
        } else {
            ids.push(ContainerId::new(id)?);
        }
    }
    for_each_id(context, &ids, |id| delete_one(context, id, args.force))
}

fn delete_one(context: &Context<'_>, id: &ContainerId, force: bool) -> Result<()> {
    if !force {
        let entry = context.store.open(id)?;
        let _lock = entry.lock()?;
        let container = load(entry)?;
        status::check(Action::Delete, status_after_exit(&container)?, id.as_str())?;
        return remove(context, &container);
    }
    // no error with --force for a container that is gone, also if another process deletes it while this one waits for
    // the lock; a container that cannot be looked at is not gone
    let Some(entry) = context.store.try_open(id)? else { return Ok(()) };
    let Some(_lock) = entry.try_lock()? else { return Ok(()) };
    match entry.find_record()? {
        Found::Record(record) => {
            let (status, init) = status::of_record(&record)?;
            remove(context, &LoadedContainer { entry, record: *record, status, init })
        }
        Found::Missing | Found::Damaged(_) => remove_damaged(context, &entry),
    }
}

/// Returns the status of the container; waits up to one second for an init that is being killed, because callers call
/// `delete` right after `kill`.
fn status_after_exit(container: &LoadedContainer) -> Result<Status> {
    let status = container.status;
    let Some(init) = container.init.filter(|_| status != Status::Created) else { return Ok(status) };
    if !status::dying(init)? {
        return Ok(status);
    }
    match status::open_pidfd(init)? {
        Some(pidfd) if !status::wait_ended(&pidfd, 1000)? => Ok(status),
        _ => Ok(Status::Stopped),
    }
}

/// Deletes a locked container.
///
/// # Errors
/// As [`destroy::destroy`].
pub(super) fn remove(context: &Context<'_>, container: &LoadedContainer) -> Result<()> {
    // with a damaged copy of the configuration the container is deleted without its hooks
    let hooks = match destroy::stored_hooks(&container.entry, &container.record) {
        Ok(stored) => stored,
        Err(err) if is_damage(&err) => {
            context.warn_always(&[format!("poststop hooks do not run: {}", base::error::describe(&err))]);
            Hooks::default()
        }
        Err(err) => return Err(err).code(Code::HookFailed, "poststop hooks"),
    };
    context.warn_always(&destroy::destroy(&container.entry, &container.record, &hooks)?);
    Ok(())
}

fn remove_damaged(context: &Context<'_>, entry: &Entry) -> Result<()> {
    context.log.warning(&format!("container {}: the state is damaged, removing what can be found", entry.id));
    destroy::force_cleanup(entry)
}
