//! Start and stop of an existing container, for the verbs that do either or both.

use base::error::{Code, Coding as _};
use std::time::Duration;

use anyhow::Result;

use super::create::Reporter;
use super::run_dir::{RunDir, SupervisorLock};
use super::session::NotStarted;
use super::status::Last;
use super::supervise::wait_gone;
use super::{cleanup, files, monitor, session, status};
use crate::store::ContainerRecord;
use crate::store::Store;

/// Seconds between the stop signal and SIGKILL, unless the caller or the container has others; as in Docker and Podman.
const STOP_SECONDS: u64 = 10;

/// Prepares the start of a container that does not run, by this process or a fork as its supervisor.
///
/// # Errors
/// It runs; a volume's source is gone; its tree cannot be mounted.
pub fn begin(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<SupervisorLock> {
    for volume in &record.setup.volumes {
        volume.check_source(store.root()).code(Code::UsageValue, "--volume")?;
    }
    let supervisor = session::prepare(store, run, record)?;
    files::refresh_names(&store.container_dir(&record.id), &record.setup.names)?;
    Ok(supervisor)
}

/// Starts a container in the background.
///
/// # Errors
/// As [`begin`] and [`monitor::detach`]; nothing of the start is left then.
pub fn start(store: &Store, run: &RunDir, record: &ContainerRecord, report: Reporter<'_>) -> Result<(), NotStarted> {
    let supervisor = begin(store, run, record)?;
    monitor::detach(store, run, record, supervisor, None, report).inspect_err(|failed| {
        undo(store, run, record);
        // the reason is being reported; `inspect` has it afterwards
        let _ = Last::not_started(failed.status, &failed.error).write(store, &record.id);
    })
}

/// Removes what a failed start left, unless another process is starting the container by now.
pub fn undo(store: &Store, run: &RunDir, record: &ContainerRecord) {
    // errors are ignored, because the reason of the failure is being reported; the next start does it again
    if let Ok(Some(_supervisor)) = run.lock_supervisor(&record.id) {
        let _ = cleanup::forget(store, run, record);
    }
}

/// Stops a container by a signal, after some seconds by SIGKILL: those that are given, else its own; one that does not run
/// counts as stopped.
///
/// # Errors
/// It has not ended after SIGKILL.
pub fn stop(
    store: &Store,
    run: &RunDir,
    record: &ContainerRecord,
    seconds: Option<u64>,
    signal: Option<&str>,
) -> Result<()> {
    let limit = Duration::from_secs(seconds.or(record.setup.stop_timeout).unwrap_or(STOP_SECONDS));
    if let Some(pid) = cleanup::settled(store, run, record)?.pid() {
        let runtime = status::runtime(run, record);
        let signalled = runtime.kill(&record.id, signal.unwrap_or(&record.setup.stop_signal));
        if signalled.is_err() || !wait_gone(pid, Some(limit))? {
            cleanup::kill(store, run, record)?;
        }
    }
    cleanup::wait_for_supervisor(run, record)?;
    cleanup::reap_orphan(store, run, record)
}
