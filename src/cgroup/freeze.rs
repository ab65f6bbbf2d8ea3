//! The freezer: `pause` and `resume` of a container.

use base::coded;
use base::error::{Code, Coding as _};
use std::fs;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::files::{is_gone, value_of, write};
use super::{Cgroup, CgroupRecord};

/// Longest wait for the freezer, because a process in a page fault or a vfork delays it.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Cgroup {
    /// Freezes every process of the container, and returns when all are frozen.
    ///
    /// # Errors
    /// The container is not frozen after two seconds. It is thawed again, because a partly frozen container is worse
    /// than a running one.
    pub(crate) fn freeze(&self) -> Result<()> {
        let freezer = self.freezer()?;
        freezer.set(true)?;
        if freezer.wait(true, Instant::now() + TIMEOUT)? {
            return Ok(());
        }
        freezer.set(false)?;
        bail!(coded!(CgroupFailed, "cgroup {} did not freeze within {} s", freezer.path, TIMEOUT.as_secs()))
    }

    /// Thaws the container.
    ///
    /// # Errors
    /// An ancestor cgroup is frozen.
    pub(crate) fn thaw(&self) -> Result<()> {
        let freezer = self.freezer()?;
        freezer.set(false)?;
        if freezer.wait(false, Instant::now() + TIMEOUT)? {
            return Ok(());
        }
        bail!(coded!(CgroupFailed, "cgroup {} did not thaw: one above it is frozen", freezer.path))
    }

    /// Moves init and the other processes of its pid namespace back into the container's v1 freezer, which is thawed: in a
    /// frozen one, where another program may have put them, not even SIGKILL ends them, and init waits for their end.
    ///
    /// # Errors
    /// As write(2) for init; it has ended.
    pub(crate) fn take_back(&self, init: i32) -> Result<()> {
        let Some(path) = self.controller_path("freezer") else { return Ok(()) };
        let procs = format!("{path}/cgroup.procs");
        // one that has ended meanwhile is an error, and no reason to leave the others
        for pid in base::pid_namespace::members(init).unwrap_or_default().into_iter().filter(|pid| *pid != init) {
            let _ = write(&procs, &pid.to_string());
        }
        write(&procs, &init.to_string())
    }

    /// Reports whether the container is frozen, as [`is_frozen`].
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        is_frozen(&self.record)
    }

    fn freezer(&self) -> Result<Freezer> {
        Freezer::of(&self.record)
    }
}

/// Reports whether the container of a record is frozen, by its own or an ancestor cgroup; `false` if the cgroup does not
/// exist.
///
/// # Errors
/// The cgroup cannot be read; the machine has no freezer, without an errno.
pub(crate) fn is_frozen(record: &CgroupRecord) -> Result<bool> {
    if record.dirs.is_empty() {
        return Ok(false);
    }
    Freezer::of(record)?.is(true)
}

/// The place where a container is frozen.
pub(super) struct Freezer {
    path: String,
    unified: bool,
}

impl Freezer {
    fn of(record: &CgroupRecord) -> Result<Freezer> {
        Freezer::choose(record.controller_path("freezer"), || record.unified_path())
    }

    /// Returns the freezer of a container: in the v1 hierarchy of that name if there is one, else in that of v2.
    pub(super) fn choose(legacy: Option<String>, unified: impl FnOnce() -> Option<String>) -> Result<Freezer> {
        if let Some(path) = legacy {
            return Ok(Freezer { path, unified: false });
        }
        // v2, or a hybrid layout without the v1 freezer: freezing is part of every v2 hierarchy
        let path = unified().code(Code::CgroupFailed, "the container has no cgroup that could be frozen")?;
        Ok(Freezer { path, unified: true })
    }

    fn set(&self, frozen: bool) -> Result<()> {
        match (self.unified, frozen) {
            (true, true) => write(&format!("{}/cgroup.freeze", self.path), "1"),
            (true, false) => write(&format!("{}/cgroup.freeze", self.path), "0"),
            (false, true) => write(&format!("{}/freezer.state", self.path), "FROZEN"),
            (false, false) => write(&format!("{}/freezer.state", self.path), "THAWED"),
        }
    }

    /// Returns whether the cgroup is frozen (`true`), or thawed (`false`); one that is gone is thawed.
    pub(super) fn is(&self, frozen: bool) -> Result<bool> {
        let file = if self.unified { "cgroup.events" } else { "freezer.state" };
        let path = format!("{}/{file}", self.path);
        let text = match linux::file::read_whole(&path) {
            Err(err) if is_gone(&err) => return Ok(!frozen),
            text => text.with_context(|| format!("read {path}"))?,
        };
        let wanted = match (self.unified, frozen) {
            (true, _) => return Ok((value_of(&text, "frozen") == Some(1)) == frozen),
            (false, true) => "FROZEN",
            (false, false) => "THAWED",
        };
        Ok(text.trim() == wanted)
    }

    fn wait(&self, frozen: bool, deadline: Instant) -> Result<bool> {
        let mut pause = Pause::new();
        while !self.is(frozen)? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            if self.unified {
                wait_for_event(&self.path, deadline, |text| (value_of(text, "frozen") == Some(1)) == frozen)?;
                continue;
            }
            // v1 sends no event, and after a fork during the freezing the state stays FREEZING until FROZEN is written
            // again
            pause.wait();
            if frozen {
                self.set(true)?;
            }
        }
        Ok(true)
    }
}

/// Waits until the text of `cgroup.events` satisfies `wanted`, or the deadline passes. The kernel signals each change
/// by `POLLPRI`.
pub(super) fn wait_for_event(path: &str, deadline: Instant, wanted: impl Fn(&str) -> bool) -> Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let events = format!("{path}/cgroup.events");
    let mut file = match fs::File::open(&events) {
        Err(err) if is_gone(&err) => return Ok(()),
        file => file.with_context(|| format!("open {events}"))?,
    };
    loop {
        let mut text = String::new();
        // the seek also fails when the cgroup is removed meanwhile
        match file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)) {
            Err(err) if is_gone(&err) => return Ok(()),
            result => result.with_context(|| format!("read {events}"))?,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if wanted(&text) || left.is_zero() {
            return Ok(());
        }
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).with_context(|| format!("poll {events}")),
        }
    }
}

/// An exponential back-off for changes without an event: 0.1 ms at first, at most 20 ms.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Pause {
        Pause(Duration::from_micros(100))
    }

    pub(super) fn wait(&mut self) {
        std::thread::sleep(self.0);
        self.0 = (self.0 * 2).min(Duration::from_millis(20));
    }
}
