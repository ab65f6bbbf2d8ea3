//! How a container's process has ended, as far as it is known: by the verb that waited for it (`exit.json` in the state
//! directory), or by the kernel while the process is a zombie. A process that was not waited for leaves no trace.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::record::{ProcessId, Record};
use super::status;
use super::store::Entry;
use base::error::{HasErrno as _, from_wire, to_wire};
use linux::pidfd_info;
use linux::process::ExitStatus;

/// File name of the exit status in the state directory.
const EXIT: &str = "exit.json";

/// File name of the error by which the program was not started.
const FAILURE: &str = "failure";

/// Time that the parent of an ended process has to reap it, after which the kernel tells its status.
const REAPING_MS: u16 = 1_000;

/// The end of a container's process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// The exit status, of a process that exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// The number of the signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When the verb that waited learned of the end: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl Exit {
    /// Returns the end that has just been learned of.
    pub(crate) fn now(ended: ExitStatus) -> Exit {
        Exit { time: Some(base::log::rfc3339(SystemTime::now())), ..Exit::from(ended) }
    }

    /// Returns the status as in a shell.
    pub(crate) fn shell_status(&self) -> Option<i32> {
        self.status.or(self.signal.map(|signal| 128 + signal))
    }
}

impl From<ExitStatus> for Exit {
    fn from(ended: ExitStatus) -> Exit {
        match ended {
            ExitStatus::Exited(status) => Exit { status: Some(status), ..Exit::default() },
            ExitStatus::Killed(signal) => Exit { signal: Some(signal), ..Exit::default() },
        }
    }
}

/// Keeps the end of a container for `state`, `wait` and `why`. One that is kept already stays; a failure is ignored,
/// because it must not change what the verb returns.
pub(crate) fn keep(entry: &Entry, exit: &Exit) {
    if let Ok(bytes) = serde_json::to_vec(exit) {
        let _ = entry.write_new(EXIT, &bytes);
    }
}

/// Keeps why the program of a created container was not started, for `why`. A failure is ignored, as in [`keep`].
pub(crate) fn keep_failure(entry: &Entry, err: &anyhow::Error) {
    let _ = entry.write_new(FAILURE, to_wire(err).as_bytes());
}

/// Returns why the program was not started, if it was not.
pub(crate) fn failure(entry: &Entry) -> Option<anyhow::Error> {
    entry.read(FAILURE).ok().map(|bytes| from_wire(&String::from_utf8_lossy(&bytes)))
}

/// Returns the end of a stopped container, if it is known.
///
/// # Errors
/// The state directory or procfs cannot be read.
pub(crate) fn find(entry: &Entry, record: &Record) -> Result<Option<Exit>> {
    match entry.read(EXIT) {
        Ok(bytes) => return Ok(serde_json::from_slice(&bytes).ok()),
        Err(err) if err.is_errno(&[libc::ENOENT]) => {}
        Err(err) => return Err(err),
    }
    match record.init.filter(|_| status::is_this_boot(&record.boot_id).unwrap_or(false)) {
        Some(init) => Ok(of_zombie(init)?.map(Exit::from)),
        None => Ok(None),
    }
}

/// Waits until the process has ended, without a limit; `None`: its status is not known.
///
/// # Errors
/// As poll(2); procfs cannot be read.
pub(crate) fn wait(init: ProcessId, pidfd: &OwnedFd) -> Result<Option<Exit>> {
    while !status::wait_ended(pidfd, u16::MAX)? {}
    // a zombie's status is gone when its parent has reaped it, and a pidfd's is there only then
    let zombie = of_zombie(init)?;
    let known = |ended: Option<ExitStatus>| ended.map(Exit::now);
    let deadline = std::time::Instant::now() + std::time::Duration::from_millis(REAPING_MS.into());
    loop {
        if let Some(ended) = pidfd_info::exit_status(pidfd.as_fd()).context("exit status of the pidfd")? {
            return Ok(known(Some(ended)));
        }
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if zombie.is_some() || left.is_zero() || status::read_stat(init.pid)?.is_none() {
            return Ok(known(match zombie {
                Some(ended) => Some(ended),
                // reaped between the two looks
                None => pidfd_info::exit_status(pidfd.as_fd()).context("exit status of the pidfd")?,
            }));
        }
        // a zombie whose status this user may not read: no event announces the reaping on all kernels
        std::thread::sleep(left.min(std::time::Duration::from_millis(5)));
    }
}

/// Returns the status of a process that has ended and is not reaped yet.
fn of_zombie(init: ProcessId) -> Result<Option<ExitStatus>> {
    if linux::process::euid() != 0 {
        // the kernel shows other users 0
        return Ok(None);
    }
    let path = format!("/proc/{}/stat", init.pid);
    match std::fs::File::open(&path).and_then(linux::file::read_text) {
        Ok(text) => Ok(parse(&text, init.start_time)),
        Err(err) if err.is_errno(&[libc::ENOENT, libc::ESRCH]) => Ok(None),
        Err(err) => Err(err).with_context(|| format!("read {path}")),
    }
}

/// Reads the state, the start time and the exit code: fields 3, 22 and 52.
fn parse(stat: &str, start_time: u64) -> Option<ExitStatus> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let is_zombie = matches!(*fields.first()?, "Z" | "X") && number(22)? == start_time;
    is_zombie.then(|| i32::try_from(number(52)?).ok().map(pidfd_info::decode))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_of_a_zombie() {
        let stat = |state: &str, code: &str| format!("7 (a) b) {state} {}9 {}{code}", "1 ".repeat(18), "0 ".repeat(29));
        assert_eq!(parse(&stat("Z", "768"), 9), Some(ExitStatus::Exited(3)));
        assert_eq!(parse(&stat("Z", "137"), 9), Some(ExitStatus::Killed(9)));
        assert_eq!(parse(&stat("Z", "768"), 8), None, "another process");
        assert_eq!(parse(&stat("S", "768"), 9), None, "it runs");
        assert_eq!(parse("7 (a) Z 1", 9), None);
    }
}
