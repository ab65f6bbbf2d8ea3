//! Notification of out-of-memory kills in a container.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::poll::PollFlags;

use super::Cgroup;
use super::files::{is_gone, try_read, value_of, write};
use linux::event::eventfd;

/// A descriptor that becomes readable when the container runs out of memory.
#[derive(Debug)]
pub(crate) struct OomWatch {
    /// `memory.events` on v2, `memory.oom_control` on v1.
    file: fs::File,
    /// The eventfd(2) that v1 signals; on v2 the file itself is polled.
    counter: Option<OwnedFd>,
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

    /// Starts the watch. `None` where the container has no memory controller.
    pub(crate) fn oom_events(&self) -> Result<Option<OomWatch>> {
        let open = |path: &str| fs::File::open(path).with_context(|| format!("open {path}"));
        if self.record.is_pure_v2() {
            let path = format!("{}/memory.events", self.unified_path().unwrap_or_default());
            return match fs::File::open(&path) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
                file => Ok(Some(OomWatch { file: file.with_context(|| format!("open {path}"))?, counter: None })),
            };
        }
        let Some(path) = self.controller_path("memory") else { return Ok(None) };
        let file = open(&format!("{path}/memory.oom_control"))?;
        let counter = eventfd().context("create an event counter")?;
        let line = format!("{} {}", counter.as_raw_fd(), file.as_raw_fd());
        write(&format!("{path}/cgroup.event_control"), &line)?;
        Ok(Some(OomWatch { file, counter: Some(counter) }))
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

    /// Returns how many processes the out-of-memory killer has killed so far; `None` when the cgroup has been removed
    /// and no more events follow. Call it once before the first poll and after each.
    pub(crate) fn kills(&mut self) -> Result<Option<u64>> {
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
            result => result.context("read the memory events of the cgroup").map(|_| value_of(&text, "oom_kill")),
        }
    }
}
