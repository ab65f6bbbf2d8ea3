//! Container status: from the runtime while it runs, else from the supervisor's exit record.

use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Purpose;
use super::run_dir::RunDir;
use super::runtime::{Runtime, RuntimeStatus};
use crate::store::ContainerRecord;
use crate::store::Store;
use base::error::Report;
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;
use base::signal;

const FILE: &str = "state.json";

/// The record of a container's last run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Time of the start, RFC 3339.
    pub started: String,
    /// Time of the end, RFC 3339; absent while it runs, and where the supervisor was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Exit status as in a shell: the status, or 128 + the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// Whether the kernel killed a process of it for want of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
    /// Number of the signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it did not start, of a start that failed: one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Last {
    /// Reads the record in a container's directory; `None` when it never ran. An unreadable one, after a power cut,
    /// means only that it did.
    ///
    /// # Errors
    /// As open(2).
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        match std::fs::read(dir.join(FILE)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(Some(serde_json::from_slice(&other.with_context(|| format!("{dir:?}"))?).unwrap_or_default())),
        }
    }

    /// Returns the record of a start that failed.
    pub fn not_started(status: u8, error: &anyhow::Error) -> Self {
        Last { status: Some(status.into()), error: Some(Report::of(error).line()), ..Last::default() }
    }

    /// Returns what ended it, where its exit status alone does not tell.
    pub fn reason(&self) -> Option<String> {
        match (&self.error, self.signal) {
            (Some(error), _) => Some(error.clone()),
            _ if self.oom_killed => Some("out of memory".to_owned()),
            (None, Some(libc::SIGSYS)) => Some("killed by SIGSYS: the seccomp filter forbids a system call".to_owned()),
            (None, Some(number)) => Some(format!("killed by SIG{}", signal::name(number))),
            (None, None) => None,
        }
    }

    /// Writes the record of the container `id`. It need not survive a power cut, because no container does.
    ///
    /// # Errors
    /// No space.
    pub fn write(&self, store: &Store, id: &str) -> Result<()> {
        let file = store.container_dir(id).join(FILE);
        atomic_file::write(&store.tmp(), &file, &serde_json::to_vec(self)?, Durability::None)
    }
}

/// Status of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Never started.
    Created,
    /// Running, with the pid.
    Running(i32),
    /// Frozen, with the pid.
    Paused(i32),
    /// Ended, with the exit status; `None` where no supervisor recorded it.
    Exited(Option<i32>),
    /// A bundle, which other programs may run.
    Bundle,
}

impl Status {
    /// Returns the pid of its first process.
    pub fn pid(&self) -> Option<i32> {
        match self {
            Status::Running(pid) | Status::Paused(pid) => Some(*pid),
            _ => None,
        }
    }

    /// Returns the status in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running(_) => "running",
            Status::Paused(_) => "paused",
            Status::Exited(_) => "exited",
            Status::Bundle => "bundle",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Status::Exited(Some(status)) => write!(f, "exited ({status})"),
            other => f.write_str(other.name()),
        }
    }
}

/// Returns the runtime of a container.
pub fn runtime(run: &RunDir, record: &ContainerRecord) -> Runtime {
    Runtime::new(record.setup.runtime.clone(), run.runtime_root())
}

/// Returns whether the process `pid` runs and is a child of the container's supervisor: then it is the container's, and
/// the pid was not reused.
fn is_supervised(run: &RunDir, id: &str, pid: i32) -> Result<bool> {
    let Some(supervisor) = run.supervisor(id)?.map(|handle| handle.pid()).transpose()?.flatten() else {
        return Ok(false);
    };
    // the fields after the name, which may have parentheses: state, parent
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let (state, parent) = (fields.next(), fields.next());
    Ok(state.is_some_and(|state| state != "Z" && state != "X") && parent == Some(&*supervisor.to_string()))
}

/// Determines the status of a container.
///
/// # Errors
/// The runtime cannot be executed.
pub fn of(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<Status> {
    if record.setup.purpose == Purpose::Bundle {
        return Ok(Status::Bundle);
    }
    if let Some(pid) = run.pid(&record.id)? {
        match runtime(run, record).state(&record.id)? {
            Some(RuntimeStatus::Running | RuntimeStatus::Created) => return Ok(Status::Running(pid)),
            Some(RuntimeStatus::Paused) => return Ok(Status::Paused(pid)),
            // a call that failed for another reason than an unknown container
            None if is_supervised(run, &record.id, pid)? => return Ok(Status::Running(pid)),
            Some(RuntimeStatus::Stopped) | None => {}
        }
    }
    Ok(match Last::read(&store.container_dir(&record.id))? {
        Some(last) if last.error.is_some() => Status::Created,
        Some(last) => Status::Exited(last.status),
        None => Status::Created,
    })
}
