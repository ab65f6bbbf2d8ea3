//! Signals by number: 1 to 64, with the real-time ones and the two that the C library reserves.

use super::cvt;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::process::{Pid, WaitOptions};

/// Highest signal number.
pub const LAST: i32 = 64;

/// A set of signals in the kernel's form: bit n-1 for signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);
    /// Every signal; the kernel ignores KILL and STOP in a mask.
    pub const ALL: Self = Self(u64::MAX);

    /// Returns the set without `signals`.
    #[must_use]
    pub fn without(self, signals: &[i32]) -> Self {
        Self(signals.iter().fold(self.0, |set, signal| set & !Self::bit(*signal)))
    }

    /// Returns the set with `signal`.
    #[must_use]
    pub fn with(self, signal: i32) -> Self {
        Self(self.0 | Self::bit(signal))
    }

    /// Returns whether the set contains `signal`.
    pub fn contains(self, signal: i32) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    fn bit(signal: i32) -> u64 {
        if (1..=LAST).contains(&signal) { 1 << (signal - 1) } else { 0 }
    }
}

/// Sets the mask of blocked signals and returns the previous one.
///
/// # Errors
/// None in practice.
pub fn set_mask(mask: SignalSet) -> io::Result<SignalSet> {
    let mut old = SignalSet::EMPTY;
    // SAFETY: both sets are the kernel's 8 bytes, as the last argument says, and live for the call.
    cvt(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask.0, &raw mut old.0, size_of::<u64>())
    })?;
    Ok(old)
}

/// The kernel's `struct sigaction` for "default" or "ignore": all zero but the handler, on every architecture.
#[repr(C)]
struct KernelAction {
    handler: usize,
    rest: [u64; 4],
}

fn set_disposition(signal: i32, handler: usize) -> io::Result<()> {
    let action = KernelAction { handler, rest: [0; 4] };
    let none = std::ptr::null_mut::<KernelAction>();
    // SAFETY: the structure is at least as long as the kernel's (32 bytes) and lives for the call; with handler 0 or 1
    // no function of ours is ever called.
    cvt(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, none, size_of::<u64>()) })?;
    Ok(())
}

/// Sets the default action of a signal.
///
/// # Errors
/// `EINVAL` for KILL, STOP and invalid numbers.
pub fn set_default(signal: i32) -> io::Result<()> {
    set_disposition(signal, libc::SIG_DFL)
}

/// Ignores a signal.
///
/// # Errors
/// `EINVAL` for KILL, STOP and invalid numbers.
pub fn set_ignored(signal: i32) -> io::Result<()> {
    set_disposition(signal, libc::SIG_IGN)
}

/// Lets a signal end the process with status 128 + its number, until execve(2) sets the default action: the first process
/// of a pid namespace is not ended by a signal with its default action.
///
/// # Errors
/// `EINVAL` for KILL, STOP and invalid numbers.
pub fn set_exit(signal: i32) -> io::Result<()> {
    extern "C" fn exit(signal: libc::c_int) {
        // SAFETY: _exit(2) is async-signal-safe and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    // SAFETY: the handler makes one async-signal-safe call, whatever the process was doing.
    unsafe { set_handler(signal, exit, SaFlags::empty()) }
}

/// Sets a handler, with which no other signal is blocked.
///
/// # Safety
/// The handler makes async-signal-safe calls only.
unsafe fn set_handler(signal: i32, handler: extern "C" fn(libc::c_int), flags: SaFlags) -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
    // SAFETY: the caller promises what a handler may do.
    unsafe { sigaction(Signal::try_from(signal)?, &action) }?;
    Ok(())
}

/// Lets a signal interrupt nothing and end nothing, by a handler that does nothing. Unlike an ignored signal it has its
/// default action again in a program that a child executes.
///
/// # Errors
/// `EINVAL` for KILL, STOP and invalid numbers.
pub fn set_without_effect(signal: i32) -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler calls nothing and accesses no memory.
    unsafe { set_handler(signal, nothing, SaFlags::SA_RESTART) }
}

