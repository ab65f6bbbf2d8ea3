//! Termination signals while croci creates a container: blocked, checked at each wait, answered by rolling back.

use crate::error::Code;
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The error of a verb that a signal interrupted; `main` exits with 128 + the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted(pub i32);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interrupted by signal {}", self.0)
    }
}

impl std::error::Error for Interrupted {}

/// A guard that blocks SIGHUP, SIGINT, SIGQUIT and SIGTERM until dropped.
#[derive(Debug)]
pub struct SignalGuard {
    signals: SignalFd,
    before: SigSet,
}

impl SignalGuard {
    /// Blocks the signals.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn block() -> Result<SignalGuard> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
            set.add(signal);
        }
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).context("signal mask")?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|err| linux::named("signalfd4", err.into()))
            .context("watch for signals")?;
        Ok(SignalGuard { signals, before })
    }

    /// Returns a descriptor that is readable when a signal is pending.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Fails when a signal is pending.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check(&self) -> Result<()> {
        match self.signals.read_signal().context("read the signal")? {
            Some(signal) => Err(Code::RunSignal.attach(Interrupted(signal.ssi_signo as i32).into())),
            None => Ok(()),
        }
    }

    /// Waits until `fd` is readable or hung up.
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
        // a pending signal is delivered now
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
