//! `start`: starts the program of created containers.

use base::coded;
use std::os::fd::AsFd as _;

use anyhow::{Result, bail};

use super::{Context, LoadedContainer, for_each_id, load};
use crate::cgroup::Cgroup;
use crate::config::ContainerId;
use crate::hook;
use crate::runtime::destroy;
use crate::runtime::notify::Manager;
use crate::runtime::notify::Notify;
use crate::runtime::start;
use crate::state::exit;
use crate::state::status;
use crate::state::status::Action;
use base::log::step;

/// Starts each container, also after an error.
pub(super) fn start(context: &Context<'_>, ids: &[String]) -> Result<i32> {
    for_each_id(context, ids, |id| start_one(context, id))
}

fn start_one(context: &Context<'_>, id: &str) -> Result<()> {
    let entry = context.store.open(&ContainerId::new(id)?)?;
    let lock = entry.lock()?;
    let LoadedContainer { entry, record, status, init } = load(entry)?;
    status::check(Action::Start, status, id)?;
    let Some(init) = init else { bail!(coded!(ContainerNotRunning, "container {id} exited before it was started")) };
    if !record.has_process {
        bail!(coded!(ConfigRequired, "cannot start container {id}: process: the configuration has none"));
    }
    let hooks = destroy::stored_hooks(&entry, &record)?;
    let notify = match Manager::from_env()? {
        Some(manager) => Notify::bind(entry.dir(), manager, init.pid)?,
        None => None,
    };
    let pidfd = status::open_pidfd(init)?;
    step(|| format!("order init {} to run the program", init.pid));
    if let Err(err) = start::signal_fifo(&entry, init) {
        // a startContainer hook or execve(2) failed: kill init, so that the container is stopped
        destroy::kill_and_wait(init, &Cgroup::open(&record.cgroup))?;
        exit::keep_failure(&entry, &err);
        return Err(err);
    }
    step(|| format!("the program runs; hooks: {} poststart", hooks.plan.poststart.len()));
    let state = hooks.hook_state.state("running", Some(init.pid));
    if let Err(err) = hook::run_all(&hooks.plan.poststart, &hooks.output, &state, hook::Procfs::Runtime, None) {
        // an error since specification 1.3: stop, destroy, poststop (LC-2)
        context.warn_always(&destroy::destroy(&entry, &record, &hooks)?);
        return Err(err);
    }
    // release the lock, because other verbs may change the container while its program gets ready
    drop(lock);
    if let (Some(notify), Some(pidfd)) = (notify, pidfd)
        && let Err(err) = notify.wait(pidfd.as_fd())
    {
        context.warn(&[base::error::describe(&err)]);
    }
    Ok(())
}