/// Waits for a signal of `set`, which the caller has blocked, and consumes it.
/// [sigwaitinfo(2)](https://man7.org/linux/man-pages/man2/sigwaitinfo.2.html)
///
/// # Errors
/// `EINTR` where a handler ran or the process was stopped and continued.
pub fn wait(set: SignalSet) -> io::Result<i32> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the set is the kernel's 8 bytes and lives for the call; no details and no time limit are passed.
    let signal =
        cvt(unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set.0, nothing, nothing, size_of::<u64>()) })?;
    Ok(signal as i32)
}

/// Creates a signalfd for the blocked signals of `set`; close-on-exec and non-blocking.
///
/// # Errors
/// As signalfd(2).
pub fn descriptor(set: SignalSet) -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is the kernel's 8 bytes and lives for the call.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set.0, size_of::<u64>(), flags) })
        .map_err(|err| crate::named("signalfd4", err))?;
    // SAFETY: the kernel has just created this descriptor for us; no other process has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Reads the next signal of a descriptor of [`descriptor`]; `None` when none is pending.
///
/// # Errors
/// None in practice.
pub fn read(descriptor: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    Ok(read_origin(descriptor)?.map(|(number, _)| number))
}

/// Reads the next signal as [`read`] does; also returns whether the kernel sent it, as a terminal's driver does to all
/// processes of a group, and not a process.
///
/// # Errors
/// None in practice.
pub fn read_origin(descriptor: BorrowedFd<'_>) -> io::Result<Option<(i32, bool)>> {
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match nix::unistd::read(descriptor, &mut info) {
        Ok(_) => {
            // ssi_signo, ssi_errno and ssi_code are the first members
            let member = |at: usize| info.get(at * 4..).and_then(<[u8]>::first_chunk).map(|b| i32::from_ne_bytes(*b));
            Ok(member(0).map(|number| (number, member(2) == Some(libc::SI_KERNEL))))
        }
        Err(nix::Error::EAGAIN) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// Reaps a child: returns its pid and its status as in a shell (the exit status, or 128 + the signal); `None` while no
/// child has ended.
///
/// # Errors
/// `ECHILD` without children: there were none, or the caller ignores SIGCHLD and the kernel has reaped them.
pub fn reap() -> io::Result<Option<(libc::pid_t, i32)>> {
    let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(libc::__WALL as u32);
    let ended = rustix::process::wait(options)?;
    Ok(ended.map(|(pid, status)| {
        let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        (Pid::as_raw(Some(pid)), code.unwrap_or(0))
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = SignalSet::ALL.without(&[libc::SIGCHLD, 64]).without(&[0, 65, -1]);
        for signal in 1..=64 {
            assert_eq!(set.contains(signal), signal != libc::SIGCHLD && signal != 64, "signal {signal}");
        }
        assert!(!set.contains(0) && !set.contains(65) && !set.contains(-1));
        assert_eq!(SignalSet::EMPTY.with(64).with(0), SignalSet(1 << 63));
    }

    #[test]
    fn a_blocked_real_time_signal_is_waited_for_and_read() {
        // the mask is per thread, and the signals are sent to the thread
        std::thread::spawn(|| {
            let set = SignalSet::EMPTY.with(libc::SIGRTMIN() + 3).with(libc::SIGUSR2);
            set_mask(set).unwrap();
            let fd = descriptor(set).unwrap();
            let raise = |signal: i32| {
                // SAFETY: sends a blocked signal to this very thread
                unsafe { libc::syscall(libc::SYS_tkill, libc::syscall(libc::SYS_gettid), signal) };
            };
            use std::os::fd::AsFd as _;
            assert_eq!(read(fd.as_fd()).unwrap(), None);
            raise(libc::SIGRTMIN() + 3);
            assert_eq!(wait(set).unwrap(), libc::SIGRTMIN() + 3);
            raise(libc::SIGUSR2);
            assert_eq!(read(fd.as_fd()).unwrap(), Some(libc::SIGUSR2));
        })
        .join()
        .unwrap();
    }
}
