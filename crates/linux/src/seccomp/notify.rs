//! The supervisor's side of a filter that notifies: calls wait for its answer.
//! [seccomp_unotify(2)](https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html)

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::super::cvt;

/// A system call that a process makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The audit value of its ABI.
    pub arch: u32,
    /// Its number.
    pub number: u32,
}

/// A notification with room for what newer kernels may add at its end.
#[repr(C)]
struct Room {
    notification: libc::seccomp_notif,
    _rest: [u64; 64],
}

/// Waits for the next notification of a listener and lets its system call go on.
///
/// # Errors
/// `ENOENT`: the process that made the call was killed meanwhile, or no process has the filter any more; `EINTR`.
pub fn continue_next(listener: BorrowedFd<'_>) -> io::Result<Call> {
    // `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND`
    const RECV: libc::c_ulong = 0xc050_2100;
    const SEND: libc::c_ulong = 0xc018_2101;
    // SAFETY: all-zero is a valid value of the structure, and the kernel requires it.
    let mut room: Room = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel stores one seccomp_notif, in memory that stays valid during the call.
    cvt(unsafe { libc::ioctl(listener.as_raw_fd(), RECV as _, &raw mut room) }.into())?;
    let notification = room.notification;
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let mut answer = libc::seccomp_notif_resp { id: notification.id, val: 0, error: 0, flags };
    // SAFETY: the kernel reads one seccomp_notif_resp, which stays valid during the call.
    cvt(unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw mut answer) }.into())?;
    Ok(Call { arch: notification.data.arch, number: notification.data.nr as u32 })
}
