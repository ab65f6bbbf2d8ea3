//! Functions of `croci run` and `corm run` while they wait for a container in the foreground: the signals they forward
//! to it, the mode of the caller's terminal, and output that does not block.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use linux::open::open;
use linux::signal::SignalSet;

/// Signals with a meaning for the waiting process itself: faults, job control (the caller's shell stops this process),
/// SIGPIPE and SIGURG. SIGCHLD is read and not forwarded.
const NOT_FORWARDED: [i32; 14] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGPIPE,
    libc::SIGURG,
];

/// Returns the signals that the waiting process blocks, reads and forwards, and SIGCHLD.
pub fn signals() -> SignalSet {
    SignalSet::ALL.without(&NOT_FORWARDED)
}

/// The caller's terminal in raw mode; `Drop` restores its old mode.
pub struct RawMode {
    terminal: BorrowedFd<'static>,
    before: Termios,
    raw: Termios,
}

impl RawMode {
    /// Puts `terminal` into raw mode; `None` where it is no terminal.
    pub fn new(terminal: BorrowedFd<'static>) -> Option<Self> {
        Self::with(terminal, OutputFlags::empty())
    }

    /// Enters it but for output, which is processed as before (`OPOST`): a newline returns the carriage.
    pub fn keeping_output(terminal: BorrowedFd<'static>) -> Option<Self> {
        Self::with(terminal, OutputFlags::OPOST)
    }

    fn with(terminal: BorrowedFd<'static>, output: OutputFlags) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        raw.output_flags |= output;
        let mode = Self { terminal, before, raw };
        mode.enter();
        Some(mode)
    }

    /// Enters raw mode again after a stop, because the shell has set its own mode meanwhile.
    pub fn enter(&self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.raw);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}

/// Returns a descriptor for output. A terminal is opened again with `O_NONBLOCK`, because a stopped terminal (Ctrl-S)
/// would block writes; the inherited open file description is shared with the caller.
///
/// # Errors
/// `EMFILE`.
pub fn own_output(output: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    if nix::unistd::isatty(output).unwrap_or(false) {
        let path = format!("/proc/self/fd/{}", output.as_raw_fd());
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        if let Ok(own) = open(path.as_str(), flags, Mode::empty()) {
            return Ok(own);
        }
    }
    output.try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_may_send_is_forwarded() {
        for (signal, taken) in [
            (libc::SIGTERM, true),
            (libc::SIGINT, true),
            (libc::SIGHUP, true),
            (libc::SIGCONT, true),
            (libc::SIGWINCH, true),
            (libc::SIGCHLD, true),
            (64, true),
            (libc::SIGKILL, false),
            (libc::SIGSEGV, false),
            (libc::SIGTSTP, false),
            (libc::SIGPIPE, false),
        ] {
            assert_eq!(signals().contains(signal), taken, "signal {signal}");
        }
    }
}
