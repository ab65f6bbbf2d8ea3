//! How a container is: asked of the runtime while it may run, else read from what its attendant wrote at the end.

use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Purpose;
use super::run_dir::RunDir;
use super::runtime::{Runtime, RuntimeStatus};
use crate::store::ContainerRecord;
use crate::store::Store;
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;

const FILE: &str = "state.json";

/// What is kept of the last time that a container ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// RFC 3339.
    pub started: String,
    /// RFC 3339; absent while it runs, and where the attendant was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// As a shell tells it: the status, or 128 + the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
}

impl Last {
    /// Reads that of the container whose directory this is; `None` when it never ran. What cannot be read, after a power
    /// cut, tells nothing but that it did.
    ///
    /// # Errors
    /// The file system's.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        match std::fs::read(dir.join(FILE)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(Some(serde_json::from_slice(&other.with_context(|| format!("{dir:?}"))?).unwrap_or_default())),
        }
    }

    /// Writes that of the container `id`. It need not outlast a power cut: nothing runs after one.
    ///
    /// # Errors
    /// No space.
    pub fn write(&self, store: &Store, id: &str) -> Result<()> {
        let file = store.container_dir(id).join(FILE);
        atomic_file::write(&store.tmp(), &file, &serde_json::to_vec(self)?, Durability::None)
    }
}

/// How a container is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Never started.
    Created,
    /// Its program runs.
    Running(i32),
    /// Frozen.
    Paused(i32),
    /// It has ended; without a status where no supervisor saw how.
    Exited(Option<i32>),
    /// Others run it, if anybody.
    Bundle,
}

impl Status {
    /// Its first process.
    pub fn pid(&self) -> Option<i32> {
        match self {
            Status::Running(pid) | Status::Paused(pid) => Some(*pid),
            _ => None,
        }
    }

    /// One word.
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

/// The runtime of a container.
pub fn runtime(run: &RunDir, record: &ContainerRecord) -> Runtime {
    Runtime::new(record.setup.runtime.clone(), run.runtime_root())
}

/// How a container is.
///
/// # Errors
/// The runtime cannot be asked.
pub fn of(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<Status> {
    if record.setup.purpose == Purpose::Bundle {
        return Ok(Status::Bundle);
    }
    if let Some(pid) = run.pid(&record.id) {
        match runtime(run, record).state(&record.id)? {
            Some(RuntimeStatus::Running | RuntimeStatus::Created) => return Ok(Status::Running(pid)),
            Some(RuntimeStatus::Paused) => return Ok(Status::Paused(pid)),
            Some(RuntimeStatus::Stopped) | None => {}
        }
    }
    Ok(match Last::read(&store.container_dir(&record.id))? {
        Some(last) => Status::Exited(last.status),
        None => Status::Created,
    })
}
