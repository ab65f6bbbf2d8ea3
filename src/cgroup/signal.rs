//! Signals to all processes of a container.

use anyhow::{Context as _, Result};

use super::files::{self, is_gone, try_write};
use super::{Cgroup, CgroupDir};
use linux::event::kill;

/// Most rounds of SIGKILL. A process may fork faster than the list is read; each round kills what the last one missed.
const MAX_ROUNDS: usize = 20;

impl Cgroup {
    /// Sends `signal` to every process of the container, also in cgroups below. An empty cgroup is no error.
    ///
    /// SIGKILL takes effect on a frozen container too. On v2 the kernel kills (`cgroup.kill`, Linux 5.14). Elsewhere
    /// the container is frozen meanwhile, so that no process forks and no pid is reused between the list and the
    /// signal.
    pub(crate) fn kill(&self, signal: i32) -> Result<()> {
        if self.is_none() {
            return Ok(());
        }
        self.record.check()?;
        if signal == libc::SIGKILL && self.kernel_kill()? {
            return self.thaw_v1();
        }
        let was_frozen = self.is_frozen().unwrap_or(false);
        // a layout without a freezer cannot freeze; the signals are sent all the same
        let frozen = was_frozen || self.freeze().is_ok();
        let sent = self.signal_all(signal);
        if frozen && (signal == libc::SIGKILL || !was_frozen) {
            self.thaw()?;
        }
        sent?;
        if signal == libc::SIGKILL && !frozen { self.kill_rounds() } else { Ok(()) }
    }

    /// Kills by `cgroup.kill`; `false` where the container has no v2 cgroup or the kernel no such file.
    fn kernel_kill(&self) -> Result<bool> {
        let Some(path) = self.unified_path() else { return Ok(false) };
        let path = format!("{path}/cgroup.kill");
        match try_write(&path, "1") {
            Ok(()) => Ok(true),
            // no such file, or no such cgroup; a threaded cgroup cannot be killed as a whole
            Err(err) if is_gone(&err) || err.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(err) => Err(err).with_context(|| files::write_context(&path, "1")),
        }
    }

    /// Thaws a v1 freezer, because a killed process in it does not end while frozen.
    fn thaw_v1(&self) -> Result<()> {
        let Some(path) = self.controller_path("freezer") else { return Ok(()) };
        let path = format!("{path}/freezer.state");
        match try_write(&path, "THAWED") {
            Err(err) if !is_gone(&err) => Err(err).with_context(|| files::write_context(&path, "THAWED")),
            _ => Ok(()),
        }
    }

    /// Lifts the limits of the time on the CPU from the cgroups that croci created, because killed processes need that time to
    /// end. Ignores errors, because without it they end later.
    pub(crate) fn lift_cpu_limits(&self) {
        // ten times the default weight, because many processes that were killed have to end; not the greatest, with which those
        // that were not yet killed would leave nothing for this process
        let values: [(&str, &str); 5] = [
            ("cpu.idle", "0"),
            ("cpu.shares", "10240"),
            ("cpu.cfs_quota_us", "-1"),
            ("cpu.weight", "1000"),
            ("cpu.max", "max"),
        ];
        let created = |dir: &&CgroupDir| dir.created_depth > 0 && (dir.unified || dir.has("cpu"));
        for path in self.record.dirs.iter().filter(created).map(|dir| self.record.path_in(dir)) {
            for (file, value) in values {
                let _ = try_write(&format!("{path}/{file}"), value);
            }
        }
    }

    fn signal_all(&self, signal: i32) -> Result<()> {
        for pid in self.pids()? {
            send(pid, signal)?;
        }
        Ok(())
    }

    fn kill_rounds(&self) -> Result<()> {
        for _ in 0..MAX_ROUNDS {
            if self.pids()?.is_empty() {
                return Ok(());
            }
            self.signal_all(libc::SIGKILL)?;
            std::thread::yield_now();
        }
        Ok(()) // `destroy` reports the processes that remain
    }
}

fn send(pid: i32, signal: i32) -> Result<()> {
    match kill(pid, signal) {
        Err(err) if err.raw_os_error() != Some(libc::ESRCH) => {
            Err(err).with_context(|| format!("send signal {signal} to process {pid}"))
        }
        _ => Ok(()),
    }
}
