//! After the end: what the runtime keeps, the mount, the files in `/run`; and, for `rm`, everything.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::create::{self, Say};
use super::run_dir::RunDir;
use super::runtime::ignore_not_found;
use super::status::{self, Status};
use super::{Purpose, supervise};
use crate::store::ContainerRecord;
use crate::store::Store;

/// How long a killed container may take to be gone.
const KILLED: Duration = Duration::from_secs(20);

/// Clears away after a container that has ended, by its attendant or whoever holds its lock.
///
/// # Errors
/// Something resisted: told by `say` too, and `rm` tries again.
pub fn cleanup(store: &Store, run: &RunDir, record: &ContainerRecord, say: Say<'_>) -> Result<()> {
    let runtime = status::runtime(run, record);
    say(&format!("{} delete {}", runtime.program().display(), record.id));
    let done = [
        runtime.delete(&record.id),
        create::unmount(store, &record.id),
        if record.setup.remove { store.remove_container(&record.id) } else { Ok(()) },
        run.forget(&record.id),
    ];
    let problems: Vec<String> = done.into_iter().filter_map(ignore_not_found).collect();
    ensure!(problems.is_empty(), "clear away after {}: {}", record.name, problems.join("; "));
    Ok(())
}

/// Removes a container that does not run.
///
/// # Errors
/// Its directory or tree resists.
pub fn remove(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    if record.setup.purpose == Purpose::Run {
        status::runtime(run, record).delete(&record.id)?;
    }
    create::unmount(store, &record.id)?;
    match store.remove_container(&record.id) {
        // its attendant removed it, as --rm asks for
        Err(_) if store.find_container(&record.id).is_err() => {}
        other => other?,
    }
    run.forget(&record.id)
}

/// Kills a container and waits until it and its attendant are done.
///
/// # Errors
/// It lives on.
pub fn kill(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    let Some(pid) = status::of(store, run, record)?.pid() else { return wait_for_supervisor(run, record) };
    let attended = run.supervisor(&record.id)?;
    match status::runtime(run, record).kill(&record.id, "KILL") {
        // it may have ended by itself meanwhile
        Err(err) if status::of(store, run, record)?.pid().is_some() => return Err(err),
        _ => {}
    }
    if !supervise::wait_gone(pid, Some(KILLED))? {
        bail!("container '{}': its process {pid} does not end", record.name);
    }
    drop(attended);
    wait_for_supervisor(run, record)
}

/// Waits until a container's attendant is done.
///
/// # Errors
/// It cannot be waited for.
pub fn wait_for_supervisor(run: &RunDir, record: &ContainerRecord) -> Result<()> {
    if let Some(attended) = run.supervisor(&record.id)? {
        attended.wait()?;
    }
    Ok(())
}

/// Clears away after a container whose attendant was killed; nothing to do where one is at work.
///
/// # Errors
/// As [`cleanup`].
pub fn reap_orphan(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    if run.pid(&record.id).is_none() {
        return Ok(());
    }
    let Some(_attendant) = run.lock_supervisor(&record.id)? else { return Ok(()) };
    match status::of(store, run, record)? {
        Status::Running(_) | Status::Paused(_) => Ok(()),
        _ => cleanup(store, run, record, &|_| {}),
    }
}
