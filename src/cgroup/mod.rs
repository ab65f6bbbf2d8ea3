//! Cgroups: plan, creation, joining, freezer, kill, removal, update and statistics.
//!
//! `create` executes what `plan` decided. `Cgroup` is a container's cgroup in all hierarchies of the machine, just
//! created or opened from the recorded state. `resources` and `device` compute the values that are written.

mod ancestor_limits;
mod apply;
mod create;
mod destroy;
pub(crate) mod device;
mod exec_place;
mod files;
mod freeze;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub(crate) mod layout;
pub(crate) mod leftovers;
pub(crate) mod oom;
mod parents;
pub(crate) mod plan;
pub(crate) mod proc;
mod record;
pub(crate) mod resources;
mod signal;
mod stats;
mod summary;
pub(crate) mod systemd;
mod threaded;
mod update;

use base::error::{Code, Coding as _, HasErrno as _};
use std::cell::OnceCell;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

pub(crate) use create::{create, probe_existing};
pub(crate) use destroy::describe_process;
pub(crate) use freeze::is_frozen;
use linux::open::open;
pub(crate) use plan::CgroupPlan;
pub(crate) use record::{CgroupDir, CgroupRecord};
pub use stats::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Hugetlb, Memory, MemoryEntry, Part, Pids, Pressure, PressureLine, Stats,
    Throttling,
};
pub(crate) use summary::CgroupSummary;

/// A container's cgroup in all hierarchies. Files are opened only when they are needed.
#[derive(Debug)]
pub(crate) struct Cgroup {
    record: CgroupRecord,
    unified_fd: OnceCell<OwnedFd>,
    /// The process that keeps a new scope alive until init is in it.
    placeholder: Option<systemd::ScopePlaceholder>,
    warnings: Vec<String>,
}

impl Cgroup {
    /// Returns the cgroup of a recorded container. Makes no system call; the cgroup may have been removed.
    pub(crate) fn open(record: &CgroupRecord) -> Cgroup {
        Cgroup { record: record.clone(), unified_fd: OnceCell::new(), placeholder: None, warnings: Vec::new() }
    }

    /// Returns the record for the state file: the plan's record without the hierarchies that an unprivileged caller had to
    /// skip.
    pub(crate) fn record(&self) -> &CgroupRecord {
        &self.record
    }

    /// Returns the warnings raised while the cgroup was created, and clears them.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Reports whether the container has no cgroup of its own.
    pub(crate) fn is_none(&self) -> bool {
        self.record.dirs.is_empty()
    }

    /// Returns the directory for `CLONE_INTO_CGROUP`: cgroup v2, also the v2 part of a hybrid layout. `None` without
    /// v2.
    ///
    /// Use it on a hybrid machine as well, before the writes to `join_fds`. Measured there (p90 of 60): all ten joins
    /// by `cgroup.procs` take 13.9 ms, because each write takes the system-wide lock of thread groups and may wait for
    /// a grace period. Nine by `tasks` and this one by clone take 0.16 ms, because neither takes that lock.
    pub(crate) fn clone_into(&self) -> Result<Option<BorrowedFd<'_>>> {
        let Some(path) = self.unified_path() else { return Ok(None) };
        if let Some(fd) = self.unified_fd.get() {
            return Ok(Some(fd.as_fd()));
        }
        let fd = open_dir(&path)?;
        Ok(Some(self.unified_fd.get_or_init(|| fd).as_fd()))
    }

    /// Opens the files to which the container's process writes `0` to join the v1 hierarchies; empty on pure v2.
    ///
    /// The files are `tasks`, not `cgroup.procs`: see `clone_into`. So the writer must have a single thread.
    pub(crate) fn join_fds(&self) -> Result<Vec<OwnedFd>> {
        let legacy = self.record.dirs.iter().filter(|dir| !dir.unified);
        legacy
            .map(|dir| {
                let path = format!("{}/tasks", self.record.path_in(dir));
                let file = open(path.as_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
                file.with_context(|| format!("open {path}"))
            })
            .collect()
    }

    /// Moves a process with all its threads into the cgroup, in every hierarchy.
    pub(crate) fn join_pid(&self, pid: i32) -> Result<()> {
        self.paths().try_for_each(|path| files::write(&format!("{path}/cgroup.procs"), &pid.to_string()))
    }

    /// Returns how many more tasks the pids controller allows in this cgroup and its ancestors; `None`: no limit, or no
    /// controller.
    pub(crate) fn free_pids(&self) -> Option<u64> {
        let dir = self.record.dirs.iter().find(|dir| dir.has("pids") || dir.unified && self.record.is_pure_v2())?;
        let mut path = self.record.path_in(dir);
        let mut least = None;
        while path.len() > dir.mount.len() {
            let number = |name: &str| files::try_read(&format!("{path}/{name}")).ok()?.trim().parse::<u64>().ok();
            if let (Some(max), Some(current)) = (number("pids.max"), number("pids.current")) {
                let free = max.saturating_sub(current);
                least = Some(least.map_or(free, |least: u64| least.min(free)));
            }
            path.truncate(path.rfind('/')?);
        }
        least
    }

    /// Lists the processes in the cgroup and in those below it; empty if it does not exist any more.
    pub(crate) fn pids(&self) -> Result<Vec<i32>> {
        let Some(path) = self.main_path() else { return Ok(Vec::new()) };
        files::processes(&path).with_context(|| format!("list the processes of {path}"))
    }

    /// Explains the error of a clone into the cgroup where the cgroup is the reason: its path and a remedy.
    pub(crate) fn explain_clone(&self, err: anyhow::Error) -> anyhow::Error {
        let path = self.unified_path().or_else(|| self.main_path()).unwrap_or_default();
        let elsewhere = "choose another linux.cgroupsPath";
        let text = match err.errno() {
            Some(libc::EBUSY) => {
                format!("cgroup {path} has enabled controllers for its children, it may hold no process: {elsewhere}")
            }
            Some(libc::EOPNOTSUPP) => {
                format!("cgroup {path} is part of a threaded subtree, it may hold no process: {elsewhere}")
            }
            Some(libc::EACCES) => format!(
                "cgroup {path} may not be entered from this process's own: \
                 that needs write permission to cgroup.procs of the cgroup that both are in"
            ),
            Some(libc::ENODEV | libc::ENOENT) => format!("cgroup {path} has been removed"),
            _ => return err,
        };
        Code::CgroupFailed.add_to(err, text)
    }

    fn paths(&self) -> impl Iterator<Item = String> {
        self.record.dirs.iter().map(|dir| self.record.path_in(dir))
    }

    fn unified_path(&self) -> Option<String> {
        self.record.unified_path()
    }

    fn controller_path(&self, controller: &str) -> Option<String> {
        self.record.controller_path(controller)
    }

    /// Returns the directory that lists the container's processes, and in which they are frozen and killed.
    fn main_path(&self) -> Option<String> {
        self.unified_path().or_else(|| self.controller_path("freezer")).or_else(|| self.paths().next())
    }
}

fn open_dir(path: &str) -> Result<OwnedFd> {
    let dir = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    dir.with_code(Code::CgroupFailed, || format!("open cgroup {path}"))
}

#[cfg(test)]
mod tests;
