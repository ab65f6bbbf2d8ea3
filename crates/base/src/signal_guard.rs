//! Signals that ask croci to stop while it makes something: held back, noticed at the waits, answered by rolling back.

use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The error of an interrupted verb; `main` exits with 128 + the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted(pub i32);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interrupted by signal {}", self.0)
    }
}

impl std::error::Error for Interrupted {}

/// While this lives, HUP, INT, QUIT and TERM wait.
#[derive(Debug)]
pub struct SignalGuard {
    signals: SignalFd,
    before: SigSet,
}

impl SignalGuard {
    /// Holds the signals back.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn block() -> Result<SignalGuard> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
            set.add(signal);
        }
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).context("signal mask")?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")?;
        Ok(SignalGuard { signals, before })
    }

    /// Readable when a signal waits.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Fails when a signal has come.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check(&self) -> Result<()> {
        match self.signals.read_signal().context("read the signal")? {
            Some(signal) => Err(Interrupted(signal.ssi_signo as i32).into()),
            None => Ok(()),
        }
    }

    /// Waits until `fd` can be read or has been closed.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait_readable(&self, fd: BorrowedFd<'_>) -> Result<()> {
        let mut set = [PollFd::new(fd, PollFlags::POLLIN), PollFd::new(self.fd(), PollFlags::POLLIN)];
        while let Err(err) = poll(&mut set, PollTimeout::NONE) {
            if err != nix::Error::EINTR {
                return Err(err).context("poll");
            }
        }
        if set[1].any().unwrap_or(false) { self.check() } else { Ok(()) }
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        // a signal that came meanwhile acts now
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
