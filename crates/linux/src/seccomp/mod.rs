//! seccomp(2): installation of a filter, and queries for the kernel's flags.
//!
//! croci's `seccomp` compiles the program.

mod handover;
mod notify;

use super::cvt;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd as _, OwnedFd, RawFd};

pub use handover::Handover;
pub use notify::{Call, continue_next};

/// Installs `program` for the calling thread (and with `SECCOMP_FILTER_FLAG_TSYNC` for its siblings).
/// [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html)
///
/// With `SECCOMP_FILTER_FLAG_NEW_LISTENER` in `flags` it returns the notification descriptor (close-on-exec).
/// Afterwards the filter applies to every call of this thread, those of this library included.
///
/// # Errors
/// `EACCES` without no_new_privs and without `CAP_SYS_ADMIN`; `EINVAL` for a flag this kernel does not know or a
/// program it refuses; `EBUSY` where a listener exists already; `ESRCH` where a sibling cannot be synchronised.
pub fn install(program: &[libc::sock_filter], flags: u64) -> io::Result<Option<OwnedFd>> {
    let invalid = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let length = u16::try_from(program.len()).map_err(invalid)?;
    // the kernel only reads the program; the field is a pointer to mutable for C's sake
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `filter` points to `length` initialised instructions, both borrowed for the call; the kernel copies them.
    let answer = cvt(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER), flags, &raw const filter)
    })?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
        let fd = RawFd::try_from(answer).map_err(invalid)?;
        // SAFETY: with NEW_LISTENER a non-negative answer is a new descriptor that no other process owns.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    // TSYNC reports a thread it could not synchronise as a positive number, with nothing installed
    if answer > 0 { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(None) }
}

/// Installs as [`install`] does with a listener, and gives the notification descriptor to `handover`: the calling thread
/// makes no system call that the filter could stop before an agent can answer.
///
/// `SECCOMP_FILTER_FLAG_TSYNC` is left out, because the filter must not bind the thread of `handover`.
///
/// # Errors
/// As [`install`].
pub fn install_with(program: &[libc::sock_filter], flags: u64, handover: Handover) -> io::Result<()> {
    let flags = flags & !(libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
    if let Some(listener) = install(program, flags)? {
        handover.give(listener.into_raw_fd());
    }
    Ok(())
}

/// Returns whether the kernel supports the flags `SECCOMP_FILTER_FLAG_*` in this combination. Installs nothing.
pub fn flags_available(flags: u64) -> bool {
    let nothing = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the flags are checked before the program is read; a null program is refused with EFAULT.
    let answer = cvt(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER), flags, nothing)
    });
    answer.is_err_and(|error| error.raw_os_error() == Some(libc::EFAULT))
}

/// Returns whether this process has a seccomp filter: its caller's, before it has loaded its own.
pub fn is_filtered() -> bool {
    use rustix::thread::{SecureComputingMode, secure_computing_mode};
    secure_computing_mode().is_ok_and(|mode| mode != SecureComputingMode::Disabled)
}
