//! Cleanup after a container's end: the runtime's state, the mount, the run-time files; for `rm` everything.

use base::coded;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};

use super::create::{self, Reporter};
use super::run_dir::{RunDir, SupervisorHandle};
use super::runtime::error_text;
use super::status::{self, Status};
use super::{Purpose, network, supervise};
use crate::store::ContainerRecord;
use crate::store::Store;

/// Time limit for the end of a killed container.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for the end of a supervisor whose container has ended: it calls the runtime, which has a limit too.
const SUPERVISOR_TIMEOUT: Duration = Duration::from_secs(15);

/// Time between two looks at a container that is being started.
const START_INTERVAL: Duration = Duration::from_millis(100);

/// Cleans up after a container that has ended; the caller is its supervisor or holds its lock.
///
/// # Errors
/// A step failed, with a message by `report`; `rm` tries again.
pub fn cleanup(store: &Store, run: &RunDir, record: &ContainerRecord, report: Reporter<'_>) -> Result<()> {
    let runtime = status::runtime(run, record);
    report(&format!("{} delete {}", runtime.program().display(), record.id));
    let deleted = runtime.delete(&record.id);
    // while the runtime has its state, the next removal has to find the container
    let is_gone = deleted.is_ok();
    let unmounted = create::unmount(store, &record.id);
    // while its tree is mounted, too, because a directory with a mount cannot be removed
    let is_unused = is_gone && unmounted.is_ok();
    let done = [
        deleted,
        network::teardown(run, &record.id),
        unmounted,
        if is_unused && record.setup.remove { store.remove_container(&record.id).map(drop) } else { Ok(()) },
        if is_gone { run.remove_files(&record.id) } else { Ok(()) },
    ];
    let problems: Vec<String> = done.into_iter().filter_map(error_text).collect();
    ensure!(problems.is_empty(), "clean up container {}: {}", record.name, problems.join("; "));
    Ok(())
}

/// Removes what a start that failed or was killed left of a container; the container is kept.
///
/// # Errors
/// Its tree cannot be unmounted.
pub fn forget(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    status::runtime(run, record).delete(&record.id)?;
    create::unmount(store, &record.id)?;
    run.remove_files(&record.id)
}

/// Removes a container that does not run.
///
/// # Errors
/// Its directory or tree cannot be removed.
pub fn remove(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    if record.setup.purpose != Purpose::Bundle {
        status::runtime(run, record).delete(&record.id)?;
        network::teardown(run, &record.id)?;
    }
    create::unmount(store, &record.id)?;
    // false: its supervisor has removed it (--rm)
    store.remove_container(&record.id)?;
    store.sync_removals()?;
    run.remove_files(&record.id)
}

/// Kills a container, if it runs, and removes it.
///
/// # Errors
/// As [`kill`] and [`remove`].
pub fn remove_running(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    kill(store, run, record)?;
    let _supervisor = run.lock_supervisor(&record.id)?;
    remove(store, run, record)
}

/// Kills a container and waits for its end and its supervisor's.
///
/// # Errors
/// The container has not ended within the limit.
pub fn kill(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    let Some(pid) = settled(store, run, record)?.pid() else { return Ok(()) };
    let supervisor = run.supervisor(&record.id)?;
    match status::runtime(run, record).kill(&record.id, "KILL") {
        // it may have ended meanwhile
        Err(err) if status::of(store, run, record)?.pid().is_some() => return Err(err),
        _ => {}
    }
    if !supervise::wait_gone(pid, Some(KILL_TIMEOUT))? {
        bail!(coded!(ContainerBusy, "container '{}': its process {pid} does not end", record.name));
    }
    drop(supervisor);
    wait_for_supervisor(run, record)
}

/// Determines the status of a container; of one with a supervisor that starts it, perhaps after the start itself was
/// killed, when it runs or the supervisor has ended.
///
/// # Errors
/// Neither has happened within the limit; as [`status::of`].
pub fn settled(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<Status> {
    let end = Instant::now() + SUPERVISOR_TIMEOUT;
    loop {
        // before the look at the status, because that of a container whose supervisor has ended does not change
        let supervisor = run.supervisor(&record.id)?;
        let status = status::of(store, run, record)?;
        let Some(supervisor) = supervisor.filter(|_| status.pid().is_none()) else { return Ok(status) };
        if !supervisor.wait_at_most(START_INTERVAL)? && Instant::now() >= end {
            return Err(does_not_end(&supervisor, record)?);
        }
    }
}

/// Makes the error of a supervisor that does not end.
fn does_not_end(supervisor: &SupervisorHandle, record: &ContainerRecord) -> Result<anyhow::Error> {
    let pid = supervisor.pid()?.unwrap_or_default();
    Ok(anyhow!(coded!(ContainerBusy, "container '{}': its supervisor, process {pid}, does not end", record.name)))
}

/// Waits until the supervisor of a container that has ended has ended too.
///
/// # Errors
/// It has not ended within the limit.
pub fn wait_for_supervisor(run: &RunDir, record: &ContainerRecord) -> Result<()> {
    if let Some(supervisor) = run.supervisor(&record.id)?
        && !supervisor.wait_at_most(SUPERVISOR_TIMEOUT)?
    {
        return Err(does_not_end(&supervisor, record)?);
    }
    Ok(())
}

/// Cleans up after a container whose supervisor was killed; does nothing while a supervisor runs.
///
/// # Errors
/// As [`cleanup`].
pub fn reap_orphan(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    if run.pid(&record.id)?.is_none() {
        return Ok(());
    }
    let Some(_supervisor) = run.lock_supervisor(&record.id)? else { return Ok(()) };
    match status::of(store, run, record)? {
        Status::Running(_) | Status::Paused(_) => Ok(()),
        _ => cleanup(store, run, record, &|_| {}),
    }
}
