//! Events between processes: eventfd(2), by which cgroup v1 reports an out-of-memory kill, inotify(7) for a growing
//! file, and kill(2) by number.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::cvt;

/// Creates an event counter, close-on-exec and non-blocking.
/// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn eventfd() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Returns a descriptor that becomes readable when the file at `path` is written, or for a directory, when a file in it
/// is written, created or renamed; close-on-exec and non-blocking.
/// [inotify(7)](https://man7.org/linux/man-pages/man7/inotify.7.html)
///
/// # Errors
/// `ENOENT`, `EMFILE` for too many inotify instances of this user.
pub fn watch_writes(path: &CStr) -> io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, path, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    Ok(watch)
}

/// Sends a signal by its number, real-time signals included, which `nix` does not name.
/// [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html)
///
/// # Errors
/// `ESRCH` for no process, `EPERM`, `EINVAL`; also `EINVAL` for a `pid` below 1.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL)); // would be a process group, or all processes
    }
    // SAFETY: takes no pointers.
    cvt(libc::c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Interval between two looks at a process that is held by its directory in procfs.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for an event of one of `set`. A process that is held by its directory in procfs or by a counter, because the kernel has no pidfds, is
/// ready when it has ended, as a pidfd is. [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html)
///
/// # Errors
/// As poll(2).
pub fn poll(set: &mut [PollFd<'_>], timeout: impl Into<PollTimeout>) -> nix::Result<i32> {
    let timeout = timeout.into();
    if !super::handle::in_use() {
        return nix::poll::poll(set, timeout);
    }
    // `PollTimeout::duration` panics for one that never ends
    let deadline = if timeout.is_none() { None } else { timeout.duration() }.map(|time| Instant::now() + time);
    loop {
        let wanted: Vec<PollFlags> = set.iter().map(PollFd::events).collect();
        let mut looks = false;
        // a directory and a counter are always ready
        for fd in set.iter_mut().filter(|fd| super::handle::stands_for_process(fd.as_fd())) {
            if !super::handle::has_ended(fd.as_fd()) {
                fd.set_events(PollFlags::empty());
                looks = true;
            }
        }
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let pause = if looks { Some(left.map_or(LOOK, |left| left.min(LOOK))) } else { left };
        let pause = pause.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        let ready = nix::poll::poll(set, pause);
        set.iter_mut().zip(wanted).for_each(|(fd, events)| fd.set_events(events));
        if ready != Ok(0) || left.is_some_and(|left| left.is_zero()) {
            return ready;
        }
    }
}
