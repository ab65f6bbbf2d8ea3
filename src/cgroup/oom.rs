//! Notification of out-of-memory kills in a container.

use base::error::{Code, Coding as _};
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::poll::PollFlags;

use super::Cgroup;
use super::files::{is_gone, try_read, value_of, write};
use linux::event::eventfd;

/// How long after an announcement of v1 the kill may be counted: the kernel announces that the memory has run out before it
/// kills.
const COUNT_DELAY: Duration = Duration::from_secs(5);
/// Interval of reading the count until then.
const COUNT_INTERVAL: Duration = Duration::from_millis(10);

/// What the file of an [`OomWatch`] has.
#[derive(Debug, PartialEq)]
pub(super) struct Counts {
    /// Processes that the out-of-memory killer has killed so far.
    pub kills: u64,
    /// The out-of-memory killer is enabled.
    pub killer: bool,
}

/// A descriptor that becomes readable when the container runs out of memory.
#[derive(Debug)]
pub(crate) struct OomWatch {
    /// `memory.events` on v2, `memory.oom_control` on v1.
    file: fs::File,
    /// The eventfd(2) that v1 signals; on v2 the file itself is polled.
    counter: Option<OwnedFd>,
    /// Kills that [`OomWatch::events`] has returned, and those before the watch.
    reported: u64,
    /// When the kill of an announcement of v1 is no longer awaited.
    announced_until: Option<Instant>,
}

impl Cgroup {
    /// Returns how many processes of the container the out-of-memory killer has killed so far.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match self.record.is_pure_v2() {
            true => self.unified_path().map(|path| format!("{path}/memory.events")),
            false => self.controller_path("memory").map(|path| format!("{path}/memory.oom_control")),
        };
        file.and_then(|file| try_read(&file).ok()).and_then(|text| value_of(&text, "oom_kill")).unwrap_or_default()
    }

    /// Returns how many forks failed so far because the pids limit of the cgroup was reached.
    pub(crate) fn refused_forks(&self) -> u64 {
        let path = self.pids_path();
        let text = path.and_then(|path| try_read(&format!("{path}/pids.events")).ok());
        text.and_then(|text| value_of(&text, "max")).unwrap_or_default()
    }

    /// Returns the limit of processes of the container's own cgroup; `None`: there is none.
    pub(crate) fn pids_limit(&self) -> Option<u64> {
        try_read(&format!("{}/pids.max", self.pids_path()?)).ok()?.trim().parse().ok()
    }

    fn pids_path(&self) -> Option<String> {
        if self.record.is_pure_v2() { self.unified_path() } else { self.controller_path("pids") }
    }

    /// Reports whether the cgroup has been removed, with its counts.
    pub(crate) fn is_removed(&self) -> bool {
        let Some(path) = self.main_path() else { return true };
        matches!(try_read(&format!("{path}/cgroup.procs")), Err(err) if is_gone(&err))
    }

    /// Starts the watch. `None` where the container has no memory controller.
    pub(crate) fn oom_events(&self) -> Result<Option<OomWatch>> {
        let open = |path: &str| fs::File::open(path).with_context(|| format!("open {path}"));
        if self.record.is_pure_v2() {
            let path = format!("{}/memory.events", self.unified_path().unwrap_or_default());
            return match fs::File::open(&path) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
                file => OomWatch::new(file.with_context(|| format!("open {path}"))?, None).map(Some),
            };
        }
        let Some(path) = self.controller_path("memory") else { return Ok(None) };
        let file = open(&format!("{path}/memory.oom_control"))?;
        let counter = eventfd().context("create an event counter")?;
        let line = format!("{} {}", counter.as_raw_fd(), file.as_raw_fd());
        write(&format!("{path}/cgroup.event_control"), &line)?;
        OomWatch::new(file, Some(counter)).map(Some)
    }
}

impl OomWatch {
    /// Returns the descriptor to poll, and the events to poll for.
    pub(crate) fn poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.counter {
            Some(counter) => (counter.as_fd(), PollFlags::POLLIN),
            None => (self.file.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// Returns how long the next poll may last: shorter than `longest` while the count of an announced kill is awaited.
    pub(crate) fn poll_timeout(&self, longest: Duration) -> Duration {
        if self.announced_until.is_some() { longest.min(COUNT_INTERVAL) } else { longest }
    }

    /// Returns the number of events since the last call: kills, or on v1 with `disableOOMKiller` that the memory has run out.
    /// Call it after each poll; `announced` says whether the descriptor was ready.
    ///
    /// With the OOM killer, v1 announces also without a kill: again while a killed process ends, and when the memory of a
    /// parent has run out.
    pub(crate) fn events(&mut self, announced: bool) -> Result<u64> {
        if !announced && self.announced_until.is_none() {
            return Ok(0);
        }
        let Some(Counts { kills, killer }) = self.counts()? else {
            self.announced_until = None;
            return Ok(0);
        };
        let new = kills.saturating_sub(self.reported);
        self.reported = kills;
        if new > 0 || self.counter.is_none() {
            self.announced_until = None;
            return Ok(new);
        }
        if !killer {
            self.announced_until = None;
            return Ok(u64::from(announced));
        }
        let now = Instant::now();
        if now >= *self.announced_until.get_or_insert(now + COUNT_DELAY) {
            self.announced_until = None;
        }
        Ok(0)
    }

    /// Starts at the present count.
    fn new(file: fs::File, counter: Option<OwnedFd>) -> Result<OomWatch> {
        let mut watch = OomWatch { file, counter, reported: 0, announced_until: None };
        watch.reported = watch.counts()?.map_or(0, |counts| counts.kills);
        Ok(watch)
    }

    /// Reads the file; `None` when the cgroup has been removed and no more events follow.
    pub(super) fn counts(&mut self) -> Result<Option<Counts>> {
        if let Some(counter) = &self.counter {
            let mut value = [0; 8];
            match nix::unistd::read(counter, &mut value) {
                Ok(_) | Err(nix::errno::Errno::EAGAIN) => {}
                Err(errno) => return Err(errno).context("read the event counter"),
            }
        }
        let mut text = String::new();
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_string(&mut text));
        match read {
            Err(err) if is_gone(&err) => Ok(None),
            result => result.code(Code::CgroupFailed, "read the memory events of the cgroup").map(|_| {
                let kills = value_of(&text, "oom_kill")?;
                Some(Counts { kills, killer: value_of(&text, "oom_kill_disable") != Some(1) })
            }),
        }
    }
}
