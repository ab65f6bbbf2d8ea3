//! The end of a build by a signal: running commands are killed, and no further step begins.

use base::coded;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use base::foreground;
use linux::event;
use linux::signal;

/// Signals that end a build.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Whether a build is to end.
#[derive(Debug)]
pub struct Cancel {
    /// Readable from then on.
    event: OwnedFd,
    /// The signal, or -1 for a failure of another stage.
    reason: AtomicI32,
}

impl Cancel {
    /// Creates it, and blocks the signals in this thread and those that it starts.
    ///
    /// # Errors
    /// As eventfd(2).
    pub fn new() -> Result<Self> {
        signal::set_mask(foreground::signals()).context("signal mask")?;
        Ok(Self { event: event::eventfd().context("eventfd")?, reason: AtomicI32::new(0) })
    }

    /// Returns a descriptor that is readable when the build is to end.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Ends the build, for a failure or by a signal.
    pub fn end(&self, signal: i32) {
        let _ = self.reason.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
        let _ = nix::unistd::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Returns the signal that ended the build.
    pub fn signal(&self) -> Option<i32> {
        Some(self.reason.load(Ordering::Relaxed)).filter(|&signal| signal > 0)
    }

    /// Fails when the build is to end.
    ///
    /// # Errors
    /// It is.
    pub fn check(&self) -> Result<()> {
        match self.reason.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal if signal > 0 => bail!(coded!(RunSignal, "interrupted by signal {signal}")),
            _ => Err(super::Ended.into()),
        }
    }

    /// Waits for a signal that ends the build, until `done` is readable. A second one ends this process at once.
    ///
    /// # Errors
    /// As poll(2).
    pub fn watch(&self, done: BorrowedFd<'_>) -> Result<()> {
        let signals = signal::descriptor(foreground::signals()).context("signalfd")?;
        loop {
            let mut set = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(done, PollFlags::POLLIN)];
            match poll(&mut set, PollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => drop(other.context("poll")?),
            }
            let [signalled, ended] = set.map(|fd| fd.any().unwrap_or(false));
            while signalled && let Some(number) = signal::read(signals.as_fd()).context("read a signal")? {
                if ENDING.contains(&number) {
                    if self.signal().is_some() {
                        linux::process::exit(128 + number);
                    }
                    self.end(number);
                }
            }
            if ended {
                return Ok(());
            }
        }
    }
}
