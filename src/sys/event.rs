//! Events between processes: eventfd(2), by which cgroup v1 tells of an out-of-memory kill, and kill(2) by number.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::cvt;

/// A new event counter, close-on-exec and non-blocking.
/// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_eventfd2, 0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal by its number, real-time signals included, which `nix` does not name.
/// [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html)
///
/// # Errors
/// `ESRCH` when there is no such process, `EPERM`, `EINVAL`; also `EINVAL` for a `pid` that is not of one process.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL)); // would mean a group, or everybody
    }
    // SAFETY: takes no pointers.
    cvt(libc::c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}
