//! Events between processes: eventfd(2), by which cgroup v1 reports an out-of-memory kill, inotify(7) for a growing
//! file, and kill(2) by number.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::EventfdFlags;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

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
